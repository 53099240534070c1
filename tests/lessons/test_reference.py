"""The reference operations against numbers worked out by hand, and against torch."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from cnncli.lessons.reference import (
    Conv2D,
    conv2d,
    corr2d,
    corr2d_1x1,
    corr2d_backward,
    corr2d_multi_in,
    corr2d_multi_in_out,
    dilate,
    gradient_descent,
    optimal_learning_rate,
    pool2d,
    window_positions,
)

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


def test_each_kernel_makes_one_feature_map() -> None:
    maps = corr2d_multi_in_out(X_TWO, torch.stack([K_TWO, K_TWO + 1, K_TWO + 2]))
    assert maps.tolist() == [[[56, 72], [104, 120]], [[76, 100], [148, 172]], [[96, 128], [192, 224]]]


def test_1x1_convolution_is_a_matrix_product_at_every_pixel() -> None:
    x = torch.arange(27.0).reshape(3, 3, 3)
    kernels = torch.tensor([[1.0, 0, -1], [1, 1, 1]]).reshape(2, 3, 1, 1)
    maps = corr2d_1x1(x, kernels)
    assert maps[0].tolist() == [[-18.0] * 3] * 3
    assert maps[1].tolist() == [[27, 30, 33], [36, 39, 42], [45, 48, 51]]
    assert torch.equal(maps, corr2d_multi_in_out(x, kernels))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=st.data())
def test_cross_correlation_equals_torch(data: st.DataObject) -> None:
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


def test_errors_of_cross_correlation_name_the_shapes() -> None:
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


def test_positions_patches_and_products() -> None:
    first, second, third, fourth = window_positions(X, (2, 2))
    assert [position.output for position in (first, second, third, fourth)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert (second.rows, second.columns) == ((0, 1), (1, 2))
    assert second.patch.tolist() == [[1, 2], [4, 5]]
    assert first.products(torch.tensor([[0.0, 1], [2, 3]])).tolist() == [[0, 1], [6, 12]]


def test_padding_has_negative_indices() -> None:
    positions = window_positions(X, (2, 2), stride=(3, 2), padding=1, fill=-1)
    assert [(position.rows, position.columns) for position in positions] == [
        ((-1, 0), (-1, 0)),
        ((-1, 0), (1, 2)),
        ((2, 3), (-1, 0)),
        ((2, 3), (1, 2)),
    ]
    assert positions[0].patch.tolist() == [[-1, -1], [-1, 0]]


def test_dilation_leaves_gaps() -> None:
    (only,) = window_positions(X, (2, 2), dilation=2)
    assert (only.rows, only.columns) == ((0, 2), (0, 2))
    assert only.patch.tolist() == [[0, 2], [6, 8]]


def test_pooling_of_the_lecture() -> None:
    assert pool2d(X, 2, stride=1).tolist() == [[4, 5], [7, 8]]
    assert pool2d(X, 2, mode="average", stride=1).tolist() == [[2, 3], [5, 6]]


def test_each_channel_is_pooled_on_its_own() -> None:
    assert pool2d(torch.stack([X, -X]), 2, stride=1).tolist() == [[[4, 5], [7, 8]], [[0, -1], [-3, -4]]]


def test_padding_is_never_the_maximum_and_counts_in_the_mean() -> None:
    negative = -torch.ones(2, 2)
    assert pool2d(negative, 2, padding=1).tolist() == [[-1, -1], [-1, -1]]
    assert pool2d(negative, 2, mode="average", padding=1).tolist() == [[-0.25, -0.25], [-0.25, -0.25]]


def test_the_default_stride_of_pooling_is_the_window() -> None:
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
def test_pooling_equals_torch(
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


def test_errors_of_pooling_name_the_shapes() -> None:
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


def test_gradients_by_hand() -> None:
    gradients = corr2d_backward(X, K, torch.tensor([[1.0, 2], [3, 4]]))
    # 0x1 + 1x2 + 3x3 + 4x4 = 27, and so on over the input.
    assert gradients.kernel.tolist() == [[27, 37], [57, 67]]
    # All four weights read the middle pixel: 1x3 + 2x2 + 3x1 + 4x0 = 10.
    assert gradients.x.tolist() == [[0, 1, 2], [2, 10, 10], [6, 17, 12]]


def test_dilate_by_hand() -> None:
    assert dilate(torch.tensor([[1, 2], [3, 4]]), (3, 2)).tolist() == [[1, 0, 2], [0, 0, 0], [0, 0, 0], [3, 0, 4]]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(data=st.data())
def test_gradients_equal_autograd(data: st.DataObject) -> None:
    def draw_pair(low: int, high: int) -> tuple[int, int]:
        return data.draw(st.integers(low, high)), data.draw(st.integers(low, high))

    size, (kh, kw) = draw_pair(1, 8), draw_pair(1, 3)
    stride, padding, dilation = draw_pair(1, 4), draw_pair(0, 2), draw_pair(1, 3)
    assume(all(d * (k - 1) < n + 2 * p for d, k, n, p in zip(dilation, (kh, kw), size, padding, strict=True)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    x = torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(kh, kw, generator=generator, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x[None, None], kernel[None, None], stride=stride, padding=padding, dilation=dilation)[0, 0]
    upstream = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    for_x, for_kernel = torch.autograd.grad(y, (x, kernel), upstream)
    ours = corr2d_backward(x.detach(), kernel.detach(), upstream, stride=stride, padding=padding, dilation=dilation)
    torch.testing.assert_close(ours.x, for_x)
    torch.testing.assert_close(ours.kernel, for_kernel)


def test_conv2d_module_equals_torch_forward_and_backward() -> None:
    ours = Conv2D(2, 3, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2)).double()
    theirs = nn.Conv2d(2, 3, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2)).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    (y_ours := ours(x_ours)).square().sum().backward()
    (y_theirs := theirs(x_theirs)).square().sum().backward()
    torch.testing.assert_close(y_ours, y_theirs)
    torch.testing.assert_close(x_ours.grad, x_theirs.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    assert ours.bias is not None
    assert theirs.bias is not None
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_conv2d_module_learns_the_edge_detector() -> None:
    image = torch.ones(1, 1, 6, 8)
    image[..., 2:6] = 0
    edges = torch.zeros(1, 1, 6, 7)
    edges[..., 1], edges[..., 5] = 1, -1
    torch.manual_seed(0)
    layer = Conv2D(1, 1, (1, 2), bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.03)
    for _ in range(50):
        loss = (layer(image) - edges).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[[[1.0, -1.0]]]]), atol=1e-2, rtol=0)


def test_conv2d_module_needs_a_batch() -> None:
    with pytest.raises(ValueError, match=r"\(N, C, H, W\), got \(1, 6, 8\)"):
        Conv2D(1, 1, 2)(torch.ones(1, 6, 8))


def test_a_step_of_gradient_descent_by_hand() -> None:
    # y = k x with x = 3 and the target 6: loss (3k - 6)^2, gradient 6 (3k - 6). From 0: 36, -36; a step of 0.05 to 1.8.
    kernel = torch.zeros(1, 1, requires_grad=True)
    x = torch.tensor([[3.0]])
    start, after = gradient_descent(
        lambda: corr2d(x, kernel), kernel, torch.tensor([[6.0]]), learning_rate=0.05, steps=1
    )
    assert (start.step, start.loss, start.kernel.item()) == (0, 36, 0)
    assert after.step == 1
    assert after.kernel.item() == pytest.approx(1.8)
    assert after.loss == pytest.approx((3 * 1.8 - 6) ** 2)


def test_optimal_learning_rate_of_a_single_pixel() -> None:
    # The loss (3k - 6)^2 has the curvature 18: a step of 1 / 18 ends at the minimum, k = 2.
    x = torch.tensor([[3.0]], dtype=torch.float64)
    assert optimal_learning_rate(x, (1, 1)) == pytest.approx(1 / 18)


def test_optimal_learning_rate_of_two_directions() -> None:
    # Patches (1, 0) and (0, 2): curvatures 2 and 8, so 2 / (2 + 8).
    x = torch.tensor([[1.0, 0, 2]], dtype=torch.float64)
    assert optimal_learning_rate(x, (1, 2)) == pytest.approx(0.2)


def test_optimal_learning_rate_of_zeros_is_zero() -> None:
    assert optimal_learning_rate(torch.zeros(3, 3, dtype=torch.float64), (2, 2)) == 0
