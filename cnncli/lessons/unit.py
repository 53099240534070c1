"""`unit`: one number inside a trained network, computed by hand; with `--why`, its largest contributions.

Letters: C channels, (H, W) image, (kh, kw) kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.errors import UsageError
from cnncli.layers import format_shape, format_size
from cnncli.layers.unit import Activated, Biased, Combined, Constant, Normalized, Patch, Scaling, Term, Trace, Unit
from cnncli.lessons.notation import decimals_for, format_fixed, grid, operand
from cnncli.lessons.numbers import read_position
from cnncli.lessons.page import (
    Block,
    Figures,
    Formula,
    Grid,
    Heading,
    Heatmap,
    Page,
    Pair,
    Paragraph,
    Step,
    Table,
    TryNext,
)
from cnncli.lessons.topic import NETWORKS, AtOption, ImageOption, Topic
from cnncli.options import DATA_DIR, DataDirOption, FitOption, InvertOption, RunArgument

if TYPE_CHECKING:
    from cnncli.config.network import Node
    from cnncli.data.preparation import Fit, Invert
    from cnncli.run import InputImage, Run

_INPUT = "input"
_DIGITS, _MAX_DECIMALS = 5, 4
_MAX_TERMS, _PATH_TERMS = 10, 3
"""Terms that are listed: of a unit without a kernel, and of each unit on the path back to the pixels."""
_MAX_PATCH = 8
"""Rows or columns up to which the patch of a pooling layer is shown as numbers."""


@dataclass(frozen=True, kw_only=True)
class TrainedUnit(Topic):
    """One number inside a trained network: its patch, kernel, sums, bias and activation.

    Examples:

      cnncli explain unit runs/lenet5-20260131-120000 --layer conv2 --filter 3 --at 5,7 --image 12

      cnncli explain unit runs/lenet5-20260131-120000 --layer logits1 --filter 7 --image my.png --why
    """

    name = "unit"
    group = NETWORKS

    run: RunArgument
    layer: Annotated[str, typer.Option("--layer", metavar="NAME", help="Name of a layer, as in the table of inspect.")]
    filter: Annotated[
        int, typer.Option("--filter", min=0, metavar="N", help="Number of the feature map, or of the unit.")
    ] = 0
    at: AtOption = None
    image: ImageOption = "0"
    why: Annotated[bool, typer.Option("--why", help="Follow the largest contributions back to the pixels.")] = False
    invert: InvertOption = "auto"
    fit: FitOption = "auto"
    data_dir: DataDirOption = DATA_DIR

    def page(self) -> Page:
        run, image = open_run(self.run, self.image, invert=self.invert, fit=self.fit, data_dir=self.data_dir)
        node = run.node(self.layer)
        unit = choose_unit(node, self.filter, self.at)
        return (path_page if self.why else unit_page)(run, node, unit, image)


def open_run(path: Path, image: str, *, invert: Invert, fit: Fit, data_dir: Path) -> tuple[Run, InputImage]:
    """A finished run, and the image that its network gets.

    Raises:
        RunError, DataError: the run, its data set or the image file cannot be used.
        UsageError: there is no such test image, or it would have to be prepared.
    """
    from cnncli.run import load_run

    run = load_run(path, data_dir=data_dir)
    return run, run.input_image(image, invert=invert, fit=fit)


def choose_unit(node: Node, filter_: int, at: str | None) -> Unit:
    """The unit that `--filter` and `--at` name.

    Raises:
        UsageError: there is no such unit, or `--at` is missing or superfluous.
    """
    channels, *size = node.shape
    if filter_ >= channels:
        name = "feature maps" if size else "units"
        raise UsageError(f"--filter: {node.name} has {channels} {name}, 0 to {channels - 1}")
    if not size:
        if at is not None:
            raise UsageError(f"--at: the units of {node.name} have no position", remedy="omit --at")
        return Unit((filter_,))
    if at is None:
        raise UsageError(
            f"--at is missing: {node.name} has feature maps of {format_size(size)}", remedy="such as --at 0,0"
        )
    return Unit((filter_, *read_position(at, size, node.name)))


@dataclass(frozen=True, eq=False)
class ComputedUnit:
    """A unit computed by hand and by the network.

    Attributes:
        node: its layer.
        unit: its index.
        trace: the computation by hand, stage by stage.
        by_network: the number of the network for each stage, or None where the network has no such number.
    """

    node: Node
    unit: Unit
    trace: Trace
    by_network: tuple[float | None, ...]

    @property
    def decimals(self) -> int:
        """How many decimals to show: about five digits of the largest number.

        The network computes in single precision. Where its number and ours round differently, one decimal less or
        more usually makes them equal. A real difference stays visible.
        """
        trace = self.trace
        largest = max(abs(each) for each in (*(s.value for s in trace.stages), *(t.amount for t in trace.terms)))
        usual = min(_MAX_DECIMALS, decimals_for(largest, _DIGITS))
        for decimals in (usual, max(0, usual - 1), usual + 1):
            if all(
                network is None or format_fixed(stage.value, decimals) == format_fixed(network, decimals)
                for stage, network in zip(trace.stages, self.by_network, strict=True)
            ):
                return decimals
        return usual

    @property
    def strongest_terms(self) -> list[Term]:
        """The terms, those that contribute most to the sum first."""
        sign = 1 if sum(term.amount for term in self.trace.terms) >= 0 else -1
        return sorted(self.trace.terms, key=lambda term: -sign * term.amount)


def compute_unit(run: Run, image: InputImage, node: Node, unit: Unit) -> ComputedUnit:
    """Compute a unit from the input of its layer, by hand and with the layer's own module."""
    import torch

    from cnncli.capture.mode import keep_outputs

    module = run.model.weights_of(node)
    with torch.inference_mode(), keep_outputs(dict(module.named_children())) as outputs:
        values = run.model.outputs(image.image[None], node.inputs)
        inputs = [values[name] for name in node.inputs]
        output = module(*inputs)
    sums = outputs.get("conv", outputs.get("linear"))
    trace = node.layer.trace(
        [each[0] for each in inputs], module.state_dict(), unit, before_norm=None if sums is None else sums[0]
    )
    by_network: list[float | None] = []
    for stage, following in zip(trace.stages, (*trace.stages[1:], None), strict=True):
        computed = sums
        if following is None:
            computed = output
        elif isinstance(stage, Normalized):
            computed = outputs["norm"]
        elif isinstance(following, Biased):  # the network adds the bias in the same step
            computed = None
        by_network.append(None if computed is None else computed[0][unit.index].item())
    return ComputedUnit(node, unit, trace, tuple(by_network))


