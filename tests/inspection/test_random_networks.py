"""Receptive fields of random networks against a NaN probe of the built module.

The probe does not use windows: one row (or column) of the input is NaN, and the units that become NaN are those that
see it. All rows of one axis are probed in one batch.
"""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from cnncli.config.network import Network
from cnncli.inspection.graph import graph_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.module import CnnModule
from tests.networks import lay_out_text

pair = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)
kernel = st.tuples(st.integers(1, 5), st.integers(1, 5)).map(list)
channels = st.sampled_from([2, 4])


@st.composite
def conv(draw: st.DrawFn) -> str:
    """Dilation, asymmetric kernels, strides and padding, `same`, even kernels."""
    stride = draw(st.one_of(st.just([1, 1]), pair))
    padding = draw(st.one_of(st.just("same"), st.tuples(st.integers(0, 3), st.integers(0, 3)).map(list)))
    dilation = draw(st.one_of(st.just([1, 1]), pair))
    return (
        f"{{conv: {{out_channels: {draw(channels)}, kernel_size: {draw(kernel)}, stride: {stride}, "
        f"padding: {padding}, dilation: {dilation}, activation: relu}}}}"
    )


@st.composite
def pool(draw: st.DrawFn) -> str:
    word = draw(st.sampled_from(["max_pool", "avg_pool"]))
    size = draw(kernel)
    padding = [draw(st.integers(0, each // 2)) for each in size]
    ceil_mode = draw(st.sampled_from(["true", "false"]))
    dilation = f", dilation: {draw(pair)}" if word == "max_pool" else ""
    return (
        f"{{{word}: {{kernel_size: {size}, stride: {draw(pair)}, padding: {padding}, "
        f"ceil_mode: {ceil_mode}{dilation}}}}}"
    )


@st.composite
def transposed(draw: st.DrawFn) -> str:
    stride = draw(pair)
    extra = [draw(st.integers(0, each - 1)) for each in stride]
    padding = [draw(st.integers(0, 1)), draw(st.integers(0, 1))]
    return (
        f"{{conv_transpose: {{out_channels: {draw(channels)}, kernel_size: {draw(kernel)}, stride: {stride}, "
        f"padding: {padding}, dilation: {draw(pair)}, output_padding: {extra}}}}}"
    )


adaptive = st.builds(
    lambda word, size: f"{{{word}: {list(size)}}}",
    st.sampled_from(["adaptive_avg_pool", "adaptive_max_pool"]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
upsample = st.builds(
    lambda size, mode: f"{{upsample: {{size: {list(size)}, mode: {mode}}}}}",
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from(["nearest", "bilinear"]),
)
layer = st.one_of(conv(), conv(), pool(), transposed(), adaptive, upsample)


def listed(layers: Sequence[str]) -> str:
    return f"[{', '.join(layers)}]"


@st.composite
def keeps_size(draw: st.DrawFn) -> str:
    """A layer with stride 1 and `same`, so that paths of any length fit together."""
    size = draw(st.tuples(st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 3, 4])).map(list))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)).map(list))
    return f"{{conv: {{out_channels: 4, kernel_size: {size}, padding: same, dilation: {dilation}}}}}"


@st.composite
def residual(draw: st.DrawFn) -> str:
    main = draw(st.lists(keeps_size(), min_size=1, max_size=3))
    if draw(st.booleans()):
        stride = draw(pair)
        main.append(f"{{conv: {{out_channels: 4, kernel_size: 3, padding: same, stride: {stride}}}}}")
    return f"{{residual: {{main: {listed(main)}}}}}"


@st.composite
def branch(draw: st.DrawFn) -> str:
    """Paths that end with the same size: they keep it, or end with an adaptive pool."""
    merge = draw(st.sampled_from(["concat", "add"]))
    paths = [draw(st.lists(keeps_size(), min_size=1, max_size=2)) for _ in range(draw(st.integers(2, 3)))]
    if draw(st.booleans()):
        before, end = draw(conv()), draw(adaptive)
        paths = [[*paths[0], end], *([before, *path, end] for path in paths[1:])]
        paths = [[*path, "{conv: {out_channels: 4, kernel_size: 1}}"] for path in paths]
    return f"{{branch: {{merge: {merge}, paths: {listed([listed(path) for path in paths])}}}}}"


stack = st.lists(layer, min_size=1, max_size=4)
graph = st.lists(st.one_of(layer, residual(), branch()), min_size=1, max_size=4)
size = st.tuples(st.integers(5, 14), st.integers(5, 14))


def network_of(layers: Sequence[str], shape: tuple[int, int, int]) -> Network | None:
    """The network, which need not end with logits; None if a layer does not fit."""
    network, problems = lay_out_text(f"model:\n  layers: {listed(layers)}\n", shape)
    return None if problems else network


