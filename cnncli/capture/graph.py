"""Any torch module as a graph.

A module is run once on torch's `meta` device and its operators are written down (`record`), each is translated into
what it does to positions (`rules`), and they are gathered into rows (`rows`). Where a module cannot run without
numbers, it runs on the CPU instead, and the graph says why. Why not `torch.export`: see docs/receptive-fields.md.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnncli.capture.layout import UnsupportedOp, units, without_batch
from cnncli.capture.load import load_module
from cnncli.capture.record import BATCH, Operation, Recorder, Value
from cnncli.capture.rows import Row, rows_of
from cnncli.config.network import INPUT
from cnncli.errors import ConfigError
from cnncli.inspection.graph import Graph, GraphNode

_ON_ZEROS = "was run on zeros, and may do otherwise on images; it does not run without numbers"
META, CPU = torch.device("meta"), torch.device("cpu")


@dataclass(frozen=True)
class Capture:
    """A module's rows, and what is to be said about the module as a whole."""

    rows: list[Row]
    notes: tuple[str, ...]


def load_graph(target: str, *, input_shape: tuple[int, ...] | None, kwargs: dict[str, Any]) -> Graph:
    """The graph of `torchvision:resnet50`, `package.module:Factory` or `path/to/file.py:Factory`.

    This runs the code that is named.

    Args:
        target: where the model is.
        input_shape: (C, positions ...) of one image; for torchvision's models it may be left out.
        kwargs: for the factory.

    Raises:
        UsageError: there is no such thing.
        ConfigError: it cannot be made, or does not run on such an input.
    """
    loaded = load_module(target, kwargs=kwargs, device=META)
    shape = loaded.input_shape(input_shape)
    try:
        return graph_of_module(loaded.module, shape, target)
    except ConfigError:
        if not _has_no_numbers(loaded.module):
            raise
    return graph_of_module(load_module(target, kwargs=kwargs, device=CPU).module, shape, target)


def graph_of_module(module: nn.Module, input_shape: tuple[int, ...], name: str) -> Graph:
    """The graph of a module in evaluation mode.

    Args:
        module: its parameters may be on any device, and are not touched; its mode is left as it was.
        input_shape: (C, positions ...) of one image.
        name: what to call it.

    Raises:
        ConfigError: it does not run on such an input.
    """
    return graph_of_capture(module, capture(module, input_shape), input_shape, name)


def capture(
    module: nn.Module, input_shape: tuple[int, ...], *, scopes: Collection[str] = (), device: torch.device = META
) -> Capture:
    """The rows of a module.

    Args:
        module, input_shape: see `graph_of_module`.
        scopes: submodules that are to be one row each.
        device: where it runs: without numbers on `meta`, else where its parameters are.
    """
    modes = {each: each.training for each in module.modules()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _captured(module.eval(), input_shape, scopes, device)
    finally:
        for each, training in modes.items():
            each.training = training


def _captured(module: nn.Module, shape: tuple[int, ...], scopes: Collection[str], device: torch.device) -> Capture:
    notes: tuple[str, ...] = ()
    if any(is_lazy(each) for each in (*module.parameters(), *module.buffers())):
        raise ConfigError(
            "the model has lazy layers, whose shapes are not known yet",
            remedy="run it on a batch of images before, as in a function that makes it, runs it and returns it",
        )
    try:
        value, operations = _recorded(module, shape, device)
    except (Exception, SystemExit) as error:  # whatever a forward may raise, and on `meta` one that looks at numbers
        if device != META or _has_no_numbers(module):
            raise _does_not_run(shape, error) from error
        notes = (f"{_ON_ZEROS}: {_one_line(error)}",)
        try:
            value, operations = _recorded(module, shape, CPU)
        except (Exception, SystemExit) as fatal:  # likewise
            raise _does_not_run(shape, fatal) from fatal
    rows = rows_of(module, value, operations, scopes=scopes)
    if not rows:
        notes += ("nothing that it computes depends on its input",)
    return Capture(rows, (*notes, *_unused(module, rows)))


def _has_no_numbers(module: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))


