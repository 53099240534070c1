"""The optimizer: which weights decay, and the fused kernels where there are any."""

from typing import Any, assert_never

import torch
from torch import nn

from cnncli.spec.train import Adam, AdamW, Optimizer, RmsProp, Sgd


def build_optimizer(choice: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer a config chooses, over the weights of a model that is already on its device."""
    decayed, left_alone = split_by_decay(model)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": choice.weight_decay},
        {"params": left_alone, "weight_decay": 0.0},
    ]
    fused = _has_fused(next(model.parameters()).device)
    match choice:
        case Sgd():
            return torch.optim.SGD(
                groups, lr=choice.lr, momentum=choice.momentum, nesterov=choice.nesterov, fused=fused
            )
        case Adam():
            return torch.optim.Adam(groups, lr=choice.lr, betas=choice.betas, fused=fused)
        case AdamW():
            return torch.optim.AdamW(groups, lr=choice.lr, betas=choice.betas, fused=fused)
        case RmsProp():
            return torch.optim.RMSprop(groups, lr=choice.lr, alpha=choice.alpha, momentum=choice.momentum)
        case _:
            assert_never(choice)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights that decay, and those that do not.

    Kernels of convolutions and matrices of linears have two axes or more. The scale and shift of a norm, and
    every bias, have one: pulling them to 0 would not make the network simpler, only worse.
    """
    parameters = list(model.parameters())
    return [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]


def _has_fused(device: torch.device) -> bool:
    """One kernel for all weights instead of several for each."""
    return device.type in ("cpu", "cuda")
