"""Augmentation, against torchvision's affine maps and values computed by hand."""

import math
from typing import Literal

import pytest
import torch
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from cnncli.data.augment import Augmentation
from cnncli.data.geometry import affine_matrices, displacement, sampling_grid

EVERYTHING = Augmentation(
    shift=2, rotate=20, scale=0.2, shear=10, flip_horizontal=True, flip_vertical=True, elastic_alpha=1.0,
    erase_probability=0.5, noise=0.1, crop_area=0.5, rand_magnitude=10, brightness=0.2, contrast=0.2, saturation=0.2,
    hue=0.1, gamma=0.2, blur_sigma=1, cutout_size=3,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_image() -> torch.Tensor:
    """(1, 3, 12, 16), without sharp edges at the border, where rounding would decide."""
    return torch.rand(1, 3, 12, 16, generator=generator())


@pytest.mark.parametrize(
    ("shift", "angle", "slant", "factor"),
    [
        ((0, 0), 0, 0, 1.0),
        ((2, -3), 0, 0, 1.0),
        ((0, 0), 30, 0, 1.0),
        ((0, 0), 0, 15, 1.0),
        ((1, 2), -50, 20, 1.3),
    ],
)
def test_affine_maps_equal_torchvision(shift: tuple[int, int], angle: float, slant: float, factor: float) -> None:
    image = smooth_image()
    matrices = affine_matrices(
        shift=torch.tensor([shift], dtype=torch.float32),
        rotate=torch.tensor([float(angle)]),
        shear=torch.tensor([float(slant)]),
        scale=torch.tensor([[factor, factor]]),
    )
    ours = functional.grid_sample(image, sampling_grid(matrices, 12, 16), align_corners=False)
    theirs = affine(image, angle, list(shift), factor, [float(slant), 0.0], InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_the_grid_equals_torch() -> None:
    """For a map that only scales, torch's theta is its inverse."""
    scale = torch.tensor([[0.5, 2.0], [1.25, -0.8]])
    nothing = torch.zeros(2)
    matrices = affine_matrices(shift=torch.zeros(2, 2), rotate=nothing, shear=nothing, scale=scale)
    theta = torch.cat((torch.diag_embed(1 / scale), torch.zeros(2, 2, 1)), dim=2)
    theirs = functional.affine_grid(theta, [2, 1, 5, 8], align_corners=False)
    torch.testing.assert_close(sampling_grid(matrices, 5, 8), theirs)


def test_half_of_the_images_are_mirrored_exactly() -> None:
    images = smooth_image().repeat(400, 1, 1, 1)
    varied = Augmentation(flip_horizontal=True)(images, generator())
    mirrored = (varied == images.flip(3)).flatten(1).all(dim=1)
    kept = (varied == images).flatten(1).all(dim=1)
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


def test_flip_vertical_swaps_top_and_bottom() -> None:
    images = smooth_image().repeat(20, 1, 1, 1)
    varied = Augmentation(flip_vertical=True)(images, generator())
    mirrored = (varied == images.flip(2)).flatten(1).all(dim=1)
    assert 0 < mirrored.sum() < 20


def test_flips_are_independent() -> None:
    images = smooth_image().repeat(400, 1, 1, 1)
    varied = Augmentation(flip_horizontal=True, flip_vertical=True)(images, generator())
    ways = [images, images.flip(3), images.flip(2), images.flip(2, 3)]
    counts = [int((varied == way).flatten(1).all(dim=1).sum()) for way in ways]
    assert sum(counts) == 400
    assert min(counts) > 60


def test_flips_combine_with_resampling() -> None:
    images = smooth_image().repeat(400, 1, 1, 1)
    varied = Augmentation(flip_horizontal=True, shift=1e-6)(images, generator())
    mirrored = torch.isclose(varied, images.flip(3), atol=1e-4).flatten(1).all(dim=1)
    kept = torch.isclose(varied, images, atol=1e-4).flatten(1).all(dim=1)
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


def test_shift_is_bounded() -> None:
    images = torch.zeros(200, 1, 15, 15)
    images[:, :, 7, 7] = 1
    varied = Augmentation(shift=3)(images, generator())
    rows, columns = varied[:, 0].amax(dim=2), varied[:, 0].amax(dim=1)
    for seen in (rows, columns):
        assert (seen[:, :4] == 0).all()
        assert (seen[:, 11:] < 1e-6).all()
        assert seen[:, 4].any()


def test_pixels_from_outside_are_black() -> None:
    varied = Augmentation(shift=4)(torch.ones(50, 1, 8, 8), generator())
    assert varied.min() == 0
    assert varied.max() == pytest.approx(1)


def test_displacements_have_the_given_size_and_smoothness() -> None:
    field = displacement(300, 20, 24, sigma=3.0, generator=generator())
    assert field.shape == (300, 20, 24, 2)
    torch.testing.assert_close(field.square().mean(dim=0).sqrt(), torch.ones(20, 24, 2), atol=0.2, rtol=0)
    # White noise blurred with sigma is correlated by exp(-d^2 / (4 sigma^2)) at distance d.
    beside = (field[:, :, 8] * field[:, :, 10]).mean().item()
    assert beside == pytest.approx(math.exp(-4 / 36), abs=0.05)


def test_elastic_moves_pixels_by_alpha() -> None:
    """A horizontal ramp shows how far each pixel has moved."""
    ramp = (torch.arange(32) / 31).expand(64, 1, 32, 32)
    varied = Augmentation(elastic_alpha=1.0)(ramp, generator())
    inner = (slice(None), slice(None), slice(6, 26), slice(6, 26))
    moved = (varied - ramp)[inner] * 31
    assert moved.square().mean().sqrt().item() == pytest.approx(1.0, abs=0.15)


def test_erased_rectangles() -> None:
    images = torch.ones(400, 3, 20, 20)
    varied = Augmentation(erase_probability=0.5, erase_area=0.25)(images, generator())
    black = varied == 0
    assert ((varied == 0) | (varied == 1)).all()
    assert (black.any(dim=1) == black.all(dim=1)).all()  # the same in all channels
    share = black[:, 0].flatten(1).float().mean(dim=1)
    assert 150 < (share > 0).sum() < 250
    assert share.max() <= 0.25 + 0.05  # whole pixels
    assert share[share > 0].mean().item() == pytest.approx(0.125, abs=0.015)  # inside of the image
    rows, columns = black[:, 0].any(dim=2).sum(dim=1), black[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, black[:, 0].flatten(1).sum(dim=1))  # rectangles


def test_noise_has_the_given_strength_and_stays_in_range() -> None:
    varied = Augmentation(noise=0.1)(torch.full((20, 1, 16, 16), 0.5), generator())
    assert (varied - 0.5).std().item() == pytest.approx(0.1, abs=0.005)
    assert Augmentation(noise=0.5)(torch.ones(4, 1, 8, 8), generator()).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_everything_at_once(channels: int) -> None:
    images = torch.rand(6, channels, 10, 14, generator=generator(1))
    varied = EVERYTHING(images, generator())
    assert varied.shape == images.shape
    assert varied.dtype == torch.float32
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert torch.equal(varied, EVERYTHING(images, generator()))
    assert not torch.equal(varied, EVERYTHING(images, generator(2)))


def test_everything_off_is_the_identity() -> None:
    images = smooth_image()
    assert Augmentation().is_identity
    assert Augmentation()(images, generator()) is images
    assert not EVERYTHING.is_identity


@pytest.mark.parametrize(("border", "expected"), [("fill", 1.0), ("edge", 0.2), ("reflect", 0.2)])
def test_pixels_from_outside(border: Literal["fill", "edge", "reflect"], expected: float) -> None:
    """A dark image on white, shifted: white comes in, or the image goes on."""
    varied = Augmentation(shift=4, fill=(1.0,), border=border)(torch.full((50, 1, 8, 8), 0.2), generator())
    assert varied.max().item() == pytest.approx(expected, abs=1e-5)
    assert varied.min().item() == pytest.approx(0.2, abs=1e-5)


def test_a_mirrored_border() -> None:
    """A ramp shifted by 2 pixels: the first columns are its own, backward."""
    ramp = torch.arange(8.0).expand(1, 1, 8, 8) / 8
    grid = sampling_grid(
        affine_matrices(
            shift=torch.tensor([[2.0, 0.0]]), rotate=torch.zeros(1), shear=torch.zeros(1), scale=torch.ones(1, 2)
        ),
        8,
        8,
    )
    row = Augmentation(border="reflect")._resample(ramp, grid)[0, 0, 0] * 8
    assert row.tolist() == pytest.approx([1, 0, 0, 1, 2, 3, 4, 5])


def test_fill_by_channel_and_in_erased_pixels() -> None:
    fill = (0.25, 0.5, 0.75)
    varied = Augmentation(cutout_size=4, fill=fill)(torch.ones(30, 3, 8, 8), generator())
    filled = (varied < 1).all(dim=1)
    for channel, value in enumerate(fill):
        assert {*varied[:, channel][filled].tolist()} == {value}


def test_cutouts_are_squares_around_a_pixel_of_the_image() -> None:
    varied = Augmentation(cutout_size=4, cutout_probability=0.5)(torch.ones(4000, 1, 10, 10), generator())
    black = varied[:, 0] == 0
    rows, columns = black.any(dim=2).sum(dim=1), black.any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, black.flatten(1).sum(dim=1))
    has = rows > 0
    assert has.float().mean().item() == pytest.approx(0.5, abs=0.03)
    # Centers in rows 0 to 9 leave 2, 3, 4, 4, 4, 4, 4, 4, 4 and 3 rows.
    assert rows[has].float().mean().item() == pytest.approx(3.6, abs=0.05)
    assert [rows.max().item(), columns.max().item(), rows[has].min().item()] == [4, 4, 2]


def test_crops_show_a_part_of_the_image() -> None:
    """Two ramps tell where each pixel comes from; area and ratio are within their limits, and uniform."""
    height, width = 24, 36
    rows = ((torch.arange(height) + 0.5) / height).view(-1, 1).expand(height, width)
    columns = ((torch.arange(width) + 0.5) / width).expand(height, width)
    image = torch.stack((rows, columns)).expand(3000, 2, height, width)
    varied = Augmentation(crop_area=0.3, crop_ratio=1.5, border="edge")(image, generator())
    # From the middle half of each axis, which is within the image, to the whole part.
    high = (varied[:, 0, 18, 0] - varied[:, 0, 6, 0]) * 2 * height
    wide = (varied[:, 1, 0, 27] - varied[:, 1, 0, 9]) * 2 * width
    area, ratio = high * wide / (height * width), wide / high
    assert 0.29 < area.min() < 0.32
    assert area.max() < 1.01
    square = Augmentation(crop_area=0.3, crop_ratio=1.0)(image[..., :24], generator())
    area_of_squares = ((square[:, 0, 18, 0] - square[:, 0, 6, 0]) * 2) ** 2
    assert area_of_squares.mean().item() == pytest.approx(0.65, abs=0.01)
    assert area_of_squares.var().item() == pytest.approx(0.7**2 / 12, rel=0.05)
    inside = area < 0.6  # where no side is as long as that of the image
    assert ratio[inside].log().abs().max().item() == pytest.approx(math.log(1.5), abs=0.03)
    assert ratio[inside].log().mean().abs() < 0.03
    middle = varied[:, :, 11:13, 17:19].mean(dim=(2, 3)) * torch.tensor([height, width])
    assert (middle[:, 0] > high / 2 - 0.1).all()
    assert (middle[:, 0] < height - high / 2 + 0.1).all()
    assert middle[:, 1].std() > 2


def test_color_changes_use_their_own_numbers() -> None:
    """Each factor lies between its limits and differs between images; gamma is as often below as above 1."""
    images = torch.full((1000, 1, 2, 2), 0.5)
    bright = Augmentation(brightness=0.4)(images, generator())[:, 0, 0, 0] / 0.5
    assert (bright.min().item(), bright.max().item()) == pytest.approx((0.6, 1.4), abs=0.01)
    exponent = Augmentation(gamma=1.0)(images, generator())[:, 0, 0, 0].log2().neg()
    assert (exponent.min().item(), exponent.max().item()) == pytest.approx((0.5, 2), abs=0.02)
    assert (exponent < 1).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_blurred_images() -> None:
    images = torch.rand(200, 1, 12, 12, generator=generator())
    varied = Augmentation(blur_sigma=1.0, blur_probability=0.5)(images, generator())
    same = (varied == images).flatten(1).all(dim=1)
    assert 70 < same.sum() < 130
    assert varied[~same].flatten(1).std(dim=1).min() < 0.12 < images.flatten(1).std(dim=1).min()
