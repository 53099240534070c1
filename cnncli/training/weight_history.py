"""The weights that a run keeps from steps of its training, one file for each step, in half precision.

A file is written once and never changed. Its header has the SHA-256 hash of its tensors.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from cnncli.errors import RunError
from cnncli.files import disk_errors_explained, remove_unfinished, replace_file

FOLDER = "weights"

_SUFFIX = ".safetensors"
_HASH = "sha256"
_HEADER_BYTES = 200
"""Upper bound of what the header of a file says about a tensor, for names of up to 90 bytes."""


class WeightHistory:
    """The weights kept in a run, by step.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER

    def steps(self) -> list[int]:
        """The steps whose weights are kept, ascending."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())

    def file(self, step: int) -> Path:
        """The path of the file of a step."""
        return self.folder / f"{step}{_SUFFIX}"

    def bytes_used(self) -> int:
        """The size of all files."""
        return sum(self.file(step).stat().st_size for step in self.steps())

    def keep_only(self, steps: Collection[int]) -> None:
        """Delete the files of other steps, which a resumed run takes again.

        Raises:
            DiskError: a file cannot be deleted.
        """
        remove_unfinished(self.folder)
        with disk_errors_explained(self.folder):
            for other in {*self.steps()} - {*steps}:
                self.file(other).unlink()

    def add(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Write the file of a step.

        Args:
            step: after which the weights are these.
            weights: a state dict. A tensor with a number too large for half precision is written in float32, and
                tensors of integers as they are.

        Raises:
            DiskError: it cannot be written.
        """
        tensors = {name: _halved(tensor.detach().cpu()).contiguous() for name, tensor in weights.items()}
        with disk_errors_explained(self.folder):
            self.folder.mkdir(exist_ok=True)
        replace_file(self.file(step), safetensors.torch.save(tensors, {_HASH: _hash(tensors)}))

    def read(self, step: int) -> dict[str, Tensor]:
        """The weights of a step, by name; floating point numbers as float32.

        Raises:
            RunError: they are not kept, or the file is damaged.
        """
        path = self.file(step)
        if not path.is_file():
            kept = ", ".join(map(str, self.steps())) or "of no step"
            raise RunError(
                f"{path}: the weights of step {step} are not kept", remedy=f"weights are kept of these steps: {kept}"
            )
        try:
            with safetensors.safe_open(path, framework="pt") as opened:
                stored = (opened.metadata() or {}).get(_HASH)
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
        except (OSError, safetensors.SafetensorError) as error:
            raise _damaged(path, f"cannot be read: {error}") from error
        if stored != _hash(tensors):
            raise _damaged(path, "has changed since it was written (its SHA-256 differs)")
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


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _damaged(path: Path, problem: str) -> RunError:
    return RunError(f"{path}: {problem}", remedy="delete the file; only this step of the training will then be missing")
