"""The state of training: everything that a checkpoint must contain."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from textwrap import shorten
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, ConfigDict, Field
from torch import Tensor, nn

from cnncli.config.train import Plateau
from cnncli.data.preprocessing import Preprocessing
from cnncli.errors import RunError
from cnncli.fields import Whole
from cnncli.module import CnnModule
from cnncli.training.optimizer import LearningRate
from cnncli.training.progress import Sums
from cnncli.training.records import MOST_STEPS, Record, check_record

_COUNTERS = (
    *("epochs_done", "step", "step_in_epoch", "seconds"),
    *("best_score", "best_epoch", "epochs_without_improvement", "rng_state", "rollbacks"),
    *("plateau_factor", "plateau_best", "plateau_epochs"),
)
"""Attributes of `Training` that a checkpoint stores as they are."""
MOST_ROLLBACKS = 3
ROLLBACK_FACTOR = 0.5
"""The factor of the learning rate after each rollback; a power of two, so that it changes no digit of it."""
_SHOWN_DIFFERENCES = 5


class _RollbackRecord(Record):
    """What is noted of a rollback; see `Training.rollbacks`."""

    epoch: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    step: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    restored: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    factor: Annotated[float, Field(gt=0, lt=1)]
    reason: str


def _check_scalar(tensor: Tensor) -> Tensor:
    if tensor.ndim:
        raise ValueError("must be a scalar")
    return tensor


_Scalar = Annotated[Tensor, AfterValidator(_check_scalar)]


class _SumsRecord(Record):
    """`Sums` as a state has it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    loss: _Scalar
    correct: _Scalar
    images: Whole


class _StateRecord(Record):
    """What `Training.state_dict` gives."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimizer_type: str
    optimizer: dict[str, Any]
    gradients: dict[str, Tensor]
    sums: _SumsRecord
    epochs_done: Whole
    step: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    step_in_epoch: Whole
    seconds: Annotated[float, Field(ge=0)]
    best_score: Annotated[float, Field(allow_inf_nan=True)] | None
    best_epoch: Whole
    epochs_without_improvement: Whole
    rng_state: dict[str, Tensor] | None
    rollbacks: Annotated[list[_RollbackRecord], Field(max_length=MOST_ROLLBACKS)]
    plateau_factor: Annotated[float, Field(ge=0, le=1)]
    plateau_best: Annotated[float, Field(allow_inf_nan=True)] | None
    plateau_epochs: Whole
    restore_point: "_StateRecord | None"


def check_state(state: object) -> None:
    """Check that an object is such as `Training.state_dict` gives.

    Raises:
        ValueError: it is not; the message has its first problem.
    """
    check_record(state, _StateRecord)


class EmaWeights:
    """An exponential moving average (EMA) of a model's weights, as a second model.

    After each step `ema = d * ema + (1 - d) * weights`, with `d = min(decay, (1 + t) / (10 + t))` after t updates. The
    growing d is that of TensorFlow's `ExponentialMovingAverage`: without it, the average of a short run would be mostly
    the random initial weights. Running means and variances of batch norms are averaged as well; integers, such as their
    counters, are copied.

    Args:
        model: whose weights are averaged; device and memory layout are kept.
        decay: the share of the average that a step keeps, between 0 and 1.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        assert 0 < decay < 1
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._integers = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, updates_before: int) -> None:
        """Update the average after a step."""
        decay = min(self.decay, (1 + updates_before) / (10 + updates_before))
        averages, weights = (list(each) for each in zip(*self._floating, strict=True))
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, counter in self._integers:
            average.copy_(counter)


