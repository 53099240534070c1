"""The reference layer: the same numbers and gradients as torch's, and an edge detector found by descent."""

import pytest
import torch
from torch import nn

from cnncli.lessons.reference import Conv2D


def test_numbers_and_gradients_equal_those_of_torch() -> None:
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


def test_descent_finds_the_edge_detector() -> None:
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


def test_a_batch_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"\(N, C, H, W\), got \(1, 6, 8\)"):
        Conv2D(1, 1, 2)(torch.ones(1, 6, 8))
