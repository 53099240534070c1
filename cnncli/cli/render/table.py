"""What one unit sees, which units see one pixel, and the picture of nested fields in the terminal."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.cli.render.console import out
from cnncli.inspection.differences import Change, compare, exact_cell
from cnncli.inspection.formatting import columns, listed, nested, notes, size_in_bytes
from cnncli.inspection.hints import HINTS, Hint, ranges
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import LayerTable
from cnncli.inspection.units import DependentUnits, Interval, UnitReceptiveField

_LEGEND = (
    "k/s/p/d: kernel, stride, padding, dilation; field: input pixels that a unit sees; all (n): all of them, n over "
    "local paths; jump: pixels from one unit to the next; %: of the input's area that one unit spans; "
    "MACs: multiply-accumulates for one image, bias not counted"
)
INCOMPLETE = "totals leave out what is not known"
_WORDS = 8
"""Characters of a column of words at least."""
_UNBROKEN = 1000
"""Characters that any table fits in."""
_LEGEND_WIDE = "; FLOPs: 2 x MACs; start, center: of unit 0; padding: pixels its field reaches out of the image"


def show_layers(inspection: LayerTable, *, wide: bool = False) -> None:
    """Print the layer table."""
    console = out()
    table = _table(inspection, wide=wide)
    console.print(Text(inspection.model, style="bold"))
    print_whole(
        table,
        [
            [column.heading, column.total(inspection), *(column.cell(row) for row in inspection.rows)]
            for column in columns(wide=wide)
            if column.numeric
        ],
    )
    for line in _memory(inspection):
        console.print(Text(line), soft_wrap=True)
    for note in notes(inspection):
        console.print(Text(note), soft_wrap=True)
    show_unknown(inspection)
    console.print(Text(_LEGEND + (_LEGEND_WIDE if wide else ""), style="dim"))


def print_whole(table: Table, numeric: list[list[str]]) -> None:
    """Print a table whose numbers are never broken.

    Words are broken where that makes it fit. A terminal that is too narrow even so breaks the lines itself: rich would
    leave out digits, and short words would help nobody.

    Args:
        table: numbers are not to wrap in it, and words are to be folded.
        numeric: the cells of those columns that are not to be broken.
    """
    console = out()
    words = len(table.columns) - len(numeric)
    least = 1 + sum(2 + max(map(len, cells)) for cells in numeric) + words * (2 + _WORDS)
    if console.width < least:
        console.width = _UNBROKEN
    console.print(table)


def _table(inspection: LayerTable, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown = columns(wide=wide)
    for column in shown:
        # Numbers are never broken: on a narrow terminal the words give way.
        justify = "right" if column.numeric else "left"
        table.add_column(
            column.heading,
            justify=justify,  # type: ignore[arg-type]  # rich asks for a Literal
            no_wrap=column.numeric,
            overflow="fold",
            min_width=None if column.numeric else _WORDS,
        )
    table.add_row("input", "", "", "x".join(map(str, inspection.input_shape)))
    for row, (scopes, name) in zip(inspection.rows, nested([row.name for row in inspection.rows]), strict=True):
        for scope in scopes:
            table.add_row(Text(scope, style="dim"))
        table.add_row(Text(name), *(Text(column.cell(row)) for column in shown[1:]))
    table.add_section()
    table.add_row(*(Text(column.total(inspection)) for column in shown))
    return table


def _memory(inspection: LayerTable) -> list[str]:
    memory = inspection.memory
    images = "1 image" if memory.batch == 1 else f"{memory.batch} images"
    lines = [
        f"memory: weights {size_in_bytes(memory.weights)}; for {images}: "
        f"activations in training {size_in_bytes(memory.training)}, "
        f"in inference at its peak {size_in_bytes(memory.inference)}"
    ]
    if not inspection.complete:
        lines.append(INCOMPLETE)
    return lines


def show_unknown(inspection: LayerTable) -> None:
    """Say why rows are not known, each reason once, with the rows that depend on it counted."""
    reasons: dict[str, list[str]] = {}
    for row in inspection.unknown:
        assert row.unknown is not None
        reasons.setdefault(row.unknown, []).append(row.name)
    for reason, names in reasons.items():
        more = len(names) - 1
        behind = f" (and so for {more} more layer{'s' if more > 1 else ''} after it)" if more else ""
        out().print(Text(f"not known: {reason}{behind}", style="yellow"), soft_wrap=True)


def show_hints(inspection: LayerTable) -> None:
    """Print what the numbers mean: one paragraph per kind of hint."""
    kinds: dict[str, list[Hint]] = {}
    for hint in inspection.hints:
        kinds.setdefault(hint.name, []).append(hint)
    if not kinds:
        return
    console = out()
    console.print(Text("what it means", style="bold"))
    for name, hints in sorted(kinds.items(), key=lambda kind: list(HINTS).index(kind[0])):
        console.print(Text.assemble((name, "bold cyan"), " ", _said(hints)), soft_wrap=True)
        edits = dict.fromkeys(hint.consider for hint in hints if hint.consider)
        for edit in list(edits)[:2]:
            console.print(Text(f"  consider {edit}", style="green"), soft_wrap=True)
    console.print(Text("each is explained in docs/hints; --ignore NAME leaves one out", style="dim"))


def _said(hints: list[Hint]) -> str:
    """The layers and what is said of them; what is said of several alike, once."""
    layers: dict[str, list[str]] = {}
    for hint in hints:
        layers.setdefault(hint.says, []).append(hint.layer)
    parts = [f"{listed(list(dict.fromkeys(names)))}: {says}" for says, names in layers.items()]
    return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} layers more" if len(parts) > 4 else "")


_COLOR = {"added": "green", "removed": "red", "changed": "yellow"}
_HEADINGS = ("layer", "kind", "k/s/p/d", "output", "params", "MACs", "field", "jump")
_SHOWN = [column for column in columns(wide=False) if column.heading in _HEADINGS]


def show_comparison(before: LayerTable, after: LayerTable) -> None:
    """Print the layers that differ, old and new, and the totals."""
    console = out()
    console.print(Text(f"{before.model} -> {after.model}", style="bold"))
    changes = compare(before, after)
    if changes:
        _show_changes(changes)
    else:
        console.print("no layer differs")
    for what, old, new in _totals(before, after):
        console.print(Text(f"{what}: {old} -> {new}" if old != new else f"{what}: {old}, both"))
    if not (before.complete and after.complete):
        console.print(INCOMPLETE)


def _show_changes(changes: list[Change]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in _SHOWN:
        justify = "right" if column.numeric else "left"
        table.add_column(
            column.heading,
            justify=justify,  # type: ignore[arg-type]  # rich asks for a Literal
            no_wrap=column.numeric,
            overflow="fold",
        )
    rows = [_cells(change) for change in changes]
    for change, cells in zip(changes, rows, strict=True):
        table.add_row(Text(change.status, style=_COLOR[change.status]), *cells)
    numbers = [[row[i].plain for row in rows] for i, column in enumerate(_SHOWN) if column.numeric]
    print_whole(table, [[change.status for change in changes], *numbers])


def _cells(change: Change) -> list[Text]:
    cells = []
    for column in _SHOWN:
        old, new = ("" if row is None else column.cell(row) for row in (change.before, change.after))
        if change.before is None or change.after is None or column.heading == "layer":
            cells.append(Text(new or old))
            continue
        if column in change.columns:
            if old == new:  # rounded to the same
                old, new = exact_cell(column, change.before), exact_cell(column, change.after)
            cells.append(Text(f"{old or 0} -> {new or 0}", style="yellow"))
        else:
            cells.append(Text(new))
    return cells


def _totals(before: LayerTable, after: LayerTable) -> list[tuple[str, str, str]]:
    return [
        ("input", "x".join(map(str, before.input_shape)), "x".join(map(str, after.input_shape))),
        ("layers", str(len(before.rows)), str(len(after.rows))),
        ("parameters", f"{before.params:,}", f"{after.params:,}"),
        ("MACs", f"{before.macs:,}", f"{after.macs:,}"),
        (
            "memory in inference at its peak",
            size_in_bytes(before.memory.inference),
            size_in_bytes(after.memory.inference),
        ),
    ]


def json_text(inspection: LayerTable) -> str:
    """The published JSON."""
    return json.dumps(as_json(inspection), indent=2)


def csv_text(inspection: LayerTable) -> str:
    """One line per layer with the keys of the JSON; `receptive_field.size` is `5x5`, what is not known is empty."""
    rows = [_flat(row) for row in as_json(inspection)["layers"]]
    headings = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, headings, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        match value:
            case dict():
                flat |= _flat(value, f"{prefix}{key}.")
            case list():
                separator = "; " if any(isinstance(each, str) for each in value) else "x"
                flat[prefix + key] = separator.join(
                    "+".join(map(str, each)) if isinstance(each, list) else str(each) for each in value
                )
            case None if key != "receptive_field":
                flat[prefix + key] = ""
            case None:
                pass  # its own keys are left empty
            case _:
                flat[prefix + key] = value
    return flat


def show_sides(field: Mapping[str, Any]) -> None:
    """Print what `EffectiveField.as_json` gives: the sides of squares, trained and untrained."""
    console = out()
    unit = ",".join(map(str, field["unit"]))
    console.print(Text(f"{field['layer']}, unit {unit}, over {field['images']} images", style="bold"))
    shares = sorted({share for weights in ("trained", "untrained") for share in field[weights]}, key=int)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("side of the square that holds")
    for share in shares:
        table.add_column(f"{share}%", justify="right")
    for weights in ("trained", "untrained"):
        sides = field[weights]
        table.add_row(weights, *(str(sides[share]) for share in shares if sides), *([] if sides else ["no gradient"]))
    console.print(table)
    (top, bottom), (left, right) = field["rows"], field["columns"]
    console.print(f"the whole field: rows {top} to {bottom}, columns {left} to {right}")


_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_COLORS = ("blue", "cyan", "green", "yellow", "red", "magenta")
_WIDEST = 80
"""Marks in a row of the drawing, of two characters each; a pixel has one, or several pixels share one."""
_AXES = {1: ("positions",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


def show_unit(field: UnitReceptiveField) -> None:
    """Print the rectangle of pixels that a unit sees."""
    console = out()
    console.print(Text(f"{field.layer}, unit {','.join(map(str, field.unit))}", style="bold"))
    if field.clipped is None:
        console.print("sees no pixel of the input")
    else:
        console.print(f"inside the image: {_rectangle(field.clipped)}")
    if field.unclipped is None:
        console.print("with padding: not one rectangle that a formula gives")
    else:
        console.print(f"with padding: {_rectangle(field.unclipped)}")
    if field.padding is not None:
        console.print(f"padding: {float(field.padding):.1%} of that")


def _rectangle(intervals: tuple[Interval, ...]) -> str:
    names = _AXES[len(intervals)]
    sides = [f"{name} {first} to {last}" for name, (first, last) in zip(names, intervals, strict=True)]
    return f"{', '.join(sides)} ({' x '.join(str(last - first + 1) for first, last in intervals)})"


def show_nested(size: tuple[int, ...], fields: Sequence[UnitReceptiveField]) -> None:
    """Draw the input with the fields of units inside one another; only for images."""
    seen = [field for field in fields if field.clipped is not None][: len(_MARKS)]
    if len(size) != 2 or not seen:
        return
    console = out()
    step = -(-max(size) // min(_WIDEST, console.width // 2))
    for y in range(0, size[0], step):
        line = Text()
        for x in range(0, size[1], step):
            number = _innermost(seen, y, x)
            if number is None:
                line.append("· ", style="dim")
            else:
                line.append(f"{_MARKS[number]} ", style=_COLORS[number % len(_COLORS)])
        console.print(line, no_wrap=True, crop=False, soft_wrap=True)
    for number, field in enumerate(seen):
        assert field.clipped is not None
        place = ",".join(map(str, field.unit))
        legend = f"{_MARKS[number]}  {field.layer} unit {place}: {_rectangle(field.clipped)}"
        console.print(Text(legend, style=_COLORS[number % len(_COLORS)]), soft_wrap=True)
    if step > 1:
        console.print(f"one mark stands for {step} x {step} pixels", style="dim")


def _innermost(fields: Sequence[UnitReceptiveField], y: int, x: int) -> int | None:
    """The last field that has a pixel, widest first; None where none has it."""
    found = None
    for number, field in enumerate(fields):
        assert field.clipped is not None
        (top, bottom), (left, right) = field.clipped
        if top <= y <= bottom and left <= x <= right:
            found = number
    return found


def show_seers(pixel: tuple[int, ...], found: Sequence[DependentUnits]) -> None:
    """Print which units of each layer see a pixel."""
    console = out()
    console.print(Text(f"pixel {','.join(map(str, pixel))} is seen by", style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in found:
        names = _AXES[len(each.units)]
        singular = [name.removesuffix("s") for name in names]
        empty = any(not units for units in each.units)
        everywhere = all(of == 1 for of in each.of)  # a row of features has no positions
        places = "all units" if everywhere else ", ".join(map(ranges, map(list, each.units), singular))
        table.add_row(each.layer, "none" if empty else places, f"{float(each.share):.1%} of its units")
    console.print(table)
