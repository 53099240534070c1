"""A folder of a run with one file of tensors for each of some steps of the training.

A file is written once and never changed. Its header has the SHA-256 hash of its tensors.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from cnncli.errors import RunError
from cnncli.files import disk_errors_explained, remove_unfinished, replace_file

_SUFFIX = ".safetensors"
_HASH = "sha256"


class StepFiles:
    """The files of a folder, by step.

    Args:
        folder: it is made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """The steps that have a file, ascending."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())

    def file(self, step: int) -> Path:
        """The path of the file of a step."""
        return self.folder / f"{step}{_SUFFIX}"

    def bytes_used(self) -> int:
        """The size of all files."""
        return sum(self.file(step).stat().st_size for step in self.steps())

    def keep_only(self, steps: Collection[int]) -> None:
        """Delete the files of other steps, which a resumed run writes again.

        Raises:
            DiskError: a file cannot be deleted.
        """
        remove_unfinished(self.folder)
        with disk_errors_explained(self.folder):
            for other in {*self.steps()} - {*steps}:
                self.file(other).unlink()

    def write(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write the file of a step.

        Raises:
            DiskError: it cannot be written.
        """
        with disk_errors_explained(self.folder):
            self.folder.mkdir(exist_ok=True)
        content = {name: tensor.contiguous() for name, tensor in tensors.items()}
        replace_file(self.file(step), safetensors.torch.save(content, {_HASH: _hash(content)}))

    def read(self, step: int) -> dict[str, Tensor]:
        """The tensors in the file of a step, by name.

        Raises:
            RunError: there is no such file, or it is damaged.
        """
        path = self.file(step)
        try:
            with safetensors.safe_open(path, framework="pt") as opened:
                stored = (opened.metadata() or {}).get(_HASH)
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
        except (OSError, safetensors.SafetensorError) as error:
            raise _damaged(path, f"cannot be read: {error}") from error
        if stored != _hash(tensors):
            raise _damaged(path, "has changed since it was written (its SHA-256 differs)")
        return tensors


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _damaged(path: Path, problem: str) -> RunError:
    return RunError(f"{path}: {problem}", remedy="delete the file; only this step of the training will then be missing")