def unit_page(run: Run, node: Node, unit: Unit, image: InputImage) -> Page:
    """The page about one unit of a trained network."""
    computed = compute_unit(run, image, node, unit)
    stages = list(_describe_stages(computed))
    compared = tuple(
        (name, *(format_fixed(each, computed.decimals) for each in (stage.value, network)))
        for (name, _), stage, network in zip(stages, computed.trace.stages, computed.by_network, strict=True)
        if network is not None
    )
    inputs = " and ".join(
        f"{name} ({format_shape(shape)})" for name, shape in zip(node.inputs, node.input_shapes, strict=True)
    )
    return Page(
        f"Unit: {node.name}, {_name(unit, node.name)}",
        Paragraph(
            f"One unit of {node.name} ({node.layer.type}) in {run.path}, for {image.name}. The layer reads {inputs} "
            f"and outputs {format_shape(node.shape)}."
        ),
        _receptive_field(run, image, node, unit),
        *_inputs(computed),
        Heading("From the sum to the output"),
        *(Formula(arithmetic) for _, arithmetic in stages),
        Table(("", "by hand", "network"), compared),
        TryNext(
            f"explain unit {run.argument} {_options(node, unit)} --image {image.argument} --why",
            f"explain feature-maps --run {run.argument} --image {image.argument}",
            f"inspect {run.argument}/resolved.yaml",
        ),
    )


def _name(unit: Unit, layer: str) -> str:
    """`filter 3 at row 5, column 7`, or `unit 3`; a channel of the input is no filter."""
    if len(unit.index) == 1:
        return f"unit {unit.channel}"
    kind = "channel" if layer == _INPUT else "filter"
    return f"{kind} {unit.channel} at row {unit.index[1]}, column {unit.index[2]}"


def _options(node: Node, unit: Unit) -> str:
    """The options of `explain unit` that name a unit."""
    at = f" --at {unit.index[1]},{unit.index[2]}" if len(unit.index) > 1 else ""
    return f"--layer {node.name} --filter {unit.channel}{at}"


