"""Exponential moving average of weights: smoother than the weights themselves, and often more accurate."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """A second copy of a model whose weights follow the first one's slowly.

    After each step, `average = d * average + (1 - d) * weights` with `d = min(decay, (1 + t) / (10 + t))`, t
    counting the updates made before. The growing d is that of TensorFlow's `ExponentialMovingAverage`:
    without it a short run would end with an average that is still mostly the first, random weights. Running
    means and variances of batch norms are averaged as well; whole numbers, such as their counters, are
    copied.

    Args:
        model: what is averaged; its layout and device are kept.
        decay: how much of the average is kept per step, between 0 and 1.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        assert 0 < decay < 1
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self._pairs: list[tuple[Tensor, Tensor]] = list(
            zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        )

    @torch.no_grad()
    def update(self, updates_before: int) -> None:
        """Let the average follow one step."""
        decay = min(self.decay, (1 + updates_before) / (10 + updates_before))
        floating = [pair for pair in self._pairs if pair[0].is_floating_point()]
        averages, weights = [pair[0] for pair in floating], [pair[1] for pair in floating]
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, counter in self._pairs:
            if not average.is_floating_point():
                average.copy_(counter)
