"""A network as a drawing (SVG): a box for each row of its table, from top to bottom, with shapes and receptive fields.

Boxes are placed in ranks by the longest path from the input. A connection over several ranks passes between the boxes
of each. Within a rank boxes are ordered so that connections cross little: repeatedly by the mean place of their
neighbors (the barycenter method; Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE Transactions on Systems, Man, and Cybernetics 11, 1981).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from cnncli.config.network import INPUT
from cnncli.files import atomic_write
from cnncli.inspection.columns import receptive_field_text, window_text
from cnncli.inspection.table import LayerTable, Row
from cnncli.layers import format_size
from cnncli.printable import printable

_LINE, _CHARACTER, _MARGIN = 15, 7.0, 8
"""Pixels: the height of a line of text, the width of a character at most, and around the text of a box."""
_GAP_X, _GAP_Y = 24, 28
_SWEEPS = 8


@dataclass(eq=False)
class _Place:
    """A box, or a point where a connection passes a rank.

    Attributes:
        lines: its text; empty for a point.
        rank: 0 at the top.
        x: of its center.
        before: the places that are connected to it from the rank above.
    """

    lines: Sequence[str]
    rank: int
    x: float = 0.0
    before: list["_Place"] = field(default_factory=list)
    after: list["_Place"] = field(default_factory=list)

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * _CHARACTER + 2 * _MARGIN if self.lines else 0

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + 2 * _MARGIN if self.lines else 0


def write_network(path: Path, table: LayerTable) -> None:
    """Draw a layer table into an SVG file.

    Raises:
        DiskError: the file cannot be written.
    """
    with atomic_write(path, option="--graph") as file:
        file.write(draw_network(table).encode())


def draw_network(table: LayerTable) -> str:
    """The drawing of a layer table, whose rows may be groups of layers."""
    places = _placed(table)
    ranks = _ordered(places)
    tops: list[float] = []
    y = float(_GAP_Y)
    for rank in ranks:
        tops.append(y)
        y += max(place.height for place in rank) + _GAP_Y
    left = min(place.x - place.width / 2 for rank in ranks for place in rank) - _GAP_X
    width = max(place.x + place.width / 2 for rank in ranks for place in rank) + _GAP_X - left
    heights = [max(place.height for place in rank) for rank in ranks]
    shapes: list[str] = []
    for rank in ranks:
        for place in rank:
            shapes += _connections(place, tops, heights)
    for rank in ranks:
        for place in rank:
            shapes += _box(place, tops[place.rank], heights[place.rank])
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y:.0f}" '
        f'viewBox="{left:.1f} 0 {width:.1f} {y:.1f}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{escape(printable(table.model))}</title>",
        '<g fill="none" stroke="#000" stroke-width="1">',
        *(shape for shape in shapes if shape.startswith("<path")),
        "</g>",
        *(shape for shape in shapes if not shape.startswith("<path")),
        "</svg>",
        "",
    ])  # fmt: skip


def _text(row: Row) -> list[str]:
    """The lines of a box: name; type and window; output and receptive field."""
    window = window_text(row.windows)
    shape = "?" if row.output_shape is None else format_size(row.output_shape)
    return [
        printable(row.name),
        f"{row.type} {window}".rstrip(),
        f"{shape}, RF {receptive_field_text(row)}",
    ]


def _placed(table: LayerTable) -> list[_Place]:
    """Boxes and points with their ranks and connections."""
    owner = {member: row.name for row in table for member in (row.name, *row.members)} | {INPUT: INPUT}
    sources = {row.name: list(dict.fromkeys(owner[each] for each in row.inputs if each in owner)) for row in table}
    boxes = {INPUT: _Place([INPUT, format_size(table.input_shape)], 0)}
    for row in table:
        rank = max((boxes[source].rank for source in sources[row.name]), default=-1) + 1
        boxes[row.name] = _Place(_text(row), rank)
    places = list(boxes.values())
    for name, box in boxes.items():
        for source in sources.get(name, ()):
            above = boxes[source]
            for rank in range(above.rank + 1, box.rank):
                point = _Place((), rank)
                _connect(above, point)
                places.append(point)
                above = point
            _connect(above, box)
    return places


def _connect(above: _Place, below: _Place) -> None:
    below.before.append(above)
    above.after.append(below)


def _ordered(places: Iterable[_Place]) -> list[list[_Place]]:
    """The places of each rank from left to right, with their `x`."""
    ranks: list[list[_Place]] = []
    for place in sorted(places, key=lambda place: place.rank):
        while len(ranks) <= place.rank:
            ranks.append([])
        ranks[place.rank].append(place)
    for rank in ranks:
        _spread(rank, {place: 0.0 for place in rank})
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for rank in ranks if down else ranks[::-1]:
            wanted = {place: _mean(place.before if down else place.after, place.x) for place in rank}
            rank.sort(key=lambda place, wanted=wanted: wanted[place])  # type: ignore[misc]  # a default binds the loop's
            _spread(rank, wanted)
    return ranks


def _mean(neighbors: Sequence[_Place], default: float) -> float:
    return sum(each.x for each in neighbors) / len(neighbors) if neighbors else default


def _spread(rank: Sequence[_Place], wanted: Mapping[_Place, float]) -> None:
    """Place a rank from left to right without overlaps, as a whole as near as possible to where it is wanted."""
    x = 0.0
    for place in rank:
        place.x = x + place.width / 2
        x += place.width + _GAP_X
    shift = sum(wanted[place] - place.x for place in rank) / len(rank)
    for place in rank:
        place.x += shift


def _connections(place: _Place, tops: Sequence[float], heights: Sequence[float]) -> list[str]:
    """Curves to a place from those above it; a point is passed straight."""
    y = tops[place.rank] + (heights[place.rank] - place.height) / 2 if place.lines else tops[place.rank]
    curves = []
    for above in place.before:
        start = tops[above.rank] + (heights[above.rank] + above.height) / 2
        if not above.lines:
            start = tops[above.rank] + heights[above.rank]
        middle = (start + y) / 2
        curves.append(
            f'<path d="M{above.x:.1f} {start:.1f}C{above.x:.1f} {middle:.1f} {place.x:.1f} {middle:.1f} '
            f'{place.x:.1f} {y:.1f}"/>'
        )
    if not place.lines:
        curves.append(f'<path d="M{place.x:.1f} {y:.1f}V{y + heights[place.rank]:.1f}"/>')
    return curves


def _box(place: _Place, top: float, height: float) -> list[str]:
    if not place.lines:
        return []
    y = top + (height - place.height) / 2
    texts = [
        f'<text x="{place.x:.1f}" y="{y + _MARGIN + _LINE * (i + 0.8):.1f}" text-anchor="middle"'
        f"{' font-weight=' + chr(34) + 'bold' + chr(34) if i == 0 else ''}>{escape(line)}</text>"
        for i, line in enumerate(place.lines)
    ]
    return [
        f'<rect x="{place.x - place.width / 2:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" '
        'fill="#fff" stroke="#000"/>',
        *texts,
    ]
