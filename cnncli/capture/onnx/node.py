"""One operator of a file as a torch module, which has the weights that it reads."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.capture.kind import OperatorModule
from cnncli.capture.onnx.file import Stored, attributes_of, text
from cnncli.capture.onnx.folding import FOLDED, Folding
from cnncli.capture.onnx.operators import OPERATORS, Unsupported
from cnncli.capture.onnx.operators.registry import Spec
from cnncli.capture.record import as_operator

if TYPE_CHECKING:
    from onnx import NodeProto

ROOT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Unshaped:
    """An output whose shape is unknown.

    Attributes:
        tensor: an empty one in its place.
    """

    tensor: Tensor


Value = Tensor | np.ndarray | Unshaped | list[Any] | None
"""What an operator reads and returns: a tensor, known numbers, or a list of these; None where an input is omitted."""


@dataclass(frozen=True)
class Output:
    """What a file says about an output.

    Attributes:
        shape: with the batch axis; None if it is unknown.
        dtype: of its numbers.
    """

    shape: tuple[int, ...] | None
    dtype: torch.dtype = torch.float32


class Node(OperatorModule):
    """An operator.

    Args:
        name: of the operator in the file.
        proto: the operator.
        version: of the operators of its domain.

    Attributes:
        path: its name, as it is called in tables.
        operator: what it computes, with its domain if that is not ONNX's own.
        proto: see above.
        reads: its parameters and buffers -> their names in the file.
    """

    def __init__(self, name: str, proto: NodeProto, version: int) -> None:
        super().__init__()
        own = proto.domain in ROOT_DOMAINS
        self.path, self.proto = name, proto
        self.operator = text(proto.op_type) if own else f"{text(proto.domain)}::{text(proto.op_type)}"
        outputs = max((i for i, each in enumerate(proto.output, 1) if each), default=0)
        self.spec = Spec(proto.op_type, version, attributes_of(proto), outputs)
        self.known = OPERATORS.get(proto.op_type) if own else None
        self.reads: dict[str, str] = {}
        self.folding = Folding(proto, version) if own and proto.op_type in FOLDED else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        copied = Node.__new__(Node)
        nn.Module.__init__(copied)
        memo[id(self)] = copied
        for name in ("path", "proto", "operator", "spec", "known", "reads", "folding", "training"):
            setattr(copied, name, getattr(self, name))  # none of them changes
        for name, parameter in self._parameters.items():
            copied.register_parameter(name, copy.deepcopy(parameter, memo))
        for name, buffer in self._buffers.items():
            copied.register_buffer(name, copy.deepcopy(buffer, memo))
        return copied

    def register(self, position: int, stored: Stored, tensor: Tensor, *, trained: bool) -> None:
        """Add a stored tensor that the operator reads.

        Args:
            position: of the input.
            stored, tensor: the tensor in the file and in torch.
            trained: whether it is a parameter rather than a buffer.
        """
        name = f"input{position}"
        if trained:
            assert isinstance(tensor, nn.Parameter)
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)
        self.reads[name] = stored.name

    def is_number(self, position: int) -> bool:
        """Whether the numbers of an input must be known."""
        return self.known is not None and position in self.known.numbers

    def takes_numbers(self, position: int) -> bool:
        """Whether an input is an array if its numbers are known."""
        return self.known is not None and position in self.known.either

    def is_weight(self, position: int) -> bool:
        """Whether an input is a weight wherever it comes from."""
        return self.known is not None and position in self.known.weights

    def is_buffer(self, position: int) -> bool:
        """Whether an input is saved with the weights, but not trained."""
        return self.known is not None and position in self.known.buffers

    def forward(self, *values: Value, outputs: Sequence[Output] = (), reason: str = "") -> list[Value]:
        """The outputs.

        Args:
            values: of its inputs.
            outputs: what the file says about each output.
            reason: why it is not computed, if it is not.
        """
        if not reason and any(isinstance(each, Unshaped) for each in values):
            reason = "the shape of its input is unknown"
        if not reason and self.known is None:
            reason = f"the operator {self.operator} of ONNX is not supported"
        if reason:
            return self._unknown(values, outputs, reason)
        assert self.known is not None
        try:
            result = self.known.function(self.spec, *self._arguments(values))
        except Unsupported as unsupported:
            return self._unknown(values, outputs, f"{self.operator} {unsupported}")
        return list(result) if isinstance(result, tuple) else [result]

    def _arguments(self, values: Iterable[Value]) -> list[Value]:
        """The inputs as the function of the operator takes them.

        Raises:
            Unsupported: numbers that must be known are not.
        """
        result: list[Value] = []
        for position, value in enumerate(values):
            if self.is_number(position) and isinstance(value, Tensor):
                raise Unsupported(f"depends on the numbers of {self.proto.input[position]}, which are computed")
            result.append(value)
        return result

    def _unknown(self, values: Iterable[Value], outputs: Sequence[Output], reason: str) -> list[Value]:
        """Outputs without numbers, recorded as those of one operator that is not supported."""
        tensors = list(_tensors(values))
        device = tensors[0].device if tensors else None

        def compute() -> tuple[Tensor, ...]:
            return tuple(torch.zeros(each.shape or (0,), dtype=each.dtype, device=device) for each in outputs)

        result = as_operator(self.operator, {"inputs": tensors, "reason": reason}, compute)
        return [
            Unshaped(tensor) if said.shape is None else tensor for tensor, said in zip(result, outputs, strict=True)
        ]


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Unshaped):
            yield value.tensor
        elif isinstance(value, list):
            yield from _tensors(value)
