"""`receptive-field`: which pixels a unit sees, layer by layer, and drawn on the input. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.errors import UsageError, did_you_mean
from cnncli.layers import format_size, per_axis
from cnncli.lessons.numbers import read_position
from cnncli.lessons.page import Block, Figures, Formula, Heading, LetterMap, Page, Pair, Paragraph, Step, Table, TryNext
from cnncli.lessons.topic import AtOption, LayerOption, NetworkTopic
from cnncli.windows import AxisReceptiveField, Sliding

if TYPE_CHECKING:
    from cnncli.config.network import Network
    from cnncli.inspection.table import LayerTable, Row
    from cnncli.layers import Shape

_MAX_SIDE = 38
"""Pixels that fit into 80 columns, two characters each."""
_LETTERS = "123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class _Unit:
    """One unit of a layer: its position (row, column), and the receptive fields of the layer along both axes."""

    row: Row
    position: Pair
    axes: tuple[AxisReceptiveField, ...]

    @property
    def masks(self) -> tuple[int, ...]:
        """The rows and the columns of pixels that it sees, as bit masks."""
        return tuple(axis.masks[i] for axis, i in zip(self.axes, self.position, strict=True))

    @property
    def intervals(self) -> tuple[Pair | None, ...]:
        """The first and the last row, and the first and the last column, that it sees."""
        return tuple(axis.interval(i) for axis, i in zip(self.axes, self.position, strict=True))

    @property
    def extent(self) -> tuple[int, ...]:
        """Pixels from the first to the last that it sees, along both axes."""
        return tuple(each[1] - each[0] + 1 if each else 0 for each in self.intervals)


@dataclass(frozen=True, kw_only=True)
class ReceptiveFieldGrowth(NetworkTopic):
    """Which pixels a unit sees, layer by layer, and drawn on the input.

    Examples:

      cnncli explain receptive-field dilated --layer conv3 --at 0,0
    """

    name = "receptive-field"

    layer: LayerOption = None
    at: AtOption = None

    def page(self) -> Page:
        config, table = self.read()
        units = _units_on_the_way(config.network, table, self.layer, self.at)
        target = units[-1]
        height, width = table.input_shape[1:]
        pixels = target.masks[0].bit_count() * target.masks[1].bit_count()
        return Page(
            f"Receptive field: what a unit of {target.row.name} sees",
            Paragraph(
                "A unit of the first layer sees the pixels under its kernel. A unit of the second layer sees "
                "everything that the units under its kernel see, and so on. So the receptive field (RF) grows from "
                "layer to layer. After a layer with a stride, neighboring units are further apart in the image: their "
                "distance in pixels is the jump."
            ),
            Formula("RF grows by dilation x (kernel - 1) x jump"),
            Formula("jump is multiplied by the stride"),
            Heading(f"{config.name}, layer by layer"),
            _table(units),
            *_steps(units),
            Heading(f"Drawn on the input, {height}x{width}"),
            Paragraph(
                f"Unit [{target.position[0]}, {target.position[1]}] of {target.row.name} sees {pixels:,} of "
                f"{height * width:,} pixels ({pixels / (height * width):.0%}). Each digit or letter stands for the "
                "first layer whose unit in the middle sees the pixel. Dots are not seen."
            ),
            *_drawing(units, (height, width)),
            *_outside_the_image(target),
            TryNext(
                f"explain receptive-field {self.config} --layer {units[0].row.name} --at 0,0",
                "explain receptive-field dilated",
                f"inspect {self.config}",
            ),
        )


def shape_of(row: Row) -> Shape:
    """The shape of a layer's output, without the batch axis; a config describes it for every layer."""
    assert row.output_shape is not None
    return row.output_shape


def _units_on_the_way(network: Network, table: LayerTable, layer: str | None, at: str | None) -> list[_Unit]:
    """One unit for each layer that leads to the chosen one, which is the last.

    Of the layers before, it is the unit whose receptive field is nearest to the middle of the chosen unit's.

    Args:
        network: of the config.
        table: its layers.
        layer: name of the chosen layer; by default the last one whose units do not see the whole input.
        at: row and column of the chosen unit; by default the middle.

    Raises:
        UsageError: there is no such layer or unit.
    """
    from cnncli.inspection.units import layer_receptive_fields

    rows = {row.name: row for row in table.rows}
    axes = {name: layer_receptive_fields(table, name).axes for name in rows}
    name = _choose_layer(rows, layer)
    chosen = _Unit(rows[name], _choose_position(rows[name], at), axes[name])
    centers = [_center(each) for each in chosen.intervals]
    needed = {name}
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    units = []
    for node in network.nodes:
        if node.name in needed and node.name != name:
            row, column = (_nearest_unit(axis, center) for axis, center in zip(axes[node.name], centers, strict=True))
            units.append(_Unit(rows[node.name], (row, column), axes[node.name]))
    return [*units, chosen]


