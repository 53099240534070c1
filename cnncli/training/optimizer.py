"""The optimizer and the learning rate of a config.

The optimizer is built without an import of torch's compiler. The learning rate is a function of the step, so that a
checkpoint needs only the number of the step. Steps are counted from 0 over the whole training; `total_steps` is epochs
times steps per epoch.
"""

import inspect
from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any, TypeVar, assert_never

import torch
from torch import Tensor, nn
from torch.optim._muon import DEFAULT_A, DEFAULT_B, DEFAULT_C, DEFAULT_NS_STEPS, EPS, muon

from cnncli.config.train import (
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Cyclic,
    Exponential,
    MultiStep,
    Muon,
    NAdam,
    OneCycle,
    Optimizer,
    Piecewise,
    Plateau,
    Polynomial,
    RAdam,
    RmsProp,
    Schedule,
    Sgd,
    StepDecay,
)
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
        case NAdam():
            return without_compiler(torch.optim.NAdam)(groups, lr=choice.lr, betas=choice.betas)
        case RAdam():
            return without_compiler(torch.optim.RAdam)(groups, lr=choice.lr, betas=choice.betas)
        case Adagrad():
            return without_compiler(torch.optim.Adagrad)(groups, lr=choice.lr)
        case Adadelta():
            return without_compiler(torch.optim.Adadelta)(groups, lr=choice.lr, rho=choice.rho)
        case Muon():
            return without_compiler(MuonAndAdamW)(
                groups, lr=choice.lr, momentum=choice.momentum, nesterov=choice.nesterov
            )
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


class MuonAndAdamW(torch.optim.AdamW):
    """`torch.optim.Muon` for parameters of two axes or more, as matrices (filters, rest); `AdamW` for the others.

    Args:
        groups: of parameters; the parameters of a group all have two axes or more, or all have one.
        lr: of both; Muon's steps are scaled as in Liu et al., "Muon is Scalable for LLM Training", 2025.
        momentum, nesterov: of Muon.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(groups, lr=lr)
        self._momentum, self._nesterov = momentum, nesterov

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # closures are not used
        """Update all parameters that have a gradient."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if group["params"][0].ndim < 2]
        inspect.unwrap(torch.optim.AdamW.step)(self)
        self.param_groups = groups
        for group in groups:
            parameters = [each for each in group["params"] if each.ndim >= 2 and each.grad is not None]
            _muon_step(
                [_as_matrix(each, each) for each in parameters],
                [_as_matrix(each.grad, each) for each in parameters],
                [_as_matrix(self._momentum_of(each), each) for each in parameters],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                momentum=self._momentum,
                nesterov=self._nesterov,
                ns_coefficients=(DEFAULT_A, DEFAULT_B, DEFAULT_C),
                ns_steps=DEFAULT_NS_STEPS,
                eps=EPS,
                adjust_lr_fn="match_rms_adamw",
                has_complex=False,
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.optim.Optimizer.__setstate__(self, state)  # AdamW's own expects that all parameters are AdamW's

    def _momentum_of(self, parameter: Tensor) -> Tensor:
        """The momentum, in the memory layout of the parameter, which a loaded one may not have."""
        state = self.state[parameter]
        momentum: Tensor = state.get("momentum_buffer", torch.zeros_like(parameter))
        if momentum.stride() != parameter.stride():
            momentum = torch.empty_like(parameter).copy_(momentum)
        state["momentum_buffer"] = momentum
        return momentum


_muon_step = inspect.unwrap(muon)


def _as_matrix(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A tensor as a matrix (filters, rest), with the columns in the order of the parameter's memory.

    It is a view if the tensor has the layout of the parameter. The order of columns makes no difference to Muon.
    """
    rest = sorted(range(1, tensor.ndim), key=parameter.stride, reverse=True)
    return tensor.permute(0, *rest).flatten(1)


LearningRate = Callable[[int], float]


def build_schedule(choice: Schedule, *, lr: float, epochs: int, steps_per_epoch: int) -> LearningRate:
    """The schedule of a config; that of `plateau` is the part that depends on the step only."""
    total = epochs * steps_per_epoch
    match choice:
        case Constant():
            return constant(lr, total_steps=total, warmup=choice.warmup)
        case Plateau():
            return constant(lr, total_steps=total, warmup=choice.warmup)
        case MultiStep():
            steps = [epoch * steps_per_epoch for epoch in choice.epochs]
            return multistep(lr, total_steps=total, steps=steps, factor=choice.factor, warmup=choice.warmup)
        case Piecewise():
            return piecewise(lr, [(epoch * steps_per_epoch, fraction) for epoch, fraction in choice.points])
        case Exponential():
            factor = choice.factor ** (1 / steps_per_epoch)
            return exponential(lr, total_steps=total, factor=factor, warmup=choice.warmup)
        case Polynomial():
            return polynomial(lr, total_steps=total, power=choice.power, final=choice.final, warmup=choice.warmup)
        case Cyclic():
            return cyclic(lr, every=choice.every * steps_per_epoch, low=choice.low, decay=choice.decay)
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


def multistep(lr: float, *, total_steps: int, steps: Sequence[int], factor: float, warmup: float) -> LearningRate:
    """`lr` times `factor` for each of the given steps that is past."""
    return lambda step: lr * factor ** bisect_right(steps, step) * _warm(step, round(warmup * total_steps))


def piecewise(lr: float, points: Sequence[tuple[float, float]]) -> LearningRate:
    """`lr` times what straight lines between points (step, fraction) give; constant before and after."""
    steps, fractions = zip(*points, strict=True)

    def rate(step: int) -> float:
        right = bisect_right(steps, step)
        if right in (0, len(steps)):
            return lr * float(fractions[max(0, right - 1)])
        t = (step - steps[right - 1]) / (steps[right] - steps[right - 1])
        return lr * float(fractions[right - 1] + t * (fractions[right] - fractions[right - 1]))

    return rate


def exponential(lr: float, *, total_steps: int, factor: float, warmup: float) -> LearningRate:
    """`lr * factor ** step`; `factor` is that of a step."""
    return lambda step: lr * factor**step * _warm(step, round(warmup * total_steps))


def polynomial(lr: float, *, total_steps: int, power: float, final: float, warmup: float) -> LearningRate:
    """From `lr` at the end of the warmup to `final * lr` at the end of the training."""
    warm_steps = round(warmup * total_steps)
    length = max(1, total_steps - warm_steps)

    def rate(step: int) -> float:
        if step < warm_steps:
            return lr * _warm(step, warm_steps)
        left: float = max(0.0, 1 - (step - warm_steps) / length) ** power
        return lr * (final + (1 - final) * left)

    return rate


def cyclic(lr: float, *, every: float, low: float, decay: float) -> LearningRate:
    """A triangle wave from `low * lr` to `lr`, whose height is multiplied by `decay` after `every` steps."""

    def rate(step: int) -> float:
        cycle, t = divmod(step / every, 1.0)
        height: float = decay**cycle * (1 - abs(2 * t - 1))
        return lr * (low + (1 - low) * height)

    return rate


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
