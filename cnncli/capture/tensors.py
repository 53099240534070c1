"""The tensors of a state dict or a safetensors file: their names, types and shapes, without their numbers."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

from cnncli.errors import ConfigError
from cnncli.file_types import SAFETENSORS, FileType
from cnncli.inspection.tensors import TensorEntry, TensorTable, torch_dtype

_AGAIN = "copy or download it again"


def read_tensors(path: Path, type: FileType) -> TensorTable:
    """The tensors of a file of type `SAFETENSORS` or `PICKLED`. It runs no code in it.

    Raises:
        ConfigError: the file is damaged, or holds more than tensors and plain values.
    """
    return _read_safetensors(path) if type is SAFETENSORS else _read_pickled(path, type)


def _read_safetensors(path: Path) -> TensorTable:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            metadata = file.metadata() or {}
            entries = []
            for name, tensor in slices.items():
                dtype, bits = torch_dtype(tensor.get_dtype())
                shape = tuple(tensor.get_shape())
                entries.append(TensorEntry(name=name, dtype=dtype, shape=shape, bytes=prod(shape) * bits // 8))
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(f"{path} is a damaged safetensors file: {error}", remedy=_AGAIN) from None
    return TensorTable(file=str(path), entries=tuple(entries), others=tuple(metadata))


def _read_pickled(path: Path, type: FileType) -> TensorTable:
    import torch

    try:
        with path.open("rb") as file, warnings.catch_warnings():  # of a path, torch also looks at the extension
            warnings.simplefilter("ignore")  # quantized tensors are deprecated
            content = torch.load(file, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        inside = f"an object of {wanted[1]}" if wanted else "more than tensors"
        raise ConfigError(
            f"{path} holds {inside}, and reading it would run code",
            remedy="inspect the model by the code that creates it (path/file.py:Factory), or save "
            "torch.save(model.state_dict(), FILE)",
        ) from None
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(
            f"{path} is {type.what} that cannot be read: {str(error).splitlines()[0] if str(error) else error!r}",
            remedy=_AGAIN,
        ) from None
    entries: list[TensorEntry] = []
    others: list[str] = []
    memory: dict[tuple[object, ...], str] = {}
    for name, value in _leaves(content):
        if not isinstance(value, torch.Tensor):
            others.append(name)
            continue
        dtype = str(value.dtype).removeprefix("torch.")
        strided = value.layout is torch.strided
        place = (value.untyped_storage()._cdata, value.storage_offset(), value.shape, value.stride()) if strided else ()
        first = memory.setdefault(place, name) if place and value.numel() else name
        entries.append(
            TensorEntry(
                name=name,
                dtype=dtype,
                shape=tuple(value.shape),
                bytes=value.numel() * value.element_size(),
                shared_with=None if first == name else first,
            )
        )
    return TensorTable(file=str(path), entries=tuple(entries), others=tuple(dict.fromkeys(others)))


def _leaves(content: object) -> Iterator[tuple[str, object]]:
    """Everything in nested dictionaries and lists but these, with dotted names; of plain values the top-level name."""
    rest: list[tuple[str, object]] = [("", content)]
    seen: set[int] = set()
    while rest:
        name, value = rest.pop()
        items: list[tuple[object, object]] | None = None
        if isinstance(value, Mapping):
            items = list(value.items())
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        if items is None:
            is_tensor = hasattr(value, "untyped_storage")
            yield (name or "tensor" if is_tensor else name.partition(".")[0] or type(value).__name__), value
        elif id(value) not in seen:  # a pickle may contain itself
            seen.add(id(value))
            rest += reversed([(f"{name}.{key}".removeprefix("."), each) for key, each in items])