def probe(model: nn.Module, shape: tuple[int, ...], axis: int) -> list[int]:
    """For each unit along `axis` of the output the input positions it sees, as a bit mask."""
    count = shape[axis]
    images = torch.zeros(count, *shape)
    for position in range(count):
        images[position].select(axis, position).fill_(float("nan"))
    with torch.no_grad():
        wrong = model(images).isnan().movedim(axis + 1, 1).flatten(2).any(2)  # (position, unit)
    return [sum(1 << position for position in column.nonzero().flatten().tolist()) for column in wrong.T]


def check_if_it_fits(layers: Sequence[str], spatial: tuple[int, int]) -> None:
    network = network_of(layers, (4, *spatial))
    assume(network is not None)
    assert network is not None
    assume(max(max(node.shape[1:]) for node in network.nodes) <= 60)
    check(network, layers)


def check(network: Network, layers: Sequence[str]) -> None:
    shape = network.input_shape
    model = CnnModule(network).eval()
    name = network.nodes[-1].name
    fields = receptive_fields(graph_of(network, "test"))[name]
    assert isinstance(fields, ReceptiveFields)
    assert tuple(len(axis.masks) for axis in fields.axes) == network.nodes[-1].shape[1:]
    for axis in (1, 2):
        field = fields.axes[axis - 1]
        assert list(field.masks) == probe(model, shape, axis)
        # At its edges bilinear interpolation reads a neighbor with weight 0, which the closed form does not count.
        if field.closed_form is not None and not fields.is_global and "bilinear" not in listed(layers):
            for unit, mask in enumerate(field.masks):
                pattern = field.closed_form.pattern(unit)
                inside = pattern.mask << pattern.start if pattern.start >= 0 else pattern.mask >> -pattern.start
                assert mask & ~inside == 0, "the closed form contains all that is really seen"


RANDOM = settings(
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@given(stack, size)
@RANDOM
def test_stacks(layers: list[str], spatial: tuple[int, int]) -> None:
    check_if_it_fits(layers, spatial)


@given(graph, size)
@RANDOM
def test_graphs(layers: list[str], spatial: tuple[int, int]) -> None:
    check_if_it_fits(layers, spatial)


@pytest.mark.parametrize(
    "layers",
    [
        "{residual: {main: [{conv: {out_channels: 6, kernel_size: 3, stride: 2, padding: same}}], activation: relu}}",
        "{residual: {main: [{conv: {out_channels: 4, kernel_size: 5, padding: same}}]}}",
        "{residual: {main: [{max_pool: 2}], shortcut: [{avg_pool: {kernel_size: 3, stride: 2, padding: 1}}]}}",
        "{branch: {merge: concat, paths: [[{conv: {out_channels: 2, kernel_size: 1}}], "
        "[{conv: {out_channels: 3, kernel_size: 5, padding: same}}], "
        "[{max_pool: {kernel_size: 3, stride: 1, padding: 1}}]]}}, "
        "{conv: {out_channels: 2, kernel_size: 2, stride: 2}}",
        "{branch: {merge: add, paths: [[{adaptive_avg_pool: 3}], [{adaptive_max_pool: 3}]]}}",
        "{max_pool: 2}, {upsample: 2}, {conv: {out_channels: 3, kernel_size: 3}}",
        "{adaptive_avg_pool: 4}, {conv: {out_channels: 3, kernel_size: 2, padding: 1}}",
        "{pixel_unshuffle: 2}, {conv: {out_channels: 8, kernel_size: 3}}, {pixel_shuffle: 2}, "
        "{conv: {out_channels: 3, kernel_size: 3, stride: 2}}",
        "{conv_transpose: {out_channels: 3, kernel_size: 3, stride: 2}}, "
        "{conv: {out_channels: 3, kernel_size: 3, stride: 2}}",
    ],
)
def test_compositions(layers: str) -> None:
    network = network_of([layers], (4, 12, 12))
    assert network is not None
    check(network, [layers])


def test_closed_form_agrees_with_the_units() -> None:
    """Without holes, the closed form clipped to the image is what each unit sees."""
    layers = ["{conv: {out_channels: 2, kernel_size: 5, stride: 2, padding: 2}}"]
    network = network_of([*layers, "{max_pool: {kernel_size: 3, stride: 2, padding: 1}}"], (4, 11, 9))
    assert network is not None
    fields = receptive_fields(graph_of(network, "test"))["max_pool1"]
    assert isinstance(fields, ReceptiveFields)
    for axis, size in zip(fields.axes, (11, 9), strict=True):
        assert axis.closed_form is not None
        for unit in range(len(axis.masks)):
            pattern = axis.closed_form.pattern(unit)
            assert axis.interval(unit) == (max(0, pattern.start), min(size - 1, pattern.end))
