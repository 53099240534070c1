"""`unit --why`: back from a unit to the pixels, layer by layer, along the largest contributions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnncli.config.network import INPUT, Node
from cnncli.errors import UsageError
from cnncli.layers import format_shape
from cnncli.layers.trace import (
    EPSILON,
    Activated,
    Biased,
    Combined,
    Normalized,
    Patch,
    Stage,
    Term,
    Trace,
    Unit,
    trace_unit,
)
from cnncli.lessons.notation import by, decimals_for, fixed, grid, operand
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heading, Page, Picture, Prose, Sign, Step, Table, TryNext
from cnncli.run import InputImage, Run

_DIGITS = 5
MOST_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Worked:
    """A unit worked out by hand, and what the network computed at the same stages (None where it shows nothing)."""

    node: Node
    unit: Unit
    trace: Trace
    computed: tuple[float | None, ...]


def work_out(run: Run, seen: InputImage, node: Node, unit: Unit) -> Worked:
    """Trace a unit, and watch the network compute it."""
    module = run.model.layer(node)
    with torch.inference_mode():
        values = run.model.outputs(seen.image[None], node.inputs)
        inputs = [values[name] for name in node.inputs]
        parts = _parts(module, inputs)
    sums = parts.get("conv", parts.get("linear"))
    trace = trace_unit(
        node.layer, [each[0] for each in inputs], module.state_dict(), unit, sums=None if sums is None else sums[0]
    )
    computed = tuple(None if part is None else part[0][unit.index].item() for part in _by_stage(trace.stages, parts))
    return Worked(node, unit, trace, computed)


def _parts(module: nn.Module, inputs: list[Tensor]) -> Mapping[str, Tensor]:
    """What the module and each of its named parts put out, as the network runs them."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(part: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [part.register_forward_hook(keep(name)) for name, part in module.named_children()]
    try:
        outputs[""] = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _by_stage(stages: tuple[Stage, ...], parts: Mapping[str, Tensor]) -> list[Tensor | None]:
    """For each stage the network's own numbers: the last stage is the layer's, those before have parts of their own."""
    found: list[Tensor | None] = []
    for i, stage in enumerate(stages):
        follows_bias = i + 1 < len(stages) and isinstance(stages[i + 1], Biased)
        if i == len(stages) - 1:
            found.append(parts[""])
        elif isinstance(stage, Normalized):
            found.append(parts["norm"])
        else:
            found.append(None if follows_bias else parts.get("conv", parts.get("linear")))
    return found


def find_unit(node: Node, filter_: int, at: tuple[int, int] | None) -> Unit:
    """The unit that `--filter` and `--at` name.

    Raises:
        UsageError: there is none, or `--at` is missing or too much.
    """
    channels, *size = node.shape
    if filter_ >= channels:
        what = "feature maps" if size else "numbers"
        raise UsageError(f"--filter: {node.name} has {channels} {what}, 0 to {channels - 1}")
    if not size:
        if at is not None:
            raise UsageError(f"--at: {node.name} is a row of numbers without places", remedy="leave --at out")
        return Unit((filter_,))
    if at is None:
        raise UsageError(f"--at is missing: {node.name} makes maps of {by(size)}", remedy="such as --at 0,0")
    if at[0] >= size[0] or at[1] >= size[1]:
        raise UsageError(
            f"--at: the maps of {node.name} are {by(size)}, so there is nothing at {at[0]},{at[1]}",
            remedy=f"--at takes a row from 0 to {size[0] - 1} and a column from 0 to {size[1] - 1}",
        )
    return Unit((filter_, at[0], at[1]))


def decimals_of(worked: Worked) -> int:
    """How many decimals to show: about five digits of the largest number on the way.

    The network computes in single precision. Where a number lies on the edge between two last digits, one decimal less
    or more is off the edge. A real difference between ours and the network's stays, and shows.
    """
    trace = worked.trace
    largest = max(abs(each) for each in (*(s.value for s in trace.stages), *(t.amount for t in trace.terms)))
    usual = min(MOST_DECIMALS, decimals_for(largest, _DIGITS))
    for decimals in (usual, max(0, usual - 1), usual + 1):
        if all(
            network is None or fixed(stage.value, decimals) == fixed(network, decimals)
            for stage, network in zip(trace.stages, worked.computed, strict=True)
        ):
            return decimals
    return usual


