"""The functions of the library: `cnncli.inspect`."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.capture.target import check_hint_names, find_graph
from cnncli.config.config import Config
from cnncli.errors import UsageError
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.table import LayerTable, inspect_graph

if TYPE_CHECKING:
    from torch import nn

    from cnncli.run import Run


def inspect(
    target: "str | Path | Config | Run | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    batch: int = 1,
    ignore: Collection[str] = (),
) -> LayerTable:
    """The layer table of a network: shapes, costs and exact receptive fields.

    >>> import cnncli
    >>> table = cnncli.inspect("lenet5")
    >>> table
    <LayerTable lenet5: 8 layers, 61,706 parameters, 416,520 MACs>
    >>> table["conv2"].output_shape, table["conv2"].params
    ((16, 10, 10), 2416)
    >>> table["conv2"].receptive_field.size, table["conv2"].receptive_field.start
    ((14, 14), (-2, -2))
    >>> [row.name for row in table if row.type == "conv"]
    ['conv1', 'conv2']
    >>> "conv3" in table
    False
    >>> for hint in table.hints:
    ...     print(hint.layer, hint.name)
    avg_pool2 whole-input
    linear1 most-parameters

    It takes any `torch.nn.Module` that is called with one batch of images. The module is run once, on the `meta`
    device if it can be, and left as it was.

    >>> from torch import nn
    >>> module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> cnncli.inspect(module, input_shape=(1, 28, 28))
    <LayerTable Sequential: 2 layers, 80 parameters, 48,672 MACs>

    Args:
        target: a module, a config or its path, the name of a bundled config, a run or its directory, or code as text:
            `torchvision:NAME`, `package.module:Factory` or `path/file.py:Factory`, which runs that code.
        input_shape: `(C, H, W)`, without batch axis. Needed for a module; for a config it replaces the shape of its
            data.
        kwargs: arguments of the factory of a target in code.
        batch: images per batch, for the memory.
        ignore: names of hints to leave out.

    Raises:
        UsageError: the target, a shape or the name of a hint is invalid.
        ConfigError: the config is missing or invalid, or the module does not run on such an input.
        RunError: the directory is not a run.
    """
    check_hint_names(ignore)
    return inspect_graph(_graph(target, input_shape, kwargs or {}), batch=batch, ignore=ignore)


def _graph(
    target: "str | Path | Config | Run | nn.Module", input_shape: Sequence[int] | None, kwargs: Mapping[str, Any]
) -> Graph:
    if isinstance(target, str | Path):
        return find_graph(str(target), input_shape=input_shape, kwargs=kwargs)
    if kwargs:
        raise UsageError("kwargs are arguments of a factory, and the target is none", remedy="leave kwargs out")
    config = target if isinstance(target, Config) else getattr(target, "config", None)
    if isinstance(config, Config):
        if input_shape is not None:
            raise UsageError(
                "input_shape is for modules and paths; a config and a run have their own",
                remedy="give the path of the config instead",
            )
        return graph_of(config.network, config.name)

    from torch import nn

    from cnncli.capture.graph import graph_of_module

    if not isinstance(target, nn.Module):
        raise UsageError(
            f"cannot inspect an object of type {type(target).__name__}",
            remedy="give a torch.nn.Module, a config, a run, or the path or name of one",
        )
    name = type(target).__name__
    if input_shape is None:
        raise UsageError(f"the input shape of {name} is unknown", remedy="give input_shape=(C, H, W)")
    return graph_of_module(target, tuple(input_shape), name)
