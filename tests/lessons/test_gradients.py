"""The gradients of a cross-correlation by hand, and against torch's convolution and autograd."""

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncli.lessons.reference import corr2d_backward, spread

X = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]])
K = torch.tensor([[0.0, 1], [2, 3]])


def test_by_hand() -> None:
    gradients = corr2d_backward(X, K, torch.tensor([[1.0, 2], [3, 4]]))
    # 0x1 + 1x2 + 3x3 + 4x4 = 27, and so on over the input.
    assert gradients.kernel.tolist() == [[27, 37], [57, 67]]
    # The middle pixel lay below all four weights: 1x3 + 2x2 + 3x1 + 4x0 = 10.
    assert gradients.x.tolist() == [[0, 1, 2], [2, 10, 10], [6, 17, 12]]


def test_spread_by_hand() -> None:
    assert spread(torch.tensor([[1, 2], [3, 4]]), (3, 2)).tolist() == [[1, 0, 2], [0, 0, 0], [0, 0, 0], [3, 0, 4]]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(data=st.data())
def test_equals_autograd(data: st.DataObject) -> None:
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
