"""Numbers that operators compute from constants alone, by ONNX's own reference evaluator: shapes, indices, scales."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto
    from onnx.reference import ReferenceEvaluator

_MAX_NUMBERS = 1 << 22
"""A constant of more numbers is not computed: it stays a tensor without numbers."""
_BROADCAST = (
    "Add Sub Mul Div Pow Mod And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mean Sum Where BitShift "
    "BitwiseAnd BitwiseOr BitwiseXor Clip"
)
_SAME_OR_LESS = (
    "Abs Acos Asin Atan Ceil Cos Erf Exp Floor Identity IsInf IsNaN Log Neg Not Reciprocal Relu Round Sigmoid Sign Sin "
    "Sqrt Tan Tanh BitwiseNot Cast CastLike Shape Size Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice "
    "GatherElements Trilu ReverseSequence ScatterND ScatterElements Compress ArgMax ArgMin CumSum TopK ReduceSum "
    "ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 Dropout EyeLike Unique"
)
_GROWING = "ConstantOfShape Expand Tile Range Gather GatherND OneHot Pad NonZero"
FOLDED = frozenset(f"{_BROADCAST} {_SAME_OR_LESS} {_GROWING}".split())
"""Operators whose result is computed if all their inputs are known."""


class Folding:
    """Computes one operator of ONNX on arrays.

    Args:
        node: the operator.
        version: of ONNX's operators.
    """

    def __init__(self, node: NodeProto, version: int) -> None:
        self._node, self._version = node, version

    @cached_property
    def _evaluator(self) -> ReferenceEvaluator:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(self._node, opsets={"": self._version})

    def compute(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray] | None:
        """The outputs; None if they are too large, or if the operator fails on these inputs."""
        known = [each for each in inputs if each is not None]
        if sum(each.size for each in known) > _MAX_NUMBERS:
            return None
        try:
            if _size(self._node.op_type, known) > _MAX_NUMBERS:
                return None
            feeds = {name: each for name, each in zip(self._node.input, inputs, strict=True) if name}
            outputs = self._evaluator.run(None, feeds)
        except Exception:  # of a damaged file; it fails again, with a message, when it runs on tensors
            return None
        assert isinstance(outputs, list)
        return [np.asarray(each) for each in outputs]


def _size(operator: str, inputs: list[np.ndarray]) -> int:
    """The most numbers that an operator may return, found without computing them."""
    first = inputs[0]
    match operator:
        case "ConstantOfShape":
            return prod(int(each) for each in first.flatten())
        case "Expand":
            return prod(np.broadcast_shapes(first.shape, tuple(int(each) for each in inputs[1].flatten())))
        case "Tile":
            return first.size * prod(int(each) for each in inputs[1].flatten())
        case "Range":
            start, limit, delta = (float(each) for each in inputs)
            return int(abs((limit - start) / delta)) + 1
        case "Gather" | "GatherND":
            return first.size * inputs[1].size
        case "OneHot":
            return first.size * int(inputs[1].flatten()[0])
        case "Pad":
            pads = inputs[1].flatten() if len(inputs) > 1 else np.zeros(2 * first.ndim)
            return first.size * prod(1 + abs(int(each)) for each in pads)
        case "NonZero":
            return first.size * max(first.ndim, 1)
        case "EyeLike" | "Shape":
            return first.size + first.ndim
    if operator in _BROADCAST.split():
        return prod(np.broadcast_shapes(*(each.shape for each in inputs)))
    return sum(each.size for each in inputs)
