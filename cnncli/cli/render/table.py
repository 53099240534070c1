"""The layer table, differences between two tables, and the receptive fields of units, in the terminal."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from cnncli.cli.render.console import out
from cnncli.inspection.differences import COMPARED, Change, compare
from cnncli.inspection.formatting import INCOMPLETE, Line, Span, align, hint_lines, size_in_bytes, table_lines
from cnncli.inspection.hints import ranges
from cnncli.inspection.table import LayerTable
from cnncli.inspection.units import DependentUnits, Interval, UnitReceptiveField


def show_table(table: LayerTable, *, wide: bool = False) -> None:
    """Print the layer table."""
    _show(table_lines(table, wide=wide, width=out().width))


def show_hints(table: LayerTable) -> None:
    """Print the hints, one paragraph per name."""
    _show(hint_lines(table))


def _show(lines: Iterable[Line]) -> None:
    console = out()
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


_STATUS_COLORS = {"added": "green", "removed": "red", "changed": "yellow"}


def show_comparison(before: LayerTable, after: LayerTable) -> None:
    """Print the layers that differ, before and after, and the totals."""
    lines: list[Line] = [[(f"{before.model} -> {after.model}", "bold")]]
    changes = compare(before, after)
    if changes:
        lines += align(
            ["", "layer", *(column.heading for column in COMPARED)],
            [_change_cells(change) for change in changes],
            numeric=[False, False, *(column.numeric for column in COMPARED)],
            width=out().width,
        )
        lines.append([])
    else:
        lines.append([("no layer differs", "")])
    for name, old, new in _totals(before, after):
        lines.append([(f"{name}: {old} -> {new}" if old != new else f"{name}: {old}, both", "")])
    if not (before.complete and after.complete):
        lines.append([(INCOMPLETE, "")])
    _show(lines)


def _change_cells(change: Change) -> list[Span]:
    row = change.after or change.before
    assert row is not None, "a change has at least one row"
    cells = [(change.status, _STATUS_COLORS[change.status]), (row.name, "")]
    for column in COMPARED:
        if change.before is None or change.after is None or column not in change.columns:
            cells.append((column.cell(row), ""))
            continue
        old, new = column.cell(change.before), column.cell(change.after)
        if old == new:  # rounded to the same
            old, new = column.exact_cell(change.before), column.exact_cell(change.after)
        cells.append((f"{old or 0} -> {new or 0}", "yellow"))
    return cells


def _totals(before: LayerTable, after: LayerTable) -> list[tuple[str, str, str]]:
    return [
        ("input", "x".join(map(str, before.input_shape)), "x".join(map(str, after.input_shape))),
        ("layers", str(len(before)), str(len(after))),
        ("parameters", f"{before.params:,}", f"{after.params:,}"),
        ("MACs", f"{before.macs:,}", f"{after.macs:,}"),
        (
            "peak memory in inference",
            size_in_bytes(before.memory.inference),
            size_in_bytes(after.memory.inference),
        ),
    ]


_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_COLORS = ("blue", "cyan", "green", "yellow", "red", "magenta")
_MAX_MARKS = 80
"""Marks in a row of the drawing, two characters each; on a larger input one mark stands for several pixels."""
_AXES = {1: ("positions",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


def show_unit(field: UnitReceptiveField) -> None:
    """Print the rectangle of pixels that a unit sees."""
    lines: list[Line] = [[(f"{field.layer}, unit {_place(field.unit)}", "bold")]]
    if field.clipped is None:
        lines.append([("sees no pixel of the input", "")])
    else:
        lines.append([(f"inside the image: {_rectangle(field.clipped)}", "")])
    if field.unclipped is None:
        lines.append([("with padding: no closed form", "")])
    else:
        lines.append([(f"with padding: {_rectangle(field.unclipped)}", "")])
    if field.padding is not None:
        lines.append([(f"padding: {float(field.padding):.1%} of that", "")])
    _show(lines)


def _place(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def _rectangle(intervals: tuple[Interval, ...]) -> str:
    sides = [f"{name} {first} to {last}" for name, (first, last) in zip(_AXES[len(intervals)], intervals, strict=True)]
    return f"{', '.join(sides)} ({' x '.join(str(last - first + 1) for first, last in intervals)})"


def show_nested(size: tuple[int, ...], fields: Sequence[UnitReceptiveField]) -> None:
    """Draw the input with nested receptive fields, the widest first; nothing if the input is no image."""
    drawn = [(field, field.clipped) for field in fields if field.clipped is not None][: len(_MARKS)]
    if len(size) != 2 or not drawn:
        return
    step = -(-max(size) // min(_MAX_MARKS, out().width // 2))
    lines: list[Line] = []
    for y in range(0, size[0], step):
        line: Line = []
        for x in range(0, size[1], step):
            number = _innermost([intervals for _, intervals in drawn], y, x)
            line.append(("· ", "dim") if number is None else (f"{_MARKS[number]} ", _color(number)))
        lines.append(line)
    for number, (field, intervals) in enumerate(drawn):
        legend = f"{_MARKS[number]}  {field.layer} unit {_place(field.unit)}: {_rectangle(intervals)}"
        lines.append([(legend, _color(number))])
    if step > 1:
        lines.append([(f"one mark is {step} x {step} pixels", "dim")])
    _show(lines)


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]


def _innermost(rectangles: Sequence[tuple[Interval, ...]], y: int, x: int) -> int | None:
    """The number of the last rectangle that contains a pixel; None if none does."""
    numbers = [
        number
        for number, ((top, bottom), (left, right)) in enumerate(rectangles)
        if top <= y <= bottom and left <= x <= right
    ]
    return numbers[-1] if numbers else None


def show_dependent_units(pixel: tuple[int, ...], layers: Sequence[DependentUnits]) -> None:
    """Print which units of each layer see a pixel."""
    rows: list[list[Span]] = []
    for layer in layers:
        axes = [name.removesuffix("s") for name in _AXES[len(layer.units)]]
        if not all(layer.units):
            units = "none"
        elif all(count == 1 for count in layer.counts):  # a layer without positions
            units = "all units"
        else:
            units = ", ".join(ranges(list(numbers), axis) for numbers, axis in zip(layer.units, axes, strict=True))
        rows.append([(layer.layer, ""), (units, ""), (f"{float(layer.share):.1%}", "")])
    lines = align(["layer", "units", "share"], rows, numeric=[False, False, True], width=out().width)
    _show([[(f"units that see pixel {_place(pixel)}", "bold")], *lines])
