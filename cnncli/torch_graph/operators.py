"""The operators that run inside a module, told one by one to whoever asks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, ClassVar

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
