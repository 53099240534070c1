"""The units with the largest outputs, against a search by hand; their patches, against the network itself.

What a unit sees is probed without knowing of windows: pixels outside the patch may change without changing the unit by
a bit, and NaN in the first or last row or column of the patch makes the unit NaN.
"""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.module import CnnModule
from cnncli.views.units import Patch, crop_patch, images_at_once, top_activations
from tests.nan_probe import zero_weights_stop_nan

Build = Callable[..., CnnModule]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inspection_of(model: CnnModule) -> LayerTable:
    return inspect_graph(graph_of(model.network, ""))


# Which units


@pytest.mark.parametrize("per_image", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 30])
def test_the_largest_values_are_found(build: Build, per_image: int, batch: int) -> None:
    model, images = (
        build("[{conv: {out_channels: 3, kernel_size: 3, activation: tanh}}]", (2, 7, 6)),
        normal(30, 2, 7, 6),
    )
    found = top_activations(model, ["conv1"], torch.split(images, batch), count=9, per_image=per_image)["conv1"]
    with torch.no_grad():
        maps = model.outputs(images, ["conv1"])["conv1"]
    for number, top in enumerate(found):
        units = [(maps[i, number, r, c].item(), i, (r, c)) for i in range(30) for r in range(5) for c in range(4)]
        assert (top.lowest, top.highest) == (min(units)[0], max(units)[0])
        of_each_image: dict[int, list[tuple[float, int, tuple[int, int]]]] = {}
        for unit in sorted(units, reverse=True):
            of_each_image.setdefault(unit[1], []).append(unit)
        allowed = sorted((unit for each in of_each_image.values() for unit in each[:per_image]), reverse=True)
        assert top.filter == number
        assert [(each.value, each.image, each.position) for each in top.best] == allowed[:9]


def test_of_equal_values_the_first_image_comes_first(build: Build) -> None:
    model = build("[{conv: {out_channels: 1, kernel_size: 1}}, relu]", (1, 3, 3))
    images = normal(1, 1, 3, 3).expand(12, 1, 3, 3)
    for batch in (1, 5, 12):
        (top,) = top_activations(model, ["conv1"], torch.split(images, batch), count=4)["conv1"]
        assert [each.image for each in top.best] == [0, 1, 2, 3]


def test_dead_and_rarely_active_filters(build: Build) -> None:
    model = build("[{conv: {out_channels: 2, kernel_size: 1, activation: relu}}]", (1, 3, 3))
    with torch.no_grad():
        model.kernels()["conv1"].copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
        model.get_parameter("conv1.conv.bias").copy_(torch.tensor([-1.0, 0.0]))
    images = -torch.ones(5, 1, 3, 3)
    images[4, 0, 1, 2] = 0.5
    dead, alive = top_activations(model, ["conv1"], torch.split(images, 2), count=2)["conv1"]
    assert (dead.is_constant, dead.highest) == (True, 0)
    assert (alive.is_constant, alive.best[0].image, alive.best[0].position, alive.best[0].value) == (
        False,
        4,
        (1, 2),
        0.5,
    )


def test_numbers_of_a_layer_without_positions(build: Build) -> None:
    model, images = (
        build("[flatten, {linear: {out_features: 5, activation: relu}}, logits]", (1, 4, 4)),
        normal(8, 1, 4, 4),
    )
    found = top_activations(model, ["linear1", "logits1"], torch.split(images, 3), count=20)
    assert {name: len(each) for name, each in found.items()} == {"linear1": 5, "logits1": 3}
    assert [len(each.best) for each in found["logits1"]] == [8, 8, 8]
    with torch.no_grad():
        logits = model(images)
    assert [each.best[0].image for each in found["logits1"]] == logits.argmax(0).tolist()
    assert found["logits1"][0].best[0].position == ()


def test_fewer_images_at_once_for_a_large_network(build: Build) -> None:
    small, large = (
        build("[{conv: {out_channels: 4, kernel_size: 1}}]", (1, 8, 8)),
        build("[{conv: {out_channels: 512, kernel_size: 1}}]", (1, 512, 512)),
    )
    assert images_at_once(small.network) == 1000
    assert images_at_once(large.network) == 1


# What they see


def conv(kernel: object, more: str = "", channels: int = 2) -> str:
    return f"{{conv: {{out_channels: {channels}, kernel_size: {kernel}{more and ', '}{more}}}}}"


