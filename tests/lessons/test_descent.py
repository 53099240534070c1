"""Gradient descent on a kernel: one step by hand, and the rate at which it is fastest."""

import pytest
import torch

from cnncli.lessons.reference import corr2d, descend, steady_rate


def test_a_step_by_hand() -> None:
    # y = k x with x = 3 and the target 6: loss (3k - 6)^2, gradient 6 (3k - 6). From 0: 36, -36; a step of 0.05 to 1.8.
    kernel = torch.zeros(1, 1, requires_grad=True)
    x = torch.tensor([[3.0]])
    start, after = descend(lambda: corr2d(x, kernel), kernel, torch.tensor([[6.0]]), rate=0.05, steps=1)
    assert (start.step, start.loss, start.kernel.item()) == (0, 36, 0)
    assert after.step == 1
    assert after.kernel.item() == pytest.approx(1.8)
    assert after.loss == pytest.approx((3 * 1.8 - 6) ** 2)


def test_the_rate_of_a_single_pixel_hits_at_once() -> None:
    # The loss (3k - 6)^2 has the curvature 18: the best step is 1 / 18, and ends at k = 2.
    x = torch.tensor([[3.0]], dtype=torch.float64)
    assert steady_rate(x, (1, 1)) == pytest.approx(1 / 18)


def test_the_rate_of_two_directions() -> None:
    # Patches (1, 0) and (0, 2): curvatures 2 and 8, so 2 / (2 + 8).
    x = torch.tensor([[1.0, 0, 2]], dtype=torch.float64)
    assert steady_rate(x, (1, 2)) == pytest.approx(0.2)


def test_nothing_is_learned_from_nothing() -> None:
    assert steady_rate(torch.zeros(3, 3, dtype=torch.float64), (2, 2)) == 0
