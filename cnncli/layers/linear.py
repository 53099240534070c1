"""Fully connected layers, and `flatten`, which turns feature maps into their input."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import PrivateAttr

from cnncli.fields import Channels
from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Description, Layer, Reach, Saved, Shape, image, vector
from cnncli.layers.norm import NormChoice
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Trace, Unit, passed_on, weighted_sum
from cnncli.layers.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from torch import Tensor, nn


class Flatten(Layer):
    """`torch.nn.Flatten`: (C, H, W) as one vector of C H W numbers."""

    type: Literal["flatten"] = "flatten"
    torch_class = "Flatten"
    saved = Saved.NOTHING

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        out = (channels * height * width,)
        return Description(shape=out, reads=Reach.ALL, view=True, parts=(self._part(out, alias=True),))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        _, height, width = inputs[0].shape
        channel, place = divmod(unit.channel, height * width)
        return passed_on(inputs[0], Unit((channel, *divmod(place, width))))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name="flatten", shape=self._describe(shapes[0]).shape),)


class _Product(WeightedSum):
    """A product with a matrix."""

    saved = Saved.INPUT

    def _saved(self) -> Saved | None:
        return self.saved if self.is_trained else Saved.NOTHING

    def _fully_connected(self, features: int, outputs: int, *, bias: bool) -> Description:
        if self.init is not None:
            self.init.check((outputs, features))
        weights = features * outputs
        return Description(shape=(outputs,), reads=Reach.ALL, params=weights + (outputs if bias else 0), macs=weights)


class Linear(_Product):
    """`torch.nn.Linear`: every output is a weighted sum of all inputs; (F,) to (out_features,)."""

    type: Literal["linear"] = "linear"
    other_names = ("Linear", "Dense", "fc", "fully_connected", "affine")
    core = "linear"
    principal = "out_features"

    out_features: Channels
    bias: bool = True
    norm: NormChoice = None
    activation: ActivationChoice = None

    def _describe(self, shape: Shape) -> Description:
        return self._fully_connected(vector(shape, self), self.out_features, bias=self.bias)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        from cnncli.layers.modules import chain

        linear = nn.Linear(shape[0], self.out_features, self.bias)
        return chain({"linear": linear, **self.build_followers((self.out_features,))})

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        return weighted_sum(inputs[0], weights["linear.weight"], weights.get("linear.bias"), unit)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return _operation(self.out_features, "linear.", bias=self.bias)


class Logits(_Product):
    """The linear layer with one output per class: (F,) to (classes,). The data set gives the number of classes."""

    type: Literal["logits"] = "logits"
    gives_logits = True

    bias: bool = True

    _classes: int = PrivateAttr(default=0)

    def for_classes(self, classes: int) -> Self:
        layer = self.model_copy()
        layer._classes = classes
        return layer

    def _describe(self, shape: Shape) -> Description:
        assert self._classes, "for_classes() comes first"
        return self._fully_connected(vector(shape, self), self._classes, bias=self.bias)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.Linear(shape[0], self._classes, self.bias)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        return weighted_sum(inputs[0], weights["weight"], weights.get("bias"), unit)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return _operation(self._classes, "", bias=self.bias)


def _operation(outputs: int, prefix: str, *, bias: bool) -> tuple[Operation, ...]:
    tensors = {name: f"{prefix}{name}" for name in ("weight", *(["bias"] if bias else []))}
    return (Operation(name="linear", shape=(outputs,), tensors=tensors),)
