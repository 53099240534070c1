"""What a module is called: by its class, or by the operator of a file that it stands for."""

from torch import nn


class OperatorModule(nn.Module):
    """A module that stands for one operator of a file.

    Attributes:
        operator: its name there.
    """

    operator: str


def kind_of(module: nn.Module) -> str:
    """The name of the class of a module, or of the operator that it stands for."""
    return module.operator if isinstance(module, OperatorModule) else type(module).__name__
