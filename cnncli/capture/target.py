"""What a command or a call names: the network of a config, a run or code, as the graph that is inspected."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnncli.config.config import Config, read_config
from cnncli.errors import RunError, UsageError, did_you_mean
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.hints import HINTS

_RESOLVED = "resolved.yaml"


def find_graph(
    target: str,
    *,
    input_shape: Sequence[int] | None = None,
    kwargs: Mapping[str, Any],
    assignments: Sequence[str] = (),
    data_dir: Path = Path("data"),
) -> Graph:
    """The graph of a target, as `inspect` takes it; torch is loaded only for what is not a config.

    Args:
        target, input_shape, kwargs: see `inspect`.
        assignments: `path=value` each, for configs.
        data_dir: where a config's image folder is looked for.

    Raises:
        UsageError, ConfigError, RunError: see `inspect`.
    """
    if is_code(target):
        if assignments:
            raise UsageError(f"--set changes a config, and {target} is none", remedy="use --kwargs for its arguments")
        from cnncli.capture.graph import load_graph

        return load_graph(target, input_shape=None if input_shape is None else tuple(input_shape), kwargs=dict(kwargs))
    if kwargs:
        raise UsageError(f"--kwargs are for a model in code, and {target} is a config", remedy="use --set for configs")
    config = find_config(target, input_shape=input_shape, assignments=assignments, data_dir=data_dir)
    return graph_of(config.network, config.name)


def find_config(
    target: str, *, input_shape: Sequence[int] | None = None, assignments: Sequence[str], data_dir: Path
) -> Config:
    """The config of a target which is not code; the arguments are those of `find_graph`."""
    return read_config(config_of(target), data_dir=data_dir, assignments=[*assignments, *_sized(input_shape)])


def is_code(target: str) -> bool:
    """Whether a target names a factory (`torchvision:resnet50`, `my/file.py:Net`), not a config or a run."""
    module, colon, factory = target.rpartition(":")
    return bool(colon and module) and factory.isidentifier() and not Path(target).exists()


def config_of(target: str) -> str:
    """The config that a target which is not code means: itself, or what a run was made from.

    Raises:
        UsageError: it is a file of Python.
        RunError: it is a directory, but not that of a run.
    """
    path = Path(target)
    if path.suffix == ".onnx":
        raise UsageError(f"ONNX files are not supported yet: {target}", remedy="inspect the model in code instead")
    if path.suffix == ".py":
        raise UsageError(f"{target} is code, not a config", remedy=f"say what in it makes the model: {target}:Factory")
    if not path.is_dir():
        return target
    if not (path / _RESOLVED).is_file():
        raise RunError(f"{target} is not the directory of a run: it has no {_RESOLVED}", remedy="name a run or a file")
    return str(path / _RESOLVED)


def _sized(input_shape: Sequence[int] | None) -> list[str]:
    """Changes to a config that give its images another shape."""
    if input_shape is None:
        return []
    if len(input_shape) != 3:
        raise UsageError("a config takes images of three numbers", remedy="give channels, height and width: 3x64x64")
    channels, height, width = input_shape
    return [f"data.size=[{height}, {width}]", f"data.channels={channels}"]


def check_hint_names(names: Collection[str]) -> None:
    """Refuse what is not the name of a hint.

    Raises:
        UsageError: there is no hint of one of these names.
    """
    for name in names:
        if name not in HINTS:
            raise UsageError(
                f"there is no hint {name}{did_you_mean(name, HINTS)}", remedy="cnncli inspect --help lists the hints"
            )
