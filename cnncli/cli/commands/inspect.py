"""`cnncli inspect`: shapes, costs and receptive fields, without running anything."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cnncli.capture.target import check_hint_names, find_config, find_graph, is_code
from cnncli.cli.commands.options import (
    DATA_DIR,
    DataDirOption,
    DebugOption,
    InputOption,
    SetOption,
    parse_place,
    parse_shape,
)
from cnncli.cli.render.console import show_notice
from cnncli.cli.render.table import show_hints, show_layers, show_sides
from cnncli.errors import ConfigError, UsageError
from cnncli.inspection.formatting import markdown
from cnncli.inspection.graph import Graph
from cnncli.inspection.hints import HINTS
from cnncli.inspection.receptive_field import receptive_fields
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.layers.base import Unknown


def show_effective(
    target: str, images: int, *, layer: str | None, picture: Path | None, data_dir: Path, as_json: bool
) -> None:
    """Print the sides of the squares that hold most of the effective field, and hang its picture into the run.

    The picture also goes to `picture`, if that is given.

    Raises:
        UsageError: the target is not a run.
        RunError, DataError: the run has no weights yet, or its data is not there.
        DiskError: the picture cannot be written.
    """
    if not Path(target).is_dir():
        raise UsageError(
            f"--effective needs the directory of a run, and {target} is none",
            remedy="train first, then name the run: cnncli inspect runs/lenet5-20260102-030405 --effective 100",
        )
    from cnncli.drawing.image import write_png
    from cnncli.run import load_run
    from cnncli.views.effective_receptive_field import measure, picture_of
    from cnncli.views.view import save

    run = load_run(Path(target), data_dir=data_dir)
    found = measure(run, layer, images=images)
    drawn = picture_of(run, found)
    for _, path in save(run, [drawn]):
        show_notice(f"wrote {path}")
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        show_sides(found.as_json())
    if picture is not None:
        write_png(picture, drawn.pixels)
        show_notice(f"wrote {picture}")


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

    from cnncli.capture.load import load_module
    from cnncli.capture.verify import verify_module, verify_network
    from cnncli.module import CnnModule

    if is_code(target):
        with redirect_stdout(sys.stderr):
            module = load_module(target, kwargs=dict(kwargs), device=torch.device("cpu")).module
            found = verify_module(module, graph)
    else:
        config = find_config(target, input_shape=input_shape, assignments=assignments, data_dir=data_dir)
        found = verify_network(config.network, CnnModule(config.network))
    for disagreement in found:
        typer.echo(str(disagreement), err=True)
    if found:
        raise typer.Exit(1)
    typer.echo(_verified(graph), err=True)


def _verified(graph: Graph) -> str:
    """What has been found true, and what could not be looked at."""
    from cnncli.capture.verify import behind_comparisons

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


class Form(StrEnum):
    """How the table is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A config, the name of a bundled one, a run directory, or a model in code: torchvision:NAME, "
        "package.module:Factory or path/file.py:Factory, where Factory is a class or a function that returns a module. "
        "A model in code is imported and built, which runs its code: name only what you trust.",
    ),
]
KwargsOption = Annotated[
    str | None, typer.Option("--kwargs", metavar="JSON", help="""The factory's arguments: '{"num_classes": 10}'.""")
]
FormOption = Annotated[Form, typer.Option("--format", help="How the table is written.")]
WideOption = Annotated[
    bool, typer.Option("--wide", help="More columns: start, center, padding, smallest path, groups, memory, FLOPs.")
]
BatchOption = Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Images at once, for the memory.")]
LayerOption = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="What --unit or --pixel is about.")]
UnitOption = Annotated[
    list[str], typer.Option("--unit", metavar="ROW,COLUMN", help="Which pixels this unit sees. Repeatable.")
]
PixelOption = Annotated[
    str | None,
    typer.Option("--pixel", metavar="ROW,COLUMN", help="Which units of each layer see this pixel."),
]
PictureOption = Annotated[
    Path | None, typer.Option("--picture", metavar="PNG", help="Draw the fields of --layer and --unit into a file.")
]
IgnoreOption = Annotated[
    list[str], typer.Option("--ignore", metavar="HINT", help=f"Leave out a hint: {', '.join(HINTS)}. Repeatable.")
]
VerifyOption = Annotated[
    bool,
    typer.Option("--verify", help="Build the network, check every row against it, and exit with 1 if any is wrong."),
]
EffectiveOption = Annotated[
    int | None,
    typer.Option(
        "--effective",
        min=1,
        metavar="N",
        help="For a run: how much the center unit of --layer (else of the last with positions) listens to each pixel, "
        "over N test images, trained and untrained. The picture also goes into the run's folder show.",
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 3 if anything is not known.")]


def inspect(
    target: TargetArgument,
    shape: InputOption = None,
    kwargs: KwargsOption = None,
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    form: FormOption = Form.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    wide: WideOption = False,
    batch: BatchOption = 1,
    layer: LayerOption = None,
    units: UnitOption = [],  # noqa: B006  likewise
    pixel: PixelOption = None,
    picture: PictureOption = None,
    ignore: IgnoreOption = [],  # noqa: B006  likewise
    strict: StrictOption = False,
    verify: VerifyOption = False,
    effective: EffectiveOption = None,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Print what shape each layer has, what it costs, which pixels it can see, and what that means.

    Examples:

      cnncli inspect lenet5

      cnncli inspect my.yaml --set data.size=64 --wide

      cnncli inspect nets.py:Net --input 1x28x28 --kwargs '{"width": 32}' --strict

      cnncli inspect lenet5 --layer conv2 --unit 2,5 --picture field.png

      cnncli inspect torchvision:resnet50 --input 3x64x64 --verify

      cnncli inspect resnet-mnist --json | jq .totals
    """
    if effective is not None:
        _show_effective(target, effective, layer=layer, picture=picture, data_dir=data_dir, as_json=as_json)
        return
    check_hint_names(ignore)
    places, size, factory = [parse_place(unit, "--unit") for unit in units], parse_shape(shape), parse_kwargs(kwargs)
    with redirect_stdout(sys.stderr):  # what the code of a model prints is no result
        graph = find_graph(target, input_shape=size, kwargs=factory, assignments=assignments, data_dir=data_dir)
    inspection = inspect_graph(graph, batch=batch, ignore=ignore)
    form = Form.JSON if as_json else form
    if pixel is None and layer is None and not places and picture is None:
        _show(inspection, form, wide=wide)
    elif pixel is None:
        _show_units(inspection, layer, places, picture, form)
    elif places or picture is not None:
        raise UsageError("--pixel asks the other way round than --unit and --picture", remedy="give one or the other")
    else:
        _show_pixel(inspection, parse_place(pixel, "--pixel"), layer, form)
    if verify:
        verify_rows(target, graph, input_shape=size, kwargs=factory, assignments=assignments, data_dir=data_dir)
    if strict:
        refuse_unknown(inspection)


def _show_effective(
    target: str, images: int, *, layer: str | None, picture: Path | None, data_dir: Path, as_json: bool
) -> None:

    show_effective(target, images, layer=layer, picture=picture, data_dir=data_dir, as_json=as_json)


def parse_kwargs(text: str | None) -> dict[str, Any]:
    """`--kwargs` as a dictionary.

    Raises:
        UsageError: it is not a JSON object.
    """
    try:
        kwargs = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise UsageError(f"--kwargs is not JSON: {error}", remedy="""write --kwargs '{"num_classes": 10}'""") from None
    if not isinstance(kwargs, dict):
        raise UsageError("--kwargs is not a JSON object", remedy="""write --kwargs '{"num_classes": 10}'""")
    return kwargs


# What only some options need is loaded only for them: the plain table is to be there at once.


def _show(inspection: LayerTable, form: Form, *, wide: bool) -> None:
    match form:
        case Form.TABLE:
            show_layers(inspection, wide=wide)
            show_hints(inspection)
        case Form.JSON | Form.CSV:
            from cnncli.cli.render.table import csv_text, json_text

            typer.echo(json_text(inspection) if form is Form.JSON else csv_text(inspection), nl=form is Form.JSON)
        case Form.MARKDOWN:
            typer.echo(markdown(inspection, wide=wide))


def _show_units(
    inspection: LayerTable, layer: str | None, units: list[tuple[int, ...]], picture: Path | None, form: Form
) -> None:
    """Print what units see, draw it, and write the picture if one is wanted."""
    _refuse_tables(form, "--unit")
    if layer is None or not units:
        raise UsageError("a unit needs its layer and its place", remedy="give --layer NAME and --unit ROW,COLUMN")
    from cnncli.cli.render.table import show_nested, show_unit
    from cnncli.inspection.units import nested_receptive_fields, unit_receptive_field

    nests = [nested_receptive_fields(inspection, layer, unit) for unit in units]
    seen = [unit_receptive_field(inspection, layer, unit) for unit in units]
    if form is Form.JSON:
        typer.echo(json.dumps([each.as_json() for each in seen], indent=2))
    else:
        for each, nest in zip(seen, nests, strict=True):
            show_unit(each)
            show_nested(inspection.input_shape[1:], nest)
    if picture is not None:
        from cnncli.drawing.receptive_field import write_field_picture

        write_field_picture(picture, inspection.input_shape[1:], nests)
        typer.echo(f"wrote {picture}", err=True)


def _show_pixel(inspection: LayerTable, pixel: tuple[int, ...], layer: str | None, form: Form) -> None:
    """Print which units see a pixel, of every layer or of one."""
    _refuse_tables(form, "--pixel")
    from cnncli.cli.render.table import show_seers
    from cnncli.inspection.units import dependent_units, layer_receptive_fields

    found = dependent_units(inspection, pixel)
    if layer is not None:
        layer_receptive_fields(inspection, layer)  # refuses what is no layer
        found = [each for each in found if each.layer == layer]
    if form is Form.JSON:
        typer.echo(json.dumps([each.as_json() for each in found], indent=2))
    else:
        show_seers(pixel, found)


def _refuse_tables(form: Form, option: str) -> None:
    if form not in (Form.TABLE, Form.JSON):
        raise UsageError(f"{option} prints no table", remedy="leave --format out, or give --json")


def refuse_unknown(inspection: LayerTable) -> None:
    """End with an error where anything is not known.

    Raises:
        ConfigError: something is not.
    """
    if inspection.unknown:
        first, count = inspection.unknown[0], len(inspection.unknown)
        raise ConfigError(
            f"--strict: {count} of {len(inspection.rows)} layers are not known entirely; the first is {first.name}",
            remedy=first.unknown,
        )
