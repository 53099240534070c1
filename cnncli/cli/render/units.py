"""The receptive fields of units, and the units that see a pixel, in the terminal."""

from collections.abc import Sequence

from cnncli.cli.render.console import out
from cnncli.cli.render.table import show_lines
from cnncli.inspection.formatting import Line, Span, align
from cnncli.inspection.hints import ranges
from cnncli.inspection.units import DependentUnits, Interval, UnitReceptiveField

_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_COLORS = ("blue", "cyan", "green", "yellow", "red", "magenta")
_MAX_MARKS = 80
"""Marks in a row of the drawing, two characters each; on a larger input one mark represents several pixels."""
_AXES = {1: ("positions",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


def show_unit(receptive_field: UnitReceptiveField) -> None:
    """Print the rectangle of pixels that a unit sees."""
    lines: list[Line] = [[(f"{receptive_field.layer}, unit {_place(receptive_field.unit)}", "bold")]]
    if receptive_field.clipped is None:
        lines.append([("sees no pixel of the input", "")])
    else:
        lines.append([(f"inside the image: {_rectangle(receptive_field.clipped)}", "")])
        if any(len(each) <= each[-1] - each[0] for each in receptive_field.pixels):
            names = (name.removesuffix("s") for name in _AXES[len(receptive_field.pixels)])
            read = (ranges(list(each), name) for name, each in zip(names, receptive_field.pixels, strict=True))
            lines.append([(f"of these it reads {', '.join(read)}", "")])
    if receptive_field.unclipped is None:
        lines.append([("with padding: no closed form", "")])
    else:
        lines.append([(f"with padding: {_rectangle(receptive_field.unclipped)}", "")])
    if receptive_field.padding is not None:
        lines.append([(f"padding: {float(receptive_field.padding):.1%} of that", "")])
    show_lines(lines)


def _place(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def _rectangle(intervals: tuple[Interval, ...]) -> str:
    sides = [f"{name} {first} to {last}" for name, (first, last) in zip(_AXES[len(intervals)], intervals, strict=True)]
    return f"{', '.join(sides)} ({' x '.join(str(last - first + 1) for first, last in intervals)})"


def show_nested(size: tuple[int, ...], receptive_fields: Sequence[UnitReceptiveField]) -> None:
    """Draw the input with nested receptive fields, the widest first; nothing if the input is no image."""
    drawn = [(each, each.clipped) for each in receptive_fields if each.clipped is not None][: len(_MARKS)]
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
    for number, (each, intervals) in enumerate(drawn):
        legend = f"{_MARKS[number]}  {each.layer} unit {_place(each.unit)}: {_rectangle(intervals)}"
        lines.append([(legend, _color(number))])
    if step > 1:
        lines.append([(f"one mark is {step} x {step} pixels", "dim")])
    show_lines(lines)


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
    show_lines([[(f"units that see pixel {_place(pixel)}", "bold")], *lines])
