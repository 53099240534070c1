"""`cnncli inspect`: shapes, costs and receptive fields of every layer."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.capture.target import check_hint_names, holds_tensors
from cnncli.cli.commands.options import (
    DebugOption,
    InputOption,
    KwargsOption,
    ModuleOption,
    TargetArgument,
    check_output,
    find_target,
    parse_kwargs,
    parse_shape,
)
from cnncli.cli.output import print_line
from cnncli.cli.render.console import show_notice
from cnncli.errors import ConfigError, UsageError
from cnncli.file_types import FileType
from cnncli.inspection.arrangement import By, SortKey, folded, grouped, shares_as_json, sorted_by
from cnncli.inspection.arrangement import only as select
from cnncli.inspection.graph import Graph, ModelError
from cnncli.inspection.hints import HINTS
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.inspection.training_memory import least_memory
from cnncli.layers.base import Unknown
from cnncli.machine import machine_memory
from cnncli.options import DATA_DIR, DataDirOption, SetOption

if TYPE_CHECKING:
    from cnncli.capture.model import Model
    from cnncli.config.config import Config

LONG = 60
"""Rows of a table from which on repeated blocks are folded."""


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
BatchOption = Annotated[
    int, typer.Option("--batch", min=1, max=10**6, metavar="N", help="Batch size for the memory estimate.")
]
IgnoreOption = Annotated[
    list[str], typer.Option("--ignore", metavar="HINT", help=f"Hide a hint: {', '.join(HINTS)}. Repeatable.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 3 if anything is unknown.")]
DepthOption = Annotated[
    int | None,
    typer.Option("--depth", min=1, metavar="N", help="One row for each module N levels deep, with its sums."),
]
FoldOption = Annotated[
    bool | None,
    typer.Option(
        "--fold/--no-fold",
        help=f"Show blocks that repeat as one row. Default: in tables of more than {LONG} rows.",
    ),
]
OnlyOption = Annotated[
    list[str], typer.Option("--only", metavar="GLOB", help="Show layers of such names, as 'layer3.*'. Repeatable.")
]
SortOption = Annotated[
    SortKey | None,
    typer.Option(
        "--sort", case_sensitive=False, help="Show the largest first: params, macs, memory (of the output), rf."
    ),
]
ByOption = Annotated[
    By | None,
    typer.Option(
        "--by",
        case_sensitive=False,
        help="Show what the layers of each type or module cost together; --depth is that of modules.",
    ),
]
BitsOption = Annotated[
    int | None,
    typer.Option(
        "--bits", min=1, max=64, metavar="N", help="Also the memory with numbers of N bits, as 8 on tiny devices."
    ),
]
LatencyOption = Annotated[
    int | None,
    typer.Option(
        "--latency",
        min=1,
        max=10_000,
        metavar="N",
        help="Also run the network N times here, on the GPU if any, and time each layer.",
    ),
]
GraphOption = Annotated[
    Path | None, typer.Option("--graph", metavar="SVG", help="Also draw the rows of the table into a file.")
]
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
    depth: DepthOption = None,
    fold: FoldOption = None,
    only: OnlyOption = [],  # noqa: B006  likewise
    sort: SortOption = None,
    by: ByOption = None,
    batch: BatchOption = 1,
    bits: BitsOption = None,
    latency: LatencyOption = None,
    drawing: GraphOption = None,
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

      cnncli inspect lenet5.onnx

      cnncli inspect weights.safetensors

      cnncli inspect torchvision:resnet152 --depth 1

      cnncli inspect torchvision:mobilenet_v2 --by type

      cnncli inspect resnet-mnist --json | jq .totals
    """
    check_hint_names(ignore)
    check_output(drawing, ".svg", option="--graph")
    form = Format.JSON if as_json else form
    tensors = holds_tensors(target)
    if tensors is not None:
        options = {"--input": shape, "--kwargs": kwargs, "--module": part, "--set": assignments, "--verify": verify}
        _print_tensors(Path(target), tensors, form, options=[name for name, value in options.items() if value])
        return
    source = _Source(target, shape, kwargs, part, assignments, data_dir)
    graph = source.graph(form)
    table = _with_memory_note(inspect_graph(graph, batch=batch, ignore=ignore, bits=bits))
    if latency is not None:
        table = _measured(table, source, graph, runs=latency, batch=batch)
    table = select(table, only) if only else table
    if by is not None:
        _print_shares(table, by, depth or 1, form)
    else:
        shown = grouped(table, depth) if depth is not None else table
        shown = sorted_by(shown, sort) if sort is not None else shown
        if fold if fold is not None else (form is Format.TABLE and sort is None and len(shown) > LONG):
            shown = folded(shown)
        _print(shown, form, wide=wide, tree=sort is None)
    if drawing is not None:
        _draw(drawing, grouped(table, depth) if depth is not None else table, fold=fold is not False)
    if verify:
        _verify(source, graph)
    if strict:
        refuse_unknown(table)


def _draw(path: Path, table: LayerTable, *, fold: bool) -> None:
    from cnncli.drawing.network import write_network

    write_network(path, folded(table) if fold else table)
    show_notice(f"wrote {path}")


