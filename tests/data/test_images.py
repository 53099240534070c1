"""Image sets, and resizing and color conversion against Pillow."""

from time import process_time

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.data.images import ImageSet, convert_channels, resize


def labeled(labels: torch.Tensor) -> ImageSet:
    return ImageSet(images=torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels=labels)


def test_the_first_image_of_each_class_that_has_one() -> None:
    images = labeled(torch.tensor([5, 2, 5, 0, 2, 7]))
    assert images.first_of_each_class(10) == [3, 1, 0, 5]
    assert images.first_of_each_class(2) == [3, 1]
    assert images.first_of_each_class(0) == []


def test_many_classes_are_as_fast_as_few() -> None:
    """One pass over the labels per class would take more than ten seconds."""
    count = 20_000
    images = labeled(torch.arange(count).flip(0))
    started = process_time()
    assert images.first_of_each_class(count) == list(reversed(range(count)))
    assert process_time() - started < 1


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(5, 9), (28, 28), (16, 7)])
def test_resize_equals_pillow(size: tuple[int, int]) -> None:
    images = noise(3, 1, 12, 16)
    for image, ours in zip(images, resize(images, size), strict=True):
        height, width = size
        theirs = Image.fromarray(image[0].numpy()).resize((width, height), Image.Resampling.BILINEAR)
        # Pillow computes in fixed point and rounds after each axis.
        np.testing.assert_allclose(ours[0].numpy().astype(int), np.asarray(theirs).astype(int), atol=1)


def test_chunks_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(7, 3, 6, 6)
    whole = resize(images, (4, 4)), convert_channels(images, 1)
    monkeypatch.setattr("cnncli.data.images._CHUNK", 300)
    assert torch.equal(resize(images, (4, 4)), whole[0])
    assert torch.equal(convert_channels(images, 1), whole[1])


def test_no_copy_without_need() -> None:
    images = noise(2, 1, 4, 4)
    assert resize(images, (4, 4)) is images
    assert convert_channels(images, 1) is images
    assert convert_channels(images, 3).data_ptr() == images.data_ptr()


def test_gray_equals_pillow() -> None:
    images = noise(2, 3, 5, 5)
    theirs = [Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L") for image in images]
    np.testing.assert_array_equal(
        convert_channels(images, 1)[:, 0].numpy(), np.stack([np.asarray(each) for each in theirs])
    )


def test_gray_to_color_repeats() -> None:
    images = noise(2, 1, 3, 3)
    color = convert_channels(images, 3)
    assert color.shape == (2, 3, 3, 3)
    assert all(torch.equal(color[:, channel], images[:, 0]) for channel in range(3))
