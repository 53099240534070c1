"""A checkpoint: a directory with weights for inference, the state to resume from, and a manifest of both.

    last/
    ├── weights.safetensors   weights for inference: their moving average, if there is one; in its metadata the
    │                         preprocessing of the images
    ├── state.pt              what `Training.load_state_dict` takes
    └── manifest.json         format, epoch, step, versions, preprocessing, config, SHA-256 of each file and of the
                              manifest itself; how far the files were to which the run appends

A new checkpoint is written as `last.new`, then `last` is renamed to `last.old`, `last.new` to `last`, and `last.old` is
deleted. `last` is read or, if it is missing or damaged, `last.old`, with a message.
"""

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import cnncli
from cnncli.errors import RunError
from cnncli.files import disk_errors_explained, sync_directory, write_file
from cnncli.training.logged import Logged
from cnncli.training.records import ManifestRecord, check_record, parse_json
from cnncli.training.state import Training, check_state, load_weights_into

FORMAT = 1

T = TypeVar("T")

_log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
_STATE = "state.pt"
MANIFEST = "manifest.json"
_CHANGED = "it has changed since it was written (its SHA-256 differs)"


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
        WEIGHTS: safetensors.torch.save(_plain(training.inference_model.state_dict()), header),
        _STATE: _torch_bytes(training.state_dict()),
    }
    manifest = {
        "format": FORMAT,
        "epoch": training.epochs_done,
        "step": training.step,
        "cnncli": cnncli.__version__,
        "torch": torch.__version__,
        "preprocessing": preprocessing,
        "config": training.config,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "run": None if logged is None else logged.as_record(),
    }
    contents[MANIFEST] = json.dumps(manifest | {"sha256": manifest_hash(manifest)}, indent=2).encode()
    with disk_errors_explained(path):
        try:
            _write_directory(_new(path), contents)
        except OSError:
            shutil.rmtree(_new(path), ignore_errors=True)  # free the space on a full disk
            raise
        _swap_in(path)


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 hash of what a manifest says, except its own, which is in `sha256`."""
    said = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def load_weights(path: Path, model: nn.Module, *, otherwise: Path | None = None) -> dict[str, Any]:
    """Load the weights of a checkpoint into a model.

    Args:
        path: the checkpoint.
        model: their network.
        otherwise: the checkpoint to use instead if that at `path` is damaged, with a message.

    Returns:
        The manifest of the checkpoint whose weights they are.

    Raises:
        RunError: there is no checkpoint, it is damaged, or its weights do not fit the model.
    """
    try:
        weights, manifest = _load(path, WEIGHTS, _weights)
    except DamagedCheckpointError as error:
        if otherwise is None:
            raise
        try:
            weights, manifest = _load(otherwise, WEIGHTS, _weights)
        except RunError:
            raise error from None
        _log.warning(
            f"{error.message}: using {otherwise}, epoch {manifest['epoch']}, instead; "
            f"cnncli train --resume {path.parents[1]} makes it the best, and evaluates it"
        )
    load_weights_into(model, weights, source=str(path))
    return manifest


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a checkpoint by name, on the CPU, and its manifest.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    return _load(path, WEIGHTS, _weights)


def load_state(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, for `Training.load_state_dict`; tensors on the CPU.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    state, _ = _load(path, _STATE, _state)
    return state


def load_to_resume(path: Path) -> tuple[dict[str, Any], Logged]:
    """The state in a checkpoint, and what its run had logged when it was written.

    Raises:
        RunError: there is no checkpoint, it is damaged, or it does not say what was logged.
    """
    state, manifest = _load(path, _STATE, _state)
    return state, _logged(path, manifest)


def read_logged(path: Path) -> Logged:
    """What the run of a checkpoint had logged when it was written.

    Raises:
        RunError: there is no checkpoint, it is damaged, or it does not say it.
    """
    return _logged(path, read_manifest(path))


def remove_leftovers(path: Path) -> None:
    """Delete what a process that was killed while it replaced the checkpoint has left beside it.

    If the checkpoint is missing or damaged, and the one before is intact, this takes its place.

    Raises:
        DiskError: it cannot be deleted.
    """
    with disk_errors_explained(path):
        for beside in (_new(path), _old(path)):
            if not beside.exists():
                continue
            if beside == _old(path) and _is_intact(beside) and not _is_intact(path):
                shutil.rmtree(path, ignore_errors=True)
                beside.rename(path)
            else:
                shutil.rmtree(beside)


def _is_intact(directory: Path) -> bool:
    try:
        _read(directory, WEIGHTS, _weights)
        _read(directory, _STATE, _state)
    except RunError:
        return False
    return True


def _logged(path: Path, manifest: Mapping[str, Any]) -> Logged:
    if manifest.get("run") is None:
        raise RunError(
            f"{path}: {MANIFEST} does not say how far metrics and event files were: it is of another version",
            remedy="use the cnncli that wrote it, or train again",
        )
    return Logged.from_record(manifest["run"])


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint: `format`, `epoch`, `step`, `cnncli`, `torch`, `preprocessing`, `files`, `run`.

    Raises:
        RunError: there is no checkpoint, or its manifest cannot be read or has another format.
    """
    return _first_intact(path, _read_manifest)


