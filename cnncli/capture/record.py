"""The operations that a module computes, recorded while it runs once.

The run is on torch's `meta` device, where tensors have shapes but no values: nothing is computed, and Python control
flow cannot depend on data. Modules and functional calls alike arrive here as operators of ATen; torch decomposes
composite ones (linear, instance norm, attention). docs/receptive-fields.md, "Models in code", lists the limits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from math import prod
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cnncli.capture.constants import Constants, known_index, known_zeros
from cnncli.capture.regions import Region, region_of

BATCH = 2
"""Images in the batch that a module runs on, if it takes any number: more than one, as torch then runs one operator."""
DETACH = "detach"
"""An operator without a number: torch inserts it or not, depending on who holds references to a tensor."""
PRODUCTS = ("convolution", "mm", "addmm", "bmm", "baddbmm")
"""Operators that cost multiply-accumulates."""
EXPORT = "export"
"""Stands for a call that hands the numbers of a tensor to something other than torch."""
_EXPORTS = frozenset({"numpy", "__array__", "tolist"})


T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One operator that has just run.

    Attributes:
        name: as in ATen, without the suffix of the in-place form: `convolution`, `relu`.
        pointwise: whether torch declares it to be elementwise.
        arguments: by their names in ATen.
        result: what it returned.
        run: calls the operator itself, with `args` and `kwargs`; None if it stands for several.
        path: the module it ran in, as in `named_modules`; empty in TorchScript, which does not say it.
    """

    name: str
    pointwise: bool
    arguments: Mapping[str, Any]
    result: Any
    path: str
    run: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def as_operator(name: str, arguments: Mapping[str, Any], call: Callable[[], T], *, pointwise: bool = False) -> T:
    """Compute `call()`, which a recorded run has as one operator with a name of its own.

    Args:
        name, arguments, pointwise: see `Call`.
        call: computes the result.
    """
    operators = _reporting.get()
    return call() if operators is None else operators.report_whole(name, arguments, call, pointwise=pointwise)


Evaluate = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Calls an operator of ATen, or a function that is reported as one operator, with its arguments."""


@dataclass(frozen=True)
class Running:
    """The modules that are running, or were when an error ended a run.

    Attributes:
        stack: their paths, the innermost last; the first is that of the whole.
        entered: the shapes of the tensors that each module, by path, was called with last.
    """

    stack: list[str]
    entered: dict[str, list[tuple[int, ...]]]


@contextmanager
def calls_reported(
    module: nn.Module, report: Callable[[Call], None], evaluate: Evaluate | None = None
) -> Iterator["Running"]:
    """Pass every operator that runs in the context to `report`, in the same order for every run of a module.

    Those that are reported are called through `evaluate`, which may change how they treat some numbers.

    A module without submodules that returns its input counts as the operator `identity`, or `dropout` if it is one.
    """
    paths = {id(each): path for path, each in module.named_modules()}
    operators = _Operators(report, evaluate)

    def enter(entered: nn.Module, args: Any) -> None:
        operators.stack.append(paths.get(id(entered), operators.stack[-1]))
        operators.entered[operators.stack[-1]] = [tuple(each.shape) for each in args if isinstance(each, Tensor)]

    def leave(left: nn.Module, args: Any, output: Any) -> None:
        if args and output is args[0] and isinstance(output, Tensor) and not any(left.children()):
            name = "dropout" if isinstance(left, nn.modules.dropout._DropoutNd) and left.p > 0 else "identity"
            operators.report_whole(name, {"self": output}, lambda: output, pointwise=True)
        operators.stack.pop()

    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as contexts:
        torch.backends.mha.set_fastpath_enabled(False)
        contexts.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        contexts.callback(register_module_forward_pre_hook(enter).remove)
        contexts.callback(register_module_forward_hook(leave).remove)
        contexts.enter_context(torch.no_grad())
        contexts.enter_context(sdpa_kernel(SDPBackend.MATH))  # attention as matrix products on every machine
        contexts.callback(_reporting.reset, _reporting.set(operators))
        contexts.enter_context(operators)
        contexts.enter_context(_CompositeFunctions(operators))
        yield Running(operators.stack, operators.entered)


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Reports every operator of ATen.

    Attributes:
        stack, entered: see `Running`.
    """

    supports_higher_order_operators = True

    def __init__(self, report: Callable[[Call], None], evaluate: Evaluate | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.stack = [""]
        self.entered: dict[str, list[tuple[int, ...]]] = {}
        self._report, self._evaluate = report, evaluate
        self._silent = self._in_branch = False

    def report_whole(
        self, name: str, arguments: Mapping[str, Any], call: Callable[[], T], *, pointwise: bool = False
    ) -> T:
        """Report `call()` as one operator, and none of those that it runs."""
        if self._silent:  # inside such an operator
            return call()
        self._silent = True
        try:
            result: T = call() if self._evaluate is None else self._evaluate(call, (), {})
            self._report(Call(name, pointwise, arguments, result, self.stack[-1]))
        finally:
            self._silent = False
        return result

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.higher_order.cond:
            return self._run_both(*args)
        if self._in_branch and not self._silent:
            with self:  # composite operators have not been decomposed there
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        name, pointwise, defaults = _signature(func)
        arguments = defaults | dict(zip(defaults, args, strict=False)) | (kwargs or {})
        if func is torch.ops.aten.native_batch_norm.default and args[0].is_meta and not arguments["training"]:
            # Only its shape: torch's own computation of it takes as long as the rest of a network.
            result = (torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0))
        else:
            evaluate = None if self._silent else self._evaluate
            result = func(*args, **(kwargs or {})) if evaluate is None else evaluate(func, args, kwargs or {})
        if not self._silent:
            self._report(Call(name, pointwise, arguments, result, self.stack[-1], func, args, kwargs or {}))
        return result

    def _run_both(
        self, condition: Any, if_true: Callable[..., Any], if_false: Callable[..., Any], operands: Any
    ) -> Any:
        """Run both branches of `torch.cond`, and report an operator `cond` for each result, which reads both."""
        self._in_branch = True
        try:
            with self:
                results = [branch(*operands) for branch in (if_true, if_false)]
        finally:
            self._in_branch = False
        single = isinstance(results[0], Tensor)
        pairs = [tuple(results)] if single else list(zip(*results, strict=True))
        joined: list[Any] = []
        for one, other in pairs:
            chosen, rest = (one, other) if one.is_meta or condition else (other, one)
            # The other result times 0 passes on its NaN.
            arguments = {"self": one, "other": other}
            joined.append(self.report_whole("cond", arguments, partial(torch.add, chosen, rest, alpha=0)))
        return joined[0] if single else tuple(joined)