def _recorded(module: nn.Module, shape: tuple[int, ...], device: torch.device) -> tuple[Value, list[Operation]]:
    state = _state(module, device)
    recorder = Recorder(module, state)
    example = torch.zeros(BATCH, *shape, device=device, dtype=_dtype(module))

    def forward(images: Tensor) -> object:
        # Only on `meta` the state is another than the module's own, and not every kind of module lets it be replaced.
        return torch.func.functional_call(module, state, (images,)) if device == META else module(images)

    return recorder.run(forward, example), recorder.operations


def _state(module: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """Parameters and buffers, on `meta` without numbers; what is one tensor under two names stays one."""
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    moved: dict[int, Tensor] = {}
    for _, tensor in named:
        if id(tensor) not in moved:
            moved[id(tensor)] = tensor if device != META else torch.empty_like(tensor, device=META)
    return {name: moved[id(tensor)] for name, tensor in named}


def _dtype(module: nn.Module) -> torch.dtype:
    return next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), torch.float32)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _does_not_run(shape: tuple[int, ...], error: BaseException) -> ConfigError:
    written = "x".join(map(str, shape))
    remedy = "give the shape of one image that it takes, e.g. --input 3x224x224, and what it needs with --kwargs"
    if isinstance(error, TypeError) and "forward() missing" in str(error):
        remedy = "wrap it in a module whose forward takes one batch of images"
    return ConfigError(f"the model does not run on an input of {written}: {_one_line(error)}", remedy=remedy)


def _unused(module: nn.Module, rows: list[Row]) -> tuple[str, ...]:
    """Says which parameters no row has."""
    used = {name for row in rows for name in row.state}
    rest = {name: parameter.numel() for name, parameter in module.named_parameters() if name not in used}
    if not rest:
        return ()
    return (f"{sum(rest.values()):,} parameters are not used in evaluation, and not counted: {_listed(rest)}",)


def _listed(names: Mapping[str, int]) -> str:
    first = list(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def graph_of_capture(module: nn.Module, captured: Capture, input_shape: tuple[int, ...], name: str) -> Graph:
    """The graph of rows that were captured."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    buffers: dict[str, int] = {}
    for path, each in module.named_modules():
        buffers[path] = sum(each_buffer.nbytes for each_buffer in each.buffers(recurse=False))
    axes = len(input_shape) - 1
    nodes = tuple(_node(row, parameters, buffers, axes) for row in captured.rows)
    return Graph(name=name, input_shape=input_shape, nodes=nodes, notes=captured.notes)


def _node(row: Row, parameters: Mapping[str, nn.Parameter], buffers: dict[str, int], axes: int) -> GraphNode:
    own = {name: parameters[name] for name in row.state if name in parameters}
    there = _units(row)
    modules = {name.rpartition(".")[0] for name in row.state}
    return GraphNode(
        name=row.name,
        type=row.type,
        inputs=tuple(INPUT if each is None else each.name for each in row.inputs),
        shape=without_batch(row.tip.shape, row.layout),
        reads=row.reads,
        statistics=row.statistics,
        params=sum(parameter.numel() for parameter in own.values()),
        macs=row.macs,
        trainable=sum(parameter.numel() for parameter in own.values() if parameter.requires_grad),
        buffer_bytes=sum(buffers.pop(path, 0) for path in modules),
        item_bytes=row.tip.item_bytes,
        groups=row.groups,
        weight_bytes=sum(parameter.nbytes for parameter in own.values()),
        parts=tuple(row.parts),
        view=all(part.inplace for part in row.parts),
        units=tuple(there.get(axis, 1) for axis in range(axes)),
        notes=("uses weights that a row before it has counted",) if row.shares else (),
    )


def _units(row: Row) -> dict[int, int]:
    try:
        return units(row.layout)
    except UnsupportedOp:  # an Unknown row says so itself
        return {}