def read_preprocessing(path: Path) -> dict[str, Any] | None:
    """The preprocessing in the metadata of a file of weights; None if there is none.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    preprocessing, _ = _load(path, WEIGHTS, _preprocessing)
    return preprocessing


def verify_checkpoint(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, after checking both files. Only if there is nothing at `path` is `path.old` read.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    _check_exists(path)
    directory = path if path.exists() else _old(path)
    _read(directory, WEIGHTS, _weights)
    _, manifest = _read(directory, _STATE, _state)
    return manifest


def has_checkpoint(path: Path) -> bool:
    """Whether there is a checkpoint at `path`; it may be damaged."""
    return path.exists() or _old(path).exists()


class DamagedCheckpointError(RunError):
    """A checkpoint with a damaged or missing file.

    Args:
        file: the file.
        problem: what is wrong with it.
    """

    def __init__(self, file: Path, problem: str) -> None:
        checkpoint, run = file.parent, file.parents[2]
        super().__init__(
            f"{file}: the checkpoint is damaged: {problem}",
            remedy=f"resume the run, which replaces {checkpoint.name} by an intact checkpoint if there is one: "
            f"cnncli train --resume {run}",
        )
        self.file = file
        self.problem = problem


class _ManifestError(ValueError):
    """A manifest that disagrees with a file that has the hash in it."""


def _check_exists(path: Path) -> None:
    """Raise a RunError if there is no checkpoint, not even a damaged one."""
    if has_checkpoint(path):
        return
    remedy = "a run has a checkpoint after its first epoch or when stopped with Ctrl-C; train again"
    last = path.with_name("last")
    if path.name == "best" and has_checkpoint(last):
        remedy = f"there is one in {last}: cnncli train --resume {path.parents[1]} goes on from it"
    raise RunError(f"no checkpoint in {path}", remedy=remedy)


def _first_intact(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` gives for a checkpoint or, if it is missing or damaged, for the one before, with a message."""
    _check_exists(path)
    try:
        return read(path)
    except DamagedCheckpointError as error:
        if not _old(path).exists():
            raise
        try:
            found = read(_old(path))
        except DamagedCheckpointError:
            raise error from None
        _warn_once(f"{error.message}: using {_old(path)} instead")
        return found


@cache
def _warn_once(message: str) -> None:
    """Log a warning: a checkpoint may be read several times."""
    _log.warning(message)


def _load(path: Path, name: str, parse: Callable[[bytes, Mapping[str, Any]], T]) -> tuple[T, dict[str, Any]]:
    return _first_intact(path, lambda directory: _read(directory, name, parse))


def _read(directory: Path, name: str, parse: Callable[[bytes, Mapping[str, Any]], T]) -> tuple[T, dict[str, Any]]:
    """The parsed content of a file of a checkpoint, whose hash is that of the manifest, and the manifest.

    If a training process replaces the checkpoint meanwhile, the new one is read.

    Args:
        directory: the checkpoint.
        name: of the file.
        parse: content and manifest -> value; raises ValueError if the content is damaged.

    Raises:
        DamagedCheckpointError: the manifest or the file is missing or damaged.
    """
    manifest = _read_manifest(directory)
    try:
        content = (directory / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest["files"][name]:
            raise ValueError(_CHANGED)  # noqa: TRY301  the same damage as what `parse` raises
        return parse(content, manifest), manifest
    except (OSError, ValueError) as error:
        with suppress(DamagedCheckpointError):
            if _read_manifest(directory) != manifest:
                return _read(directory, name, parse)
        raise _damaged(directory / (MANIFEST if isinstance(error, _ManifestError) else name), error) from error


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest = parse_json(path.read_bytes())
        _check_format(path, manifest)
        check_record(manifest, ManifestRecord)
        if manifest["sha256"] != manifest_hash(manifest):
            raise ValueError(_CHANGED)  # noqa: TRY301  the same damage as what is no manifest
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return manifest


def _check_format(path: Path, manifest: Mapping[str, Any]) -> None:
    version = manifest.get("format", FORMAT)
    if type(version) is int and version != FORMAT:
        raise RunError(
            f"{path}: the checkpoint has format {version}, cnncli {cnncli.__version__} reads format {FORMAT}",
            remedy=f"use the cnncli that wrote it (version {manifest.get('cnncli', 'unknown')})",
        )


def _damaged(path: Path, error: OSError | ValueError) -> DamagedCheckpointError:
    return DamagedCheckpointError(path, error.strerror or str(error) if isinstance(error, OSError) else str(error))


def _weights(content: bytes, manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors in a file of weights. Raises ValueError if it is damaged, or if a number is not finite."""
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(content)
        bad = [name for name, each in weights.items() if each.is_floating_point() and not each.isfinite().all()]
    except (safetensors.SafetensorError, KeyError, TypeError, RuntimeError) as error:  # also of a type without isfinite
        raise ValueError(f"it is no file of weights ({error})") from error
    if bad:
        raise ValueError(f"{bad[0]} has weights that are not finite")
    return weights


def _preprocessing(content: bytes, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The preprocessing in the header of a file of weights. Raises ValueError if it is damaged."""
    length = int.from_bytes(content[:8], "little")
    text = parse_json(content[8 : 8 + length]).get("__metadata__", {}).get("preprocessing")
    return None if text is None else parse_json(text.encode())


def _state(content: bytes, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a file. Raises ValueError if it is damaged, or not of the epoch and step of the manifest."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no type of its own: pickle's, zip's and its own errors come here
        raise ValueError(
            f"it is no state of a training ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from error
    check_state(state)
    place = (state["epochs_done"], state["step"])
    if place != (manifest["epoch"], manifest["step"]):
        raise _ManifestError(
            f"it says epoch {manifest['epoch']}, step {manifest['step']}; {_STATE} epoch {place[0]}, step {place[1]}"
        )
    return dict(state)


def _write_directory(path: Path, contents: Mapping[str, bytes]) -> None:
    shutil.rmtree(path, ignore_errors=True)  # left by a crash
    path.parent.mkdir(exist_ok=True)  # without parents: a run that was removed is not created again
    path.mkdir()
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