SAME, RELU = "padding: same", "activation: relu"
NETWORKS = {
    "stack": [conv(3, RELU, 3), "{max_pool: 2}", conv(3, RELU)],
    "same": [conv(5, f"{SAME}, {RELU}"), conv([3, 5], SAME)],
    "even kernel": [conv(4, SAME), "{avg_pool: 2}"],
    "dilation": [conv(3, "dilation: 2"), conv(3, "dilation: [1, 2], padding: 2")],
    "stride": [conv(3, "stride: 2"), conv(2, "stride: [1, 2], padding: 1")],
    "residual": [conv(3, "", 4), f"{{residual: {{main: [{conv(3, SAME, 4)}, {conv(3, SAME, 4)}], {RELU}}}}}"],
    "concat": [
        f"{{branch: {{merge: concat, paths: [[{conv(1)}], [{conv([5, 3], SAME)}]]}}}}",
        "{max_pool: 3}",
    ],
    "uneven bins": [conv(3), "{adaptive_avg_pool: [4, 5]}"],
    "upsampled": [conv(3, "stride: 3"), "{upsample: {size: [9, 10], mode: bilinear}}"],
    "transposed": [conv(3, "stride: 2"), "{conv_transpose: {out_channels: 2, kernel_size: 3, stride: 2}}"],
    "larger than the image": [conv(7, f"{SAME}, dilation: 2"), conv(7, f"{SAME}, dilation: 3")],
    "normalized": [conv(3, f"{SAME}, norm: batch, activation: gelu"), "{max_pool: 2}"],
    "flat": [conv(3, "stride: 2"), "flatten", "{linear: 4}"],
    "global": [conv(3), "global_avg_pool"],
}
SIZE = (12, 14)  # with which a convolution of stride 2 does not read the last row and column


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_a_patch_holds_what_the_unit_sees_and_no_row_or_column_more(build: Build, layers: list[str]) -> None:
    model = build(layers, (1, *SIZE))
    shape = model.network.nodes[-1].shape
    check(model, [(r, c) for r in range(shape[1]) for c in range(shape[2])] if len(shape) == 3 else [()])


@pytest.mark.parametrize("seed", range(40))
def test_the_same_for_networks_at_random(build: Build, seed: int) -> None:
    model = build(random_layers(random.Random(seed)), (1, *SIZE))
    _, height, width = model.network.nodes[-1].shape
    corners = {(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)}
    drawn = {(random.Random(i).randrange(height), random.Random(~i).randrange(width)) for i in range(8)}
    check(model, sorted(corners | drawn))


