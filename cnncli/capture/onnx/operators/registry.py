"""The list of ONNX's operators that are known, each a function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Function = Callable[..., Any]
"""Takes the operator and its inputs: a tensor or None each, or an array where they are numbers. Returns its outputs."""
F = TypeVar("F", bound=Function)


_MAX_LENGTH = 1 << 18


class Unsupported(Exception):  # noqa: N818  not an error: the row shows the reason
    """An operator whose outputs are not computed; the message gives the reason."""


@dataclass(frozen=True)
class Spec:
    """An operator as a file uses it.

    Attributes:
        name: of the operator.
        version: of ONNX's operators in the file.
        attributes: by name, see `attributes_of`.
        outputs: how many outputs it has, up to the last that is used.
    """

    name: str
    version: int
    attributes: Mapping[str, Any]
    outputs: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)


@dataclass(frozen=True)
class Operator:
    """An operator of ONNX.

    Attributes:
        function: what it is in torch.
        numbers: the positions of inputs whose numbers must be known.
        either: the positions of inputs that are arrays if their numbers are known.
        weights: the positions of inputs that are weights, wherever they come from.
        buffers: the positions of inputs that are saved with the weights, but are not trained.
    """

    function: Function
    numbers: frozenset[int]
    either: frozenset[int]
    weights: frozenset[int]
    buffers: frozenset[int]


OPERATORS: dict[str, Operator] = {}
"""Every known operator of ONNX's own domain."""


def operator(
    *names: str,
    numbers: tuple[int, ...] = (),
    either: tuple[int, ...] = (),
    weights: tuple[int, ...] = (),
    buffers: tuple[int, ...] = (),
) -> Callable[[F], F]:
    """Add a function to the list; for the arguments see `Operator`."""

    def add(function: F) -> F:
        for name in names:
            assert name not in OPERATORS, name
            OPERATORS[name] = Operator(
                function, frozenset(numbers), frozenset(either), frozenset(weights), frozenset(buffers)
            )
        return function

    return add


def ints(numbers: np.ndarray | None, otherwise: Sequence[int] = ()) -> list[int]:
    """An array of numbers as a list of integers; `otherwise` if it is not given."""
    return list(otherwise) if numbers is None else [int(each) for each in numbers.flatten()]


def scalar(numbers: np.ndarray | None, default: Any = None) -> Any:
    """The only number of an array."""
    return default if numbers is None or not numbers.size else numbers.flatten()[0].item()


def check_lengths(sizes: Iterable[int], before: Sequence[int]) -> None:
    """Check that an operator makes no axes that are longer than any that networks have.

    Raises:
        Unsupported: it does.
    """
    longest = max(sizes, default=0)
    if longest > max(_MAX_LENGTH, *before):
        raise Unsupported(f"makes an axis of {longest:,} positions")


def axes_of(spec: Spec, numbers: np.ndarray | None, rank: int) -> list[int] | None:
    """The axes of an operator, which newer versions take as an input, counted from the first; None: not given."""
    given = ints(numbers) if numbers is not None else spec.get("axes")
    return None if given is None else [int(axis) % rank for axis in given]