_reporting: ContextVar[_Operators | None] = ContextVar("_reporting", default=None)
"""What reports operators at present."""


@cache
def _signature(func: Any) -> tuple[str, bool, dict[str, Any]]:
    """An operator's name, whether it is pointwise, and its arguments with their defaults (None if it has none)."""
    schema = func._schema
    name = schema.name.partition("::")[2]
    defaults = {each.name: each.default_value for each in schema.arguments}
    if name == "_convolution":  # in TorchScript of a traced module
        name = "convolution"
    return name.removesuffix("_") if schema.is_mutable else name, torch.Tag.pointwise in func.tags, defaults


class _CompositeFunctions(TorchFunctionMode):
    """Reports functions that ATen only has in several parts as a whole: circular padding and recurrent layers."""

    _RECURRENT: ClassVar = {torch.lstm: "lstm", torch.gru: "gru", torch.rnn_tanh: "rnn", torch.rnn_relu: "rnn"}

    def __init__(self, operators: _Operators) -> None:
        super().__init__()
        self._operators = operators

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        def call() -> Any:
            return func(*args, **(kwargs or {}))

        if func is nn.functional.pad:
            given = dict(zip(("input", "pad", "mode"), args, strict=False)) | (kwargs or {})
            if given.get("mode") == "circular":
                arguments = {"self": given["input"], "padding": given["pad"]}
                return self._operators.report_whole("circular_pad", arguments, call)
        elif func is Tensor.__getitem__:
            args = (args[0], _with_indices(args[1]))
        elif func in self._RECURRENT:
            arguments = {str(number): argument for number, argument in enumerate(args)}
            return self._operators.report_whole(self._RECURRENT[func], arguments, call)
        elif getattr(func, "__name__", "") in _EXPORTS and args and isinstance(args[0], Tensor):
            self._operators.report_whole(EXPORT, {"self": args[0]}, lambda: None)
        return call()


