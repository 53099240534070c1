"""Layers around rows of numbers, and those that only pass through or drop."""

from typing import ClassVar, Literal, Self

from pydantic import PrivateAttr

from cnncli.fields import Fraction01, Positive
from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Description, Layer, Reach, Shape, image, row
from cnncli.layers.composite import Composite
from cnncli.layers.norm import NormChoice


class Flatten(Layer):
    """`torch.nn.Flatten`: an image of `(C, H, W)` as one row of `C H W` numbers."""

    type: Literal["flatten"] = "flatten"

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(C * H * W,)`."""
        channels, height, width = image(shape, self)
        return Description(shape=(channels * height * width,), reads=Reach.ALL)


class Linear(Composite):
    """`torch.nn.Linear`: every output is a weighted sum of all inputs."""

    type: Literal["linear"] = "linear"
    principal = "out_features"

    out_features: Positive
    bias: bool = True
    norm: NormChoice = None
    activation: ActivationChoice = None

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(F,)` to `(out_features,)`."""
        features = row(shape, self)
        weights = features * self.out_features
        params = weights + (self.out_features if self.bias else 0)
        return self.with_followers(
            Description(shape=(self.out_features,), reads=Reach.ALL, params=params, macs=weights)
        )


class Logits(Layer):
    """The linear layer to one number per class; how many classes there are, the data says."""

    type: Literal["logits"] = "logits"
    gives_logits: ClassVar[bool] = True

    bias: bool = True

    _classes: int = PrivateAttr(default=0)

    def for_classes(self, classes: int) -> Self:
        """See `Layer.for_classes`."""
        layer = self.model_copy()
        layer._classes = classes
        return layer

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(F,)` to `(classes,)`."""
        assert self._classes, "for_classes() comes first"
        weights = row(shape, self) * self._classes
        params = weights + (self._classes if self.bias else 0)
        return Description(shape=(self._classes,), reads=Reach.ALL, params=params, macs=weights)


class Dropout(Layer):
    """`torch.nn.Dropout`: in training, each number is dropped with probability `p`."""

    type: Literal["dropout"] = "dropout"
    keeps_channels: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    principal = "p"

    p: Fraction01 = 0.5

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape)


class Dropout2d(Layer):
    """`torch.nn.Dropout2d`: in training, each whole channel is dropped with probability `p`."""

    type: Literal["dropout2d"] = "dropout2d"
    keeps_channels: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    principal = "p"

    p: Fraction01 = 0.5

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=image(shape, self))


class Identity(Layer):
    """`torch.nn.Identity`: what comes in goes out."""

    type: Literal["identity"] = "identity"
    keeps_channels: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape)
