"""What a module computes, written down operation by operation while it runs once.

The run is on torch's `meta` device, where tensors have shapes and no numbers: nothing is multiplied, and Python control
flow cannot hang on the data, because there is none. Whatever stands in `forward`, modules or functional calls, arrives
here as the operators of ATen, with composite ones (linear, instance norm, attention) taken apart by torch itself.
What a module does that such a list does not show, docs/receptive-fields.md tells under "Models in code".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

UNCOUNTED = "detach"
"""The operator that torch itself adds to what makes a tensor, or does not, as it happens that somebody keeps that."""
_EXITS = frozenset({"numpy", "__array__", "tolist"})
"""Methods that hand the numbers of a tensor to something else than torch."""

Report = Callable[[str, bool, Mapping[str, Any], Any, str], None]
"""Takes an operation's name, whether it is pointwise, its arguments, what it returned, and the module it ran in."""


@contextmanager
def reported(module: nn.Module, report: Report) -> Iterator[None]:
    """Hand every operator that runs inside to `report`, always in the same order for the same module.

    A module without parts that returns what it was given counts as the operator `identity`, or `dropout` if it is one.
    """
    paths = {id(each): path for path, each in module.named_modules()}
    stack = [""]

    def enter(entered: nn.Module, args: Any) -> None:  # noqa: ANN401  as torch calls it
        stack.append(paths.get(id(entered), stack[-1]))

    def leave(left: nn.Module, args: Any, output: Any) -> None:  # noqa: ANN401  as torch calls it
        if args and output is args[0] and isinstance(output, Tensor) and not any(left.children()):
            name = "dropout" if isinstance(left, nn.modules.dropout._DropoutNd) and left.p > 0 else "identity"
            with operators.unseen():
                report(name, True, {"self": output}, output, stack[-1])
        stack.pop()

    def operate(name: str, pointwise: bool, arguments: Mapping[str, Any], result: Any) -> None:  # noqa: ANN401  see Report
        report(name, pointwise, arguments, result, stack[-1])

    operators = _Operators(operate)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stay:
        torch.backends.mha.set_fastpath_enabled(False)
        stay.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        stay.callback(register_module_forward_pre_hook(enter).remove)
        stay.callback(register_module_forward_hook(leave).remove)
        stay.enter_context(torch.no_grad())
        stay.enter_context(sdpa_kernel(SDPBackend.MATH))  # attention as the matrix products that it is, everywhere
        stay.enter_context(operators)
        stay.enter_context(_WholeFunctions(operators))
        yield


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    def __init__(self, report: Callable[[str, bool, Mapping[str, Any], Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.report = report
        self._quiet = False

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Report nothing of what runs inside."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  an OpOverload, which torch does not export
        types: Any,  # noqa: ANN401  as torch declares it
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the operator returns
        name, pointwise, defaults = _signature(func)
        given = defaults | dict(zip(defaults, args, strict=False)) | (kwargs or {})
        if func is torch.ops.aten.native_batch_norm.default and args[0].is_meta and not given["training"]:
            # A shape and nothing else; torch's own way to find it takes as long as the rest of a network.
            result = (torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0))
        else:
            result = func(*args, **(kwargs or {}))
        if not self._quiet:
            self.report(name, pointwise, given, result)
        return result


@cache
def _signature(func: Any) -> tuple[str, bool, dict[str, Any]]:  # noqa: ANN401  an OpOverload
    """An operator's name, whether it is pointwise, and its arguments with their defaults, None where there is none."""
    schema = func._schema
    name = schema.name.partition("::")[2]
    defaults = {each.name: each.default_value for each in schema.arguments}
    return name.removesuffix("_") if schema.is_mutable else name, torch.Tag.pointwise in func.tags, defaults


class _WholeFunctions(TorchFunctionMode):
    """Reports functions that ATen has in pieces only: padding by the opposite border, and recurrent layers."""

    _RECURRENT: ClassVar = {torch.lstm: "lstm", torch.gru: "gru", torch.rnn_tanh: "rnn", torch.rnn_relu: "rnn"}

    def __init__(self, operators: _Operators) -> None:
        super().__init__()
        self._operators = operators

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401  any function of torch
        types: Any,  # noqa: ANN401  as torch declares it
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function returns
        if func is nn.functional.pad:
            given = dict(zip(("input", "pad", "mode"), args, strict=False)) | (kwargs or {})
            if given.get("mode") == "circular":
                arguments = {"self": given["input"], "padding": given["pad"]}
                return self._whole("circular_pad", arguments, lambda: func(*args, **(kwargs or {})))
        elif getattr(func, "__name__", "") in _EXITS and args and isinstance(args[0], Tensor):
            with self._operators.unseen():
                self._operators.report("exit", False, {"self": args[0]}, None)
        elif func in self._RECURRENT:
            arguments = {str(number): argument for number, argument in enumerate(args)}
            return self._whole(self._RECURRENT[func], arguments, lambda: func(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    def _whole(self, name: str, arguments: Mapping[str, Any], call: Callable[[], Any]) -> Any:  # noqa: ANN401  likewise
        with self._operators.unseen():
            result = call()
            self._operators.report(name, False, arguments, result)
        return result


BATCH = 2
"""Images in the batch that a module is run on: more than one, so that the batch axis is not taken for another."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that some operation made.

    Attributes:
        shape: with the batch axis.
        dynamic: whether it depends on the input.
        state: names of the parameters and buffers that it is or was made from, where it does not depend on the input.
        item_bytes: of one of its numbers.
    """

    shape: tuple[int, ...]
    dynamic: bool
    state: frozenset[str] = frozenset()
    item_bytes: int = 4

    @property
    def numel(self) -> int:
        """Numbers in it, of all images."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """One operator at work.

    Attributes:
        number: how many operators ran before it; None for `detach`, and for what is no operator (see `Recorder`).
        name: as in ATen, without the mark of the in-place form: `convolution`, `relu`.
        pointwise: whether torch declares it to work number by number.
        arguments: by their names in ATen, with a `Value` in place of every tensor.
        outputs: what it made.
        path: the module it ran in, as in `named_modules`.
        fresh: whether its output lies in memory of its own: it is no view, and not made in place.
    """

    number: int | None
    name: str
    pointwise: bool
    arguments: Mapping[str, Any]
    outputs: tuple[Value, ...]
    path: str
    fresh: bool = True

    @property
    def inputs(self) -> list[Value]:
        """The tensors that it read."""
        return _within(self.arguments.values(), Value)


Kept = TypeVar("Kept")


def _within(values: Iterable[Any], kind: type[Kept]) -> list[Kept]:
    """Those of some values that are of a kind, and those in lists among them: deeper no operator takes or gives any."""
    found: list[Kept] = []
    for value in values:
        if isinstance(value, kind):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(each for each in value if isinstance(each, kind))
    return found


_MAKERS = frozenset(
    {f"{made}_like" for made in ("empty", "zeros", "ones", "full", "rand", "randn", "randint")}
    | {f"new_{made}" for made in ("empty", "empty_strided", "zeros", "ones", "full")}
)
"""Operators that take a tensor for its shape alone."""
_FILLS = frozenset({"fill", "zero"})
"""Operators after which nothing is left of what was there, though ATen calls them pointwise."""


class Recorder:
    """Writes down what a module does with one example input.

    A tensor that lies in the memory of another can be changed by writing into that one. Where such a tensor is read
    afterward, or returned, this stands in the list as an operation of its own, `overwritten`. So does, as `outside`, a
    tensor that comes from nowhere after the numbers of another were handed to something else than torch.

    Args:
        module: in evaluation mode.
        state: its parameters and buffers by name, as the run will see them.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        self._module = module
        self._values: dict[int, Value] = {}
        self._sharing: dict[int, list[Tensor]] = {}  # storage -> tensors in it; kept, so that no id() is given twice
        self._written: dict[int, list[tuple[Value, bool]]] = {}  # tensor -> see `_overwrite`
        self._views: set[Value] = set()  # made without new memory
        self._left: list[Value] = []  # whose numbers something else than torch has
        self._count = 0
        self.operations: list[Operation] = []
        for name, tensor in state.items():
            if id(tensor) not in self._values:
                self._keep(tensor, dynamic=False, state=frozenset({name}))

    def run(self, forward: Callable[[Tensor], object], example: Tensor) -> Value:
        """Call `forward(example)`, which runs the module; returns the value that stands for the example."""
        value = self._keep(example, dynamic=True)
        with reported(self._module, self._report):
            result = forward(example)
        self._leave_out_unread([self._now(tensor, path="") for tensor in _tensors(result)])
        return value

    def _leave_out_unread(self, outputs: list[Value]) -> None:
        """Drop views, and what a tensor has become by being written over, where nothing reads them."""
        read = set(outputs)
        for operation in reversed(self.operations[:]):
            idle = operation.number is None or any(value in self._views for value in operation.outputs)
            if idle and read.isdisjoint(operation.outputs):
                self.operations.remove(operation)
            else:
                read.update(operation.inputs)

    def _keep(self, tensor: Tensor, *, dynamic: bool, state: frozenset[str] = frozenset()) -> Value:
        value = Value(tuple(tensor.shape), dynamic, state, tensor.element_size())
        self._values[id(tensor)] = value
        self._sharing.setdefault(tensor.untyped_storage()._cdata, []).append(tensor)
        return value

    def _report(self, name: str, pointwise: bool, arguments: Mapping[str, Any], result: Any, path: str) -> None:  # noqa: ANN401  see Report
        if name == "exit":
            self._count += 1
            self._left.append(self._now(arguments["self"], path))
            return
        if name in _MAKERS:
            arguments = {}
        elif name == "copy" or name in _FILLS:  # what was there before is lost
            arguments = {key: value for key, value in arguments.items() if key != "self"}
        known = {key: self._known(value, path) for key, value in arguments.items()}
        values = _within(known.values(), Value)
        dynamic = any(value.dynamic for value in values)
        state = frozenset[str]() if dynamic else frozenset[str]().union(*(value.state for value in values))
        tensors = _within([result], Tensor)
        inplace = {
            id(tensor) for tensor in tensors if id(tensor) in self._values and name not in ("identity", "dropout")
        }
        fresh = all(tensor.untyped_storage()._cdata not in self._sharing for tensor in tensors)
        outputs = tuple(self._keep(tensor, dynamic=dynamic, state=state) for tensor in tensors)
        self.operations.append(
            Operation(
                number=None if name == UNCOUNTED else self._count,
                name=name,
                pointwise=pointwise,
                arguments=known,
                outputs=outputs,
                path=path,
                fresh=fresh,
            )
        )
        self._count += name != UNCOUNTED
        self._views.update(outputs if not fresh and not inplace else ())
        # A number that is a function of itself alone depends on what it did before, wherever it is looked at from.
        if pointwise and name not in _FILLS and len([value for value in values if value.dynamic]) < 2:
            return
        for tensor, value in zip(tensors, outputs, strict=True):
            if id(tensor) in inplace:
                self._overwrite(tensor, value)

    def _overwrite(self, tensor: Tensor, value: Value) -> None:
        """Note for all tensors in the memory of one that `value` was written there, and whether axis upon axis."""
        for other in self._sharing[tensor.untyped_storage()._cdata]:
            if other is not tensor and (value.dynamic or self._values[id(other)].dynamic):
                self._written.setdefault(id(other), []).append((value, _aligned(tensor, other)))
        self._written.pop(id(tensor), None)

    def _now(self, tensor: Tensor, path: str) -> Value:
        """What a tensor is by now; one made before the run and not registered is a constant."""
        value = self._values.get(id(tensor))
        if value is None:
            value = self._keep(tensor, dynamic=False)
            return self._changed(tensor, "outside", {"left": self._left}, path) if self._left else value
        written = self._written.pop(id(tensor), None)
        if written is None:
            return value
        parts, aligned = [part for part, _ in written], all(each for _, each in written)
        return self._changed(tensor, "overwritten", {"self": value, "written": parts, "aligned": aligned}, path)

    def _changed(self, tensor: Tensor, name: str, arguments: Mapping[str, Any], path: str) -> Value:
        """Write down that a tensor is another by now, though no operator made it so."""
        value = self._keep(tensor, dynamic=True)
        around = path.rpartition(".")[0]  # the module that reads it did not make it
        self.operations.append(
            Operation(number=None, name=name, pointwise=False, arguments=arguments, outputs=(value,), path=around)
        )
        return value

    def _known(self, argument: Any, path: str) -> Any:  # noqa: ANN401  whatever an operator takes
        """An argument with the values that tensors are."""
        if isinstance(argument, Tensor):
            return self._now(argument, path)
        return [self._known(each, path) for each in argument] if isinstance(argument, list | tuple) else argument


def _aligned(part: Tensor, whole: Tensor) -> bool:
    """Whether a view has the axes of a tensor in the same order, each whole or cut."""
    if part.ndim != whole.ndim:
        return False
    axes = zip(part.shape, whole.shape, part.stride(), whole.stride(), strict=True)
    return all(size != full or step == stride for size, full, step, stride in axes)


def _tensors(result: object) -> list[Tensor]:
    """The tensors in whatever a forward returns."""
    if isinstance(result, Tensor):
        return [result]
    inside = result.values() if isinstance(result, Mapping) else result if isinstance(result, list | tuple) else ()
    return [tensor for each in inside for tensor in _tensors(each)]
