"""Colors, blur and RandAugment's operations, against torchvision's, image by image."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from cnncli.data import color
from cnncli.data.augment import Augmentation
from cnncli.data.rand_augment import _OPERATIONS, rand_augment

NUMBERS = torch.tensor([0.4, 0.9, 1.0, 1.7])


def images(channels: int = 3) -> Tensor:
    """(4, C, 10, 13), in 256 levels."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (4, channels, 10, 13), generator=generator) / 255


def same(ours: Tensor, theirs: list[Tensor], atol: float = 1e-5) -> None:
    torch.testing.assert_close(ours, torch.stack(theirs), atol=atol, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (color.brightness, tv.adjust_brightness),
        (color.contrast, tv.adjust_contrast),
        (color.saturation, tv.adjust_saturation),
        (color.sharpness, tv.adjust_sharpness),
        (color.gamma, tv.adjust_gamma),
    ],
)
def test_changes_by_a_factor(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], channels: int
) -> None:
    batch = images(channels)
    same(ours(batch, NUMBERS), [theirs(image, number) for image, number in zip(batch, NUMBERS.tolist(), strict=True)])


def test_hue() -> None:
    batch = images()
    batch[0, :, 0] = 0.5  # gray pixels have no hue
    batch[1, 1] = batch[1, 0]
    turns = torch.tensor([-0.5, -0.13, 0.0, 0.31])
    same(color.hue(batch, turns), [tv.adjust_hue(each, turn) for each, turn in zip(batch, turns.tolist(), strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_of_levels(channels: int) -> None:
    batch = images(channels)
    batch[0] = batch[0] * 0.3 + 0.2
    batch[1] = 0.4  # nothing to stretch
    same(color.autocontrast(batch), [tv.autocontrast(each) for each in batch])
    levels = (batch * 255).round().to(torch.uint8)
    equal = color.equalize(levels / 255) * 255
    same(equal.round(), [tv.equalize(each).float() for each in levels])
    bits = torch.tensor([8.0, 7.0, 5.0, 4.0])
    coarse = color.posterize(levels / 255, bits) * 255
    same(coarse, [tv.posterize(each, int(number)).float() for each, number in zip(levels, bits, strict=True)], 1e-3)
    limits = torch.tensor([0.0, 0.3, 0.8, 1.0])
    same(color.solarize(batch, limits), [tv.solarize(each, limit) for each, limit in zip(batch, limits, strict=True)])


def test_an_equalized_image_of_many_pixels_is_torchvisions() -> None:
    """More than 255 pixels besides those of the highest level; with fewer, nothing changes."""
    generator = torch.Generator().manual_seed(1)
    levels = (torch.rand(2, 3, 40, 40, generator=generator) ** 3 * 200).to(torch.uint8)
    ours = (color.equalize(levels / 255) * 255).round()
    assert torch.equal(ours, tv.equalize(levels).float())
    assert not torch.equal(ours, levels.float())


def test_blur() -> None:
    batch, sigmas = images(), torch.tensor([0.1, 0.5, 1.0, 2.0])
    theirs = [
        tv.gaussian_blur(each, [7, 7], [sigma, sigma]) for each, sigma in zip(batch, sigmas.tolist(), strict=True)
    ]
    same(color.gaussian_blur(batch, sigmas, 3), theirs)


def test_a_blur_wider_than_the_image() -> None:
    assert color.gaussian_blur(images()[:, :, :2], torch.full((4,), 30.0), 90).isfinite().all()


INNER = (slice(None), slice(3, -3), slice(3, -3))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_operations_of_rand_augment(sign: float) -> None:
    """In torchvision's order; away from the border, and for maps that torchvision applies about the center."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 8, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (24, 32), mode="bilinear")[0]
    strength = 0.5
    bilinear = InterpolationMode.BILINEAR
    slant = torch.rad2deg(torch.atan(torch.tensor(0.15 * sign))).item()

    def affine(degrees: float = 0.0, move: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Tensor:
        moved: Tensor = tv.affine(image, degrees, [*move], 1.0, [*shear], bilinear)
        return moved

    expected = {
        0: image,
        1: affine(shear=(slant, 0)),
        2: affine(shear=(0, slant)),
        5: affine(degrees=15 * sign),
        6: tv.adjust_brightness(image, 1 + 0.45 * sign),
        7: tv.adjust_saturation(image, 1 + 0.45 * sign),
        8: tv.adjust_contrast(image, 1 + 0.45 * sign),
        9: tv.adjust_sharpness(image, 1 + 0.45 * sign),
        10: tv.posterize((image * 255).round().to(torch.uint8), 6) / 255,
        11: tv.solarize(image, 0.5),
        12: tv.autocontrast(image),
        13: tv.equalize((image * 255).round().to(torch.uint8)) / 255,
    }
    resample = Augmentation()._resample
    for number, result in expected.items():
        ours = _OPERATIONS[number](image[None], torch.tensor([strength * sign]), resample)[0]
        torch.testing.assert_close(ours[INNER], result[INNER], atol=2e-3, rtol=0, msg=str(number))
    moved = _OPERATIONS[3](image[None], torch.tensor([sign * 331 / 150 / 8]), resample)[0]  # by 4 of 32 pixels
    there, here = (slice(4, None), slice(None, -4)) if sign > 0 else (slice(None, -4), slice(4, None))
    torch.testing.assert_close(moved[:, :, there], image[:, :, here], atol=1e-5, rtol=0)
    moved = _OPERATIONS[4](image[None], torch.tensor([sign * 331 / 150 / 6]), resample)[0]  # by 4 of 24
    torch.testing.assert_close(moved[:, there], image[:, here], atol=1e-5, rtol=0)


def test_every_image_gets_its_own_operations() -> None:
    """Inverting is solarizing at full strength: about a fourteenth of the images."""
    batch = torch.full((2000, 1, 4, 4), 0.75)
    found = rand_augment(
        batch,
        torch.Generator().manual_seed(0),
        operations=1,
        magnitude=30,
        resample=Augmentation(border="edge")._resample,
        batch=2000,
        part=slice(None),
    )
    assert (found.amax(dim=(1, 2, 3)) == 0.25).float().mean().item() == pytest.approx(1 / 14, abs=0.02)
