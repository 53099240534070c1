"""What is being trained, and how far it has got: all that a checkpoint must hold."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.errors import RunError
from cnncli.training.progress import Sums
from cnncli.training.schedule import LearningRate


class EmaWeights:
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


_SHOWN = 5


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy weights into a model.

    Args:
        model: keeps its device and memory layout.
        weights: by name, as in `model.state_dict()`.
        source: where they come from, for the message.

    Raises:
        RunError: names or shapes differ; the first differences are named.
    """
    found = differences(model.state_dict(), weights)
    if found:
        more = f"\n  ... and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        listed = "".join(f"\n  {line}" for line in found[:_SHOWN])
        raise RunError(
            f"{source}: these are weights of another network:{listed}{more}",
            remedy="use the config the run was trained with: resolved.yaml in the run's directory",
        )
    model.load_state_dict(dict(weights))


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Where two sets of weights differ in name or shape, in the order of the network."""
    lines = []
    for name, tensor in expected.items():
        if name not in found:
            lines.append(f"{name}: missing from the file")
        elif found[name].shape != tensor.shape:
            lines.append(f"{name}: the network has {_shape(tensor)}, the file {_shape(found[name])}")
    lines += [f"{name}: in the file, but not in the network" for name in sorted(found.keys() - expected.keys())]
    return lines


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


@dataclass(kw_only=True)
class Training:
    """A model in training.

    `state_dict()` and `load_state_dict()` carry over everything but the schedule, which is a function of the
    step and comes from the config. A run that goes on from such a state, in the middle of an epoch too, ends
    with the same weights, bit for bit, on the same device with the same versions and number of threads.

    Attributes:
        model: gives logits (N, classes); on its device, in its memory layout.
        optimizer: over the model's parameters.
        schedule: learning rate by step.
        average: moving average of the weights, if wanted.
        epochs_done: whole epochs.
        step: optimizer steps taken since the beginning.
        step_in_epoch: those of the epoch under way.
        sums: loss and accuracy so far in the epoch under way.
        seconds: time spent on the epoch under way.
        best_score: the best score of an epoch so far (higher is better), None before the first.
        best_epoch: the epoch it belongs to, 0 before the first.
        epochs_without_gain: since then.
        random: states of the random number generators where the loop last stopped; None before it began.
        replicated: the model as a group of processes runs it; no part of the state.
        compiled: the model as `torch.compile` made it, or itself where that failed; no part of the state.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LearningRate
    average: EmaWeights | None = None
    epochs_done: int = 0
    step: int = 0
    step_in_epoch: int = 0
    sums: Sums = field(init=False)
    seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0
    epochs_without_gain: int = 0
    random: dict[str, Tensor] | None = None
    replicated: nn.Module | None = None
    compiled: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        self.sums = Sums.zero(self.device)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def best_model(self) -> nn.Module:
        """The model to evaluate, save and use: the averaged one if there is an average."""
        return self.average.model if self.average else self.model

    def finish_epoch(self, score: float) -> bool:
        """Count an epoch, with its score (higher is better); whether it is the best so far.

        Of epochs with one score the last counts as the best, since it has learned longest; but it is no gain.
        """
        gain = self.best_score is None or isnan(self.best_score) or score > self.best_score
        best = gain or score == self.best_score
        self.epochs_done += 1
        self.step_in_epoch, self.seconds, self.sums = 0, 0.0, Sums.zero(self.device)
        self.epochs_without_gain = 0 if gain else self.epochs_without_gain + 1
        if best:
            self.best_score, self.best_epoch = score, self.epochs_done
        return best

    def remember_random(self) -> None:
        """Note the states of the random number generators, which dropout draws from."""
        self.random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self.random["cuda"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            self.random["mps"] = torch.mps.get_rng_state()

    def restore_random(self) -> None:
        """Put the generators back as noted, whatever drew from them since; nothing before the loop began."""
        if self.random is None:
            return
        torch.set_rng_state(self.random["cpu"])
        if self.device.type == "cuda" and "cuda" in self.random:
            torch.cuda.set_rng_state(self.random["cuda"], self.device)
        elif self.device.type == "mps" and "mps" in self.random:
            torch.mps.set_rng_state(self.random["mps"])

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, words and plain containers only: reading it back runs no code."""
        return {
            "model": dict(self.model.state_dict()),
            "average": dict(self.average.model.state_dict()) if self.average else None,
            "optimizer_kind": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict(),
            "epochs_done": self.epochs_done,
            "step": self.step,
            "step_in_epoch": self.step_in_epoch,
            "sums": {"loss": self.sums.loss, "correct": self.sums.correct, "images": self.sums.images},
            "seconds": self.seconds,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "epochs_without_gain": self.epochs_without_gain,
            "random": self.random,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave.

        Raises:
            RunError: the state is of another network or optimizer, or one has a moving average and the other
                has not.
        """
        self._check_same_kind(state)
        put_weights(self.model, state["model"], source="the checkpoint")
        if self.average:
            put_weights(self.average.model, state["average"], source="the checkpoint")
        self.optimizer.load_state_dict(state["optimizer"])
        sums = state["sums"]
        self.sums = Sums(sums["loss"].to(self.device), sums["correct"].to(self.device), sums["images"])
        for name in ("epochs_done", "step", "step_in_epoch", "seconds", "best_score", "best_epoch"):
            setattr(self, name, state[name])
        self.epochs_without_gain = state["epochs_without_gain"]
        self.random = state["random"]

    def _check_same_kind(self, state: Mapping[str, Any]) -> None:
        mine, theirs = type(self.optimizer).__name__, state["optimizer_kind"]
        if mine != theirs:
            raise RunError(
                f"the checkpoint was trained with {theirs}, the config says {mine}",
                remedy="leave train.optimizer as it was when resuming, or start a new run",
            )
        if (self.average is None) != (state["average"] is None):
            has, wants = ("no", "asks for one") if self.average else ("a", "asks for none")
            raise RunError(
                f"the checkpoint has {has} moving average of the weights, the config {wants}",
                remedy="leave train.ema as it was when resuming, or start a new run",
            )
