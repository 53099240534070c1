"""`architecture`: where a network's numbers, parameters and multiplications sit, layer by layer. Needs no torch."""

import math

from cnncli.config.config import Config
from cnncli.config.network import Network
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import LayerTable, Row, inspect_graph
from cnncli.lessons.notation import by
from cnncli.lessons.page import Block, Formula, Heading, Page, Prose, Step, Table, TryNext
from cnncli.lessons.receptive_field import shape_of

_BAR = 12


def architecture(config: Config, argument: str) -> Page:
    """The page about the shape of a config's network; `argument` is how it was named on the command line."""
    inspection = inspect_graph(graph_of(config.network, config.name))
    return Page(
        f"Architecture: how {config.name} is built",
        (
            Prose(
                "Most networks look alike from afar: toward the end maps get smaller, and there are more of them. "
                "Early layers answer where: many places, few questions (is there an edge?). Late layers answer what: "
                "few places, many questions (is there a wheel, an eye, the loop of a six?)."
            ),
            Heading("Maps shrink, channels grow"),
            *_shapes(inspection),
            Heading("Where numbers, parameters and multiplications sit"),
            _table(inspection),
            *_summary(inspection),
            Heading("Why that is affordable"),
            *_worked(config.network),
            TryNext(
                (
                    "explain architecture resnet-mnist",
                    "explain 1x1",
                    f"inspect {argument}",
                )
            ),
        ),
    )


def _shapes(inspection: LayerTable) -> list[Block]:
    """Places and channels wherever one of them changes, with bars."""
    shapes = [("input", inspection.input_shape), *((row.name, shape_of(row)) for row in inspection.rows)]
    changed = [each for i, each in enumerate(shapes) if len(each[1]) == 3 and (not i or each[1] != shapes[i - 1][1])]
    most_places = max(math.prod(shape[1:]) for _, shape in changed)
    most_channels = max(shape[0] for _, shape in changed)
    rows = tuple(
        (
            name,
            by(shape[1:]),
            _bar(math.prod(shape[1:]), most_places),
            str(shape[0]),
            _bar(shape[0], most_channels),
            f"{math.prod(shape):,}",
        )
        for name, shape in changed
    )
    return [Table(("layer", "map", "places", "channels", "", "numbers"), rows, words=frozenset({2, 4}))]


def _bar(value: int, most: int) -> str:
    return "#" * max(1, round(value / most * _BAR))


def _table(inspection: LayerTable) -> Table:
    numbers = sum(math.prod(shape_of(row)) for row in inspection.rows)
    rows = [
        (
            row.name,
            by(shape_of(row)),
            *_share(math.prod(shape_of(row)), numbers),
            *_share(row.params or 0, inspection.params),
            *_share(row.macs or 0, inspection.macs),
        )
        for row in inspection.rows
    ]
    total = ("total", "", f"{numbers:,}", "", f"{inspection.params:,}", "", f"{inspection.macs:,}", "")
    return Table(("layer", "output", "numbers", "", "params", "", "MACs", ""), (*rows, total))


def _share(value: int, total: int) -> tuple[str, str]:
    return (f"{value:,}", f"{value / total:.0%}") if value and total else ("", "")


def _summary(inspection: LayerTable) -> list[Block]:
    """The layers that hold most, in words."""

    def most(what: str) -> str:
        row: Row = max(inspection.rows, key=lambda each: int(getattr(each, what)))
        return f"{row.name} ({getattr(row, what) / max(1, getattr(inspection, what)):.0%})"

    return [
        Prose(
            f"Most parameters are in {most('params')}, most multiply-accumulates (MACs) in {most('macs')}. A kernel is "
            "stored once and used at every place, so convolutions on large maps cost time and hardly any memory; a "
            "fully connected layer uses each of its weights once, so it costs memory and hardly any time."
        )
    ]


def _worked(network: Network) -> list[Block]:
    """The cost of each convolution as a product."""
    steps: list[Block] = []
    for node in network.nodes:
        if (kernels := node.description.kernels) is not None and node.layer.type == "conv":
            formula = Formula(
                f"{by(node.shape[1:])} places x {kernels.count} kernels x depth {kernels.depth} x "
                f"{by((kernels.height, kernels.width))} = "
                f"{node.description.macs:,} MACs"
            )
            steps.append(Step(node.name, (formula,)))
    return [
        Prose(
            "Halving height and width leaves a quarter of the places. A layer that then has twice the channels, before "
            "and after it, costs as much as the one before: a quarter of the places, times two, times two. So the work "
            "is spread evenly while the number of questions grows:"
        ),
        *steps,
    ]
