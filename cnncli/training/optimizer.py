"""The optimizer and the learning rate of a config.

The optimizer is built without an import of torch's compiler. The learning rate is a function of the step, so that a
checkpoint needs only the number of the step. Steps are counted from 0 over the whole training; `total_steps` is epochs
times steps per epoch.
"""

import inspect
from collections.abc import Callable
from math import cos, pi
from typing import Any, TypeVar, assert_never

import torch
from torch import nn

from cnncli.config.train import Adam, AdamW, Constant, Cosine, OneCycle, Optimizer, RmsProp, Schedule, Sgd, StepDecay
from cnncli.layers.tuning import Tuning
from cnncli.module import CnnModule

_OptimizerT = TypeVar("_OptimizerT", bound=torch.optim.Optimizer)

_WRAPPED = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
"""Methods of optimizers that import torch's compiler when called."""


def build_optimizer(choice: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config, over the parameters of a model that is already on its device."""
    groups = parameter_groups(model, choice.weight_decay)
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


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that are trained, in groups of one `weight_decay` and one `lr_scale`, the factor of the rate.

    Kernels of convolutions and matrices of linear layers have two axes or more. Biases and the scale and shift of norms
    have one: weight decay would not regularize them, only make the network worse.

    Args:
        model: a `CnnModule`, whose layers may have other settings; or another module.
        weight_decay: of kernels and matrices.
    """
    tunings = model.tunings() if isinstance(model, CnnModule) else {}
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        tuning, decays = tunings.get(name, Tuning()), parameter.ndim >= 2
        if tuning.never_trained:
            continue
        own = weight_decay if tuning.weight_decay is None else tuning.weight_decay
        groups.setdefault((decays, own if decays else 0.0, tuning.lr_scale), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (_, decay, scale), parameters in groups.items()
    ]


def without_compiler(optimizer: type[_OptimizerT]) -> type[_OptimizerT]:
    """An optimizer class without the wrappers that torch puts around its methods for `torch.compile`.

    The wrappers import the compiler (torch._dynamo, sympy and a thousand more modules), which takes three quarters of
    the time of importing torch and 150 MB. Optimizers are never compiled here. The wrapper of `step` also turns
    gradients off, which is done here instead. Without wrappers, nothing changes.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in _WRAPPED}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(methods["step"])})


LearningRate = Callable[[int], float]


def build_schedule(choice: Schedule, *, lr: float, epochs: int, steps_per_epoch: int) -> LearningRate:
    """The schedule of a config."""
    total = epochs * steps_per_epoch
    match choice:
        case Constant():
            return constant(lr, total_steps=total, warmup=choice.warmup)
        case StepDecay():
            every = choice.every * steps_per_epoch
            return step_decay(lr, total_steps=total, every=every, factor=choice.factor, warmup=choice.warmup)
        case Cosine():
            return cosine(lr, total_steps=total, final=choice.final, warmup=choice.warmup)
        case OneCycle():
            return one_cycle(lr, total_steps=total, warmup=choice.warmup, start=choice.start, final=choice.final)
        case _:
            assert_never(choice)


def constant(lr: float, *, total_steps: int, warmup: float) -> LearningRate:
    """`lr` after the warmup."""
    return lambda step: lr * _warm(step, round(warmup * total_steps))


def step_decay(lr: float, *, total_steps: int, every: int, factor: float, warmup: float) -> LearningRate:
    """`lr * factor ** (step // every)`; `every` is in steps."""
    return lambda step: lr * factor ** (step // every) * _warm(step, round(warmup * total_steps))


def cosine(lr: float, *, total_steps: int, final: float, warmup: float) -> LearningRate:
    """Half a cosine from `lr` at the end of the warmup to `final * lr` at the end of the training."""
    warm_steps = round(warmup * total_steps)
    length = max(1, total_steps - warm_steps)

    def rate(step: int) -> float:
        if step < warm_steps:
            return lr * _warm(step, warm_steps)
        return lr * _half_cosine(1.0, final, (step - warm_steps) / length)

    return rate


def one_cycle(lr: float, *, total_steps: int, warmup: float, start: float, final: float) -> LearningRate:
    """Half a cosine from `start * lr` up to `lr`, then one down to `final * lr` at the last step."""
    last = total_steps - 1
    peak = max(0.0, warmup * total_steps - 1)

    def rate(step: int) -> float:
        if step < peak:
            return lr * _half_cosine(start, 1.0, step / peak)
        return lr * _half_cosine(1.0, final, (step - peak) / max(1.0, last - peak))

    return rate


def _warm(step: int, steps: int) -> float:
    """1/n, 2/n, ... 1 over the n steps of a warmup, then 1."""
    return min(1.0, (step + 1) / steps) if steps else 1.0


def _half_cosine(start: float, end: float, t: float) -> float:
    """From `start` at t = 0 to `end` at t = 1 along half a cosine."""
    return end + (start - end) * (1 + cos(pi * min(t, 1.0))) / 2
