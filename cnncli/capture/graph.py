"""Any torch module as a graph.

The module runs once on torch's `meta` device while its operators are recorded (`record`). The rules say what each
operator does to positions (`rules`), and `rows` groups operators into layers. A module that cannot run without values
runs on the CPU, and the graph has a note. docs/receptive-fields.md explains why `torch.export` is not used.
"""

import copy
import traceback
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from cnncli.capture.kind import kind_of
from cnncli.capture.layout import UnsupportedOp, units, without_batch
from cnncli.capture.load import first_line
from cnncli.capture.mode import evaluation_mode
from cnncli.capture.record import BATCH, Operation, Recorder, Running, Value
from cnncli.capture.rows import Row, rows_of
from cnncli.config.network import INPUT
from cnncli.errors import CnncliError
from cnncli.inspection.graph import Graph, GraphNode, ModelError
from cnncli.layers import format_size

GIVE_SHAPE = "give the shape of one image, e.g. --input 3x224x224, and the model's arguments with --kwargs"
META, CPU = torch.device("meta"), torch.device("cpu")


@dataclass(frozen=True)
class Capture:
    """The rows of a module.

    Attributes:
        rows: in the order of computation.
        notes: about the module as a whole.
        zeros: for operations by number, what they multiply by known zeros, as `spread_nan` takes it.
        row_of: for operations by number, the row that they belong to.
    """

    rows: list[Row]
    notes: tuple[str, ...]
    zeros: Mapping[int, Tensor]
    row_of: Mapping[int, Row]


def graph_of_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    name: str,
    *,
    device: torch.device = META,
    batch: int = BATCH,
) -> Graph:
    """The graph of a module in evaluation mode.

    Args:
        module: with parameters on any device. It is not changed, and its training mode is restored.
        input_shape: (C, positions ...) of one image.
        name: of the graph.
        device, batch: see `capture`.

    Raises:
        ConfigError: the module does not run on such an input.
    """
    module = with_shapes(module, input_shape)
    return graph_of_capture(module, capture(module, input_shape, device=device, batch=batch), input_shape, name)


def with_shapes(module: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """The module; a copy of it that was run once if it has lazy layers, whose shapes follow from their first input.

    Raises:
        ConfigError: it does not run on such an input.
    """
    lazy = [each for each in (*module.parameters(), *module.buffers()) if is_lazy(each)]
    if not lazy:
        return module
    copied: dict[int, Any] = {  # which torch does not copy
        id(each): UninitializedBuffer(device=each.device, dtype=each.dtype)  # type: ignore[call-arg]  # torch does not annotate them
        for each in module.buffers()
        if is_lazy(each)
    }
    module = copy.deepcopy(module, copied)
    images = torch.zeros(BATCH, *input_shape, device=lazy[0].device)
    try:
        with evaluation_mode(module), torch.no_grad():
            module(images)
    except (Exception, SystemExit) as error:  # a forward may raise anything
        raise _does_not_run(module, input_shape, _ForwardError(error, None, Running([""], {}))) from error
    return module


def capture(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    scopes: Collection[str] = (),
    device: torch.device = META,
    batch: int = BATCH,
    may_use_zeros: bool = True,
) -> Capture:
    """The rows of a module.

    Args:
        module, input_shape: see `graph_of_module`.
        scopes: submodules that become one row each.
        device: `meta`, to run without numbers, or the device of the parameters.
        batch: the number of images that it is run on, for a module that takes no other.
        may_use_zeros: whether a module that does not run on `meta` is run on zeros.
    """
    with evaluation_mode(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _capture(module, input_shape, scopes, device, batch, may_use_zeros=may_use_zeros)


def _capture(
    module: nn.Module,
    shape: tuple[int, ...],
    scopes: Collection[str],
    device: torch.device,
    batch: int,
    *,
    may_use_zeros: bool,
) -> Capture:
    notes: tuple[str, ...] = ()
    try:
        recorded = _record(module, shape, device, batch)
    except _ForwardError as failed:  # on `meta` also if the module looks at numbers
        if device != META or is_on_meta(module) or not may_use_zeros:
            raise _does_not_run(module, shape, failed) from failed.error
        error = first_line(failed.error)
        notes = (f"was run on zeros, and may behave differently on images: without numbers, {error}",)
        try:
            recorded = _record(module, shape, CPU, batch)
        except _ForwardError as fatal:
            raise _does_not_run(module, shape, fatal) from fatal.error
    rows, zeros, row_of = rows_of(module, recorded.example, recorded.operations, scopes=scopes)
    if not rows:
        notes += ("no output depends on the input",)
    return Capture(rows, (*notes, *_note_unused(module, rows)), zeros, row_of)


def is_on_meta(module: nn.Module) -> bool:
    """Whether a module has tensors without numbers."""
    return any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))


