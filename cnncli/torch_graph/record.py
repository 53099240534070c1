"""What a module computes, written down operation by operation while it runs once.

The run is on torch's `meta` device, where tensors have shapes and no numbers: nothing is multiplied, and Python control
flow cannot hang on the data, because there is none. Whatever stands in `forward`, modules or functional calls, arrives
here as the operators of ATen, with composite ones (linear, instance norm, attention) taken apart by torch itself.
What a module does that such a list does not show, docs/receptive-fields.md tells under "Models in code".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

from torch import Tensor, nn

from cnncli.torch_graph.operators import UNCOUNTED, reported

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
    afterwards, or returned, this stands in the list as an operation of its own, `overwritten`. So does, as `outside`, a
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
