"""A checkpoint: a directory with weights for inference, the state to resume from, and a manifest of both.

    last/
    ├── weights.safetensors   weights for inference: their moving average, if there is one; in its metadata the
    │                         preprocessing of the images
    ├── state.pt              what `Training.load_state_dict` takes
    └── manifest.json         format, epoch, step, versions, preprocessing, SHA-256 of each file; how far the files were
                              to which the run appends

A new checkpoint is written as `last.new`, then `last` is renamed to `last.old`, `last.new` to `last`, and `last.old` is
deleted. `last` is read or, after a crash between the two renames, `last.old`.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import cnncli
from cnncli.errors import RunError
from cnncli.files import disk_errors_explained, sync_directory, write_file
from cnncli.training.logged import Logged
from cnncli.training.state import Training, load_weights_into

FORMAT = 1

_WEIGHTS = "weights.safetensors"
_STATE = "state.pt"
_MANIFEST = "manifest.json"


def save_checkpoint(path: Path, training: Training, *, logged: Logged | None = None) -> None:
    """Write a checkpoint, replacing the one at `path`.

    Args:
        path: its directory.
        training: what is saved.
        logged: how far the files of its run are, on the disk; a run can only be resumed with it.

    Raises:
        DiskError: it cannot be written; the previous one is still readable.
    """
    preprocessing = None if training.preprocessing is None else training.preprocessing.as_record()
    header = None if preprocessing is None else {"preprocessing": json.dumps(preprocessing)}
    contents = {
        _WEIGHTS: safetensors.torch.save(_plain(training.inference_model.state_dict()), header),
        _STATE: _torch_bytes(training.state_dict()),
    }
    manifest = {
        "format": FORMAT,
        "epoch": training.epochs_done,
        "step": training.step,
        "cnncli": cnncli.__version__,
        "torch": torch.__version__,
        "preprocessing": preprocessing,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "run": None if logged is None else logged.as_record(),
    }
    contents[_MANIFEST] = json.dumps(manifest, indent=2).encode()
    with disk_errors_explained(path):
        try:
            _write_directory(_new(path), contents)
        except OSError:
            shutil.rmtree(_new(path), ignore_errors=True)  # free the space on a full disk
            raise
        _swap_in(path)


def load_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Load the weights of a checkpoint into a model.

    Returns:
        The manifest of the checkpoint.

    Raises:
        RunError: there is no checkpoint, it is damaged, or its weights do not fit the model.
    """
    content, manifest = _verified(path, _WEIGHTS)
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise _damaged(path, f"cannot read {_WEIGHTS} ({error})") from error
    load_weights_into(model, weights, source=str(path))
    return manifest


def load_state(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, for `Training.load_state_dict`; tensors on the CPU.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    content, _ = _verified(path, _STATE)
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def read_logged(path: Path) -> Logged:
    """How far the files of the run were when the checkpoint was written.

    Raises:
        RunError: there is no checkpoint, or its manifest does not say it.
    """
    record = read_manifest(path).get("run")
    try:
        return Logged.from_record(record or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{path}: {_MANIFEST} does not say how far metrics and event files were: {type(error).__name__}: {error}",
            remedy="restore the checkpoint from a copy, or train again",
        ) from error


def remove_leftovers(path: Path) -> None:
    """Delete what a process that was killed while it replaced the checkpoint has left beside it.

    Raises:
        DiskError: it cannot be deleted.
    """
    old = _old(path)
    with disk_errors_explained(path):
        if old.exists() and not path.exists():
            old.rename(path)
        for each in (old, _new(path)):
            if each.exists():
                shutil.rmtree(each)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint: `format`, `epoch`, `step`, `cnncli`, `torch`, `preprocessing`, `files`, `run`.

    Raises:
        RunError: there is no checkpoint, or its manifest cannot be read or has another format.
    """
    try:
        manifest = json.loads((readable(path) / _MANIFEST).read_bytes())
        version = manifest["format"]
        missing = {"epoch", "step", "files"} - manifest.keys()
    except FileNotFoundError as error:
        remedy = "a run has a checkpoint after its first epoch or when stopped with Ctrl-C; train again"
        last = path.with_name("last")
        if path.name == "best" and has_checkpoint(last):
            remedy = f"there is one in {last}: cnncli train --resume {path.parents[1]} goes on from it"
        raise RunError(f"no checkpoint in {path}", remedy=remedy) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"cannot read {_MANIFEST} ({error})") from error
    if version != FORMAT:
        raise RunError(
            f"{path}: the checkpoint has format {version}, cnncli {cnncli.__version__} reads format {FORMAT}",
            remedy=f"use the cnncli that wrote it (version {manifest.get('cnncli', 'unknown')})",
        )
    if missing:
        raise _damaged(path, f"{_MANIFEST} has no {', '.join(sorted(missing))}")
    return dict(manifest)


def has_checkpoint(path: Path) -> bool:
    """Whether there is a checkpoint at `path`; it may be damaged."""
    return (readable(path) / _MANIFEST).is_file()


def readable(path: Path) -> Path:
    """The directory of the checkpoint, also after a crash between the two renames."""
    old = _old(path)
    return old if not path.exists() and old.exists() else path


def _verified(path: Path, name: str) -> tuple[bytes, dict[str, Any]]:
    """A file of a checkpoint whose checksum is that of the manifest, and the manifest.

    If a training process replaces the checkpoint meanwhile, the new one is read.
    """
    manifest = read_manifest(path)
    problem, content = "", b""
    try:
        content = (readable(path) / name).read_bytes()
    except OSError as error:
        problem = f"cannot read {name} ({error.strerror})"
    else:
        if hashlib.sha256(content).hexdigest() != manifest["files"].get(name):
            problem = f"{name} has changed since it was written (its SHA-256 differs)"
    if not problem:
        return content, manifest
    if read_manifest(path) != manifest:
        return _verified(path, name)
    raise _damaged(path, problem)


def _damaged(path: Path, problem: str) -> RunError:
    other = "best" if path.name == "last" else "last"
    return RunError(
        f"{path}: the checkpoint is damaged: {problem}",
        remedy=f"copy {path.with_name(other)} over it, or train again",
    )


def _write_directory(path: Path, contents: Mapping[str, bytes]) -> None:
    shutil.rmtree(path, ignore_errors=True)  # left by a crash
    path.mkdir(parents=True)
    for name, content in contents.items():
        write_file(path / name, content)
    sync_directory(path)


def _swap_in(path: Path) -> None:
    """Replace the directory at `path` by the new one, which is complete."""
    old = _old(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)  # left by a crash, and older than `path`
        path.rename(old)
    _new(path).rename(path)
    sync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as safetensors stores them: contiguous, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def _torch_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