@dataclass(frozen=True)
class _Recorded:
    """The operations of a run, and the value of its input."""

    example: Value
    operations: list[Operation]


class _ForwardError(Exception):
    """A run that failed.

    Attributes:
        error: what the module raised.
        recorded: the operations before, if they were recorded.
        running: the modules that were running.
    """

    def __init__(self, error: BaseException, recorded: _Recorded | None, running: Running) -> None:
        super().__init__(error)
        self.error, self.recorded, self.running = error, recorded, running


def _record(module: nn.Module, shape: tuple[int, ...], device: torch.device, batch: int) -> _Recorded:
    buffers = dict(module.named_buffers(remove_duplicate=False))
    module, state = trial_copy(module, device)
    recorder = Recorder(module, state, buffers)
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    example = recorder.start(torch.zeros(batch, *shape, device=device, dtype=dtype))

    def forward(images: Tensor) -> object:
        on_other_device = any(tensor is not state[name] for name, tensor in module.named_parameters())
        return torch.func.functional_call(module, state, (images,)) if on_other_device else module(images)

    try:
        recorder.run(forward)
        if recorder.constants.missing:
            raise ValueError("a mask or an index has no numbers on the meta device")  # noqa: TRY301  as the module
    except CnncliError:
        raise
    except (Exception, SystemExit) as error:  # a forward may raise anything
        raise _ForwardError(error, _Recorded(example, recorder.operations), recorder.running) from error
    return _Recorded(example, recorder.operations)