def random_layers(dice: random.Random) -> list[str]:
    """Three or four layers of all that changes a field; each fits whatever comes before."""

    def pair(most: int) -> list[int]:
        return [dice.randint(1, most), dice.randint(1, most)]

    def kept() -> str:
        return conv(pair(4), f"{SAME}, dilation: {pair(2)}")

    def strided() -> str:
        size, dilation = pair(4), pair(2)
        padding = [d * (k - 1) // 2 + dice.randint(0, 1) for k, d in zip(size, dilation, strict=True)]
        return conv(size, f"stride: {pair(2)}, dilation: {dilation}, padding: {padding}, {RELU}")

    makers: list[Callable[[], str]] = [
        kept,
        strided,
        lambda: f"{{residual: {{main: [{kept()}, {kept()}]}}}}",
        lambda: f"{{branch: {{merge: concat, paths: [[{kept()}], [{kept()}, {kept()}]]}}}}",
        lambda: f"{{max_pool: {{kernel_size: {pair(3)}, stride: {pair(2)}}}}}",
        lambda: f"{{adaptive_avg_pool: {[dice.randint(3, 6), dice.randint(3, 6)]}}}",
    ]
    between = [dice.choice(makers) for _ in range(dice.randint(1, 2))]
    return [strided(), *(make() for make in between), kept()]


def check(model: CnnModule, places: list[tuple[int, int]] | list[tuple[()]]) -> None:
    """Probe units of the last layer."""
    inspection, name = inspection_of(model), model.network.nodes[-1].name
    image = normal(1, *SIZE)
    for place in places:
        patch = crop_patch(inspection, name, place, image, most_padding=3)
        if patch.padding.all():
            with torch.no_grad():
                blind = model(torch.full((1, 1, *SIZE), torch.nan))[(0, slice(None), *place)]
            assert not blind.isnan().any(), place
            continue
        rows, columns = inside(patch)
        probes = [image.clone() for _ in range(6)]
        outside = torch.ones(SIZE, dtype=torch.bool)
        outside[rows.start : rows.stop, columns.start : columns.stop] = False
        probes[1][0, outside] = 1000 * normal(int(outside.sum()), seed=1)
        for probe, row in ((2, rows.start), (3, rows.stop - 1)):
            probes[probe][0, row, columns.start : columns.stop] = torch.nan
        for probe, column in ((4, columns.start), (5, columns.stop - 1)):
            probes[probe][0, rows.start : rows.stop, column] = torch.nan
        with torch.no_grad(), zero_weights_stop_nan():
            values = model(torch.stack(probes))[(slice(None), slice(None), *place)]  # (probe, channel)
        assert torch.equal(values[0], values[1]), place
        assert values[2:].isnan().any(1).all(), place  # the channels of a concat have one field together
        assert not values[:2].isnan().any()


def inside(patch: Patch) -> tuple[range, range]:
    """Rows and columns of the image that are in a patch, from its mask alone."""
    there = ~patch.padding
    spans = []
    for axis, first in ((0, patch.rows[0]), (1, patch.columns[0])):
        positions = (there.any(1 - axis).nonzero().flatten() + first).tolist()
        assert positions == list(range(positions[0], positions[-1] + 1))
        spans.append(range(positions[0], positions[-1] + 1))
    return spans[0], spans[1]


def test_pixels_skipped_by_dilation_are_marked(build: Build) -> None:
    model = build(NETWORKS["dilation"], (1, *SIZE))
    image = normal(1, *SIZE)
    patch = crop_patch(inspection_of(model), "conv2", (3, 4), image, most_padding=3)
    assert patch.unread.any()
    changed = image.clone()
    top, left = patch.rows[0], patch.columns[0]
    for row, column in patch.unread.nonzero().tolist():
        changed[0, top + row, left + column] = 1000.0
    with torch.no_grad():
        before, after = model(torch.stack([image, changed]))[:, 0, 3, 4]
    assert before == after


def test_padding_is_counted_as_the_kernel_counts_it(build: Build) -> None:
    image = torch.arange(1.0, 37).view(1, 6, 6)
    odd = inspection_of(build("[{conv: {out_channels: 1, kernel_size: 5, padding: same}}]", (1, 6, 6)))
    corner = crop_patch(odd, "conv1", (0, 0), image, most_padding=9)
    assert (corner.rows, corner.columns) == ((-2, 2), (-2, 2))
    assert corner.pixels.tolist() == [
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 2, 3], [0, 0, 7, 8, 9], [0, 0, 13, 14, 15]]
    ]
    assert corner.padding.int().tolist() == [[1] * 5, [1] * 5, *[[1, 1, 0, 0, 0]] * 3]
    even = inspection_of(build("[{conv: {out_channels: 1, kernel_size: 4, padding: same}}]", (1, 6, 6)))
    assert crop_patch(even, "conv1", (0, 5), image, most_padding=9).padding.int().tolist() == [
        [1] * 4,
        *[[0, 0, 1, 1]] * 3,
    ]
    kept = crop_patch(odd, "conv1", (0, 0), image, most_padding=1)
    assert (kept.rows, kept.columns, kept.padding.shape) == ((-1, 2), (-1, 2), (4, 4))


def test_a_unit_that_reads_only_padding(build: Build) -> None:
    inspection = inspection_of(build("[{conv: {out_channels: 1, kernel_size: 1, padding: 2}}]", (1, 4, 4)))
    patch = crop_patch(inspection, "conv1", (0, 3), torch.ones(1, 4, 4), most_padding=1)
    assert patch.padding.tolist() == [[True]]
    assert not patch.pixels.any()


# Planted truth


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        ("{out_channels: 1, kernel_size: [4, 5]}", (4, 5)),
        ("{out_channels: 1, kernel_size: [4, 5], padding: 2, activation: relu}", (4, 5)),
        ("{out_channels: 1, kernel_size: 3, dilation: 2, activation: sigmoid}", (5, 5)),
        ("{out_channels: 1, kernel_size: 4, stride: 2}", (4, 4)),
    ],
)
def test_a_planted_motif_is_cropped_exactly(build: Build, layer: str, size: tuple[int, int]) -> None:
    """The kernel is the motif, so that no other place of the noise fits as well."""
    model = build(f"[{{conv: {layer}}}]", (1, 20, 24))
    motif = (normal(*size, seed=3) > 0).float()
    kernel = model.kernels()["conv1"]
    step = size[0] // kernel.shape[2] + (size[0] % kernel.shape[2] > 0)
    with torch.no_grad():
        kernel.copy_(2 * motif[::step, ::step] - 1)
    images = torch.rand(20, 1, 20, 24, generator=torch.Generator().manual_seed(4)) * 0.2 + 0.4
    images[13, 0, 6 : 6 + size[0], 10 : 10 + size[1]] = motif
    (top,) = top_activations(model, ["conv1"], torch.split(images, 8), count=1)["conv1"]
    (best,) = top.best
    patch = crop_patch(inspection_of(model), "conv1", best.position, images[best.image], most_padding=9)
    assert (best.image, patch.rows, patch.columns) == (13, (6, 5 + size[0]), (10, 9 + size[1]))
    assert torch.equal(patch.pixels[0], motif)
