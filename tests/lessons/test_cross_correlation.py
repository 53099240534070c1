"""The reference operations against the lecture's numbers and against torch."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncli.lessons.reference import conv2d, corr2d, corr2d_1x1, corr2d_multi_in, corr2d_multi_in_out

X = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]])
K = torch.tensor([[0.0, 1], [2, 3]])
X_TWO = torch.stack([X, X + 1])
K_TWO = torch.stack([K, K + 1])


def test_corr2d_of_the_lecture() -> None:
    assert corr2d(X, K).tolist() == [[19, 25], [37, 43]]


def test_integers_stay_integers() -> None:
    result = corr2d(X.int(), K.int())
    assert not result.is_floating_point()
    assert result.tolist() == [[19, 25], [37, 43]]


def test_conv2d_flips_the_kernel() -> None:
    # [[3, 2], [1, 0]] over the top left corner: 3*0 + 2*1 + 1*3 + 0*4 = 5
    assert conv2d(X, K).tolist() == [[5, 11], [23, 29]]


def test_padding_stride_and_dilation_by_hand() -> None:
    ones = torch.ones(2, 2)
    assert corr2d(X, ones, padding=1, stride=2).tolist() == [[0, 3], [9, 24]]
    assert corr2d(X, ones, dilation=2).tolist() == [[0 + 2 + 6 + 8]]
    assert corr2d(X, ones, stride=(1, 2)).tolist() == [[8], [20]]


def test_input_channels_are_summed() -> None:
    assert corr2d_multi_in(X_TWO, K_TWO).tolist() == [[56, 72], [104, 120]]


def test_one_map_for_each_kernel() -> None:
    maps = corr2d_multi_in_out(X_TWO, torch.stack([K_TWO, K_TWO + 1, K_TWO + 2]))
    assert maps.tolist() == [[[56, 72], [104, 120]], [[76, 100], [148, 172]], [[96, 128], [192, 224]]]


def test_1x1_is_a_matrix_product_at_every_pixel() -> None:
    x = torch.arange(27.0).reshape(3, 3, 3)
    kernels = torch.tensor([[1.0, 0, -1], [1, 1, 1]]).reshape(2, 3, 1, 1)
    maps = corr2d_1x1(x, kernels)
    assert maps[0].tolist() == [[-18.0] * 3] * 3
    assert maps[1].tolist() == [[27, 30, 33], [36, 39, 42], [45, 48, 51]]
    assert torch.equal(maps, corr2d_multi_in_out(x, kernels))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=st.data())
def test_equals_torch(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    def draw_pair(low: int, high: int) -> tuple[int, int]:
        return draw(low, high), draw(low, high)

    channels, kernels, (height, width), (kh, kw) = draw(1, 3), draw(1, 3), draw_pair(1, 7), draw_pair(1, 3)
    stride, padding, dilation = draw_pair(1, 3), draw_pair(0, 2), draw_pair(1, 2)
    assume(dilation[0] * (kh - 1) < height + 2 * padding[0] and dilation[1] * (kw - 1) < width + 2 * padding[1])
    generator = torch.Generator().manual_seed(draw(0, 1000))
    x = torch.randn(channels, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(kernels, channels, kh, kw, generator=generator, dtype=torch.float64)
    expected = F.conv2d(x[None], weight, stride=stride, padding=padding, dilation=dilation)[0]
    result = corr2d_multi_in_out(x, weight, stride=stride, padding=padding, dilation=dilation)
    torch.testing.assert_close(result, expected)
    flipped = torch.stack(
        [conv2d(x[0], kernel, stride=stride, padding=padding, dilation=dilation) for kernel in weight[:, 0]]
    )
    expected = F.conv2d(x[None, :1], weight[:, :1].flip(2, 3), stride=stride, padding=padding, dilation=dilation)[0]
    torch.testing.assert_close(flipped, expected)


def test_errors_name_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"a window \(2, 2\) .* spans \(3, 3\) .* input \(2, 3\)"):
        corr2d(X[:2], K, dilation=2)
    with pytest.raises(ValueError, match=r"the input must have the shape \(H, W\), got \(2, 3, 3\)"):
        corr2d(X_TWO, K)
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) has 2 channels, the kernel \(3, 2, 2\) has 3"):
        corr2d_multi_in(X_TWO, torch.ones(3, 2, 2))
    with pytest.raises(ValueError, match=r"the kernels must have the shape \(O, C, kh, kw\), got \(2, 2, 2\)"):
        corr2d_multi_in_out(X_TWO, K_TWO)
    with pytest.raises(ValueError, match=r"\(O, 2, 1, 1\), got \(1, 2, 2, 2\)"):
        corr2d_1x1(X_TWO, K_TWO[None])
    with pytest.raises(ValueError, match=r"stride \(0, 0\)"):
        corr2d(X, K, stride=0)