_TERMS = 10
"""Products of a fully connected layer that are told one by one."""


def unit_page(run: Run, node: Node, unit: Unit, seen: InputImage) -> Page:
    """The page about one unit of a trained network."""
    worked = work_out(run, seen, node, unit)
    decimals = decimals_of(worked)
    kind = f"{node.name} ({node.layer.type})"
    return Page(
        f"Unit: {node.name}, {place(unit, of=node.name)}",
        (
            Prose(f"One number of {kind} in {run.path}, for {seen.name}. {_shapes(node)}"),
            where(run, seen, node, unit),
            *_figures(worked, decimals),
            Heading("From the sum to the answer"),
            *_stages(worked, decimals),
            TryNext(
                (
                    f"explain unit {run.argument} {options_of(node, unit)} --image {seen.argument} --why",
                    f"explain feature-maps --run {run.argument} --image {seen.argument}",
                    f"inspect {run.argument}/resolved.yaml",
                )
            ),
        ),
    )


def place(unit: Unit, *, of: str) -> str:
    """`filter 3 at row 5, column 7`, or `number 3`, of the layer called `of`; the picture has channels."""
    if len(unit.index) == 1:
        return f"number {unit.channel}"
    kind = "channel" if of == INPUT else "filter"
    return f"{kind} {unit.channel} at row {unit.index[1]}, column {unit.index[2]}"


def options_of(node: Node, unit: Unit) -> str:
    """The options of `explain unit` that name a unit."""
    at = f" --at {unit.index[1]},{unit.index[2]}" if len(unit.index) > 1 else ""
    return f"--layer {node.name} --filter {unit.channel}{at}"


def _shapes(node: Node) -> str:
    inputs = " and ".join(
        f"{name} ({format_shape(shape)})" for name, shape in zip(node.inputs, node.input_shapes, strict=True)
    )
    return f"It reads {inputs} and makes {format_shape(node.shape)}."


def where(run: Run, seen: InputImage, node: Node, unit: Unit) -> Block:
    """The picture with a box around what the unit sees of it."""
    fields = run.fields(node)
    places = unit.index[1:] or (0, 0)
    rows, columns = (
        axis.interval(place if len(axis.masks) > 1 else 0) for axis, place in zip(fields.axes, places, strict=True)
    )
    return Figures(
        (
            Picture(
                values=seen.picture.double().mean(dim=0).numpy(),
                title="the picture; v and > mark what the unit sees",
                rows=rows,
                columns=columns,
            ),
        )
    )


def _figures(worked: Worked, decimals: int) -> list[Block]:
    """What the unit reads: patches with their kernels, or a list of numbers."""
    trace = worked.trace
    if not trace.patches:
        largest_first = sorted(trace.terms, key=lambda term: -abs(term.amount))
        return [reads_table(worked, largest_first, _TERMS, decimals)]
    if trace.patches[0].kernel is None:
        return [_pool_patch(trace.patches[0], decimals)]
    name = worked.node.inputs[0]
    dots = "Each channel of the input below the kernel, and the sum of their products."
    if any(None in (*patch.rows, *patch.columns) for patch in trace.patches):
        dots += " Dots are places without a number: they count as zeros."
    normalized = " The picture is normalized: these are the numbers that the network gets." if name == INPUT else ""
    return [Prose(dots + normalized), *(_convolved(patch, name, decimals) for patch in trace.patches)]


def _convolved(patch: Patch, name: str, decimals: int) -> Block:
    assert patch.kernel is not None
    shown = decimals if patch.values.shape[1] <= 4 else min(decimals, 3)
    return Step(
        f"{name}, channel {patch.channel}{_span(patch)}",
        (
            Figures((patch_grid(patch, shown), Sign("*"), grid(patch.kernel, "kernel", decimals=shown))),
            Formula(f"sum of products = {fixed(patch.total, decimals)}"),
        ),
    )


def patch_grid(patch: Patch, decimals: int) -> Grid:
    """The numbers of a patch, with dots where there are none."""
    cells = tuple(
        tuple(
            "." if row is None or column is None else fixed(patch.values[a, b].item(), decimals)
            for b, column in enumerate(patch.columns)
        )
        for a, row in enumerate(patch.rows)
    )
    return Grid(cells=cells, title="patch")