def _receptive_field(run: Run, image: InputImage, node: Node, unit: Unit) -> Figures:
    """The image with a box around the receptive field of the unit."""
    rows, columns = (
        axis.interval(position if len(axis.masks) > 1 else 0)
        for axis, position in zip(run.receptive_fields(node).axes, unit.index[1:] or (0, 0), strict=True)
    )
    return _boxed(image, "image; v and > mark the receptive field of the unit", rows, columns)


def _boxed(image: InputImage, title: str, rows: Pair | None, columns: Pair | None) -> Figures:
    values = image.picture.double().mean(dim=0).numpy()  # (C, H, W) -> (H, W)
    return Figures(Heatmap(values=values, title=title, rows=rows, columns=columns))


def _inputs(computed: ComputedUnit) -> list[Block]:
    """What the unit reads: a patch and a kernel for each channel, the patch of a pooling layer, or a list of terms."""
    patches, source, decimals = computed.trace.patches, computed.node.inputs[0], computed.decimals
    if isinstance(computed.trace.stages[0], Constant):
        return [Paragraph("This number does not depend on the input of the layer.")]
    if not patches:
        terms = sorted(computed.trace.terms, key=lambda term: -abs(term.amount))
        return [_terms_table(computed, terms, _MAX_TERMS)]
    if patches[0].kernel is None:
        (patch,) = patches
        figure: Grid | Heatmap = _patch_grid(patch, decimals)
        if max(patch.values.shape) > _MAX_PATCH:
            figure = Heatmap(values=patch.values.numpy(), title="patch", signed=True)
        return [Step(f"channel {patch.channel}{_extent(patch)}", Figures(figure))]
    text = "For each input channel, the patch under the kernel, and the sum of the products."
    if any(None in (*patch.rows, *patch.columns) for patch in patches):
        text += " Dots are positions outside the input; they count as zeros."
    inside = [[each for each in axis if each is not None] for axis in (patches[0].rows, patches[0].columns)]
    if not all(map(_is_ascending, inside)):
        text += " Where the window reaches beyond the input, numbers of the input are repeated."
    if source == _INPUT:
        text += " The network gets a normalized image: these are its numbers."
    blocks: list[Block] = [Paragraph(text)]
    for patch in patches:
        assert patch.kernel is not None
        shown = decimals if patch.values.shape[1] <= 4 else min(decimals, 3)  # a wide patch has little room
        figures = (_patch_grid(patch, shown), "*", grid(patch.kernel, "kernel", decimals=shown))
        total = Formula(f"sum of products = {format_fixed(patch.total, decimals)}")
        blocks.append(Step(f"{source}, channel {patch.channel}{_extent(patch)}", Figures(*figures), total))
    return blocks


def _patch_grid(patch: Patch, decimals: int) -> Grid:
    """The numbers of a patch, with dots outside the input."""
    cells = tuple(
        tuple(
            "." if row is None or column is None else format_fixed(value, decimals)
            for column, value in zip(patch.columns, values, strict=True)
        )
        for row, values in zip(patch.rows, patch.values.tolist(), strict=True)
    )
    return Grid(cells=cells, title="patch")


def _extent(patch: Patch) -> str:
    """`, rows 0 to 2, columns 4 to 6`."""
    rows, columns = ([each for each in axis if each is not None] for axis in (patch.rows, patch.columns))
    if not rows or not columns:
        return ", padding only"
    return f", rows {_span(rows)}, columns {_span(columns)}"


def _span(positions: Sequence[int]) -> str:
    """`0 to 2`; one by one where padding repeats positions: `1, 0, 1`."""
    if _is_ascending(positions):
        return f"{positions[0]} to {positions[-1]}"
    return ", ".join(map(str, positions))


def _is_ascending(positions: Sequence[int]) -> bool:
    return all(first < second for first, second in pairwise(positions))


def _terms_table(computed: ComputedUnit, terms: Sequence[Term], most: int) -> Table:
    """The first terms, each an input number times its weight, and the sum of the others."""
    inputs, decimals = computed.node.inputs, computed.decimals
    rows = [
        (
            f"{inputs[term.source]}, {_name(term.unit, inputs[term.source])}",
            *(format_fixed(each, decimals) for each in (term.value, term.weight, term.amount)),
        )
        for term in terms[:most]
    ]
    if rest := terms[most:]:
        rows.append((f"the other {len(rest):,}", "", "", format_fixed(sum(term.amount for term in rest), decimals)))
    return Table(("input", "value", "x weight", "= product"), tuple(rows))


