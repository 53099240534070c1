"""What convolutions and linear layers have in common: kernels or a matrix."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from cnncli.layers.base import WeightedLayer
from cnncli.layers.init import InitChoice
from cnncli.layers.tuning import InheritedFields, Tuning

if TYPE_CHECKING:
    from torch import Tensor, nn


class MatrixLayer(WeightedLayer, InheritedFields):
    """A layer with kernels or matrices, which weight decay reduces."""

    def _tuning(self) -> Tuning | None:
        return Tuning(self.frozen_epochs, self.lr_scale or 1.0, self.weight_decay)


class WeightFields(InheritedFields):
    """Fields of layers with kernels or a matrix.

    Attributes:
        init: the initial weights; None: those of torch's module.
    """

    init: InitChoice | None = Field(default=None, description="initial weights; default: those of torch")


class WeightedSum(MatrixLayer, WeightFields):
    """A layer whose outputs are weighted sums of its inputs."""

    core: ClassVar[str] = ""
    """The name, in the module of the layer, of the part that has the weights; empty where that is the module."""

    @property
    def init_needs_images(self) -> bool:
        return self.init is not None and self.init.needs_images

    def core_of(self, module: "nn.Module") -> "nn.Module":
        return module.get_submodule(self.core)

    def initialize(self, module: "nn.Module") -> None:
        if self.init is None:
            return
        import torch

        with torch.no_grad():
            for name, parameter in self.core_of(module).named_parameters(recurse=False):
                if name == "weight":
                    self._fill(parameter)
                else:
                    parameter.zero_()

    def _fill(self, weight: "Tensor") -> None:
        """Set the weights, in the layout of torch's module."""
        assert self.init is not None
        self.init.fill(weight, groups=1)
