"""`--verify`: the rows of a table against the network itself."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import typer

from cnncli.analysis.graph import Graph
from cnncli.analysis.receptive_field import receptive_fields
from cnncli.inspector import find_config, is_code
from cnncli.spec.layers.base import Unknown


def verify_rows(
    target: str,
    graph: Graph,
    *,
    input_shape: Sequence[int] | None,
    kwargs: Mapping[str, Any],
    assignments: Sequence[str],
    data_dir: Path,
) -> None:
    """Print on stderr which rows of `graph` are not what the network does, and end with 1 if there are any.

    The other arguments are those that the graph was found with.
    """
    import torch

    from cnncli.torch_graph.load import load_module
    from cnncli.verify import verify_module, verify_network

    if is_code(target):
        with redirect_stdout(sys.stderr):
            module = load_module(target, kwargs=dict(kwargs), device=torch.device("cpu")).module
            found = verify_module(module, graph)
    else:
        config = find_config(target, input_shape=input_shape, assignments=assignments, data_dir=data_dir)
        found = verify_network(config.network)
    for disagreement in found:
        typer.echo(str(disagreement), err=True)
    if found:
        raise typer.Exit(1)
    typer.echo(_verified(graph), err=True)


def _verified(graph: Graph) -> str:
    """What has been found true, and what could not be looked at."""
    from cnncli.verify import behind_comparisons

    fields = receptive_fields(graph)
    unknown = [node.name for node in graph.nodes if node.shape is None or isinstance(fields[node.name], Unknown)]
    unclear = behind_comparisons(graph) - set(unknown)
    clear = len(graph.nodes) - len(unknown) - len(unclear)
    lines = [f"verified: shape, parameters and field of {'all ' if clear == len(graph.nodes) else ''}{_rows(clear)}"]
    if unclear:
        lines.append(f"{_rows(len(unclear))} behind a comparison, which NaN does not pass: none sees more than is said")
    if unknown:
        lines.append(f"not all is known, and so verified, of {_rows(len(unknown))}")
    return "\n".join(lines)


def _rows(number: int) -> str:
    return f"{number} row" if number == 1 else f"{number} rows"