def _describe_stages(computed: ComputedUnit) -> Iterator[tuple[str, str]]:
    """The name of each stage, and its arithmetic."""

    def fixed(value: float) -> str:
        return format_fixed(value, computed.decimals)

    sums = [operand(fixed(patch.total)) for patch in computed.trace.patches if patch.kernel is not None]
    before = 0.0
    for stage in computed.trace.stages:
        match stage:
            case Combined():
                added = f": {' + '.join(sums)}" if len(sums) > 1 else ""
                yield stage.how, f"{stage.how}{added} = {fixed(stage.value)}"
            case Biased():
                yield "plus bias", f"bias: {fixed(before)} + {operand(fixed(stage.bias))} = {fixed(stage.value)}"
            case Normalized(scaling=s):
                yield "after the norm", f"norm: {_scaled(fixed(stage.before), s)} = {fixed(stage.value)}"
            case Activated():
                yield "after the activation", f"{stage.type}({fixed(stage.before)}) = {fixed(stage.value)}"
            case Constant():
                yield stage.what, f"{stage.what} = {fixed(stage.value)}"
        before = stage.value


def _scaled(value: str, scaling: Scaling) -> str:
    """The arithmetic of a norm, without what it does not have."""

    def number(value: float) -> str:
        return operand(format_fixed(value, _MAX_DECIMALS))

    centered = operand(value) if scaling.mean is None else f"({value} - {number(scaling.mean)})"
    eps = f"{scaling.eps:.12f}".rstrip("0")
    weight = "" if scaling.weight is None else f" x {number(scaling.weight)}"
    bias = "" if scaling.bias is None else f" + {number(scaling.bias)}"
    return f"{centered} / sqrt({number(scaling.variance)} + {eps}){weight}{bias}"


def path_page(run: Run, node: Node, unit: Unit, image: InputImage) -> Page:
    """The page about the inputs that contribute most to a unit, layer by layer back to a pixel."""
    path, pixel = _strongest_path(run, image, node, unit)
    steps = (
        Step(
            f"{each.node.name}, {_name(each.unit, each.node.name)}: {format_fixed(each.trace.value, each.decimals)}",
            _terms_table(each, each.strongest_terms, _PATH_TERMS),
        )
        for each in path
    )
    return Page(
        f"Why: {node.name}, {_name(unit, node.name)}",
        Paragraph(
            f"Which inputs contribute most to this unit, for {image.name}? For each layer, the table lists the "
            "products that make up the sum, those that contribute most first. The path follows the first one to the "
            "layer before. Other inputs contribute as well: this is the strongest path, and not all of them."
        ),
        *steps,
        Heading("In the image"),
        *_end_of_path(image, pixel),
        _receptive_field(run, image, node, unit),
        TryNext(
            f"explain unit {run.argument} {_options(path[-1].node, path[-1].unit)} --image {image.argument}",
            f"explain receptive-field {run.argument}/resolved.yaml",
        ),
    )


def _strongest_path(run: Run, image: InputImage, node: Node, unit: Unit) -> tuple[list[ComputedUnit], Unit | None]:
    """The units from `unit` back to the first layer, and the pixel at the end; None where nothing contributes."""
    nodes = {each.name: each for each in run.model.network.nodes}
    path: list[ComputedUnit] = []
    while True:
        path.append(compute_unit(run, image, node, unit))
        terms = path[-1].strongest_terms
        if not terms or not terms[0].amount:
            return path, None
        source, unit = node.inputs[terms[0].source], terms[0].unit
        if source == _INPUT:
            return path, unit
        node = nodes[source]


def _end_of_path(image: InputImage, pixel: Unit | None) -> list[Block]:
    if pixel is None:
        return [Paragraph("The path ends here: nothing contributes, because every product is 0 or padding.")]
    channel, row, column = pixel.index
    which = f", channel {channel}" if len(image.picture) > 1 else ""
    return [
        Paragraph(
            f"The path ends at the pixel in row {row}, column {column}{which}: gray level "
            f"{int(image.picture[channel, row, column])} of 255, which the network gets as "
            f"{image.image[pixel.index].item():.4f}."
        ),
        _boxed(image, "image; v and > mark this pixel", (row, row), (column, column)),
    ]