def _with_indices(index: Any) -> Any:
    """An index whose lists are tensors on the CPU: torch would make them on the device of the map, without numbers."""
    if isinstance(index, list) and index and all(isinstance(each, int) for each in index):
        return torch.tensor(index)
    return tuple(map(_with_indices, index)) if isinstance(index, tuple) else index


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor at one time, between two writes to its memory.

    Attributes:
        shape: with the batch axis.
        dynamic: whether it depends on the input.
        state: names of the parameters and buffers that it is or was computed from, if it does not depend on the input.
        item_bytes: bytes per number.
    """

    shape: tuple[int, ...]
    dynamic: bool
    state: frozenset[str] = frozenset()
    item_bytes: int = 4

    @property
    def numel(self) -> int:
        """The number of elements, of all images."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """One operator of a recorded run.

    Attributes:
        number: how many operators ran before it; None for `DETACH`, and for `overwritten` and `outside` (see
            `Recorder`), which are no operators.
        name, pointwise, path: see `Call`.
        arguments: by their names in ATen, with a `Value` in place of every tensor.
        outputs: the tensors that it returned.
        fresh: whether its outputs have their own memory: it is no view, and not in place.
        index: of an operator that picks positions, the constant numbers of these; None if they are unknown.
        part: which of its outputs this is, if an operator with several is represented as several operations.
        called: the name of that operator; empty if it is this operation.
        zeros: of a convolution, the positions of its kernel at which all weights are known to be 0; of an operator that
            masks scores, where the mask hides them. None if there are none.
    """

    number: int | None
    name: str
    pointwise: bool
    arguments: Mapping[str, Any]
    outputs: tuple[Value, ...]
    path: str
    fresh: bool = True
    index: tuple[int, ...] | None = None
    part: int = 0
    called: str = ""
    zeros: Tensor | None = None

    @property
    def inputs(self) -> list[Value]:
        """The tensors among its arguments."""
        return _flatten(self.arguments.values(), Value)


def _flatten(values: Iterable[Any], kind: type[T]) -> list[T]:
    """The values of a type, including those in lists; operators have no deeper nesting."""
    result: list[T] = []
    for value in values:
        if isinstance(value, kind):
            result.append(value)
        elif isinstance(value, list | tuple):
            result.extend(each for each in value if isinstance(each, kind))
    return result


_SHAPE_ONLY = frozenset(
    {f"{name}_like" for name in ("empty", "zeros", "ones", "full", "rand", "randn", "randint")}
    | {f"new_{name}" for name in ("empty", "empty_strided", "zeros", "ones", "full")}
)
"""Operators that use only the shape of a tensor."""
_FILLS = frozenset({"fill", "zero"})
"""Operators that overwrite everything, though ATen tags them as pointwise."""


class Recorder:
    """Records the operations of a module for one example input.

    A view shares memory with another tensor, so its numbers change when that one is written to. If it is read
    afterward, or returned, the record contains a separate operation `overwritten`. Likewise `outside`, for a tensor of
    unknown origin that appears after another one was exported from torch.

    Args:
        module: in evaluation mode.
        state: its parameters and buffers by name, as used in the run.
        buffers: the buffers by name, with their numbers if they have any.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        self._module = module
        self._scripted = isinstance(module, torch.jit.ScriptModule)
        self._values: dict[int, Value] = {}
        self._sharing: dict[int, list[Tensor]] = {}  # storage -> tensors in it, kept alive so that no id is reused
        self._writes: dict[int, list[tuple[Value, Region | None]]] = {}  # tensor -> see `_note_write`
        self._views: set[Value] = set()
        self._exported: list[Value] = []
        self._count = 0
        numbers = {id(state[name]): None if buffer.is_meta else buffer for name, buffer in buffers.items()}
        self.constants = Constants(numbers, [tensor for name, tensor in state.items() if name not in buffers])
        self.operations: list[Operation] = []
        self.running = Running([""], {})
        for name, tensor in state.items():
            if id(tensor) not in self._values:
                self._add(tensor, dynamic=False, state=frozenset({name}))

    def start(self, example: Tensor) -> Value:
        """The value of the input for which the module will run."""
        self._example = example
        return self._add(example, dynamic=True)

    def run(self, forward: Callable[[Tensor], object]) -> None:
        """Call `forward` on the input, which runs the module."""
        with calls_reported(self._module, self._record) as self.running:
            result = forward(self._example)
        self._drop_unread([self._current(tensor, path="") for tensor in _tensors(result)])

    def _drop_unread(self, outputs: list[Value]) -> None:
        """Drop what nothing reads and costs nothing: views, overwritten values, a mean that is only printed."""
        read = set(outputs)
        for operation in reversed(self.operations[:]):
            optional = (
                operation.number is None
                or any(value in self._views for value in operation.outputs)
                or not (operation.name in PRODUCTS or any(value.state for value in operation.inputs))
            )
            if optional and read.isdisjoint(operation.outputs):
                self.operations.remove(operation)
            else:
                read.update(operation.inputs)

    def _add(self, tensor: Tensor, *, dynamic: bool, state: frozenset[str] = frozenset()) -> Value:
        """Give a tensor a new value."""
        value = Value(tuple(tensor.shape), dynamic, state, tensor.element_size())
        self._values[id(tensor)] = value
        self._sharing.setdefault(tensor.untyped_storage()._cdata, []).append(tensor)
        return value

    def _record(self, call: Call) -> None:
        """Append the operation of a call."""
        number = None if call.name == DETACH else self._count
        self._count += number is not None
        if call.name == EXPORT:
            self._exported.append(self._current(call.arguments["self"], call.path))
            return
        read = {key: self._resolve(value, call.path) for key, value in call.arguments.items() if _is_read(call, key)}
        inputs = _flatten(read.values(), Value)
        tensors = _flatten([call.result], Tensor)
        written = [each for each in tensors if id(each) in self._values and call.name not in ("identity", "dropout")]
        fresh = all(tensor.untyped_storage()._cdata not in self._sharing for tensor in tensors)
        dynamic = any(value.dynamic for value in inputs)
        state = frozenset[str]() if dynamic else frozenset[str]().union(*(value.state for value in inputs))
        if not dynamic and call.run is not None:
            self.constants.follow(call.name, call.run, call.args, call.kwargs, tensors)
        constant = {key for key, value in read.items() if not isinstance(value, Value) or not value.dynamic}
        arguments = {key: value for key, value in call.arguments.items() if key in constant}
        zeros = known_zeros(call.name, arguments, call.result, self.constants) if dynamic else None
        outputs = tuple(self._add(tensor, dynamic=dynamic, state=state) for tensor in tensors)
        path = _owner(inputs) if self._scripted else call.path
        self.operations.append(
            Operation(
                number=number,
                name=call.name,
                pointwise=call.pointwise,
                arguments=read,
                outputs=outputs,
                path=path,
                fresh=fresh,
                index=known_index(call.name, arguments, self.constants) if dynamic else None,
                zeros=zeros,
            )
        )
        if not fresh and not written:
            self._views.update(outputs)
        # An elementwise function of one tensor does not change on which positions a number depends.
        if not call.pointwise or call.name in _FILLS or len([value for value in inputs if value.dynamic]) > 1:
            for tensor in written:
                self._note_write(tensor)

    def _note_write(self, tensor: Tensor) -> None:
        """Note for the other tensors in its memory the value written there, and which part of them it is."""
        value = self._values[id(tensor)]
        for other in self._sharing[tensor.untyped_storage()._cdata]:
            if other is not tensor and (value.dynamic or self._values[id(other)].dynamic):
                self._writes.setdefault(id(other), []).append((value, region_of(tensor, other)))
        self._writes.pop(id(tensor), None)

    def _current(self, tensor: Tensor, path: str) -> Value:
        """The current value of a tensor; one that was created before the run and not registered is a constant."""
        value = self._values.get(id(tensor))
        if value is None:
            value = self._add(tensor, dynamic=False)
            self.constants.created(tensor)
            return self._replace(tensor, "outside", {"exported": self._exported}, path) if self._exported else value
        writes = self._writes.pop(id(tensor), None)
        if writes is None:
            return value
        written, regions = [each for each, _ in writes], [region for _, region in writes]
        return self._replace(tensor, "overwritten", {"self": value, "written": written, "regions": regions}, path)

    def _replace(self, tensor: Tensor, name: str, arguments: Mapping[str, Any], path: str) -> Value:
        """Give a tensor a new value and record it as an operation, although no operator has run."""
        value = self._add(tensor, dynamic=True)
        parent = path.rpartition(".")[0]  # not computed by the module that reads it
        self.operations.append(
            Operation(number=None, name=name, pointwise=False, arguments=arguments, outputs=(value,), path=parent)
        )
        return value

    def _resolve(self, argument: Any, path: str) -> Any:
        """An argument with the present values of tensors."""
        if isinstance(argument, Tensor):
            return self._current(argument, path)
        return [self._resolve(each, path) for each in argument] if isinstance(argument, list | tuple) else argument


def _owner(inputs: Iterable[Value]) -> str:
    """The module of the first parameter among some values; TorchScript does not say which modules are running."""
    return next((sorted(value.state)[0].rpartition(".")[0] for value in inputs if value.state), "")


def _is_read(call: Call, argument: str) -> bool:
    """Whether the numbers of an argument have any influence on the result."""
    if call.name in _SHAPE_ONLY:
        return False
    return argument != "self" or (call.name != "copy" and call.name not in _FILLS)


def _tensors(result: object) -> list[Tensor]:
    """The tensors in whatever a forward returns."""
    if isinstance(result, Tensor):
        return [result]
    inside = result.values() if isinstance(result, Mapping) else result if isinstance(result, list | tuple) else ()
    return [tensor for each in inside for tensor in _tensors(each)]
