"""`unit --why`: back from a unit to the pixels, layer by layer, along the largest contributions."""

from dataclasses import dataclass

from cnncli.explain.notation import fixed
from cnncli.explain.page import Block, Figures, Heading, Page, Picture, Prose, Step, TryNext
from cnncli.explain.unit import options_of, place, reads_table, where
from cnncli.explain.work_out import Worked, decimals_of, work_out
from cnncli.reference.unit import Term, Unit
from cnncli.spec.network import INPUT, Node
from cnncli.trained import Seen, TrainedRun

_SHOWN = 3
"""Contributions told for each layer; the first of them is followed."""


@dataclass(frozen=True, eq=False)
class _Stop:
    """A unit on the way back, what it reads in the order of what that contributes, and its layer's total."""

    worked: Worked
    strongest: tuple[Term, ...]


def why_page(run: TrainedRun, node: Node, unit: Unit, seen: Seen) -> Page:
    """The page about where a unit's number comes from."""
    course, pixel = _back(run, seen, node, unit)
    last = course[-1].worked
    return Page(
        f"Why: {node.name}, {place(unit, of=node.name)}",
        (
            Prose(
                f"Where does this number come from, for {seen.name}? At each layer the products that the sum is made "
                "of, largest first in the direction of the sum; the first is followed to the layer before. Other "
                "inputs contributed as well: this is the strongest path, not the whole story."
            ),
            *(_step(stop) for stop in course),
            Heading("In the picture"),
            *_ending(run, seen, node, unit, pixel),
            TryNext(
                (
                    f"explain unit {run.argument} {options_of(last.node, last.unit)} --image {seen.argument}",
                    f"explain receptive-field {run.argument}/resolved.yaml",
                )
            ),
        ),
    )


def _back(run: TrainedRun, seen: Seen, node: Node, unit: Unit) -> tuple[list[_Stop], Unit | None]:
    """The units from `unit` down to the first layer, and the pixel at the end; None where nothing contributes."""
    nodes = {each.name: each for each in run.model.network.nodes}
    course: list[_Stop] = []
    while True:
        worked = work_out(run, seen, node, unit)
        strongest = _strongest(worked)
        course.append(_Stop(worked, strongest))
        if not strongest or not strongest[0].amount:
            return course, None
        source, unit = node.inputs[strongest[0].source], strongest[0].unit
        if source == INPUT:
            return course, unit
        node = nodes[source]


def _strongest(worked: Worked) -> tuple[Term, ...]:
    """The terms, those first that push furthest to the side on which their sum is."""
    side = 1 if sum(term.amount for term in worked.trace.terms) >= 0 else -1
    return tuple(sorted(worked.trace.terms, key=lambda term: -side * term.amount))


def _step(stop: _Stop) -> Block:
    worked = stop.worked
    decimals = decimals_of(worked)
    title = f"{worked.node.name}, {place(worked.unit, of=worked.node.name)}: {fixed(worked.trace.value, decimals)}"
    return Step(title, (reads_table(worked, stop.strongest, _SHOWN, decimals),))


def _ending(run: TrainedRun, seen: Seen, node: Node, unit: Unit, pixel: Unit | None) -> list[Block]:
    field = where(run, seen, node, unit)
    if pixel is None:
        return [Prose("The path ends here: nothing contributed, every product is 0 or padding."), field]
    channel, row, column = pixel.index
    level = int(seen.picture[channel, row, column])
    return [
        Prose(
            f"The path ends at the pixel in row {row}, column {column}"
            + (f", channel {channel}" if len(seen.picture) > 1 else "")
            + f": grey level {level} of 255, which the network gets as {seen.image[pixel.index].item():.4f}."
        ),
        field,
        Figures(
            (
                Picture(
                    values=seen.picture.double().mean(dim=0).numpy(),
                    title="v and > mark that pixel",
                    rows=(row, row),
                    columns=(column, column),
                ),
            )
        ),
    ]
