"""The optimizer: which weights decay, the fused kernels where there are any, and no compiler."""

import inspect
from typing import Any, TypeVar, assert_never

import torch
from torch import nn

from cnncli.config.train import Adam, AdamW, Optimizer, RmsProp, Sgd

_OptimizerT = TypeVar("_OptimizerT", bound=torch.optim.Optimizer)

_WRAPPED = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
"""Methods of optimizers that import torch's compiler when they are called."""


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
    """Weights that decay, and those that do not.

    Kernels of convolutions and matrices of linears have two axes or more. The scale and shift of a norm, and
    every bias, have one: pulling them to 0 would not make the network simpler, only worse.
    """
    parameters = list(model.parameters())
    return [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]


def without_compiler(kind: type[_OptimizerT]) -> type[_OptimizerT]:
    """The same optimizer, whose methods are torch's own without what torch wraps around them for its compiler.

    The wrappers tell `torch.compile` to keep out of a method, and import the compiler for that: torch._dynamo, and with
    it sympy, torch.distributed and a thousand more modules, which take three quarters as long as torch itself. Nobody
    compiles an optimizer here; `train.compile` is for the model alone. The wrapper of `step` also turns gradients off,
    which is done here instead. In a torch that wraps nothing, nothing changes.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _WRAPPED}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(methods["step"])})


def _has_fused(device: torch.device) -> bool:
    """One kernel for all weights instead of several for each."""
    return device.type in ("cpu", "cuda")
