"""Patches read back from the pictures, of networks whose weights were set by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cnncli.drawing.canvas import FRAME
from cnncli.drawing.color import DIVERGING, SEQUENTIAL, diverging, sequential
from cnncli.drawing.sheet import PART, Drawing
from cnncli.errors import UsageError
from cnncli.inspection.units import UnitReceptiveField
from cnncli.run import Run
from cnncli.views.patches import PADDING, CroppedImage, FilterPatches, Patches, draw_patches, patch_pixels
from cnncli.views.units import Patch

SMALL = "[{conv: {out_channels: 3, kernel_size: 3, padding: same, activation: relu}}, {max_pool: 2}, flatten, logits]"

RunOf = Callable[..., Run]


def noise(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def test_a_planted_motif_is_the_patch_that_is_drawn_and_framed_in_its_image(
    drawn: list[Drawing], run_of: RunOf
) -> None:
    """The kernel wants white on a cross and black beside it; only image 5 has that, at rows 7 to 9, columns 2 to 4."""
    cross = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    images = noise(8, 1, 12, 12) // 3 + 60
    images[5, 0, 7:10, 2:5] = 255 * cross
    run = run_of("[{conv: {out_channels: 1, kernel_size: 3}}, flatten, logits]", images)
    with torch.no_grad():
        run.model.kernels()["conv1"].copy_(2.0 * cross - 1)
    (shown,) = Patches(count=2).pictures(run)
    (picture,) = drawn
    assert shown.tag == "patches/01_conv1"
    box = picture.boxes[0, 0, 0]
    assert np.array_equal(picture.colors(box), (255 * cross)[..., None].expand(3, 3, 3).numpy())
    source = picture.boxes[0, 0, 1]
    colors = picture.pixels[source.y - 1 : source.bottom + 1, source.x - 1 : source.right + 1]
    marked = np.argwhere((colors == PART).all(axis=-1)) - 1  # in enlarged pixels of the image
    scale = source.scale
    assert marked.min(axis=0).tolist() == [7 * scale - 1, 2 * scale - 1]
    assert marked.max(axis=0).tolist() == [10 * scale, 5 * scale]
    inside = picture.colors(source)[7:10, 2:5]
    assert np.array_equal(inside, picture.colors(box))
    assert shown.tiles[0].values.tolist() == (255 * cross).tolist()
    assert ": owl, " in shown.tiles[0].label
    assert "#5 at 7,2" in shown.tiles[0].label


def test_padding_is_drawn_in_violet_checks(drawn: list[Drawing], run_of: RunOf) -> None:
    """The corner of the image is brightest, and the kernel looks at the middle pixel only."""
    images = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    images[0, 0, 0, 5] = 255
    run = run_of("[{conv: {out_channels: 1, kernel_size: 3, padding: same}}, flatten, logits]", images)
    with torch.no_grad():
        run.model.kernels()["conv1"].zero_()[0, 0, 1, 1] = 1
    (shown,) = Patches().pictures(run)
    colors = drawn[0].colors(drawn[0].boxes[0, 0, 0])
    light, dark = map(list, PADDING)
    assert colors.tolist() == [
        [light, dark, light],
        [[0] * 3, [255] * 3, dark],
        [[0] * 3, [0] * 3, light],
    ]
    assert "Violet checks: padding." in shown.lines[0]
    assert np.isnan(shown.tiles[0].values).tolist() == [[True] * 3, [False, False, True], [False, False, True]]


def test_dead_filters_say_so_and_are_counted(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of(SMALL, noise(5, 1, 8, 8))
    with torch.no_grad():
        run.model.kernels()["conv1"][1] = 0
        run.model.get_parameter("conv1.conv.bias")[1] = -1
    (shown,) = Patches().pictures(run)
    assert shown.numbers == {"dead_filters": 1}
    assert shown.lines[0].endswith("1 of 3 filters are dead: always 0.")
    assert {key[0] for key in drawn[0].boxes} == {0, 2}
    assert not any(tile.label.startswith("filter 1") for tile in shown.tiles)


def test_of_layers_that_see_everything_the_patch_is_the_image(drawn: list[Drawing], run_of: RunOf) -> None:
    images = noise(7, 3, 8, 8)
    run = run_of(SMALL, images)
    (shown,) = Patches(layers=["logits1"], count=3).pictures(run)
    with torch.no_grad():
        logits = run.model(next(run.batches().epoch(1))[0])
    for number in range(3):
        best = int(logits[:, number].argmax())
        colors = drawn[0].colors(drawn[0].boxes[number, 0, 0])
        assert np.array_equal(colors, images[best].permute(1, 2, 0).numpy())
        assert (number, 0, 1) not in drawn[0].boxes
    assert shown.tiles[0].label.startswith("class 0, cat: ")


def test_only_some_filters_are_drawn_and_the_picture_says_so(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of("[{conv: {out_channels: 20, kernel_size: 3}}, flatten, logits]", noise(4, 1, 8, 8))
    (first,) = Patches(count=1).pictures(run)
    assert {key[0] for key in drawn[0].boxes} == set(range(16))
    assert first.lines[0].endswith("16 of 20 filters; --filter shows others.")
    list(Patches(filters=[19, 2], count=1).pictures(run))
    assert {key[0] for key in drawn[1].boxes} == {0, 1}
    with pytest.raises(UsageError, match="conv1 has filters 0 to 19"):
        list(Patches(filters=[20]).pictures(run))
    with pytest.raises(UsageError, match="has no layer conv2"):
        list(Patches(layers=["conv2"]).pictures(run))


def test_large_images_are_thinned_out_and_padding_is_limited(drawn: list[Drawing], run_of: RunOf) -> None:
    layers = ", ".join(["{conv: {out_channels: 2, kernel_size: 9, padding: same, dilation: 5}}"] * 3)
    run = run_of(f"[{layers}, global_avg_pool, logits]", noise(2, 1, 30, 200))
    pictures = list(Patches(layers=["conv3"], count=1).pictures(run))
    box = drawn[0].boxes[0, 0, 0]
    assert box.height * box.scale <= 96
    assert box.width * box.scale <= 96
    assert "Violet checks: padding, at most 6 of it on each side." in pictures[0].lines[0]


def cropped(padding: list[list[int]], unread: list[list[int]] | None = None) -> CroppedImage:
    mask = torch.tensor(padding, dtype=torch.bool)
    clipped = ((0, 1), (0, 1))
    patch = Patch(
        receptive_field=UnitReceptiveField(
            layer="conv1", unit=(0, 0), unclipped=clipped, clipped=clipped, padding=None, pixels=((0, 1), (0, 1))
        ),
        rows=clipped[0],
        columns=clipped[1],
        pixels=torch.full((1, *mask.shape), 100, dtype=torch.uint8),
        padding=mask,
        unread=torch.zeros_like(mask) if unread is None else torch.tensor(unread, dtype=torch.bool),
    )
    return CroppedImage(patch=patch, image=torch.zeros(1, 6, 6, dtype=torch.uint8))


def test_padding_has_colors_of_its_own() -> None:
    """No gray, no value of either scale and no frame comes near the violets."""
    positions = np.linspace(-1, 1, 2001)
    scales = np.concatenate([diverging(positions, 1.0), sequential(positions, 0.0, 1.0)]).astype(int)
    others = np.concatenate([scales, np.arange(256)[:, None].repeat(3, axis=1), [PART, FRAME]])
    for violet in PADDING:
        assert np.abs(others - violet).max(axis=1).min() > 30
        assert violet not in [color for anchors in (DIVERGING, SEQUENTIAL) for _, color in anchors]


def test_padding_is_checked_and_unread_pixels_are_tinted() -> None:
    pixels = patch_pixels(cropped([[1, 1], [0, 0]], [[0, 0], [0, 1]]).patch)
    light, dark = map(list, PADDING)
    assert pixels.tolist() == [[light, dark], [[100] * 3, [(100 + level) // 2 for level in light]]]


def test_a_filter_without_patches_has_its_heading_only() -> None:
    picture = draw_patches(
        [FilterPatches(heading="dead"), FilterPatches(heading="alive", patches=[cropped([[0, 0], [0, 0]])] * 9)],
        title="",
        captions=[],
    )
    assert picture.boxes.keys() == {(1, cell, panel) for cell in range(9) for panel in (0, 1)}
    assert len({box.y for (_, _, panel), box in picture.boxes.items() if panel == 0}) == 1, "nine in a row"


def test_json_has_positions_and_activations(run_of: Callable[..., Run]) -> None:
    """Read back with torch: the output of the filter at the position is the activation, and the largest of the image.

    A 3x3 convolution without padding: the unit at (r, c) sees rows r to r + 2 and columns c to c + 2.
    """
    images = torch.randint(256, (5, 1, 7, 7), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    run = run_of("[{conv: {out_channels: 2, kernel_size: 3}}, flatten, logits]", images)
    (picture,) = Patches(layers=["conv1"], count=2).pictures(run)
    assert picture.data["layer"] == "conv1"
    filters: Any = picture.data["filters"]
    assert [each["filter"] for each in filters] == [0, 1]
    for each in filters:
        assert len(each["patches"]) == 2
        for patch in each["patches"]:
            with torch.no_grad():
                maps = run.model.outputs(run.as_input(images[patch["image"]])[None], ["conv1"])["conv1"][0]
            row, column = patch["position"]
            assert patch["activation"] == pytest.approx(float(maps[each["filter"], row, column]), abs=1e-5)
            assert patch["activation"] == pytest.approx(float(maps[each["filter"]].max()), abs=1e-5)
            assert (patch["rows"], patch["columns"]) == ([row, row + 2], [column, column + 2])
            assert patch["class"] == run.classes[int(run.test.labels[patch["image"]])]
