"""`receptive-field`: which pixels a unit sees, grown layer by layer and drawn on the input. Needs no torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from cnncli.config.config import Config
from cnncli.config.problems import did_you_mean
from cnncli.errors import UsageError
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.receptive_field import ReceptiveField, ReceptiveFields, receptive_fields
from cnncli.inspection.table import Row, inspect_graph
from cnncli.layers import Shape
from cnncli.lessons.notation import by
from cnncli.lessons.page import Block, Figures, Formula, Heading, LetterMap, Page, Prose, Step, Table, TryNext
from cnncli.windows import AxisReceptiveField, Sliding

_KNOWN = "every layer of a config is known"


def shape_of(row: Row) -> Shape:
    """The shape of a layer's output, without batch axis."""
    assert row.output_shape is not None, _KNOWN
    return row.output_shape


def field_of(row: Row) -> ReceptiveField:
    """The receptive field of a layer's units."""
    assert row.receptive_field is not None, _KNOWN
    return row.receptive_field


def fields_of(graph: Graph) -> dict[str, ReceptiveFields]:
    """What the units of every layer see."""
    fields = {name: each for name, each in receptive_fields(graph).items() if isinstance(each, ReceptiveFields)}
    assert len(fields) == len(graph.nodes) + 1, _KNOWN
    return fields


_MOST_SIDE = 38
"""Pixels that fit into 80 columns, two characters each."""
_LETTERS = "123456789abcdefghijklmnopqrstuvwxyz"

Unit = tuple[int, int]


@dataclass(frozen=True)
class _Sight:
    """What one unit of a layer sees: the layer's row, the unit, and a bit mask of pixels for each axis."""

    row: Row
    unit: Unit
    seen: tuple[int, int]

    def interval(self, axis: int) -> str:
        mask = self.seen[axis]
        first, last = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
        return f"{first} to {last}" if mask else "none"

    def extent(self) -> tuple[int, ...]:
        """Pixels from the first to the last that it sees, per axis, inside the image."""
        return tuple(mask.bit_length() - (mask & -mask).bit_length() + 1 if mask else 0 for mask in self.seen)


def receptive_field(config: Config, argument: str, layer: str | None, at: Unit | None) -> Page:
    """The page about what unit `at` (row, column) of a layer sees.

    Args:
        config: describes the network.
        argument: how the config was named on the command line.
        layer: its name; None for the last one with positions.
        at: row and column; None for the middle.

    Raises:
        UsageError: there is no such layer or unit.
    """
    graph = graph_of(config.network, config.name)
    rows = {row.name: row for row in inspect_graph(graph).rows}
    fields = fields_of(graph)
    target = _target(rows, layer)
    unit = _unit(rows[target], at)
    course = _course(graph, rows, fields, target, unit)
    last = course[-1]
    height, width = graph.input_shape[1:]
    pixels = last.seen[0].bit_count() * last.seen[1].bit_count()
    return Page(
        f"Receptive field: what a unit of {target} sees",
        (
            Prose(
                "A unit of the first layer sees the pixels below its kernel. A unit of the second sees what the units "
                "below its own kernel see, and so on: the receptive field grows from layer to layer, and a stride or "
                "pool makes every later step count for more (the jump)."
            ),
            Formula("field grows by dilation x (kernel - 1) x jump"),
            Formula("jump is multiplied by the stride"),
            Heading(f"{config.name}, layer by layer"),
            _table(course),
            *_steps(course),
            Heading(f"Drawn on the input, {height}x{width}"),
            Prose(
                f"Unit [{unit[0]}, {unit[1]}] of {target} sees {pixels:,} of {height * width:,} pixels "
                f"({pixels / (height * width):.0%}). Each digit or letter is the first layer whose unit in the middle "
                "sees the pixel; dots are seen by none."
            ),
            *_drawing(course, (height, width)),
            *_beyond(last),
            TryNext(
                (
                    f"explain receptive-field {argument} --layer {course[0].row.name} --at 0,0",
                    "explain receptive-field dilated",
                    f"inspect {argument}",
                )
            ),
        ),
    )


def _target(rows: dict[str, Row], layer: str | None) -> str:
    if layer is not None:
        if layer not in rows:
            raise UsageError(f"--layer: there is no layer {layer}{did_you_mean(layer, rows)}")
        return layer
    placed = [row.name for row in rows.values() if not field_of(row).is_global and len(shape_of(row)) == 3]
    return placed[-1] if placed else next(iter(rows))


