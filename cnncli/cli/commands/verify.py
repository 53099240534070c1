"""`--verify`: the rows of a table against the network itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from cnncli.analysis.graph import Graph
from cnncli.inspector import find_config, is_code


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
        module = load_module(target, kwargs=dict(kwargs), device=torch.device("cpu")).module
        found = verify_module(module, graph)
    else:
        config = find_config(target, input_shape=input_shape, assignments=assignments, data_dir=data_dir)
        found = verify_network(config.network)
    for disagreement in found:
        typer.echo(str(disagreement), err=True)
    if found:
        raise typer.Exit(1)
    typer.echo(f"verified: shape, parameters and field of all {len(graph.nodes)} rows", err=True)
