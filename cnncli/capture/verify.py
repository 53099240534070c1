"""Checking the rows of a table against the network itself: shapes, parameters, and the field of every unit.

The field is probed without knowing anything of windows: NaN is put into one row (or column) of the input, and the units
that become NaN are those that see it. NaN passes through activations, norms, pools and zero weights alike; it is lost
only where numbers are compared. Of rows behind a comparison it is checked that no unit sees more than the table says.

Letters for shapes: P probes in a batch, C channels, H height, W width.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.capture.graph import CPU, capture
from cnncli.capture.layout import Factor, Kind, Layout, has_batch, of_input
from cnncli.capture.record import BATCH, UNCOUNTED, reported
from cnncli.capture.rows import Row
from cnncli.config.network import Network
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.layers import Shape, format_shape

BATCH_PIXELS = 1 << 19
"""Numbers in a batch of probes: enough to be quick, few enough to fit in memory with all layers."""


_COMPARISONS = frozenset({
    "eq", "ne", "gt", "ge", "lt", "le", "sign", "sgn", "heaviside", "isnan", "isfinite", "isinf", "argmax", "argmin",
    "logical_not", "logical_and", "logical_or", "logical_xor", "fmax", "fmin", "nan_to_num",
})  # fmt: skip
"""Operations behind which nothing is NaN any more."""


@dataclass(frozen=True)
class Mismatch:
    """A row that is not what the network does.

    Attributes:
        layer: the row's name.
        what: `shape`, `params`, `field` or `rows`.
        said: by the table.
        found: in the network.
    """

    layer: str
    what: str
    said: str
    found: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.what}: the table says {self.said}, the network {self.found}"


@dataclass(frozen=True)
class _Output:
    """What a layer gave for a batch of probes, and which of its axes are which."""

    value: Tensor
    layout: Layout


Run = Callable[[Tensor], Mapping[str, _Output]]
"""Takes images (P, C, positions ...), gives the output of every row by name."""


class _OtherOperations(Exception):  # noqa: N818  an answer, not an error
    """The module ran other operations than those that its rows were made of."""


def behind_comparisons(graph: Graph) -> frozenset[str]:
    """The rows that compare numbers, or depend on rows that do: there NaN may be lost."""
    found: set[str] = set()
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs) or any(part.type in _COMPARISONS for part in node.parts):
            found.add(node.name)
    return frozenset(found)


def verify_network(network: Network, module: nn.Module) -> list[Mismatch]:
    """Check every row of a config's table against its module; empty where all is true.

    Args:
        network: as the config describes it.
        module: the `CnnModule` of it; it is left in eval mode.
    """
    module.eval()
    graph = graph_of(network, "network")
    layers = {node.name: module.get_submodule(node.name) for node in network.nodes}

    def run(images: Tensor) -> dict[str, _Output]:
        outputs: dict[str, _Output] = {}

        def keep(name: str, output: Tensor) -> None:
            outputs[name] = _Output(output, of_input(output.shape))

        hooks = [
            layer.register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
            for name, layer in layers.items()
        ]
        try:
            with torch.no_grad():
                module(images)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    counted = {name: sum(each.numel() for each in layer.parameters()) for name, layer in layers.items()}
    return [*_parameters(graph, counted), *_outputs(graph, run)]


def verify_module(module: nn.Module, graph: Graph) -> list[Mismatch]:
    """Run a module on the CPU and check every row of its graph; empty where all is true.

    Args:
        module: with numbers, on the CPU; its mode is left as it was.
        graph: as `graph_of_module` gives it.
    """
    modes = {each: each.training for each in module.modules()}
    try:
        module.eval()
        rows = {row.name: row for row in capture(module, graph.input_shape, device=CPU).rows}
        said = {node.name for node in graph.nodes}
        if said != set(rows):
            missing, extra = sorted(said - set(rows)), sorted(set(rows) - said)
            return [Mismatch("the table", "rows", f"also {missing}", f"also {extra}")]
        counted = _counted(module, rows, graph.input_shape)
        return [*_parameters(graph, counted), *_outputs(graph, lambda images: dict(_watched(module, rows, images)))]
    except _OtherOperations as where:
        return [Mismatch(str(where), "rows", "what runs on zeros", "does something else with other numbers")]
    finally:
        for each, training in modes.items():
            each.training = training


def _watched(module: nn.Module, rows: Mapping[str, Row], images: Tensor) -> Iterator[tuple[str, _Output]]:
    """The outputs of rows, each as the operation ends that makes it."""
    wanted = {row.made_by.number: row for row in rows.values() if row.made_by.number is not None}
    caught: list[tuple[str, _Output]] = []
    numbers = count()

    def catch(name: str, pointwise: bool, arguments: Mapping[str, Any], result: Any, path: str) -> None:  # noqa: ANN401  see Report
        row = None if name == UNCOUNTED else wanted.get(next(numbers))
        if row is not None:
            if name != row.made_by.name:
                raise _OtherOperations(row.name)
            tensor = result if isinstance(result, Tensor) else result[0]
            caught.append((row.name, _Output(tensor.isnan(), row.layout)))

    with reported(module, catch):
        module(images)
    yield from caught


def _counted(module: nn.Module, rows: Mapping[str, Row], shape: Shape) -> dict[str, int]:
    """Parameters by the first row that each reaches: put to NaN, one after another, they say so themselves."""
    counted = dict.fromkeys(rows, 0)
    images = torch.ones(BATCH, *shape)
    for parameter in module.parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.fill_(torch.nan)
            reached = (name for name, output in _watched(module, rows, images) if output.value.any())
            first = next(reached, None)
            parameter.copy_(kept)
        if first is not None:
            counted[first] += parameter.numel()
    return counted


def _parameters(graph: Graph, counted: Mapping[str, int]) -> Iterator[Mismatch]:
    unclear = behind_comparisons(graph)
    for node in graph.nodes:
        if node.params != counted[node.name] and node.name not in unclear:
            yield Mismatch(node.name, "params", f"{node.params}", f"{counted[node.name]}")


def _outputs(graph: Graph, run: Run) -> Iterator[Mismatch]:
    """Shapes and fields; a row whose field is unknown has nothing to disagree with."""
    fields, unclear = receptive_fields(graph), behind_comparisons(graph)
    shapes: dict[str, Shape] = {}
    seen: list[dict[str, list[int]]] = []  # axis -> row -> for each unit the pixels it saw, as a bit mask
    for axis in range(len(graph.input_shape) - 1):
        seen.append({})
        for positions, images in _probes(graph.input_shape, axis):
            for name, output in run(images).items():
                if not has_batch(output.layout):
                    continue  # nothing is said of it, and nothing can be told of a single image
                shapes[name] = _shape_of_one(output, len(images))
                masks = _masks(_touched(output, axis, len(images)), positions)
                before = seen[axis].get(name, [0] * len(masks))
                seen[axis][name] = [a | b for a, b in zip(before, masks, strict=True)]
    for node in graph.nodes:
        if node.name not in shapes:
            continue  # no operator made it, or one that mixes images
        if node.shape != shapes[node.name]:
            shape = "nothing" if node.shape is None else format_shape(node.shape)
            yield Mismatch(node.name, "shape", shape, format_shape(shapes[node.name]))
        field = fields[node.name]
        for axis, masks in enumerate(each[node.name] for each in seen):
            if isinstance(field, ReceptiveFields):
                said = field.axes[axis].masks
                if node.name in unclear and len(said) == len(masks):
                    masks = [found | expected for found, expected in zip(masks, said, strict=True)]
                yield from _field(node.name, axis, list(said), masks)


def _probes(shape: Shape, axis: int) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of images (P, C, positions ...) of which image i is NaN at the i-th of the positions of an axis."""
    size = shape[1 + axis]
    most = max(BATCH, BATCH_PIXELS // prod(shape))
    generator = torch.Generator().manual_seed(0)
    for first in range(0, size, most):
        positions = list(range(first, min(first + most, size)))
        # Of a single image torch takes other ways through some operators than of a batch.
        positions *= BATCH if len(positions) == 1 else 1
        images = torch.randn(len(positions), *shape, generator=generator)
        for position, image in zip(positions, images, strict=True):
            image.select(1 + axis, position).fill_(torch.nan)
        yield positions, images


def _shape_of_one(output: _Output, images: int) -> Shape:
    """The shape of an output for one image."""
    shape: list[int] = []
    for size, factors in zip(output.value.shape, output.layout, strict=True):
        batched = any(factor.of is Kind.BATCH for factor in factors)
        if not batched or size > images:
            shape.append(size // images if batched else size)
    return tuple(shape)


def _touched(output: _Output, axis: int, images: int) -> Tensor:
    """Which units along an axis of the input became NaN: bool (P, units); one unit where the axis is gone."""
    value = output.value if output.value.dtype == torch.bool else output.value.isnan()
    flat = [factor for factors in output.layout for factor in factors]
    value = value.reshape([_size(factor, images) for factor in flat])
    for dim, factor in enumerate(flat):
        if factor.grid:
            value = value.narrow(dim, factor.before, prod(each.size for each in factor.grid))
    single = [each for factor in flat for each in factor.grid or (factor,)]
    value = value.reshape([_size(each, images) for each in single])
    batch = next(i for i, each in enumerate(single) if each.of is Kind.BATCH)
    pieces = sorted((i for i, each in enumerate(single) if each.of == axis), key=lambda i: -single[i].step)
    rest = [i for i in range(len(single)) if i not in (batch, *pieces)]
    others = prod(value.shape[i] for i in rest)
    return value.permute(batch, *pieces, *rest).reshape(images, -1, others).any(-1)


def _size(factor: Factor, images: int) -> int:
    return images if factor.of is Kind.BATCH else factor.size


def _masks(touched: Tensor, positions: list[int]) -> list[int]:
    """For each unit the probes (P, units) that reached it, as a bit mask of their positions."""
    return [
        sum(1 << position for position in {positions[p] for p in column.nonzero().flatten().tolist()})
        for column in touched.T
    ]


def _field(name: str, axis: int, said: list[int], found: list[int]) -> Iterator[Mismatch]:
    """The first unit of which table and probe differ."""
    if len(said) != len(found):
        yield Mismatch(name, "field", f"{len(said)} units along axis {axis}", f"{len(found)}")
        return
    for unit, (expected, probed) in enumerate(zip(said, found, strict=True)):
        if expected != probed:
            where = f"unit {unit} of axis {axis}"
            yield Mismatch(name, "field", f"{where} sees {_pixels(expected)}", _pixels(probed))
            return


def _pixels(mask: int) -> str:
    """The pixels of a bit mask as ranges: `0-4, 6`."""
    pixels = [i for i in range(mask.bit_length()) if mask >> i & 1]
    starts = [i for i in pixels if i - 1 not in pixels]
    ends = [i for i in pixels if i + 1 not in pixels]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)) or "nothing"
