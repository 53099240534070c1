"""The embedded digits."""

from importlib.resources import files

import numpy as np
import torch

from cnncli.data.digits import load_digits


def test_parts_and_gray_levels() -> None:
    digits = load_digits()
    assert digits.train.images.shape == (1438, 1, 8, 8)
    assert digits.test.images.shape == (359, 1, 8, 8)
    levels = torch.cat((digits.train.images, digits.test.images)).flatten().tolist()
    assert sorted(set(levels)) == [round(level * 255 / 16) for level in range(17)]


def test_every_fifth_image_is_a_test_image() -> None:
    """Against the file itself; about a fifth of every class is in the test part."""
    with np.load(str(files("cnncli.data").joinpath("digits.npz"))) as file:
        labels = file["labels"].tolist()
    digits = load_digits()
    assert digits.test.labels.tolist() == labels[4::5]
    assert digits.train.labels.tolist() == [label for i, label in enumerate(labels) if i % 5 != 4]
    for count in digits.test.labels.bincount(minlength=10).tolist():
        assert 20 <= count <= 55


def test_the_first_image_is_a_zero() -> None:
    """The first rows of the file as UCI publishes them: `0,0,5,13,9,1,0,0,0,0,13,15,10,15,5,0,...,0`."""
    digits = load_digits()
    assert (digits.train.images[0, 0, :2].to(torch.float64) / 255 * 16).round().tolist() == [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
    ]
    assert digits.train.labels[0] == 0
