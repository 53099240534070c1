"""Build the optimizer: weight decay for some parameters, fused kernels, and no import of torch's compiler."""

import inspect
from typing import Any, TypeVar, assert_never

import torch
from torch import nn

from cnncli.config.train import Adam, AdamW, Optimizer, RmsProp, Sgd

_OptimizerT = TypeVar("_OptimizerT", bound=torch.optim.Optimizer)

_WRAPPED = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
"""Methods of optimizers that import torch's compiler when called."""


def build_optimizer(choice: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config, over the parameters of a model that is already on its device."""
    decayed, others = split_by_decay(model)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": choice.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")  # one kernel for all weights
    match choice:
        case Sgd():
            return without_compiler(torch.optim.SGD)(
                groups, lr=choice.lr, momentum=choice.momentum, nesterov=choice.nesterov, fused=fused
            )
        case Adam():
            return without_compiler(torch.optim.Adam)(groups, lr=choice.lr, betas=choice.betas, fused=fused)
        case AdamW():
            return without_compiler(torch.optim.AdamW)(groups, lr=choice.lr, betas=choice.betas, fused=fused)
        case RmsProp():
            return without_compiler(torch.optim.RMSprop)(
                groups, lr=choice.lr, alpha=choice.alpha, momentum=choice.momentum
            )
        case _:
            assert_never(choice)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with weight decay, and those without.

    Kernels of convolutions and matrices of linear layers have two axes or more. Biases and the scale and shift of norms
    have one: weight decay would not regularize them, only make the network worse.
    """
    parameters = list(model.parameters())
    return [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]


def without_compiler(optimizer: type[_OptimizerT]) -> type[_OptimizerT]:
    """An optimizer class without the wrappers that torch puts around its methods for `torch.compile`.

    The wrappers import the compiler (torch._dynamo, sympy and a thousand more modules), which takes three quarters of
    the time of importing torch and 150 MB. Optimizers are never compiled here. The wrapper of `step` also turns
    gradients off, which is done here instead. Without wrappers, nothing changes.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in _WRAPPED}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(methods["step"])})
