"""Networks in files of torch: TorchScript, and programs of `torch.export` (.pt2)."""

import logging
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cnncli.capture.load import first_line
from cnncli.errors import ConfigError, UsageError
from cnncli.file_types import EXPORTED, FileType
from cnncli.layers import format_size

_CODE = {
    "data/aotinductor/": "compiled code",
    "data/constants/custom_obj_": "a pickled object",
    "data/constants/opaque_obj_": "a pickled object",
}
"""What archives of torch.export may hold beside tensors and a graph, by the beginnings of names, in lower case."""
_SAVE_AGAIN = "save it again from its module, with this version of torch"
_ONLY_TENSORS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""With this environment variable, `torch.load` makes nothing but tensors and plain values, whoever calls it.

Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""


@dataclass(frozen=True)
class SavedModule:
    """A network read from a file.

    Attributes:
        module: with its weights, on the CPU.
        shape: of one input; an axis that may have any size is None. Empty if the file does not say.
        batch: the only number of images that it takes; None: any.
    """

    module: nn.Module
    shape: tuple[int | None, ...] = ()
    batch: int | None = None


def load_saved(path: Path, type: FileType) -> SavedModule:
    """Read a network from a file of type `EXPORTED` or `TORCHSCRIPT`. Such a file is a program, and may run code.

    Raises:
        ConfigError: the file is damaged, has pickled objects or compiled code in it, or the network has not one tensor
            as its input.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, but files of it remain
            if type is EXPORTED:
                return _exported(path)
            module: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]  # torch does not annotate it
            return SavedModule(module)
    except ConfigError:
        raise
    except (SyntaxError, TypeError, KeyError, AttributeError, AssertionError, RecursionError) as error:
        raise ConfigError(
            f"{path} is {type.what} that is damaged, or of another version of torch", remedy=_SAVE_AGAIN
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(
            f"{path} is {type.what} that cannot be read: {first_line(error)[:200]}",
            remedy="save it again, with this version of torch; operators of other packages must be imported first",
        ) from error


@contextmanager
def _silenced(*loggers: str) -> Iterator[None]:
    """Log nothing there."""
    logs = [logging.getLogger(each) for each in loggers]
    was = [each.disabled for each in logs]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log, disabled in zip(logs, was, strict=True):
            log.disabled = disabled


@contextmanager
def _only_tensors() -> Iterator[None]:
    """Let `torch.load` unpickle nothing but tensors and plain values."""
    was = os.environ.get(_ONLY_TENSORS)
    os.environ[_ONLY_TENSORS] = "1"
    try:
        yield
    finally:
        if was is None:
            del os.environ[_ONLY_TENSORS]
        else:
            os.environ[_ONLY_TENSORS] = was


def _refuse_code(path: Path) -> None:
    """Check that an archive of torch.export holds no compiled code and no pickled objects."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    for name in names:
        inside = name.partition("/")[2].lower()  # torch finds names in any case
        what = next((what for start, what in _CODE.items() if inside.startswith(start)), None)
        if what is not None:
            raise ConfigError(f"{path} has {what} in it ({name}), which would run", remedy=_SAVE_AGAIN)


def _read_program(path: Path) -> torch.export.ExportedProgram:
    from torch.export.pt2_archive._package import load_pt2  # torch.export.load hides why a file cannot be read

    _refuse_code(path)
    try:
        with _only_tensors(), _silenced("torch.export.pt2_archive._package", "torch._export.serde.serialize"):
            return load_pt2(str(path)).exported_programs["model"]
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        inside = f"a pickled object of {wanted[1]}" if wanted else "pickled objects"
        raise ConfigError(f"{path} has {inside} in it, and reading it would run code", remedy=_SAVE_AGAIN) from None


def _exported(path: Path) -> SavedModule:
    program = _read_program(path)
    names = program.graph_signature.user_inputs
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor):
        raise ConfigError(
            f"{path} takes {len(values)} inputs", remedy="export a module whose forward takes one batch of images"
        )
    batch, *shape = (size if isinstance(size, int) else None for size in values[0].shape)
    # With the modules that the program was exported from, whose names are those of the rows.
    return SavedModule(torch.export.unflatten(program), tuple(shape), batch)


def shape_for(path: Path, saved: SavedModule, given: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one input: as given, where the file allows it, or as the file says.

    Raises:
        UsageError: the file does not say it, or says another one.
    """
    if given is None:
        known = tuple(size for size in saved.shape if size is not None)
        if not known or len(known) < len(saved.shape):
            raise UsageError(f"the input shape of {path} is not in the file", remedy="give it: --input 3x224x224")
        return known
    fits = len(given) == len(saved.shape) and all(a in (b, None) for a, b in zip(saved.shape, given, strict=True))
    if saved.shape and not fits:
        wanted = "x".join("any" if size is None else str(size) for size in saved.shape)
        raise UsageError(
            f"{path} takes inputs of {wanted}, not {format_size(tuple(given))}",
            remedy="omit --input" if None not in saved.shape else "give sizes for `any` alone",
        )
    return tuple(given)
