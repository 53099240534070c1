"""Numbers of constants during a recorded run: masks, whose zeros and infinities say what cannot change a unit.

On `meta` tensors have no numbers. Operators on constants alone are therefore run a second time on copies with numbers:
buffers as they are, and parameters, of which nothing is known, as positive random numbers, so that a zero in a copy is
a zero that a mask has put there. Parameters get a copy only where they meet a mask.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

MASKED = -1e30
"""A number that is added to a score at most this large hides it: its exponential is 0 in single precision."""
_MAX_NUMBERS = 1 << 24
"""Larger constants are no masks."""
_MASKING = frozenset({"tril", "triu", "masked_fill", "where", "fill", "zero", "copy"})
"""Operators that may put zeros into a parameter without the help of another constant."""


_RANDOM = ("rand", "bernoulli", "normal", "uniform", "native_dropout", "multinomial")


class Constants:
    """The numbers of constants, as far as they are known.

    Args:
        buffers: by the id of the tensor that the run uses: the buffer with its numbers, or None if it has none.
        parameters: that the run uses.

    Attributes:
        missing: whether a mask is a buffer without numbers, so that the module has to be created on the CPU.
    """

    def __init__(self, buffers: Mapping[int, Tensor | None], parameters: Iterable[Tensor]) -> None:
        self._buffers = buffers
        self._parameters = {each.untyped_storage()._cdata: each for each in parameters if each.is_contiguous()}
        self._derived: set[int] = set()  # functions of parameters alone
        self._without: set[int] = {id_ for id_, buffer in buffers.items() if buffer is None}  # and functions of these
        self._numbers: dict[int, Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)
        self.missing = False

    def of(self, tensor: Tensor) -> Tensor | None:
        """The numbers of a tensor; None if they are unknown, or those of a parameter that no mask has met."""
        found = self._numbers.get(id(tensor))
        if found is None and (buffer := self._buffers.get(id(tensor))) is not None:
            found = self._numbers[id(tensor)] = buffer.detach().clone()
        if found is None and (parameter := self._parameter(tensor)) is not None and id(parameter) in self._numbers:
            found = self._view(parameter, tensor)
        return found

    def created(self, tensor: Tensor) -> None:
        """Note a tensor that existed before the run and is no part of the module's state."""
        if not tensor.is_meta and self._parameter(tensor) is None:
            self._numbers[id(tensor)] = tensor.detach().clone()

    def numbers_of(self, mask: Tensor) -> Tensor | None:
        """The numbers of a mask; notes if they are missing."""
        self.missing |= self.has_none(mask)
        return self.of(mask)

    def has_none(self, tensor: Tensor) -> bool:
        """Whether a tensor is a buffer without numbers, or computed from one."""
        return id(tensor) in self._without

    def follow(
        self, name: str, run: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], outputs: list[Tensor]
    ) -> None:
        """Run an operator on constants again, on their numbers, if it may make a mask or apply one to a parameter."""
        tensors = [each for each in _leaves([args, list(kwargs.values())]) if isinstance(each, Tensor)]
        known = [self.of(each) for each in tensors]
        unknown = [each for each, numbers in zip(tensors, known, strict=True) if numbers is None]
        if name.startswith(_RANDOM) or any(each.numel() > _MAX_NUMBERS for each in (*outputs, *unknown)):
            return
        if unknown:
            of_parameters = [each for each in unknown if self._is_of_parameter(each)]
            if len(of_parameters) < len(unknown):
                without = [each for each in unknown if self.has_none(each)]
                if of_parameters:
                    self.missing |= name == "mul" and any(each.numel() > 1 for each in without)
                elif without:
                    self._without.update(map(id, outputs))
                return
            if name not in _MASKING and not any(each is not None and each.numel() > 1 for each in known):
                self._derived.update(map(id, outputs))
                return
        numbers = {id(each): self._with_numbers(each) for each in tensors}
        try:
            result = run(*_mapped(args, numbers), **_mapped(dict(kwargs), numbers))
        except (RuntimeError, TypeError, NotImplementedError):  # an operator of another device
            return
        copies = [each for each in _leaves(result) if isinstance(each, Tensor)]
        for output, copied in zip(outputs, copies, strict=True):
            self._numbers.setdefault(id(output), copied)

    def _parameter(self, tensor: Tensor) -> Tensor | None:
        """The parameter whose memory a tensor shares."""
        return self._parameters.get(tensor.untyped_storage()._cdata)

    def _is_of_parameter(self, tensor: Tensor) -> bool:
        return id(tensor) in self._derived or self._parameter(tensor) is not None

    def _with_numbers(self, tensor: Tensor) -> Tensor:
        if (numbers := self.of(tensor)) is not None:
            return numbers
        owner = self._parameter(tensor)
        random = torch.rand((tensor if owner is None else owner).shape, generator=self._generator) + 0.5
        self._numbers[id(tensor if owner is None else owner)] = random
        return random if owner is None else self._view(owner, tensor)

    def _view(self, parameter: Tensor, tensor: Tensor) -> Tensor:
        """The numbers of a tensor in the memory of a parameter."""
        offset = tensor.storage_offset() - parameter.storage_offset()
        return self._numbers[id(parameter)].as_strided(tensor.shape, tensor.stride(), offset)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _mapped(value: Any, numbers: Mapping[int, Tensor]) -> Any:
    """Arguments with the numbers of tensors, on the CPU."""
    if isinstance(value, Tensor):
        return numbers[id(value)]
    if isinstance(value, torch.device):
        return torch.device("cpu")
    if isinstance(value, dict):
        return {key: _mapped(each, numbers) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(each, numbers) for each in value)
    return value


