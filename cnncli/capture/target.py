"""Targets of commands: the network of a config, of a run, or of a model in code.

| target | network |
|---|---|
| `lenet5`, `path/to/config.yaml` | of a bundled config, or of a config |
| `runs/lenet5-20260131-120000` | of the config of a run |
| `torchvision:NAME`, `package.module:Factory`, `path/file.py:Factory` | of a model in code, which is run |
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnncli.config.config import Config, read_config
from cnncli.errors import RunError, UsageError, did_you_mean
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
    assignments: Sequence[str] = (),
    data_dir: Path = Path("data"),
) -> Graph:
    """The graph of a target. torch is imported for models in code only.

    Args:
        target: see the module.
        input_shape: (C, H, W) of one image, instead of that of the config's data set; required for a model in code,
            except torchvision's. A batch axis of 1 is dropped, with a message. One number is the size of a square image
            of a config or a torchvision model.
        kwargs: arguments of a model in code.
        assignments: changes to a config, each `path=value`.
        data_dir: where the image folder of a config is.

    Raises:
        UsageError: the target does not exist, or an argument does not apply to it.
        ConfigError: the config is invalid, or the model cannot be created or does not run.
        RunError: a directory is not a run.
    """
    if is_code(target):
        if assignments:
            raise UsageError(
                f"--set changes a config, but {target} is a model in code", remedy="use --kwargs for its arguments"
            )
        from cnncli.capture.graph import load_graph

        shape = None if input_shape is None else _code_shape(target, tuple(input_shape))
        if not target.startswith("torchvision:"):
            _log.info(f"{target}: this runs the code of {target.rpartition(':')[0]} with your permissions")
        return load_graph(target, input_shape=shape, kwargs=dict(kwargs))
    if kwargs:
        raise UsageError(
            f"--kwargs gives arguments to a model in code, but {target} is a config",
            remedy="use --set to change a config",
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
    return bool(colon and module) and factory.isidentifier() and not Path(target).exists()


def _config_path(target: str) -> str:
    """The config of a target."""
    path = Path(target)
    if path.suffix == ".onnx":
        raise UsageError(f"ONNX files are not supported yet: {target}", remedy="inspect the model in code instead")
    if path.suffix == ".py":
        raise UsageError(
            f"{target} is code, not a config",
            remedy=f"name a class or function that creates the model: {target}:NAME",
        )
    if not path.is_dir():
        return target
    refuse_link(path / _RESOLVED)
    if not (path / _RESOLVED).is_file():
        raise RunError(
            f"{target} has no {_RESOLVED}: it is not a run directory, or not a complete one",
            remedy="name a run or a config",
        )
    return str(path / _RESOLVED)


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


def _code_shape(target: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one input of a model in code."""
    match shape:
        case [size]:
            if not target.startswith("torchvision:"):
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
