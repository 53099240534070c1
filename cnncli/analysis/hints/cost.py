"""Hints about where the cost lies."""

from collections.abc import Iterator

from cnncli.analysis.hints.base import Hint, Subject


def most_parameters(subject: Subject) -> Iterator[Hint]:
    """A layer that holds more than half of the parameters, where there are others."""
    counts = {node.name: node.params for node in subject.graph.nodes if node.params}
    total = sum(counts.values())
    for node in subject.graph.nodes:
        if len(counts) > 1 and 2 * counts.get(node.name, 0) > total:
            row = node.shape is not None and len(node.shape) == 1
            yield Hint(
                name="most-parameters",
                layer=node.name,
                says=f"it holds {counts[node.name] / total:.0%} of all parameters",
                consider="global_avg_pool in place of flatten, or fewer features before it"
                if row
                else "fewer channels, groups, or a 1x1 convolution before it",
            )
