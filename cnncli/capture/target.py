"""Targets of commands: the network of a config, of a run, or of a model in code.

| target | network |
|---|---|
| `lenet5`, `path/to/config.yaml` | of a bundled config, or of a config |
| `runs/lenet5-20260131-120000` | of the config of a run |
| `torchvision:NAME`, `timm:NAME`, `package.module:Factory`, `path/file.py:Factory` | of a model in code, which is run |
| `model.pt`, `model.pt2` | in a file of TorchScript or torch.export, which is run |
| `model.onnx` | in an ONNX file |
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnncli.config.config import Config, named_configs, read_config
from cnncli.errors import ConfigError, RunError, UsageError, did_you_mean
from cnncli.file_types import ONNX, FileType, file_type
from cnncli.files import refuse_link
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.hints import HINTS
from cnncli.layers import format_size

_RESOLVED = "resolved.yaml"

_log = logging.getLogger(__name__)


def find_graph(
    target: str,
    *,
    input_shape: Sequence[int] | None = None,
    kwargs: Mapping[str, Any],
    part: str = "",
    assignments: Sequence[str] = (),
    data_dir: Path = Path("data"),
) -> Graph:
    """The graph of a target. torch is imported for models in code and in files only.

    Args:
        target: see the module.
        input_shape: (C, H, W) of one image, instead of that of the config's data set; required for a model in code,
            except those of torchvision and timm. A batch axis of 1 is dropped, with a message. One number is the size
            of a square image of a config or a model of these libraries.
        kwargs: arguments of a model in code.
        part: the path of a submodule of a model in code, to take in its place.
        assignments: changes to a config, each `path=value`.
        data_dir: where the image folder of a config is.

    Raises:
        UsageError: the target does not exist, or an argument does not apply to it.
        ConfigError: the config is invalid, or the model cannot be created or does not run.
        RunError: a directory is not a run.
    """
    if is_code(target) or is_saved(target):
        if assignments:
            raise UsageError(
                f"--set changes a config, but {target} is a model in torch", remedy="use --kwargs for arguments of code"
            )
        if kwargs and not is_code(target):
            raise UsageError(
                f"--kwargs gives arguments to a model in code, but {target} is a file", remedy="omit --kwargs"
            )
        from cnncli.capture.load import is_library
        from cnncli.capture.model import load_graph

        if is_code(target) and not is_library(target):
            _log.info(f"{target}: this runs the code of {target.rpartition(':')[0]} with your permissions")
        elif not is_code(target) and not is_onnx(target):
            _log.info(f"{target}: this runs the program in the file with your permissions")
        shape = code_shape(target, input_shape, part)
        return load_graph(target, input_shape=shape, kwargs=kwargs, part=part)
    for option, value in (("--kwargs", kwargs), ("--module", part)):
        if value:
            raise UsageError(
                f"{option} is for a model in code, but {target} is a config", remedy="use --set to change a config"
            )
    config = find_config(target, input_shape=input_shape, assignments=assignments, data_dir=data_dir)
    return graph_of(config.network, config.name)


def find_config(
    target: str, *, input_shape: Sequence[int] | None = None, assignments: Sequence[str], data_dir: Path
) -> Config:
    """The config of a target that is not code; for the arguments see `find_graph`."""
    shape = [] if input_shape is None else _shape_assignments(input_shape)
    return read_config(_config_path(target), data_dir=data_dir, assignments=[*assignments, *shape])


def is_code(target: str) -> bool:
    """Whether a target is a model in code rather than a config or a run."""
    module, colon, factory = target.rpartition(":")
    names = factory.split(".")
    return bool(colon and module) and all(map(str.isidentifier, names)) and not Path(target).exists()


def is_saved(target: str) -> bool:
    """Whether a target is a file that holds a network: of TorchScript, torch.export or ONNX."""
    type = _type_of(target)
    return type is not None and type.holds == "network"


def is_onnx(target: str) -> bool:
    """Whether a target is an ONNX file."""
    return _type_of(target) is ONNX


def holds_tensors(target: str) -> FileType | None:
    """The type of a file that holds tensors without a network; None if the target is anything else."""
    type = _type_of(target)
    return type if type is not None and type.holds == "tensors" else None


def _type_of(target: str) -> FileType | None:
    path = Path(target)
    try:
        return file_type(path) if path.is_file() else None
    except OSError as error:
        raise ConfigError(f"{target} cannot be read: {error.strerror}") from None


def _config_path(target: str) -> str:
    """The config of a target."""
    path = Path(target)
    if not target:
        raise UsageError("'' is not the name of a config", remedy="give a YAML config, or the name of a bundled one")
    if holds_tensors(target):
        raise UsageError(
            f"{target} holds tensors alone: in which order layers are computed is not in it",
            remedy=f"cnncli inspect {target} prints the tensors; for a network, name the code that creates it",
        )
    if path.suffix == ".py":
        raise UsageError(
            f"{target} is code, not a config",
            remedy=f"name a class or function that creates the model: {target}:NAME",
        )
    if not path.is_dir():
        if not path.exists() and target not in named_configs() and target in _names_in_torchvision():
            raise ConfigError(f"config not found: {target}", remedy=f"torchvision's model is torchvision:{target}")
        return target
    refuse_link(path / _RESOLVED)
    if not (path / _RESOLVED).is_file():
        raise RunError(
            f"{target} has no {_RESOLVED}: it is not a run directory, or not a complete one",
            remedy="name a run or a config",
        )
    return str(path / _RESOLVED)


def _names_in_torchvision() -> set[str]:
    """The names of torchvision's models, read from its files: importing it takes seconds."""
    package = find_spec("torchvision")
    if package is None or package.origin is None:
        return set()
    names: set[str] = set()
    for file in (Path(package.origin).parent / "models").rglob("[a-z]*.py"):
        names.update(re.findall(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", file.read_text("utf-8"), re.MULTILINE))
    return names


def _shape_assignments(input_shape: Sequence[int]) -> list[str]:
    """Changes to a config that set the shape of its images."""
    match list(input_shape):
        case [size]:
            return [f"data.size={size}"]
        case [channels, height, width]:
            pass
        case [1, channels, height, width]:
            _note_dropped(input_shape)
        case _:
            raise UsageError(
                f"the input of a config is an image, not {format_size(tuple(input_shape))}",
                remedy="give channels, height and width: 3x64x64, or the size alone: 64",
            )
    return [f"data.size=[{height}, {width}]", f"data.channels={channels}"]


def code_shape(target: str, input_shape: Sequence[int] | None, part: str = "") -> tuple[int, ...] | None:
    """The shape of one input of a model in torch or of a part of it, from the shape that was given for it."""
    from cnncli.capture.load import is_library

    if input_shape is None:
        return None
    shape = tuple(input_shape)
    if is_onnx(target):  # the file says what its axes are
        return shape
    match shape:
        case [_] if part:  # the features of a linear layer
            return shape
        case [size]:
            if not is_library(target):
                raise UsageError(
                    f"the shape of an input of {target} is unknown: {size} is only the size of an image",
                    remedy=f"give all axes without the batch: 3x{size}x{size}",
                )
            return (3, size, size)
        case [1, (1 | 3), _, _]:  # else the input of a 3-D convolution
            _note_dropped(shape)
            return shape[1:]
    return shape


def _note_dropped(shape: Sequence[int]) -> None:
    _log.info(f"input {format_size(tuple(shape))}: the batch axis of 1 is dropped")


def check_hint_names(names: Collection[str]) -> None:
    """Check names of hints.

    Raises:
        UsageError: there is no hint of such a name.
    """
    for name in names:
        if name not in HINTS:
            raise UsageError(
                f"unknown hint: {name or repr(name)}{did_you_mean(name, HINTS)}",
                remedy="cnncli inspect --help lists the hints",
            )
