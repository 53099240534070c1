"""`architecture`: where the activations, parameters and MACs of a network are, layer by layer. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.layers import format_size
from cnncli.lessons.page import Block, Formula, Heading, Page, Paragraph, Step, Table, TryNext
from cnncli.lessons.receptive_field import shape_of
from cnncli.lessons.topic import NetworkTopic

if TYPE_CHECKING:
    from cnncli.config.network import Network
    from cnncli.inspection.table import LayerTable

_BAR = 12
"""Characters of the longest bar."""


@dataclass(frozen=True, kw_only=True)
class Architecture(NetworkTopic):
    """Why channels grow while feature maps shrink, and where parameters and MACs are.

    Examples:

      cnncli explain architecture resnet-mnist
    """

    name = "architecture"

    def page(self) -> Page:
        config, table = self.read()
        return Page(
            f"Architecture: how {config.name} is built",
            Paragraph(
                "Most networks have the same overall shape: toward the end, feature maps get smaller, and there are "
                "more of them. Early layers detect simple patterns, such as edges, at many positions. Late layers "
                "detect many complex patterns, such as a wheel, an eye or the loop of a six, at few positions."
            ),
            Heading("Feature maps shrink, channels grow"),
            _shapes(table),
            Heading("Where activations, parameters and MACs are"),
            _table(table),
            *_summary(table),
            Heading("Why that is affordable"),
            *_macs(config.network),
            TryNext("explain architecture resnet-mnist", "explain 1x1", f"inspect {self.config}"),
        )


def _shapes(table: LayerTable) -> Table:
    """Positions and channels wherever one of them changes, with bars."""
    shapes = [("input", table.input_shape), *((row.name, shape_of(row)) for row in table.rows)]
    changed = [each for i, each in enumerate(shapes) if len(each[1]) == 3 and (not i or each[1] != shapes[i - 1][1])]
    most_positions = max(math.prod(shape[1:]) for _, shape in changed)
    most_channels = max(shape[0] for _, shape in changed)
    rows = tuple(
        (
            name,
            format_size(shape[1:]),
            _bar(math.prod(shape[1:]) / most_positions),
            str(shape[0]),
            _bar(shape[0] / most_channels),
            f"{math.prod(shape):,}",
        )
        for name, shape in changed
    )
    return Table(("layer", "size", "positions", "channels", "", "activations"), rows, text_columns=frozenset({2, 4}))


def _bar(share: float) -> str:
    return "#" * max(1, round(share * _BAR))


def _table(table: LayerTable) -> Table:
    activations = sum(math.prod(shape_of(row)) for row in table.rows)
    rows = [
        (
            row.name,
            format_size(shape_of(row)),
            *_share(math.prod(shape_of(row)), activations),
            *_share(row.params or 0, table.params),
            *_share(row.macs or 0, table.macs),
        )
        for row in table.rows
    ]
    total = ("total", "", f"{activations:,}", "", f"{table.params:,}", "", f"{table.macs:,}", "")
    return Table(("layer", "output", "activations", "", "params", "", "MACs", ""), (*rows, total))


def _share(value: int, total: int) -> tuple[str, str]:
    return (f"{value:,}", f"{value / total:.0%}") if value and total else ("", "")


def _summary(table: LayerTable) -> list[Block]:
    """Names the layers with the most parameters and MACs, and says why they differ."""
    largest = max(table.rows, key=lambda row: row.params or 0)
    busiest = max(table.rows, key=lambda row: row.macs or 0)
    return [
        Paragraph(
            f"Most parameters are in {largest.name} ({(largest.params or 0) / max(1, table.params):.0%}), most "
            f"multiply-accumulate operations (MACs) in {busiest.name} "
            f"({(busiest.macs or 0) / max(1, table.macs):.0%}). A kernel is stored once and used at every position, so "
            "a convolution on large feature maps costs time but little memory. A fully connected layer uses each "
            "weight once, so it costs memory but little time."
        )
    ]


def _macs(network: Network) -> list[Block]:
    """The MACs of each convolution as a product that starts with the positions of its output."""
    steps: list[Block] = []
    for node in network.nodes:
        if (kernels := node.description.kernels) is not None and not kernels.transposed:
            formula = Formula(
                f"{format_size(node.shape[1:])} positions x {kernels.count} kernels x depth {kernels.depth} x "
                f"{format_size((kernels.height, kernels.width))} = {node.description.macs:,} MACs"
            )
            steps.append(Step(node.name, formula))
    return [
        Paragraph(
            "Half the height and half the width leave a quarter of the positions. If the numbers of input and output "
            "channels both double at the same time, a convolution costs as much as the one before: a quarter of the "
            "positions, times two, times two. So every stage of the network takes a similar amount of work:"
        ),
        *steps,
    ]
