"""What one unit sees, which units see one pixel, and the picture of nested fields in the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cnncli.analysis.hints.coverage import ranges
from cnncli.analysis.units import Interval, Seers, UnitField
from cnncli.cli.render.console import out

_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_COLOURS = ("blue", "cyan", "green", "yellow", "red", "magenta")
_WIDEST = 80
"""Marks in a row of the drawing, of two characters each; a pixel has one, or several pixels share one."""
_AXES = {1: ("positions",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


def show_unit(field: UnitField) -> None:
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


def show_nested(size: tuple[int, ...], fields: Sequence[UnitField]) -> None:
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
                line.append(f"{_MARKS[number]} ", style=_COLOURS[number % len(_COLOURS)])
        console.print(line, no_wrap=True, crop=False, soft_wrap=True)
    for number, field in enumerate(seen):
        assert field.clipped is not None
        place = ",".join(map(str, field.unit))
        legend = f"{_MARKS[number]}  {field.layer} unit {place}: {_rectangle(field.clipped)}"
        console.print(Text(legend, style=_COLOURS[number % len(_COLOURS)]), soft_wrap=True)
    if step > 1:
        console.print(f"one mark stands for {step} x {step} pixels", style="dim")


def _innermost(fields: Sequence[UnitField], y: int, x: int) -> int | None:
    """The last field that has a pixel, widest first; None where none has it."""
    found = None
    for number, field in enumerate(fields):
        assert field.clipped is not None
        (top, bottom), (left, right) = field.clipped
        if top <= y <= bottom and left <= x <= right:
            found = number
    return found


def show_seers(pixel: tuple[int, ...], found: Sequence[Seers]) -> None:
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
