"""Receptive fields of random networks against a NaN probe of the built module.

The probe does not use windows: one row (or column) of the input is NaN, and the units that become NaN are those that
see it. All rows of one axis are probed in one batch.
"""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.strategies import SearchStrategy
from torch import nn

from cnncli.config.network import Network
from cnncli.inspection.graph import graph_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.module import CnnModule
from tests.nan_probe import zero_weights_stop_nan
from tests.random_networks import graph, listed, network_of, size, stack


def probe(model: nn.Module, shape: tuple[int, ...], axis: int) -> list[int]:
    """For each unit along `axis` of the output the input positions it sees, as a bit mask."""
    count = shape[axis]
    images = torch.zeros(count, *shape)
    for position in range(count):
        images[position].select(axis, position).fill_(float("nan"))
    with torch.no_grad(), zero_weights_stop_nan():
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
        # Where an interpolated point is a position, float32 may give a neighbor a weight of 1e-8: in no closed form.
        # Pixels that padding repeats are not in it, either.
        plain = not any(mode in listed(layers) for mode in ("bilinear", "reflect", "replicate", "circular"))
        if field.closed_form is not None and not fields.is_global and plain:
            for unit, mask in enumerate(field.masks):
                pattern = field.closed_form.pattern(unit)
                inside = pattern.mask << pattern.start if pattern.start >= 0 else pattern.mask >> -pattern.start
                assert mask & ~inside == 0, "the closed form contains all that is really seen"


COUNTS = pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])


def check_random(layers: SearchStrategy[list[str]], count: int) -> None:
    @given(layers, size)
    @settings(
        max_examples=count,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    def check(layers: list[str], spatial: tuple[int, int]) -> None:
        check_if_it_fits(layers, spatial)

    check()


@COUNTS
def test_stacks(count: int) -> None:
    check_random(stack, count)


@COUNTS
def test_graphs(count: int) -> None:
    check_random(graph, count)


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
    for axis, count in zip(fields.axes, (11, 9), strict=True):
        assert axis.closed_form is not None
        for unit in range(len(axis.masks)):
            pattern = axis.closed_form.pattern(unit)
            assert axis.interval(unit) == (max(0, pattern.start), min(count - 1, pattern.end))
