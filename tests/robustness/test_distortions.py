"""Distortions against torchvision, Pillow and NumPy; at strength 0 they change nothing."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from cnncli.robustness.distortions import (
    DISTORTIONS,
    Blur,
    Contrast,
    Distortion,
    Noise,
    Rotation,
    Scale,
    Shift,
    Thickness,
)


@pytest.fixture
def images() -> torch.Tensor:
    """Three images of 12x9 with a black margin, in two channels."""
    inner = torch.rand(3, 2, 8, 5, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.pad(inner, (2, 2, 2, 2))


def changed(distortion: Distortion, images: torch.Tensor) -> list[torch.Tensor]:
    return [transform(images, torch.Generator().manual_seed(0)) for transform in distortion.transforms()]


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", DISTORTIONS, ids=lambda kind: kind.name)
def test_strength_0_changes_nothing(kind: type[Distortion], images: torch.Tensor) -> None:
    for transform in kind(0).transforms():
        assert transform.is_identity, "batches then skip it"
        assert torch.equal(transform(images, torch.Generator()), images)


@pytest.mark.parametrize("kind", DISTORTIONS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("side", [8, 28, 224])
def test_every_strength_changes_images_and_keeps_them_from_0_to_1(kind: type[Distortion], side: int) -> None:
    images = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(1))
    strengths = kind.strengths(side)
    assert len(set(strengths)) == len(strengths) >= 2
    for strength in strengths:
        for transform, result in zip(kind(strength).transforms(), changed(kind(strength), images), strict=True):
            assert not transform.is_identity
            assert result.shape == images.shape
            assert not torch.equal(result, images)
            assert 0 <= result.min() <= result.max() <= 1


def test_shift_has_four_directions(images: torch.Tensor) -> None:
    shifts = [(-2, 0), (2, 0), (0, -2), (0, 2)]
    expected = [tv.affine(images, angle=0, translate=list(shift), scale=1, shear=[0]) for shift in shifts]
    for actual, each in zip(changed(Shift(2), images), expected, strict=True):
        close(actual, each)


def test_rotation_in_both_directions(images: torch.Tensor) -> None:
    for actual, degrees in zip(changed(Rotation(20), images), (-20, 20), strict=True):
        close(actual, tv.affine(images, degrees, [0, 0], 1, [0], interpolation=InterpolationMode.BILINEAR))


@pytest.mark.parametrize("strength", [-0.4, 0.3])
def test_scale(strength: float, images: torch.Tensor) -> None:
    (actual,) = changed(Scale(strength), images)
    close(actual, tv.affine(images, 0, [0, 0], 1 + strength, [0], interpolation=InterpolationMode.BILINEAR))


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.2])
def test_blur(sigma: float, images: torch.Tensor) -> None:
    (actual,) = changed(Blur(sigma), images)
    close(actual, tv.gaussian_blur(images, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma] * 2))


def test_blur_of_an_image_smaller_than_its_kernel() -> None:
    (actual,) = changed(Blur(2), torch.ones(1, 1, 3, 4))
    close(actual, torch.ones(1, 1, 3, 4))


def test_contrast(images: torch.Tensor) -> None:
    gray = images[:, :1]
    (actual,) = changed(Contrast(0.75), gray)
    close(actual, tv.adjust_contrast(gray, 0.25))


def test_noise_has_the_standard_deviation_and_repeats() -> None:
    gray = torch.full((4, 1, 100, 100), 0.5)
    (actual,) = changed(Noise(0.1), gray)
    assert actual.mean().item() == pytest.approx(0.5, abs=0.002)
    assert actual.std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(actual, changed(Noise(0.1), gray)[0])


@pytest.mark.parametrize(("strength", "filter"), [(2, ImageFilter.MaxFilter(3)), (-2, ImageFilter.MinFilter(3))])
def test_thickness_is_that_of_pillow(strength: float, filter: ImageFilter.RankFilter) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (10, 7), np.uint8)
    (actual,) = changed(Thickness(strength), torch.from_numpy(pixels)[None, None] / 255)
    expected = np.array(Image.fromarray(pixels).filter(filter))
    inner = (slice(1, -1), slice(1, -1))  # Pillow repeats the border
    assert np.array_equal((actual[0, 0] * 255).round().numpy()[inner], expected[inner])


def test_a_stroke_becomes_thicker_by_whole_pixels() -> None:
    line = torch.zeros(1, 1, 9, 12)
    line[..., 4:7] = 1  # three pixels wide
    for strength in (-2, -1, 1, 2, 4):
        (actual,) = changed(Thickness(strength), line)
        assert actual[0, 0].sum(dim=1).tolist() == [3 + strength] * 9
