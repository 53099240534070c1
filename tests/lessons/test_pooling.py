"""Pooling against the lecture's numbers and against torch."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncli.lessons.reference import pool2d

X = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]])


def test_pooling_of_the_lecture() -> None:
    assert pool2d(X, 2, stride=1).tolist() == [[4, 5], [7, 8]]
    assert pool2d(X, 2, mode="average", stride=1).tolist() == [[2, 3], [5, 6]]


def test_each_channel_is_pooled_on_its_own() -> None:
    assert pool2d(torch.stack([X, -X]), 2, stride=1).tolist() == [[[4, 5], [7, 8]], [[0, -1], [-3, -4]]]


def test_padding_never_wins_and_counts_in_the_mean() -> None:
    negative = -torch.ones(2, 2)
    assert pool2d(negative, 2, padding=1).tolist() == [[-1, -1], [-1, -1]]
    assert pool2d(negative, 2, mode="average", padding=1).tolist() == [[-0.25, -0.25], [-0.25, -0.25]]


def test_the_stride_is_the_window_unless_given() -> None:
    assert pool2d(torch.arange(16.0).reshape(4, 4), 2).tolist() == [[5, 7], [13, 15]]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    channels=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_equals_torch(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] | None,
    padding: tuple[int, int],
    channels: int,
    seed: int,
) -> None:
    padding = min(padding[0], kernel[0] // 2), min(padding[1], kernel[1] // 2)
    assume(kernel[0] <= size[0] + 2 * padding[0] and kernel[1] <= size[1] + 2 * padding[1])
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(channels, *size, generator=generator, dtype=torch.float64)
    expected_max = F.max_pool2d(x[None], kernel, stride, padding)[0]
    expected_mean = F.avg_pool2d(x[None], kernel, stride, padding)[0]
    torch.testing.assert_close(pool2d(x, kernel, stride=stride, padding=padding), expected_max)
    torch.testing.assert_close(pool2d(x, kernel, mode="average", stride=stride, padding=padding), expected_mean)


def test_errors_name_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"padding \(2, 2\) is more than half of the window \(3, 3\)"):
        pool2d(X, 3, padding=2)
    with pytest.raises(ValueError, match=r"a window \(4, 1\).* input \(3, 3\)"):
        pool2d(X, (4, 1))
    with pytest.raises(ValueError, match=r"got \(1, 1, 3, 3\)"):
        pool2d(X[None, None], 2)
    with pytest.raises(ValueError, match=r"floating point numbers, got torch.int64 \(3, 3\)"):
        pool2d(X.long(), 2)
    with pytest.raises(ValueError, match="'median'"):
        pool2d(X, 2, mode="median")  # type: ignore[arg-type]  # a wrong mode is the point of the test
