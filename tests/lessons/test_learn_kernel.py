"""Every target kernel is learned quickly; the page says so if an input cannot distinguish kernels."""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from cnncli.errors import UsageError
from cnncli.lessons.learn_kernel import TARGETS, LearnKernel, Target, learn
from cnncli.lessons.numbers import random_input
from cnncli.lessons.page import Page

Plain = Callable[[Page], str]

EXPECTED: dict[Target, list[list[float]]] = {
    "edge": [[1, -1]],
    "sobel": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "blur": [[1 / 16, 1 / 8, 1 / 16], [1 / 8, 1 / 4, 1 / 8], [1 / 16, 1 / 8, 1 / 16]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
}


def ones(height: int, width: int) -> str:
    return str(np.ones((height, width)).tolist())


def test_the_targets() -> None:
    assert list(TARGETS) == list(EXPECTED)


@pytest.mark.parametrize("target", EXPECTED)
def test_each_is_learned_within_a_hundredth_in_three_seconds(target: Target, plain: Plain) -> None:
    start = time.perf_counter()
    text = plain(LearnKernel(target=target).page())
    assert time.perf_counter() - start < 3
    assert "Every weight is within 0.01 of the target" in text
    course, _ = learn(random_input(12), torch.tensor(TARGETS[target], dtype=torch.float64))
    torch.testing.assert_close(
        course[-1].kernel[0, 0], torch.tensor(EXPECTED[target], dtype=torch.float64), atol=1e-2, rtol=0
    )
    losses = [each.loss for each in course]
    assert all(after <= before for before, after in pairwise(losses) if before > 1e-12)


def test_an_input_without_variety(plain: Plain) -> None:
    # On a constant input, only the sum of the weights matters.
    text = plain(LearnKernel(input="[[1,1,1],[1,1,1],[1,1,1]]", kernel="[[3,-1]]").page())
    assert "the kernel is a different one" in text
    assert " 1.000 1.000" in text


def test_nothing_can_be_learned_from_zeros(plain: Plain) -> None:
    text = plain(LearnKernel(input="[[0,0,0],[0,0,0],[0,0,0]]", kernel="[[3,-1]]").page())
    assert "the kernel is a different one" in text


def test_tasks_that_take_too_long_are_refused() -> None:
    with pytest.raises(UsageError, match="9x9 on an input of 18x18 takes too long"):
        LearnKernel(kernel=ones(9, 9)).page()
    with pytest.raises(UsageError, match="takes too long"):
        LearnKernel(target="sobel", input=ones(200, 200)).page()
    with pytest.raises(UsageError, match="does not fit"):
        LearnKernel(target="sobel", input=ones(2, 2)).page()
