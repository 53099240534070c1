"""Weights to start a training from: of a run, of a safetensors file, or of a state dict that torch has saved."""

import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from cnncli.errors import RunError
from cnncli.file_types import PICKLED, SAFETENSORS, FileType, file_type
from cnncli.machine import machine_memory
from cnncli.training.checkpoint import MANIFEST, WEIGHTS, read_weights
from cnncli.training.run_directory import RunDirectory

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs save a state dict together with other things."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What `DistributedDataParallel`, `torch.compile` and Lightning put before every name."""
_EXPECTED = "give a run, a .safetensors file, or a file of torch.save(model.state_dict(), FILE)"


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredWeights:
    """The weights of a network.

    Attributes:
        path: as given.
        sha256: of the file that has them.
        epoch: of the weights, in a run.
        classes: the names of the classes, if they are known.
        tensors: by name.
        ordered: whether they are in the order of the network.
    """

    path: Path
    sha256: str
    epoch: int | None
    classes: tuple[str, ...] | None
    tensors: Mapping[str, Tensor]
    ordered: bool = False

    def __str__(self) -> str:
        return str(self.path) + ("" if self.epoch is None else f" (epoch {self.epoch})")


def read_stored_weights(path: Path) -> StoredWeights:
    """The best weights of a run, those of a checkpoint, or those in a file; reading them runs no code.

    Raises:
        RunError: there is no such file or run, it is damaged, or it holds something else.
    """
    if path.is_dir():
        checkpoint = path if (path / MANIFEST).exists() else RunDirectory.open(path).best
        tensors, manifest = read_weights(checkpoint)
        preprocessing = manifest.get("preprocessing")
        return StoredWeights(
            path=path,
            sha256=manifest["files"][WEIGHTS],
            epoch=manifest["epoch"],
            classes=tuple(preprocessing["classes"]) if preprocessing else None,
            tensors=tensors,
        )
    try:
        type = _type_of(path)
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"train.init_from: cannot read {path}: {error.strerror}", remedy=_EXPECTED) from None
    if type is SAFETENSORS:
        tensors, classes = _safetensors(path, content)
    else:
        tensors, classes = _pickled(path, content), None
    for name, tensor in tensors.items():
        if problem := _problem(tensor):
            raise RunError(f"{path}: {name} {problem}", remedy="give other weights")
    return StoredWeights(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        epoch=None,
        classes=classes,
        tensors=tensors,
        ordered=type is PICKLED,
    )


def _type_of(path: Path) -> FileType:
    """Whether a file is `SAFETENSORS` or `PICKLED`. Raises RunError if it is something else, or too large to read."""
    if not path.exists():
        raise RunError(f"train.init_from: {path} does not exist", remedy=_EXPECTED)
    if not path.is_file():
        raise RunError(f"train.init_from: {path} is a pipe or a device, not a file of weights", remedy=_EXPECTED)
    size, memory = path.stat().st_size, machine_memory()
    if size == 0:
        raise RunError(f"train.init_from: {path} is empty", remedy=_EXPECTED)
    type = file_type(path)
    if type not in (SAFETENSORS, PICKLED):
        what = "a text file" if type is None else type.what
        raise RunError(f"train.init_from: {path} is {what}, not a file of weights", remedy=_EXPECTED)
    if memory is not None and size > memory:
        raise RunError(
            f"train.init_from: {path} has {size:,} bytes, and this machine {memory:,} bytes of memory",
            remedy="give a smaller file",
        )
    return type


def _problem(tensor: Tensor) -> str | None:
    """Why a tensor cannot be a weight, None if it can."""
    if tensor.is_meta:
        return "has a shape, but no numbers: it was saved on the device meta"
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return "is a sparse or quantized tensor, not a plain one"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"repeats its numbers to the shape {list(tensor.shape)}: save a copy, tensor.contiguous()"
    if not tensor.is_floating_point():
        return None
    try:
        finite = bool(tensor.float().isfinite().all())  # float8 has no `isfinite`
    except RuntimeError as error:
        return f"cannot be converted to float32: {str(error).splitlines()[0]}"
    return None if finite else "has weights that are not finite"


def _safetensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"{path} is a damaged safetensors file: {error}", remedy="copy or download it again") from None
    try:  # what cnncli writes; other programs write anything
        classes = json.loads(header["__metadata__"]["preprocessing"])["classes"]
    except (KeyError, ValueError, TypeError):
        return tensors, None
    return tensors, tuple(map(str, classes))


def _pickled(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # quantized tensors are deprecated
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise RunError(f"{path} holds more than tensors, and reading it would run code", remedy=_EXPECTED) from None
    except Exception as error:  # a damaged file may raise anything
        reason = next(iter(str(error).splitlines()), repr(error))
        raise RunError(f"{path} cannot be read: {reason}", remedy="copy or download it again") from None
    tensors = _state_dict(loaded)
    if not tensors:
        raise RunError(f"{path} holds no state dict", remedy=_EXPECTED)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): each for name, each in tensors.items()}
    return tensors


def _state_dict(loaded: object) -> dict[str, Tensor]:
    """The tensors by name, also where other things are saved beside them; empty if there are none."""
    if not isinstance(loaded, Mapping):
        return {}
    inside = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), loaded)
    return {str(name): each for name, each in inside.items() if isinstance(each, Tensor)}
