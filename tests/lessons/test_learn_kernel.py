"""Every target is reached, soon; and where an input cannot tell kernels apart, the page says so."""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from cnncli.errors import UsageError
from cnncli.lessons.learn_kernel import TARGETS, learn, learn_kernel
from cnncli.lessons.notation import noise
from cnncli.lessons.page import Page

Plain = Callable[[Page], str]

EXPECTED = {
    "edge": [[1, -1]],
    "sobel": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "blur": [[1 / 16, 1 / 8, 1 / 16], [1 / 8, 1 / 4, 1 / 8], [1 / 16, 1 / 8, 1 / 16]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
}


def test_the_targets() -> None:
    assert list(TARGETS) == list(EXPECTED)


@pytest.mark.parametrize("target", EXPECTED)
def test_each_is_reached_within_a_hundredth_in_three_seconds(target: str, plain: Plain) -> None:
    start = time.perf_counter()
    text = plain(learn_kernel(target, None, None))
    assert time.perf_counter() - start < 3
    assert "Every weight is within 0.01 of the target" in text
    course, _ = learn(noise(12), torch.tensor(TARGETS[target], dtype=torch.float64))
    torch.testing.assert_close(
        course[-1].kernel[0, 0], torch.tensor(EXPECTED[target], dtype=torch.float64), atol=1e-2, rtol=0
    )
    losses = [each.loss for each in course]
    assert all(after <= before for before, after in pairwise(losses) if before > 1e-12)


def test_an_input_that_does_not_show_enough(plain: Plain) -> None:
    # On even ground only the sum of the weights can be seen.
    text = plain(learn_kernel("edge", np.ones((3, 3)), np.array([[3.0, -1.0]])))
    assert "the kernel is another one" in text
    assert " 1.000 1.000" in text


def test_nothing_can_be_learned_from_zeros(plain: Plain) -> None:
    text = plain(learn_kernel("edge", np.zeros((3, 3)), np.array([[3.0, -1.0]])))
    assert "the kernel is another one" in text


def test_what_takes_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="9x9 on an input of 18x18 takes too long"):
        learn_kernel("edge", None, np.ones((9, 9)))
    with pytest.raises(UsageError, match="takes too long"):
        learn_kernel("sobel", np.ones((200, 200)), None)
    with pytest.raises(UsageError, match="does not fit"):
        learn_kernel("sobel", np.ones((2, 2)), None)
