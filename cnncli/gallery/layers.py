"""Which layers a picture is about."""

from collections.abc import Sequence

from cnncli.errors import UsageError
from cnncli.spec.layers.base import Layer
from cnncli.spec.network import Network, Node
from cnncli.trained import TrainedRun


def chosen_layers(run: TrainedRun, names: Sequence[str], kinds: tuple[type[Layer], ...], what: str) -> tuple[Node, ...]:
    """The layers called `names`, in that order, or without names all of the right kinds, in the network's.

    Args:
        run: whose layers they are.
        names: as `inspect` prints them.
        kinds: those that will do.
        what: these are and others are not, for messages: `has kernels`.

    Raises:
        UsageError: one of them is not there or of another kind, or the network has none of the kinds.
    """
    able = [node for node in run.network.nodes if isinstance(node.layer, kinds)]
    if not able:
        raise UsageError(f"{run.path}: no layer of this network {what}")
    for name in names:
        if run.node(name) not in able:
            raise UsageError(
                f"--layer {name}: only one that {what} will do", remedy=f"one of {', '.join(n.name for n in able)}"
            )
    return tuple(map(run.node, dict.fromkeys(names))) if names else tuple(able)


def with_positions(network: Network) -> list[Node]:
    """The layers whose maps have more than one place."""
    return [node for node in network.nodes if len(node.shape) == 3 and max(node.shape[1:]) > 1]
