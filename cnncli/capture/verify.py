"""Verification of a table against the network: shapes, parameters, and the receptive field of every unit.

Receptive fields are probed with NaN, independently of any windows: NaN is put into one row (or column) of the input,
and the units that become NaN depend on it. NaN passes through activations, norms, pools and zero weights alike; it is
lost only in comparisons. After a comparison, only units that depend on more than the table says are reported.

P: probes in a batch, C: channels.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cnncli.capture.graph import CPU, capture, trial_copy, with_shapes
from cnncli.capture.layout import Factor, Layout, Role, has_batch, layout_of_input
from cnncli.capture.mode import evaluation_mode, keep_outputs, without_autocast
from cnncli.capture.nan import NanProbe, spread_nan
from cnncli.capture.outputs import RECURRENT
from cnncli.capture.record import BATCH, DETACH, Call, calls_reported
from cnncli.capture.rows import Row
from cnncli.config.network import Network
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.hints import as_ranges
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.layers import Shape, format_shape

BATCH_PIXELS = 1 << 19
"""Numbers in a batch of probes, which bounds the memory for the outputs of all layers."""

_COMPARISONS = frozenset({
    "eq", "ne", "gt", "ge", "lt", "le", "sign", "sgn", "heaviside", "isnan", "isfinite", "isinf", "argmax", "argmin",
    "logical_not", "logical_and", "logical_or", "logical_xor", "fmax", "fmin", "nan_to_num",
    "sort", "topk", "kthvalue", "median", "nanmedian", "mode", "gather", "cummax", "cummin",
})  # fmt: skip
"""Operators whose output is never NaN, or not all that depends on NaN is."""


@dataclass(frozen=True)
class Mismatch:
    """A difference between the table and the network.

    Attributes:
        layer: the name of the row.
        what: `shape`, `params`, `MACs`, `receptive field` or `rows`.
        expected: according to the table.
        actual: in the network.
    """

    layer: str
    what: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.what}: {self.expected} in the table, {self.actual} in the network"


@dataclass(frozen=True)
class Output:
    """The output of a layer for a batch of probes."""

    value: Tensor
    layout: Layout


Run = Callable[[Tensor], Mapping[str, Output]]
"""Takes images (P, C, positions ...) and returns the output of every row by name."""


class _OtherOperations(Exception):  # noqa: N818  a result, not an error
    """The module ran operations other than those of its rows; the message is the first row that differs."""


def behind_comparisons(graph: Graph) -> frozenset[str]:
    """The rows that compare numbers, or whose rows and columns depend on each other, and those that depend on them.

    NaN may be lost in a comparison; and of a mask that hides the rows below and, in its own row, the columns to the
    right, the table says what is read along each axis alone.
    """
    names: set[str] = set()
    for node in graph.nodes:
        compares = node.upper_bound or any(part.type in _COMPARISONS for part in node.parts)
        if compares or not names.isdisjoint(node.inputs):
            names.add(node.name)
    return frozenset(names)


def verify_network(network: Network, module: nn.Module) -> list[Mismatch]:
    """Compare every row of a config's table with its module; returns the differences.

    Args:
        network: of the config.
        module: its `CnnModule`; its training mode is restored.
    """
    graph = graph_of(network, "network")
    layers = {node.name: module.get_submodule(node.name) for node in network.nodes}

    def run(images: Tensor) -> dict[str, Output]:
        with evaluation_mode(module), torch.no_grad(), keep_outputs(layers) as outputs, NanProbe():  # type: ignore[no-untyped-call]  # torch does not annotate it
            module(images)
        return {name: Output(output, layout_of_input(output.shape)) for name, output in outputs.items()}

    counted = {name: sum(each.numel() for each in layer.parameters()) for name, layer in layers.items()}
    return [*compare_parameters(graph, counted), *_macs(graph, module), *compare_outputs(graph, run)]


def verify_module(
    module: nn.Module, graph: Graph, *, batch: int | None = None, sample: Collection[int] | None = None
) -> list[Mismatch]:
    """Run a module on the CPU and compare every row of its graph with it; returns the differences.

    Args:
        module: with numbers, on the CPU; its training mode is restored.
        graph: from `graph_of_module`.
        batch: the only number of images that the module takes; None: any.
        sample: positions of the input, on each axis; only the units that these reach are compared, and not which rows
            have which parameters. None: all.
    """
    module = with_shapes(module, graph.input_shape)
    with evaluation_mode(module), without_autocast():
        captured = capture(module, graph.input_shape, device=CPU, batch=batch or BATCH)
        rows = {row.name: row for row in captured.rows}
        names = {node.name for node in graph.nodes}
        if names != set(rows):
            return [Mismatch("the model", "rows", f"{sorted(names - set(rows))}", f"{sorted(set(rows) - names)}")]
        try:
            mismatches: list[Mismatch] = []
            if sample is None:
                counted = _count_parameters(module, rows, captured.zeros, (batch or BATCH, *graph.input_shape))
                mismatches += compare_parameters(graph, counted)
            mismatches += _macs(graph, module, batch=batch or 1)

            def run(images: Tensor) -> Mapping[str, Output]:
                return dict(_run(module, rows, captured.zeros, images))

            return [*mismatches, *compare_outputs(graph, run, batch=batch, sample=sample)]
        except _OtherOperations as where:
            return [Mismatch(str(where), "rows", "the operations on an input of zeros", "others on random numbers")]


def _run(
    module: nn.Module, rows: Mapping[str, Row], zeros: Mapping[int, Tensor], images: Tensor
) -> list[tuple[str, Output]]:
    """The outputs of rows, in the order of computation: which of their elements are NaN."""
    by_number: dict[int, list[Row]] = {}
    for row in rows.values():
        if row.computed_by.number is not None:
            by_number.setdefault(row.computed_by.number, []).append(row)
    outputs: list[tuple[str, Output]] = []
    number = 0  # of the next operator

    def keep(call: Call) -> None:
        nonlocal number
        found = [] if call.name == DETACH else by_number.get(number, [])
        number += call.name != DETACH
        for row in found:
            operation = row.computed_by
            if call.name != (operation.called or operation.name):
                raise _OtherOperations(row.name)
            tensor = call.result if isinstance(call.result, Tensor) else call.result[operation.part]
            outputs.append((row.name, Output(tensor.isnan(), row.layout)))

    def evaluate(run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return spread_nan(run, args, kwargs, zeros.get(number))

    copied, _ = trial_copy(module, CPU)  # what a forward pass keeps would change the operators of the next one
    with calls_reported(copied, keep, evaluate):
        copied(images)
    return outputs


def _count_parameters(
    module: nn.Module, rows: Mapping[str, Row], zeros: Mapping[int, Tensor], shape: tuple[int, ...]
) -> dict[str, int]:
    """Parameters by the first row that each of them reaches, which is found by setting it to NaN."""
    counted = dict.fromkeys(rows, 0)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for parameter in module.parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.fill_(torch.nan)
            reached = {name for name, output in _run(module, rows, zeros, images) if output.value.any()}
            parameter.copy_(kept)
        first = next((name for name in rows if name in reached), None)
        if first is not None:
            counted[first] += parameter.numel()
    return counted


def compare_parameters(graph: Graph, counted: Mapping[str, int]) -> Iterator[Mismatch]:
    """Differences in the parameters of rows."""
    uncertain = behind_comparisons(graph)
    for node in graph.nodes:
        if node.params != counted[node.name] and node.name not in uncertain:
            yield Mismatch(node.name, "params", f"{node.params}", f"{counted[node.name]}")


def _macs(graph: Graph, module: nn.Module, *, batch: int = 1) -> Iterator[Mismatch]:
    """A difference in the multiply-accumulates of the whole network, as torch counts them, if all rows know theirs."""
    if any(node.macs is None for node in graph.nodes):
        return
    if any(part.type == "cond" for node in graph.nodes for part in node.parts):
        return  # the table counts both branches, of which one runs
    module, _ = trial_copy(module, CPU)
    images = torch.zeros(batch, *graph.input_shape)
    # Without fused attention and recurrent layers, which torch does not count.
    recurrent = any(node.type in RECURRENT for node in graph.nodes)
    with ExitStack() as contexts:
        if recurrent:
            contexts.enter_context(warnings.catch_warnings(action="ignore"))  # of TF32, which is not changed
            contexts.enter_context(torch.backends.mkldnn.flags(enabled=False))
        contexts.enter_context(evaluation_mode(module))
        contexts.enter_context(calls_reported(module, lambda call: None))
        counter = contexts.enter_context(_FlopCounter())
        module(images)
    yield from compare_macs(graph, counter.flops // (2 * batch))


def compare_macs(graph: Graph, counted: int) -> Iterator[Mismatch]:
    """A difference in the multiply-accumulates of the whole network, if all rows know theirs."""
    known = [node.macs for node in graph.nodes if node.macs is not None]
    if len(known) == len(graph.nodes) and sum(known) != counted:
        yield Mismatch("the model", "MACs", f"{sum(known):,}", f"{counted:,}")


_UNCOUNTED: dict[str, Callable[[tuple[Any, ...], Tensor], int]] = {
    "torchvision::deform_conv2d": lambda args, result: args[1].numel() * result.numel() // result.shape[1],
    "aten::_trilinear": lambda args, result: args[1].numel() * result.numel() // result.shape[-1],
}
"""Multiply-accumulates of operators for which torch has no formula: each weight is used once at each position."""


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Adds up the operations by torch's own formulas.

    `torch.utils.flop_counter.FlopCounterMode` does the same by module, and imports torch's compiler for it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        elif (name := func._schema.name) in _UNCOUNTED:
            self.flops += 2 * _UNCOUNTED[name](args, result)
        return result


def compare_outputs(
    graph: Graph,
    run: Run,
    *,
    uncertain: frozenset[str] = frozenset(),
    batch: int | None = None,
    sample: Collection[int] | None = None,
) -> Iterator[Mismatch]:
    """Differences in shapes and receptive fields; unknown receptive fields are not compared.

    Args:
        graph: the table.
        run: computes the outputs of rows.
        uncertain: rows besides those of `behind_comparisons` for which NaN may be lost.
        batch: the only number of images that the network takes; None: any.
        sample: see `verify_module`.
    """
    fields, uncertain = receptive_fields(graph), uncertain | behind_comparisons(graph)
    shapes: dict[str, Shape] = {}
    masks: list[dict[str, list[int]]] = []  # axis -> row -> for each unit a bit mask of the pixels that reach it
    for axis in range(len(graph.input_shape) - 1):
        masks.append({})
        for positions, images in _probes(graph.input_shape, axis, batch, sample):
            for name, output in run(images).items():
                if not has_batch(output.layout):
                    continue  # the images are mixed
                shapes[name] = _shape_of_one(output, len(images))
                new = _masks(_reached(output, axis, len(images)), positions)
                old = masks[axis].get(name, [0] * len(new))
                masks[axis][name] = [a | b for a, b in zip(old, new, strict=True)]
    for node in graph.nodes:
        if node.name not in shapes:
            continue  # not computed by an operator, or by one that mixes images
        if node.shape != shapes[node.name]:
            shape = "nothing" if node.shape is None else format_shape(node.shape)
            yield Mismatch(node.name, "shape", shape, format_shape(shapes[node.name]))
        receptive_field = fields[node.name]
        if not isinstance(receptive_field, ReceptiveFields):
            continue
        for axis, by_row in enumerate(masks):
            if node.name not in by_row:
                continue  # no position of the sample lies on this axis
            expected, actual = list(receptive_field.axes[axis].masks), by_row[node.name]
            if sample is not None:
                probed = sum(1 << position for position in sample)
                expected = [mask & probed for mask in expected]
            if node.name in uncertain and len(expected) == len(actual):
                actual = [a | b for a, b in zip(actual, expected, strict=True)]
            yield from _compare_masks(node.name, axis, expected, actual)


def _probes(
    shape: Shape, axis: int, batch: int | None, sample: Collection[int] | None
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of images (P, C, positions ...); image i is NaN at the i-th of the given positions along an axis."""
    probed = sorted(range(shape[1 + axis]) if sample is None else {each for each in sample if each < shape[1 + axis]})
    most = batch or max(BATCH, BATCH_PIXELS // prod(shape))
    generator = torch.Generator().manual_seed(0)
    for first in range(0, len(probed), most):
        positions = probed[first : first + most]
        # Of a single position more than one image: torch runs other operators for one image than for a batch.
        positions = [*positions, *positions[-1:] * ((batch or min(BATCH, most)) - len(positions))]
        images = torch.randn(len(positions), *shape, generator=generator)
        for position, image in zip(positions, images, strict=True):
            image.select(1 + axis, position).fill_(torch.nan)
        yield positions, images


def _shape_of_one(output: Output, images: int) -> Shape:
    """The shape of an output for one image."""
    shape: list[int] = []
    for size, factors in zip(output.value.shape, output.layout, strict=True):
        batched = any(factor.of is Role.BATCH for factor in factors)
        if not batched or size > images:
            shape.append(size // images if batched else size)
    return tuple(shape)


def _reached(output: Output, axis: int, images: int) -> Tensor:
    """Which units along an axis of the input became NaN: bool (P, units); one unit if the axis was reduced."""
    value = output.value if output.value.dtype == torch.bool else output.value.isnan()
    flat = [factor for factors in output.layout for factor in factors]
    value = value.reshape([_size(factor, images) for factor in flat])
    for dim, factor in enumerate(flat):
        if factor.grid:
            value = value.narrow(dim, factor.before, prod(each.size for each in factor.grid))
    single = [each for factor in flat for each in factor.grid or (factor,)]
    value = value.reshape([_size(each, images) for each in single])
    batch = next(i for i, each in enumerate(single) if each.of is Role.BATCH)
    pieces = sorted((i for i, each in enumerate(single) if each.of == axis), key=lambda i: -single[i].step)
    rest = [i for i in range(len(single)) if i not in (batch, *pieces)]
    others = prod(value.shape[i] for i in rest)
    return value.permute(batch, *pieces, *rest).reshape(images, -1, others).any(-1)


def _size(factor: Factor, images: int) -> int:
    return images if factor.of is Role.BATCH else factor.size


def _masks(reached: Tensor, positions: list[int]) -> list[int]:
    """For each unit a bit mask of the positions whose probes reached it, given bool (P, units)."""
    return [
        sum(1 << position for position in {positions[p] for p in column.nonzero().flatten().tolist()})
        for column in reached.T
    ]


def _compare_masks(name: str, axis: int, expected: list[int], actual: list[int]) -> Iterator[Mismatch]:
    """The first unit whose receptive field differs."""
    if len(expected) != len(actual):
        yield Mismatch(name, "receptive field", f"{len(expected)} units along axis {axis}", f"{len(actual)}")
        return
    for unit, (table, network) in enumerate(zip(expected, actual, strict=True)):
        if table != network:
            where = f"unit {unit} of axis {axis} sees {_pixels(table)}"
            yield Mismatch(name, "receptive field", where, _pixels(network))
            return


def _pixels(mask: int) -> str:
    """The pixels of a bit mask as ranges: `0-4, 6`."""
    return ", ".join(as_ranges([i for i in range(mask.bit_length()) if mask >> i & 1])) or "nothing"
