"""The weights that a run keeps from steps of its training, one file for each step, in half precision."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from cnncli.errors import RunError
from cnncli.training.step_files import StepFiles

FOLDER = "weights"

_HEADER_BYTES = 200
"""Upper bound of what the header of a file says about a tensor, for names of up to 90 bytes."""


class WeightHistory(StepFiles):
    """The weights kept in a run, by step.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        super().__init__(run / FOLDER)

    def add(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Write the file of a step.

        Args:
            step: after which the weights are these.
            weights: a state dict. A tensor with a number too large for half precision is written in float32, and
                tensors of integers as they are.

        Raises:
            DiskError: it cannot be written.
        """
        self.write(step, {name: _halved(tensor.detach().cpu()) for name, tensor in weights.items()})

    def read(self, step: int) -> dict[str, Tensor]:
        """The weights of a step, by name; floating point numbers as float32.

        Raises:
            RunError: they are not kept, or the file is damaged.
        """
        if not self.file(step).is_file():
            kept = ", ".join(map(str, self.steps())) or "of no step"
            raise RunError(
                f"{self.file(step)}: the weights of step {step} are not kept",
                remedy=f"weights are kept of these steps: {kept}",
            )
        tensors = super().read(step)
        return {name: each.float() if each.is_floating_point() else each for name, each in tensors.items()}


def bytes_of(weights: Mapping[str, Tensor]) -> int:
    """An upper bound of the size of the file of these weights, if all numbers fit in half precision."""
    numbers = sum(tensor.numel() * (2 if tensor.is_floating_point() else 8) for tensor in weights.values())
    return numbers + _HEADER_BYTES * (len(weights) + 1)


def steps_to_keep(steps: Sequence[int], most: int, *, kept: Collection[int] = ()) -> tuple[int, ...]:
    """The steps whose weights are kept, if not those of all can be: the first, the last and some between, ascending.

    The choice depends only on `steps` and `most` if `kept` are among those chosen, so a resumed run keeps the same
    steps. In an extended run, others may be kept already: they stay, and the last step goes before the rest.

    Args:
        steps: all steps that may be kept, ascending.
        most: how many can be kept.
        kept: those that the run keeps already.
    """
    if most < 2 and not kept:
        return ()
    chosen = _spread(steps, most)
    new = [step for step in chosen if step not in kept]
    room = max(0, most - len(kept))
    return tuple(sorted({*kept, *new[len(new) - min(room, len(new)) :]}))


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of the steps at equal distances in the list, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    if most < 2:
        return list(steps[-1:])
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def _halved(tensor: Tensor) -> Tensor:
    """In half precision if no number becomes infinite by it."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return tensor.float() if bool((half.isinf() & tensor.isfinite()).any()) else half
