"""What a module computes, written down operation by operation while it runs once.

The run is on torch's `meta` device, where tensors have shapes and no numbers: nothing is multiplied, and Python control
flow cannot hang on the data, because there is none. Whatever stands in `forward`, modules or functional calls, arrives
here as the operators of ATen, with composite ones (linear, instance norm, attention) taken apart by torch itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """One operator at work.

    Attributes:
        number: how many operators ran before it.
        name: as in ATen, without the mark of the in-place form: `convolution`, `relu`.
        pointwise: whether torch declares it to work number by number.
        arguments: by their names in ATen, with a `Value` in place of every tensor.
        outputs: what it made.
        path: the module it ran in, as in `named_modules`.
        through_view: whether it wrote into a part of another tensor.
    """

    number: int
    name: str
    pointwise: bool
    arguments: Mapping[str, Any]
    outputs: tuple[Value, ...]
    path: str
    through_view: bool = False

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


Report = Callable[[str, bool, Mapping[str, Any], Any, str], None]
"""Takes an operation's name, whether it is pointwise, its arguments, what it returned, and the module it ran in."""


@contextmanager
def reported(module: nn.Module, report: Report) -> Iterator[None]:
    """Hand every operator that runs inside to `report`, always in the same order for the same module.

    A module without parts that returns what it was given counts as the operator `identity`.
    """
    paths = {id(each): path for path, each in module.named_modules()}
    stack = [""]

    def enter(entered: nn.Module, args: Any) -> None:  # noqa: ANN401  as torch calls it
        stack.append(paths.get(id(entered), stack[-1]))

    def leave(left: nn.Module, args: Any, output: Any) -> None:  # noqa: ANN401  as torch calls it
        if args and output is args[0] and isinstance(output, Tensor) and not any(left.children()):
            with operators.unseen():
                report("identity", True, {"self": output}, output, stack[-1])
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
    """Reports a function that ATen only has in pieces too small to be followed: padding by the opposite border."""

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
        arguments = dict(zip(("input", "pad", "mode"), args, strict=False)) | (kwargs or {})
        if func is not nn.functional.pad or arguments.get("mode") != "circular":
            return func(*args, **(kwargs or {}))
        with self._operators.unseen():
            result = func(*args, **(kwargs or {}))
        self._operators.report("circular_pad", False, {"self": arguments["input"], "padding": arguments["pad"]}, result)
        return result


class Recorder:
    """Writes down what a module does with one example input.

    Args:
        module: in evaluation mode.
        state: its parameters and buffers by name, as the run will see them.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        self._module = module
        self._values: dict[int, Value] = {}
        self._owners: dict[int, int] = {}  # storage -> the tensor that first had it
        self._tensors: list[Tensor] = []  # kept, so that no id() is given twice
        self.operations: list[Operation] = []
        for name, tensor in state.items():
            if id(tensor) not in self._values:
                self._keep(tensor, dynamic=False, state=frozenset({name}))

    def run(self, forward: Callable[[Tensor], object], example: Tensor) -> Value:
        """Call `forward(example)`, which runs the module; returns the value that stands for the example."""
        value = self._keep(example, dynamic=True)
        with reported(self._module, self._report):
            forward(example)
        return value

    def _keep(self, tensor: Tensor, *, dynamic: bool, state: frozenset[str] = frozenset()) -> Value:
        value = Value(tuple(tensor.shape), dynamic, state, tensor.element_size())
        self._values[id(tensor)] = value
        self._tensors.append(tensor)
        self._owners.setdefault(tensor.untyped_storage()._cdata, id(tensor))
        return value

    def _report(self, name: str, pointwise: bool, arguments: Mapping[str, Any], result: Any, path: str) -> None:  # noqa: ANN401  see Report
        known = {key: self._known(value) for key, value in arguments.items()}
        values = _within(known.values(), Value)
        dynamic = any(value.dynamic for value in values)
        state = frozenset[str]() if dynamic else frozenset[str]().union(*(value.state for value in values))
        given = set(map(id, _within(arguments.values(), Tensor)))
        tensors = _within([result], Tensor)
        written = [tensor for tensor in tensors if id(tensor) in given and name != "identity"]
        operation = Operation(
            number=len(self.operations),
            name=name,
            pointwise=pointwise,
            arguments=known,
            through_view=dynamic and any(not self._is_owner(tensor) for tensor in written),
            outputs=tuple(self._keep(tensor, dynamic=dynamic, state=state) for tensor in tensors),
            path=path,
        )
        self.operations.append(operation)

    def _is_owner(self, tensor: Tensor) -> bool:
        return self._owners[tensor.untyped_storage()._cdata] == id(tensor)

    def _known(self, argument: Any) -> Any:  # noqa: ANN401  whatever an operator takes
        """An argument with the values that tensors are; one made before the run and not registered is a constant."""
        if isinstance(argument, Tensor):
            return self._values.get(id(argument)) or self._keep(argument, dynamic=False)
        return [self._known(each) for each in argument] if isinstance(argument, list | tuple) else argument