def load_weights_into(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy weights into a model, which keeps its device and memory layout.

    Args:
        model: their network.
        weights: by name, as in `model.state_dict()`.
        source: where they come from, for the message.

    Raises:
        RunError: names or shapes differ; the message shows the first differences.
    """
    try:
        model.load_state_dict(dict(sorted(weights.items())))
    except RuntimeError as error:
        lines = [shorten(line, 200, placeholder=" ...") for line in str(error).splitlines()[1:]]
        more = [f"... and {len(lines) - _SHOWN_DIFFERENCES} more"] * (len(lines) > _SHOWN_DIFFERENCES)
        raise RunError(
            "\n  ".join([f"{source}: the weights do not fit the network:", *lines[:_SHOWN_DIFFERENCES], *more]),
            remedy="use the config the run was trained with: resolved.yaml in the run directory",
        ) from error


@dataclass(kw_only=True)
class Training:
    """A model in training.

    `state_dict()` and `load_state_dict()` carry over everything except the schedule, which is a function of the step
    and comes from the config, as `can_roll_back` does. A training resumed from such a state, also within an epoch, ends
    with the same weights, bit for bit, on the same device with the same versions and number of threads.

    Attributes:
        model: gives logits (N, classes); on its device, in its memory layout.
        optimizer: over the model's parameters.
        schedule: learning rate by step.
        ema: moving average of the weights, if there is one.
        preprocessing: of the images, stored with the weights; None for a model of something else.
        config: the resolved config, stored with the weights; None for a training without one.
        epochs_done: complete epochs.
        step: optimizer steps since the beginning.
        step_in_epoch: those of the current epoch.
        sums: loss and accuracy so far in the current epoch.
        seconds: time spent on the current epoch.
        best_score: the best score of an epoch so far (higher is better), None before the first.
        best_epoch: its number, 0 before the first.
        epochs_without_improvement: since then.
        rng_state: states of the random number generators where the loop last stopped; None before it began.
        can_roll_back: whether a training that diverges returns to `restore_point`.
        rollbacks: those so far, each with `epoch` and `step` of what was not finite, the step `restored`, the `factor`
            of the learning rate since then, and the `reason`.
        plateau: when the learning rate is reduced, if it is.
        plateau_factor: of the learning rate, by these reductions.
        plateau_best: the best score for `plateau` so far, None before the first.
        plateau_epochs: since then, or since the last reduction.
        restore_point: the state at the beginning of the epoch, if it `can_roll_back`. Checkpoints within the epoch have
            it too: a resumed training returns to the same step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LearningRate
    ema: EmaWeights | None = None
    preprocessing: Preprocessing | None = None
    config: str | None = None
    epochs_done: int = 0
    step: int = 0
    step_in_epoch: int = 0
    sums: Sums = field(init=False)
    seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0
    epochs_without_improvement: int = 0
    rng_state: dict[str, Tensor] | None = None
    can_roll_back: bool = False
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    plateau: Plateau | None = None
    plateau_factor: float = 1.0
    plateau_best: float | None = None
    plateau_epochs: int = 0
    restore_point: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.sums = Sums.zero(self.device)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def inference_model(self) -> nn.Module:
        """The model to evaluate, save and use: that of the moving average if there is one."""
        return self.ema.model if self.ema else self.model

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: that of the schedule, reduced by plateaus and rollbacks."""
        return self.schedule(step) * self.plateau_factor * ROLLBACK_FACTOR ** len(self.rollbacks)

    def freeze(self) -> bool:
        """Freeze and unfreeze the layers of a `CnnModule` for the current epoch; whether that changes any."""
        return isinstance(self.model, CnnModule) and self.model.freeze(self.epochs_done)

    def unfrozen(self) -> tuple[str, ...]:
        """The layers that were frozen before the current epoch, and are not in it."""
        return self.model.unfrozen_after(self.epochs_done) if isinstance(self.model, CnnModule) else ()

    def set_restore_point(self) -> None:
        """Keep a copy of the state, to which `roll_back` returns."""
        if self.rng_state is None:
            self.save_rng()
        self.restore_point = None
        self.restore_point = copy.deepcopy(self.state_dict())

    def roll_back(self, *, step: int, reason: str) -> bool:
        """Return to the restore point, and halve the learning rate from there on.

        Args:
            step: the first step that was not finite.
            reason: what was not finite.

        Returns:
            Whether it has; not if it cannot, or has too often.
        """
        point, count = self.restore_point, len(self.rollbacks) + 1
        if not self.can_roll_back or point is None or count > MOST_ROLLBACKS:
            return False
        rollback = {
            "epoch": self.epochs_done + 1,
            "step": step,
            "restored": point["step"],
            "factor": ROLLBACK_FACTOR**count,
            "reason": reason,
        }
        rollbacks = [*self.rollbacks, rollback]
        self.load_state_dict(copy.deepcopy(point))  # the optimizer keeps and changes the tensors that it is given
        self.rollbacks, self.restore_point = rollbacks, point
        return True

    def finish_epoch(self, score: float) -> bool:
        """Count an epoch with its score (higher is better); whether it is the best so far.

        Of several epochs with the best score the last counts as the best, since it has trained longest; but an equal
        score is no improvement.
        """
        improved = self.best_score is None or isnan(self.best_score) or score > self.best_score
        best = improved or score == self.best_score
        self.epochs_done += 1
        self.step_in_epoch, self.seconds, self.sums = 0, 0.0, Sums.zero(self.device)
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1
        if best:
            self.best_score, self.best_epoch = score, self.epochs_done
        return best

    def reduce_on_plateau(self, score: float) -> None:
        """Reduce the learning rate if the score (higher is better) has not improved for as many epochs as allowed."""
        if self.plateau is None:
            return
        if self.plateau_best is None or isnan(self.plateau_best) or score > self.plateau_best:
            self.plateau_best, self.plateau_epochs = score, 0
            return
        self.plateau_epochs += 1
        if self.plateau_epochs >= self.plateau.patience:
            self.plateau_factor = max(self.plateau.lowest, self.plateau_factor * self.plateau.factor)
            self.plateau_epochs = 0

    def save_rng(self) -> None:
        """Store the states of the random number generators that dropout uses."""
        self.rng_state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self.rng_state["cuda"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            self.rng_state["mps"] = torch.mps.get_rng_state()

    def restore_rng(self) -> None:
        """Put the random number generators back into the stored states; does nothing before the loop began."""
        if self.rng_state is None:
            return
        torch.set_rng_state(self.rng_state["cpu"])
        if self.device.type == "cuda" and "cuda" in self.rng_state:
            torch.cuda.set_rng_state(self.rng_state["cuda"], self.device)
        elif self.device.type == "mps" and "mps" in self.rng_state:
            torch.mps.set_rng_state(self.rng_state["mps"])

    def state_dict(self) -> dict[str, Any]:
        """Only tensors, numbers, strings and plain containers: reading it back runs no code."""
        return {
            "model": dict(self.model.state_dict()),
            "ema": dict(self.ema.model.state_dict()) if self.ema else None,
            "optimizer_type": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict(),
            "gradients": self._gradients(),
            "sums": {"loss": self.sums.loss, "correct": self.sums.correct, "images": self.sums.images},
            **{name: getattr(self, name) for name in _COUNTERS},
            "restore_point": self.restore_point if self.step_in_epoch else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` gave.

        Raises:
            RunError: it is of another network or optimizer, or only one of the two has a moving average.
        """
        own, other = type(self.optimizer).__name__, state["optimizer_type"]
        if own != other:
            raise RunError(
                f"the checkpoint was trained with {other}, but the config has {own}",
                remedy="leave train.optimizer unchanged when resuming, or start a new run",
            )
        if (self.ema is None) != (state["ema"] is None):
            with_ema, without = ("config", "checkpoint") if self.ema else ("checkpoint", "config")
            raise RunError(
                f"the {with_ema} has a moving average of the weights, but the {without} has none",
                remedy="leave train.ema unchanged when resuming, or start a new run",
            )
        load_weights_into(self.model, state["model"], source="the checkpoint")
        if self.ema:
            load_weights_into(self.ema.model, state["ema"], source="the checkpoint")
        sums = state["sums"]
        try:
            self._load_optimizer(state["optimizer"])
            for name, parameter in self.model.named_parameters():
                gradient = state["gradients"].get(name)
                parameter.grad = None if gradient is None else gradient.to(parameter.device).reshape_as(parameter)
            self.sums = Sums(sums["loss"].to(self.device), sums["correct"].to(self.device), sums["images"])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RunError(
                f"the checkpoint: the state of the optimizer does not fit the network: {error}",
                remedy="use the config the run was trained with: resolved.yaml in the run directory",
            ) from error
        for name in _COUNTERS:
            setattr(self, name, state[name])
        if self.plateau is None:  # another schedule since
            self.plateau_factor = 1.0
        self.restore_point = state["restore_point"] if self.can_roll_back else None
        try:
            self.restore_rng()
        except (KeyError, RuntimeError, TypeError) as error:
            raise RunError(
                f"the checkpoint: it has no state of the random number generator ({error})", remedy="train again"
            ) from error

    def _load_optimizer(self, state: Mapping[str, Any]) -> None:
        """Restore the optimizer. Its settings stay those of the config, except the learning rate of the last step."""
        own, given = self.optimizer.param_groups, state["param_groups"]
        if len(own) != len(given):
            raise ValueError(f"it has {len(given)} groups of parameters instead of {len(own)}")
        groups = [
            {**theirs, **{name: value for name, value in ours.items() if name not in ("params", "lr")}}
            for ours, theirs in zip(own, given, strict=True)
        ]
        self.optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                    raise ValueError(f"{name} has shape {[*value.shape]} instead of {[*parameter.shape]}")

    def _gradients(self) -> dict[str, Tensor]:
        """Those of the last step, by parameter, which are logged when the epoch ends; none between two epochs."""
        if not self.step_in_epoch:
            return {}
        return {name: each.grad for name, each in self.model.named_parameters() if each.grad is not None}
