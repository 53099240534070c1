"""What a set of images says of itself."""

from time import process_time

import torch

from cnncli.data.images import ImageSet


def labeled(labels: torch.Tensor) -> ImageSet:
    return ImageSet(images=torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels=labels)


def test_the_first_image_of_each_class_that_has_one() -> None:
    images = labeled(torch.tensor([5, 2, 5, 0, 2, 7]))
    assert images.first_of_each_class(10) == [3, 1, 0, 5]
    assert images.first_of_each_class(2) == [3, 1]
    assert images.first_of_each_class(0) == []


def test_many_classes_take_no_longer_than_few() -> None:
    """Going through all labels for each class would take ten seconds and more."""
    count = 20_000
    images = labeled(torch.arange(count).flip(0))
    began = process_time()
    assert images.first_of_each_class(count) == list(reversed(range(count)))
    assert process_time() - began < 1