def _choose_layer(rows: dict[str, Row], layer: str | None) -> str:
    if layer is not None:
        if layer not in rows:
            raise UsageError(f"--layer: there is no layer {layer}{did_you_mean(layer, rows)}")
        return layer
    local = [row.name for row in rows.values() if len(shape_of(row)) == 3 and not row.receptive_field.is_global]
    return local[-1] if local else next(iter(rows))


def _choose_position(row: Row, at: str | None) -> Pair:
    height, width = shape_of(row)[1:] if len(shape_of(row)) == 3 else (1, 1)
    return (height // 2, width // 2) if at is None else read_position(at, (height, width), row.name)


def _nearest_unit(axis: AxisReceptiveField, center: float) -> int:
    """The unit along an axis whose receptive field is nearest to a position in the image."""
    return min(range(len(axis.masks)), key=lambda unit: abs(_center(axis.interval(unit)) - center))


def _center(interval: Pair | None) -> float:
    """The middle of the pixels that a unit sees; infinitely far away if it sees none."""
    return sum(interval) / 2 if interval else math.inf


def _lettered(units: Sequence[_Unit]) -> list[tuple[str, _Unit]]:
    """The units at which the receptive field grows, each with a letter; the last unit, if it sees other pixels."""
    growing: list[_Unit] = []
    for unit in units:
        largest = max((math.prod(each.extent) for each in growing), default=0)
        if math.prod(unit.extent) > largest or (unit is units[-1] and unit.masks != growing[-1].masks):
            growing.append(unit)
    return [(_LETTERS[min(i, len(_LETTERS) - 1)], unit) for i, unit in enumerate(growing)]


def _table(units: Sequence[_Unit]) -> Table:
    letters = {unit.row.name: letter for letter, unit in _lettered(units)}
    rows = []
    for unit in units:
        row, receptive_field = unit.row, unit.row.receptive_field
        sliding = [window for window in row.windows if isinstance(window, Sliding)]
        rows.append(
            (
                row.name,
                letters.get(row.name, ""),
                per_axis(window.kernel for window in sliding),
                per_axis(window.stride for window in sliding),
                per_axis(window.dilation for window in sliding),
                "all" if receptive_field.is_global else format_size(receptive_field.size),
                per_axis(receptive_field.jump or ()),
                format_size(shape_of(row)),
            )
        )
    return Table(("layer", "drawn", "kernel", "stride", "dilation", "RF", "jump", "output"), tuple(rows))


def _steps(units: Sequence[_Unit]) -> list[Block]:
    """The pixels that one unit sees, for each layer at which the receptive field grows."""
    steps: list[Block] = []
    for letter, unit in _lettered(units):
        rows, columns = (f"{each[0]} to {each[1]}" if each else "none" for each in unit.intervals)
        formula = Formula(f"rows {rows}, columns {columns}: {format_size(unit.extent)} pixels")
        steps.append(Step(f"{letter}: {unit.row.name}, unit [{unit.position[0]}, {unit.position[1]}]", formula))
    return steps


def _drawing(units: Sequence[_Unit], size: Pair) -> list[Block]:
    """The input with a letter for every pixel, or for every square of pixels if it is large."""
    growing, (seen_rows, seen_columns) = _lettered(units), units[-1].masks
    scale = math.ceil(max(size) / _MAX_SIDE)

    def is_seen(mask: int, index: int) -> bool:
        """Whether one of the `scale` pixels behind a character is in a mask."""
        return bool(mask >> (index * scale) & ((1 << scale) - 1))

    def letter(i: int, j: int) -> str:
        for each, unit in growing:
            if is_seen(unit.masks[0] & seen_rows, i) and is_seen(unit.masks[1] & seen_columns, j):
                return each
        return "."

    height, width = (math.ceil(n / scale) for n in size)
    lines = tuple("".join(letter(i, j) for j in range(width)) for i in range(height))
    note = [Paragraph(f"Each character stands for {format_size((scale, scale))} pixels.")] if scale > 1 else []
    return [*note, Figures(LetterMap(rows=lines))]


def _outside_the_image(unit: _Unit) -> list[Block]:
    """Says how much of the receptive field is padding."""
    receptive_field = unit.row.receptive_field
    if receptive_field.is_global:
        return [Paragraph("Every unit of this layer sees the whole input.")]
    if unit.extent == tuple(receptive_field.size):
        return []
    return [
        Paragraph(
            f"By the formula, its receptive field is {format_size(receptive_field.size)}. The rest of it is padding, "
            "outside the image."
        )
    ]
