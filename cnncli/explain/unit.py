"""`unit`: one number inside a trained network, worked out from its patch, its kernel, its bias and its activation."""

from collections.abc import Sequence

from cnncli.explain.notation import fixed, grid, operand
from cnncli.explain.page import (
    Block,
    Figures,
    Formula,
    Grid,
    Heading,
    Page,
    Picture,
    Prose,
    Sign,
    Step,
    Table,
    TryNext,
)
from cnncli.explain.work_out import MOST_DECIMALS, Worked, decimals_of, work_out
from cnncli.reference.pointwise import EPSILON
from cnncli.reference.unit import Activated, Biased, Combined, Normalised, Patch, Stage, Term, Trace, Unit
from cnncli.spec.layers import written
from cnncli.spec.network import INPUT, Node
from cnncli.trained import Seen, TrainedRun

_TERMS = 10
"""Products of a fully connected layer that are told one by one."""


def unit_page(run: TrainedRun, node: Node, unit: Unit, seen: Seen) -> Page:
    """The page about one unit of a trained network."""
    worked = work_out(run, seen, node, unit)
    decimals = decimals_of(worked)
    kind = f"{node.name} ({node.layer.word()})"
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
        f"{name} ({written(shape)})" for name, shape in zip(node.inputs, node.input_shapes, strict=True)
    )
    return f"It reads {inputs} and makes {written(node.shape)}."


def where(run: TrainedRun, seen: Seen, node: Node, unit: Unit) -> Block:
    """The picture with a box around what the unit sees of it."""
    fields = run.fields(node)
    places = unit.index[1:] or (0, 0)
    rows, columns = (
        axis.interval(position if len(axis.seen) > 1 else 0) for axis, position in zip(fields.axes, places, strict=True)
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
    normalised = " The picture is normalised: these are the numbers that the network gets." if name == INPUT else ""
    return [Prose(dots + normalised), *(_convolved(patch, name, decimals) for patch in trace.patches)]


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
        case Normalised():
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
            case Normalised():
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