def trial_copy(module: nn.Module, device: torch.device) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy of a module to run, so that what a forward pass keeps (anchors, grids, masks) is not kept in the original.

    Returns:
        The copy, and its parameters and buffers by name: on `meta` without numbers, else those of the original. The
        original if it cannot be copied; then its parameters are not those in the dictionary.
    """
    if isinstance(module, torch.jit.ScriptModule):  # its state is not Python's, and it keeps nothing but buffers
        return module, {**dict(module.named_parameters()), **dict(module.named_buffers())}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    moved: dict[int, Any] = {}  # a tensor with two names stays one tensor
    for _, tensor in named:
        if id(tensor) not in moved:
            moved[id(tensor)] = tensor if device != META else _on_meta(tensor)
    state = {name: moved[id(tensor)] for name, tensor in named}
    try:
        return copy.deepcopy(module, dict(moved)), state
    except Exception:  # a module may hold anything, such as a lock or a tensor with a gradient
        return module, state


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device=META)
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty


def _does_not_run(module: nn.Module, shape: tuple[int, ...], failed: _ForwardError) -> ModelError:
    """The error of a module that does not run: where it failed, what met there, and the rows before."""
    remedy = GIVE_SHAPE
    if isinstance(failed.error, TypeError) and "forward() missing" in str(failed.error):
        remedy = "wrap it in a module whose forward takes one batch of images"
    where = [*_failing_module(module, failed.running), *_failing_line(failed.error)]
    rows: list[Row] = []
    try:
        if failed.recorded is not None:
            rows, _, _ = rows_of(module, failed.recorded.example, failed.recorded.operations)
    except (AssertionError, KeyError, IndexError, UnsupportedOp):  # they may end in the middle of a layer
        rows = []
    message = f"the model does not run on an input of {format_size(shape)}: {first_line(failed.error)}"
    graph = graph_of_capture(module, Capture(rows, (), {}, {}), shape, "up to the error") if rows else None
    return ModelError(message, remedy="\n".join([*where, remedy]), graph=graph)


def _failing_module(module: nn.Module, running: Running) -> list[str]:
    """The innermost module that was running, with the shapes of its input."""
    path = running.stack[-1]
    shapes = running.entered.get(path, [])
    if not path or not shapes:
        return []
    kind = kind_of(module.get_submodule(path))
    batch = shapes[0][0] if shapes[0] else 1
    return [f"in {path} ({kind}), called with {' and '.join(map(format_size, shapes))}, a batch of {batch}"]


def _failing_line(error: BaseException) -> list[str]:
    """The last line of the user's code that was running, with its place."""
    own = (Path(torch.__file__).parent, Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.line and not any(Path(frame.filename).is_relative_to(folder) for folder in own)
    ]
    return [f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"] if frames else []


def _note_unused(module: nn.Module, rows: list[Row]) -> tuple[str, ...]:
    """A note about parameters that belong to no row, if there are any."""
    used = {name for row in rows for name in row.state}
    unused = {name: parameter.numel() for name, parameter in module.named_parameters() if name not in used}
    if isinstance(module, torch.jit.ScriptModule) and not any(True for _ in module.parameters()):
        return ("a frozen module: its weights are constants, and not counted as parameters",)
    if not unused:
        return ()
    names = ", ".join(list(unused)[:3]) + (f" and {len(unused) - 3} more" if len(unused) > 3 else "")
    return (
        f"{sum(unused.values()):,} of {sum(each.numel() for each in module.parameters()):,} parameters are not used in "
        f"evaluation mode, and not counted: {names}",
    )


def graph_of_capture(module: nn.Module, captured: Capture, input_shape: tuple[int, ...], name: str) -> Graph:
    """The graph of captured rows."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    buffers = {
        path: sum(buffer.nbytes for buffer in each.buffers(recurse=False)) for path, each in module.named_modules()
    }
    nodes = tuple(_node(row, parameters, buffers, len(input_shape) - 1) for row in captured.rows)
    return Graph(name=name, input_shape=input_shape, nodes=nodes, notes=captured.notes)


def _node(row: Row, parameters: Mapping[str, nn.Parameter], buffers: dict[str, int], axes: int) -> GraphNode:
    """The node of a row; the bytes of its buffers are removed from `buffers`, so that they are counted once."""
    own = [parameters[name] for name in row.state if name in parameters]
    modules = {name.rpartition(".")[0] for name in row.state}
    try:
        sizes = units(row.layout)
    except UnsupportedOp:  # the row's `reads` gives the reason
        sizes = {}
    return GraphNode(
        name=row.name,
        type=row.type,
        inputs=tuple(INPUT if each is None else each.name for each in row.inputs),
        shape=row.constant_shape or without_batch(row.output.shape, row.layout),
        reads=row.reads,
        statistics=row.statistics,
        params=sum(parameter.numel() for parameter in own),
        macs=row.macs,
        trainable=sum(parameter.numel() for parameter in own if parameter.requires_grad),
        buffer_bytes=sum(buffers.pop(path, 0) for path in modules),
        item_bytes=row.output.item_bytes,
        groups=row.groups,
        weight_bytes=sum(parameter.nbytes for parameter in own),
        parts=tuple(row.parts),
        shares_weights=row.shares,
        view=all(part.inplace for part in row.parts),
        units=tuple(sizes.get(axis, 1) for axis in range(axes)),
        placed=tuple((INPUT if each is None else each.name, reads) for each, reads in row.placed),
        upper_bound=row.upper_bound,
        notes=(
            *(("shares weights with an earlier row, where they are counted",) if row.shares else ()),
            *dict.fromkeys(row.notes),
        ),
    )
