"""Losses against torch's and torchvision's own, and class weights against scikit-learn's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses
from torchvision.ops import sigmoid_focal_loss

from cnncli.config.loss import Bce, CrossEntropy, Focal
from cnncli.config.loss import Loss as LossChoice
from cnncli.training.loss import Loss, class_weights

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25])


def batch() -> tuple[Tensor, Tensor]:
    """Logits (7, 5) and labels."""
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(7, 5, generator=generator), torch.randint(5, (7,), generator=generator)


def bce_of_torch(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 5).float(), reduction="none").sum(dim=1)


def focal_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    p = logits.softmax(dim=1)[torch.arange(len(labels)), labels]
    return -((1 - p) ** 1.5) * p.log()


CASES: list[tuple[LossChoice, Callable[[Tensor, Tensor], Tensor]]] = [
    (CrossEntropy(), lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")),
    (Focal(gamma=1.5), focal_by_hand),
    (Bce(), bce_of_torch),
]


@pytest.mark.parametrize(("choice", "expected"), CASES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_losses_of_labels(
    choice: LossChoice, expected: Callable[[Tensor, Tensor], Tensor], weights: Tensor | None
) -> None:
    """With weights, each image counts by the weight of its class; the mean divides by the number of images."""
    logits, labels = batch()
    loss = Loss(choice=choice, class_weights=weights)
    each = expected(logits, labels) * (1 if weights is None else weights[labels])
    torch.testing.assert_close(loss(logits, labels), each.mean())
    torch.testing.assert_close(loss(logits, labels, reduction="sum"), each.sum())


@pytest.mark.parametrize(("choice", "expected"), CASES)
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(
    choice: LossChoice, expected: Callable[[Tensor, Tensor], Tensor]
) -> None:
    logits, labels = batch()
    others, share = labels.roll(1), torch.linspace(0, 1, 7)
    targets = share[:, None] * F.one_hot(labels, 5) + (1 - share)[:, None] * F.one_hot(others, 5)
    each = share * WEIGHTS[labels] * expected(logits, labels)
    each += (1 - share) * WEIGHTS[others] * expected(logits, others)
    torch.testing.assert_close(Loss(choice=choice, class_weights=WEIGHTS)(logits, targets), each.mean())


@pytest.mark.parametrize(("choice", "expected"), CASES)
def test_label_smoothing_is_the_mean_over_all_classes(
    choice: LossChoice, expected: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """By the linearity of the losses; for cross-entropy also as torch has it."""
    logits, labels = batch()
    every = torch.stack([expected(logits, torch.full_like(labels, k)) for k in range(5)]).mean(dim=0)
    each = WEIGHTS[labels] * (0.8 * expected(logits, labels) + 0.2 * every)
    found = Loss(choice=choice, class_weights=WEIGHTS, label_smoothing=0.2)(logits, labels)
    torch.testing.assert_close(found, each.mean())
    plain = Loss(label_smoothing=0.2)(logits, labels)
    torch.testing.assert_close(plain, F.cross_entropy(logits, labels, label_smoothing=0.2))


def test_focal_loss_of_two_classes_is_torchvisions() -> None:
    """The softmax of (z, 0) is the sigmoid of z."""
    z, labels = batch()[0][:, 0], torch.tensor([1, 0, 1, 1, 0, 0, 1])
    found = Loss(choice=Focal(gamma=2.0))(torch.stack((torch.zeros_like(z), z), dim=1), labels)
    torch.testing.assert_close(found, sigmoid_focal_loss(z, labels.float(), alpha=-1, gamma=2, reduction="mean"))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_gradient_of_focal_loss_is_finite_where_the_network_is_certain(gamma: float) -> None:
    logits = torch.tensor([[100.0, 0.0], [-100.0, 100.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Loss(choice=Focal(gamma=gamma))(logits, torch.tensor([0, 0])), logits)
    assert gradient.isfinite().all()


def test_auto_weights_are_scikit_learns() -> None:
    labels = np.array([0] * 7 + [2] * 2 + [3])
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    found = class_weights("auto", torch.tensor([7, 0, 2, 1]), "abcd")
    assert found is not None
    assert found[[0, 2, 3]].tolist() == pytest.approx(expected.tolist())
    assert found[torch.from_numpy(labels)].mean().item() == pytest.approx(1)


def test_weights_by_name() -> None:
    found = class_weights({"cat": 2.5}, torch.tensor([5, 5, 5]), ("ant", "cat", "dog"))
    assert found is not None
    assert found.tolist() == [1, 2.5, 1]
    assert class_weights(None, torch.tensor([5, 5]), ("ant", "cat")) is None
