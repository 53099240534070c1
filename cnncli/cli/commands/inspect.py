"""`cnncli inspect`: shapes, costs and receptive fields of every layer."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnncli.capture.target import check_hint_names, holds_tensors
from cnncli.cli.commands.options import (
    DebugOption,
    InputOption,
    KwargsOption,
    ModuleOption,
    TargetArgument,
    find_target,
    parse_kwargs,
    parse_shape,
)
from cnncli.cli.output import print_line
from cnncli.errors import ConfigError, UsageError
from cnncli.file_types import FileType
from cnncli.inspection.graph import Graph
from cnncli.inspection.hints import HINTS
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.inspection.training_memory import least_memory
from cnncli.layers.base import Unknown
from cnncli.machine import machine_memory
from cnncli.options import DATA_DIR, DataDirOption, SetOption


class Format(StrEnum):
    """Output formats of the layer table."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


FormatOption = Annotated[Format, typer.Option("--format", case_sensitive=False, help="Output format.")]
WideOption = Annotated[
    bool,
    typer.Option("--wide", help="Show more columns: start, center, padding, smallest path, groups, memory, FLOPs."),
]
BatchOption = Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Batch size for the memory estimate.")]
IgnoreOption = Annotated[
    list[str], typer.Option("--ignore", metavar="HINT", help=f"Hide a hint: {', '.join(HINTS)}. Repeatable.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 3 if anything is unknown.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Build the network and compare every row with it; exit with 1 if one differs.")
]


def inspect(
    target: TargetArgument,
    shape: InputOption = None,
    kwargs: KwargsOption = None,
    part: ModuleOption = "",
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    form: FormatOption = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    wide: WideOption = False,
    batch: BatchOption = 1,
    ignore: IgnoreOption = [],  # noqa: B006  likewise
    strict: StrictOption = False,
    verify: VerifyOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Print the shape, cost and receptive field of every layer, with hints.

    Examples:

      cnncli inspect lenet5

      cnncli inspect my.yaml --set data.size=64 --wide

      cnncli inspect nets.py:Net --input 1x28x28 --kwargs '{"width": 32}' --strict

      cnncli inspect torchvision:resnet50 --input 3x64x64 --verify

      cnncli inspect torchvision:fasterrcnn_resnet50_fpn --module backbone

      cnncli inspect weights.safetensors

      cnncli inspect resnet-mnist --json | jq .totals
    """
    check_hint_names(ignore)
    form = Format.JSON if as_json else form
    tensors = holds_tensors(target)
    if tensors is not None:
        options = {"--input": shape, "--kwargs": kwargs, "--module": part, "--set": assignments, "--verify": verify}
        _print_tensors(Path(target), tensors, form, options=[name for name, value in options.items() if value])
        return
    graph = find_target(target, shape=shape, kwargs=kwargs, part=part, assignments=assignments, data_dir=data_dir)
    table = _with_memory_note(inspect_graph(graph, batch=batch, ignore=ignore))
    _print(table, form, wide=wide)
    if verify:
        _verify(target, graph, shape=shape, kwargs=kwargs, part=part, assignments=assignments, data_dir=data_dir)
    if strict:
        refuse_unknown(table)


def _print(table: LayerTable, form: Format, *, wide: bool) -> None:
    """Print the table; modules that only one format needs are imported only for it."""
    match form:
        case Format.TABLE:
            from cnncli.cli.render.table import show_hints, show_table

            show_table(table, wide=wide)
            show_hints(table)
        case Format.JSON:
            from cnncli.inspection.serialization import as_json

            typer.echo(json.dumps(as_json(table), indent=2))
        case Format.CSV:
            from cnncli.inspection.serialization import as_csv

            print_line(as_csv(table), newline=False)
        case Format.MARKDOWN:
            from cnncli.inspection.formatting import markdown

            print_line(markdown(table, wide=wide))


def _print_tensors(path: Path, type: FileType, form: Format, *, options: list[str]) -> None:
    """Print the tensors of a file that holds no network."""
    from cnncli.capture.tensors import read_tensors
    from cnncli.inspection.tensors import tensor_markdown, tensors_as_csv, tensors_as_json

    if options:
        raise UsageError(f"{path} holds tensors alone, and no network for {options[0]}", remedy=f"omit {options[0]}")
    table = read_tensors(path, type)
    match form:
        case Format.TABLE:
            from cnncli.cli.render.table import show_tensors

            show_tensors(table)
        case Format.JSON:
            typer.echo(json.dumps(tensors_as_json(table), indent=2))
        case Format.CSV:
            print_line(tensors_as_csv(table), newline=False)
        case Format.MARKDOWN:
            print_line(tensor_markdown(table))


def _with_memory_note(table: LayerTable) -> LayerTable:
    """The table with a note if this machine has less memory than a training needs with any optimizer."""
    needed = least_memory(table.memory, parameters=table.trainable)
    problem = needed.exceeds(machine_memory())
    return replace(table, notes=(*table.notes, problem)) if problem else table


def refuse_unknown(table: LayerTable) -> None:
    """Raise an error if anything is unknown.

    Raises:
        ConfigError: something is.
    """
    if table.unknown:
        first, count = table.unknown[0], len(table.unknown)
        raise ConfigError(
            f"--strict: {count} of {len(table)} layers are not fully known; the first is {first.name}",
            remedy=first.unknown,
        )


def _verify(
    target: str,
    graph: Graph,
    *,
    shape: str | None,
    kwargs: str | None,
    part: str,
    assignments: list[str],
    data_dir: Path,
) -> None:
    """Print on stderr which rows differ from the network itself, and exit with 1 if any does."""
    import torch

    from cnncli.capture.model import load_model
    from cnncli.capture.target import find_config, is_code, is_saved
    from cnncli.capture.verify import verify_module, verify_network
    from cnncli.module import CnnModule

    if is_code(target) or is_saved(target):
        with redirect_stdout(sys.stderr):
            model = load_model(
                target,
                input_shape=graph.input_shape,
                kwargs=parse_kwargs(kwargs),
                part=part,
                device=torch.device("cpu"),
            )
            mismatches = verify_module(model.module, graph, batch=model.batch)
    else:
        config = find_config(target, input_shape=parse_shape(shape), assignments=assignments, data_dir=data_dir)
        mismatches = verify_network(config.network, CnnModule(config.network))
    for mismatch in mismatches:
        print_line(mismatch, err=True)
    if mismatches:
        raise typer.Exit(1)
    print_line("\n".join(_verified(graph)), err=True)


def _verified(graph: Graph) -> list[str]:
    """How many rows were verified, and how many could not be, or not completely."""
    from cnncli.capture.verify import behind_comparisons
    from cnncli.inspection.columns import counted
    from cnncli.inspection.receptive_field import receptive_fields

    fields = receptive_fields(graph)
    unknown = {node.name for node in graph.nodes if node.shape is None or isinstance(fields[node.name], Unknown)}
    partial = behind_comparisons(graph) - unknown
    verified = len(graph.nodes) - len(unknown) - len(partial)
    every = "all " if verified == len(graph.nodes) else ""
    lines = [f"verified: shape, parameters and receptive field of {every}{counted(verified, 'row')}"]
    if partial:
        lines.append(
            f"verified in part: {counted(len(partial), 'row')} after a comparison or a mask; no unit sees more than "
            "the table says"
        )
    if unknown:
        lines.append(f"not verified: {counted(len(unknown), 'row')} with unknown values")
    return lines