def _unit(row: Row, at: Unit | None) -> Unit:
    """The unit asked for, else the one in the middle."""
    size = shape_of(row)[1:] if len(shape_of(row)) == 3 else (1, 1)
    height, width = size
    if at is None:
        return (height // 2, width // 2)
    if at[0] >= height or at[1] >= width:
        raise UsageError(
            f"--at: {row.name} has {by((height, width))} units, so there is none at {at[0]},{at[1]}",
            remedy=f"--at takes a row from 0 to {height - 1} and a column from 0 to {width - 1}",
        )
    return at


def _course(
    graph: Graph, rows: dict[str, Row], fields: dict[str, ReceptiveFields], target: str, unit: Unit
) -> list[_Sight]:
    """The layers that lead to `target`, each with the unit whose field lies nearest to the middle of the target's."""
    needed = {target}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    goal = _sight(rows[target], fields[target], unit)
    centers = tuple(_center(mask) for mask in goal.seen)
    course = []
    for node in graph.nodes:
        if node.name in needed and node.name != target:
            row, column = (_nearest(axis, center) for axis, center in zip(fields[node.name].axes, centers, strict=True))
            course.append(_sight(rows[node.name], fields[node.name], (row, column)))
    return [*course, goal]


def _nearest(axis: AxisReceptiveField, center: float) -> int:
    """The unit along an axis whose field lies nearest to a place."""
    return min(range(len(axis.masks)), key=lambda unit: abs(_center(axis.masks[unit]) - center))


def _sight(row: Row, fields: ReceptiveFields, unit: Unit) -> _Sight:
    height, width = fields.axes
    return _Sight(row, unit, (height.masks[unit[0]], width.masks[unit[1]]))


def _center(mask: int) -> float:
    """The middle of what a unit sees; far away where it sees nothing."""
    return ((mask & -mask).bit_length() + mask.bit_length() - 2) / 2 if mask else math.inf


def _lettered(course: list[_Sight]) -> list[tuple[str, _Sight]]:
    """The layers that see more than all before them, and the target, each with its letter; the last ones share one."""
    grown: list[_Sight] = []
    for sight in course:
        largest = max((math.prod(each.extent()) for each in grown), default=0)
        if math.prod(sight.extent()) > largest or (sight is course[-1] and sight.seen != grown[-1].seen):
            grown.append(sight)
    return [(_LETTERS[min(i, len(_LETTERS) - 1)], sight) for i, sight in enumerate(grown)]


def _table(course: list[_Sight]) -> Table:
    letters = {sight.row.name: letter for letter, sight in _lettered(course)}
    rows = []
    for sight in course:
        field = field_of(sight.row)
        sliding = [window for window in sight.row.windows if isinstance(window, Sliding)]
        rows.append(
            (
                sight.row.name,
                letters.get(sight.row.name, ""),
                _per_axis(window.kernel for window in sliding),
                _per_axis(window.stride for window in sliding),
                _per_axis(window.dilation for window in sliding),
                "all" if field.is_global else by(field.size),
                _per_axis(field.jump or ()),
                by(shape_of(sight.row)),
            )
        )
    return Table(("layer", "drawn", "kernel", "stride", "dilation", "field", "jump", "output"), tuple(rows))


def _per_axis(values: Iterable[int | Fraction]) -> str:
    """One number where the axes agree, else `3x5`; nothing where there is none."""
    return "x".join(dict.fromkeys(map(str, values)))


def _steps(course: list[_Sight]) -> list[Block]:
    """For each layer at which the field grows, the pixels that one unit of it sees."""
    return [
        Step(
            f"{letter}: {sight.row.name}, unit [{sight.unit[0]}, {sight.unit[1]}]",
            (Formula(f"rows {sight.interval(0)}, columns {sight.interval(1)}: {by(sight.extent())} pixels"),),
        )
        for letter, sight in _lettered(course)
    ]


def _drawing(course: list[_Sight], size: tuple[int, int]) -> list[Block]:
    """The input with a letter for every pixel or, where it is large, for every square of pixels."""
    grown, (goal_rows, goal_columns) = _lettered(course), course[-1].seen
    scale = math.ceil(max(size) / _MOST_SIDE)

    def letter(i: int, j: int) -> str:
        for each, sight in grown:
            if _reads(sight.seen[0] & goal_rows, i, scale) and _reads(sight.seen[1] & goal_columns, j, scale):
                return each
        return "."

    lines = tuple(
        "".join(letter(i, j) for j in range(math.ceil(size[1] / scale))) for i in range(math.ceil(size[0] / scale))
    )
    each = [Prose(f"Each character stands for {by((scale, scale))} pixels.")] if scale > 1 else []
    return [*each, Figures((LetterMap(rows=lines),))]


def _reads(mask: int, place: int, scale: int) -> bool:
    """Whether one of the `scale` pixels at a place of the drawing is seen."""
    return bool(mask >> (place * scale) & ((1 << scale) - 1))


def _beyond(last: _Sight) -> list[Block]:
    """Says how much of a field is padding."""
    field = field_of(last.row)
    if field.is_global:
        return [Prose("Every unit of this layer sees the whole input.")]
    if last.extent() == tuple(field.size):
        return []
    return [
        Prose(
            f"Its field is {by(field.size)} wide by the formula; the rest of it lies in the padding, outside the image."
        )
    ]