def known_zeros(name: str, constant: Mapping[str, Any], result: Any, constants: Constants) -> Tensor | None:
    """What an operator on the input multiplies by a known zero, see `Operation.zeros`; None if there is nothing.

    Args:
        name: of the operator.
        constant: its arguments that do not depend on the input, by name.
        result: what it returned.
        constants: their numbers.
    """
    zeros: Tensor | None = None
    match name:
        case "convolution" if "weight" in constant and not constant["transposed"]:
            weight = constants.numbers_of(constant["weight"])
            zeros = None if weight is None else (weight == 0).all(1).all(0)
        case "add" | "baddbmm":
            for each in (constant.get("self"), constant.get("other")):
                if isinstance(each, Tensor) and _may_mask(each, result):
                    numbers = constants.numbers_of(each)
                    zeros = None if numbers is None else numbers <= MASKED
        case "masked_fill" if "mask" in constant and _hides(constant.get("value"), constants):
            zeros = constants.numbers_of(constant["mask"])
        case "where" if "condition" in constant and _hides(constant.get("other"), constants):
            numbers = constants.numbers_of(constant["condition"])
            zeros = None if numbers is None else ~numbers
        case "where" if "condition" in constant and _hides(constant.get("self"), constants):
            zeros = constants.numbers_of(constant["condition"])
    return zeros if zeros is not None and zeros.any() else None


def known_index(name: str, constant: Mapping[str, Any], constants: Constants) -> tuple[int, ...] | None:
    """The positions that `index_select`, or an index with a list along one axis, picks; None if they are unknown."""
    if name not in ("index_select", "index"):
        return None
    given = constant.get("index" if name == "index_select" else "indices")
    tensors = [given] if isinstance(given, Tensor) else [each for each in given or () if isinstance(each, Tensor)]
    if len(tensors) != 1 or tensors[0].ndim != 1:
        return None
    numbers = constants.numbers_of(tensors[0])
    if numbers is None:
        constants.missing |= tensors[0].is_meta  # a list of numbers becomes a tensor without numbers there
        return None
    positions = numbers.nonzero().flatten() if numbers.dtype == torch.bool else numbers
    return tuple(int(each) for each in positions.tolist())


def _may_mask(tensor: Tensor, result: Tensor) -> bool:
    """Whether a tensor has a number for each of the scores of positions with positions."""
    return tensor.ndim > 1 and tensor.shape[-2:] == result.shape[-2:] and min(tensor.shape[-2:]) > 1


def _hides(value: Any, constants: Constants) -> bool:
    """Whether a number, or all numbers of a tensor, hide a score."""
    if isinstance(value, Tensor):
        numbers = constants.of(value)
        return numbers is not None and bool((numbers <= MASKED).all())
    return isinstance(value, int | float) and value <= MASKED
