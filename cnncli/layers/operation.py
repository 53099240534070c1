"""The arithmetic of a layer in inference as a list of operations, for engines outside torch.

The playground's JavaScript has a function for each name (`cnncli/report/assets/engine`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["norm", "activation"]
Number: TypeAlias = float | bool | str | Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step of the arithmetic of a layer.

    Attributes:
        name: of the function: `convolution`, `batch_norm`, `relu`.
        shape: of its output, (C, H, W) or (F,).
        numbers: what it is computed with besides tensors, as JSON: `{"stride": [1, 1]}`.
        tensors: role -> key in the state dict of the layer's module: `{"weight": "conv.weight"}`.
        role: which follower of the layer it belongs to; None: the layer itself.
    """

    name: str
    shape: tuple[int, ...]
    numbers: Mapping[str, Number] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)
    role: Role | None = None

    def within(self, role: Role) -> "Operation":
        """The operation of a layer that is given as `norm` or `activation` of another one."""
        tensors = {each: f"{role}.{key}" for each, key in self.tensors.items()}
        return replace(self, role=role, tensors=tensors)