@dataclass(frozen=True)
class _Source:
    """A target and the options that say which network it is, as typed."""

    target: str
    shape: str | None
    kwargs: str | None
    part: str
    assignments: list[str]
    data_dir: Path

    def graph(self, form: Format) -> Graph:
        """The network. Of a model that fails, the layers before are printed first, unless that would be no table."""
        try:
            return find_target(
                self.target,
                shape=self.shape,
                kwargs=self.kwargs,
                part=self.part,
                assignments=self.assignments,
                data_dir=self.data_dir,
            )
        except ModelError as error:
            if error.graph is not None and form is Format.TABLE:
                from cnncli.cli.render.table import show_table

                show_table(inspect_graph(error.graph, ignore=HINTS))
            raise

    def config(self) -> "Config | None":
        """The config of a target that has one."""
        from cnncli.capture.target import find_config, is_code, is_saved

        if is_code(self.target) or is_saved(self.target):
            return None
        return find_config(
            self.target,
            input_shape=parse_shape(self.shape),
            assignments=self.assignments,
            data_dir=self.data_dir,
        )

    def model(self, graph: Graph) -> "Model":
        """The model of a target that is code or a file, with numbers, on the CPU."""
        import torch

        from cnncli.capture.model import load_model

        return load_model(
            self.target,
            input_shape=graph.input_shape,
            kwargs=parse_kwargs(self.kwargs),
            part=self.part,
            device=torch.device("cpu"),
        )


def _measured(table: LayerTable, source: _Source, graph: Graph, *, runs: int, batch: int) -> LayerTable:
    """The table with the measured time of each layer."""
    from cnncli.capture.latency import measure_latency, with_latency
    from cnncli.module import CnnModule
    from cnncli.training.device import resolve_device

    device = resolve_device("auto")
    with redirect_stdout(sys.stderr):
        config = source.config()
        if config is not None:
            names = [node.name for node in config.network.nodes]
            latency = measure_latency(
                CnnModule(config.network), graph.input_shape, runs=runs, batch=batch, device=device, scopes=names
            )
        else:
            model = source.model(graph)
            batch = model.batch or batch
            latency = measure_latency(
                model.module, graph.input_shape, runs=runs, batch=batch, device=device, fixed_batch=model.batch
            )
    return with_latency(table, latency, batch=batch, device=device)


def _print_shares(table: LayerTable, by: By, depth: int, form: Format) -> None:
    """Print what types or modules cost together, as a table or as JSON."""
    match form:
        case Format.TABLE:
            from cnncli.cli.render.table import show_shares

            show_shares(table, by, depth)
        case Format.JSON:
            typer.echo(json.dumps(shares_as_json(table, by, depth), indent=2))
        case _:
            raise UsageError(f"--by has no format {form}", remedy="use --format table or --json")


def _print(table: LayerTable, form: Format, *, wide: bool, tree: bool = True) -> None:
    """Print the table; modules that only one format needs are imported only for it."""
    match form:
        case Format.TABLE:
            from cnncli.cli.render.table import show_inspection

            show_inspection(table, wide=wide, tree=tree)
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


def _verify(source: _Source, graph: Graph) -> None:
    """Print on stderr which rows differ from the network itself, and exit with 1 if any does."""
    from cnncli.capture.target import is_onnx
    from cnncli.capture.verify import behind_comparisons, verify_module, verify_network
    from cnncli.module import CnnModule

    partial, skipped = behind_comparisons(graph), frozenset[str]()
    config = None if is_onnx(source.target) else source.config()
    if config is not None:
        mismatches = verify_network(config.network, CnnModule(config.network))
    elif is_onnx(source.target):
        from cnncli.capture.onnx.probe import verify_onnx

        verification = verify_onnx(Path(source.target), graph)
        mismatches = verification.mismatches
        partial, skipped = partial | verification.partial, verification.skipped
    else:
        with redirect_stdout(sys.stderr):
            model = source.model(graph)
            mismatches = verify_module(model.module, graph, batch=model.batch)
    for mismatch in mismatches:
        print_line(mismatch, err=True)
    if mismatches:
        raise typer.Exit(1)
    print_line("\n".join(_verified(graph, partial, skipped)), err=True)


def _verified(graph: Graph, partial: frozenset[str], skipped: frozenset[str]) -> list[str]:
    """How many rows were verified, and how many could not be, or not completely.

    Args:
        graph: of the rows.
        partial: rows of which a part is verified.
        skipped: rows that were not compared, besides those with unknown values.
    """
    from cnncli.inspection.columns import counted
    from cnncli.inspection.receptive_field import receptive_fields

    fields = receptive_fields(graph)
    unknown = {node.name for node in graph.nodes if node.shape is None or isinstance(fields[node.name], Unknown)}
    skipped -= unknown
    partial -= unknown | skipped
    verified = len(graph.nodes) - len(unknown) - len(partial) - len(skipped)
    every = "all " if verified == len(graph.nodes) else ""
    lines = [f"verified: shape, parameters and receptive field of {every}{counted(verified, 'row')}"]
    if partial:
        lines.append(
            f"verified in part: {counted(len(partial), 'row')} after a comparison or a mask; no unit sees more than "
            "the table says"
        )
    if skipped:
        lines.append(f"not verified: {counted(len(skipped), 'row')} inside an operator, or after a mask")
    if unknown:
        lines.append(f"not verified: {counted(len(unknown), 'row')} with unknown values")
    return lines
