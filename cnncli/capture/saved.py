"""Networks in files of torch: TorchScript, and programs of `torch.export` (.pt2)."""

import logging
import warnings
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
    """Read a network from a file of type `EXPORTED` or `TORCHSCRIPT`.

    Raises:
        ConfigError: the file is damaged, or the network has not one tensor as its input.
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
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(
            f"{path} is {type.what} that cannot be read: {first_line(error)}",
            remedy="save it again, with this version of torch; operators of other packages must be imported first",
        ) from error


@contextmanager
def _silenced(logger: str) -> Iterator[None]:
    """Log nothing there."""
    log = logging.getLogger(logger)
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


def _exported(path: Path) -> SavedModule:
    with _silenced("torch.export"):  # it logs a traceback for a damaged file
        program = torch.export.load(path)
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