def _span(patch: Patch) -> str:
    """Where the patch is in its channel."""
    rows, columns = ([each for each in axis if each is not None] for axis in (patch.rows, patch.columns))
    if not rows or not columns:
        return ", padding only"
    return f", rows {min(rows)} to {max(rows)}, columns {min(columns)} to {max(columns)}"


def _pool_patch(patch: Patch, decimals: int) -> Block:
    title = f"channel {patch.channel}{_span(patch)}"
    if max(patch.values.shape) > 8:
        return Step(title, (Figures((Picture(values=patch.values.numpy(), title="patch", signed=True),)),))
    return Step(title, (Figures((patch_grid(patch, decimals),)),))


def reads_table(worked: Worked, terms: Sequence[Term], most: int, decimals: int) -> Table:
    """The first `most` of the numbers that a unit reads, what they are multiplied by, and the others together."""
    rows = [
        (
            f"{worked.node.inputs[term.source]}, {place(term.unit, of=worked.node.inputs[term.source])}",
            *(fixed(each, decimals) for each in (term.value, term.weight, term.amount)),
        )
        for term in terms[:most]
    ]
    if left := terms[most:]:
        rows.append((f"the other {len(left):,}", "", "", fixed(sum(term.amount for term in left), decimals)))
    return Table(("reads", "number", "x weight", "= product"), tuple(rows))


def _stages(worked: Worked, decimals: int) -> list[Block]:
    """The numbers on the way, and beside them what the network computed."""
    blocks: list[Block] = [Formula(line) for line in stage_lines(worked.trace, decimals)]
    rows = tuple(
        (
            _stage_name(stage),
            fixed(stage.value, decimals),
            fixed(network, decimals),
        )
        for stage, network in zip(worked.trace.stages, worked.computed, strict=True)
        if network is not None
    )
    return [*blocks, Table(("", "by hand", "the network"), rows)]


def _stage_name(stage: Stage) -> str:
    match stage:
        case Combined():
            return stage.how
        case Biased():
            return "with bias"
        case Normalized():
            return "after the norm"
        case Activated():
            return "after the activation"


def stage_lines(trace: Trace, decimals: int) -> list[str]:
    """Each stage as a line of arithmetic."""
    lines, before = [], 0.0
    for stage in trace.stages:
        value = fixed(stage.value, decimals)
        match stage:
            case Combined() if trace.patches and trace.patches[0].kernel is not None:
                added = " + ".join(operand(fixed(patch.total, decimals)) for patch in trace.patches)
                lines.append(f"{stage.how}: {added} = {value}" if len(trace.patches) > 1 else f"{stage.how} = {value}")
            case Combined():
                lines.append(f"{stage.how} = {value}")
            case Biased():
                lines.append(f"bias: {fixed(before, decimals)} + {operand(fixed(stage.bias, decimals))} = {value}")
            case Normalized():
                s = stage.scaling
                mean, variance, weight, bias = (
                    operand(fixed(each, MOST_DECIMALS)) for each in (s.mean, s.variance, s.weight, s.bias)
                )
                lines.append(
                    f"norm: ({fixed(stage.before, decimals)} - {mean}) / sqrt({variance} + {EPSILON:.5f}) "
                    f"x {weight} + {bias} = {value}"
                )
            case Activated():
                lines.append(f"{stage.word}({fixed(stage.before, decimals)}) = {value}")
        before = stage.value
    return lines


_SHOWN = 3
"""Contributions told for each layer; the first of them is followed."""


@dataclass(frozen=True, eq=False)
class _Stop:
    """A unit on the way back, what it reads in the order of what that contributes, and its layer's total."""

    worked: Worked
    strongest: tuple[Term, ...]


def why_page(run: Run, node: Node, unit: Unit, seen: InputImage) -> Page:
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


def _back(run: Run, seen: InputImage, node: Node, unit: Unit) -> tuple[list[_Stop], Unit | None]:
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


def _ending(run: Run, seen: InputImage, node: Node, unit: Unit, pixel: Unit | None) -> list[Block]:
    field = where(run, seen, node, unit)
    if pixel is None:
        return [Prose("The path ends here: nothing contributed, every product is 0 or padding."), field]
    channel, row, column = pixel.index
    level = int(seen.picture[channel, row, column])
    return [
        Prose(
            f"The path ends at the pixel in row {row}, column {column}"
            + (f", channel {channel}" if len(seen.picture) > 1 else "")
            + f": gray level {level} of 255, which the network gets as {seen.image[pixel.index].item():.4f}."
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
