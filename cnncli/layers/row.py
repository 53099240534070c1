"""Layers around rows of numbers, and those that only pass through or drop."""

from typing import Literal

from cnncli.fields import Fraction01, Positive
from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Description, Layer, Reach, Shape, image, row
from cnncli.layers.norm import NormChoice


class Flatten(Layer):
    """`torch.nn.Flatten`: an image of `(C, H, W)` as one row of `C H W` numbers."""

    kind: Literal["flatten"] = "flatten"

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(C * H * W,)`."""
        channels, height, width = image(shape, self)
        return Description(shape=(channels * height * width,), reads=Reach.ALL)


class Linear(Layer):
    """`torch.nn.Linear`: every output is a weighted sum of all inputs."""

    kind: Literal["linear"] = "linear"
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
        if self.norm is not None:
            params += self.norm.describe((self.out_features,)).params
        return Description(shape=(self.out_features,), reads=Reach.ALL, params=params, macs=weights)


class Logits(Layer):
    """The linear layer to one number per class; how many classes there are, the data says."""

    kind: Literal["logits"] = "logits"

    bias: bool = True

    def linear(self, classes: int) -> Linear:
        """The same as a `linear` layer."""
        return Linear(name=self.name, out_features=classes, bias=self.bias)


class Dropout(Layer):
    """`torch.nn.Dropout`: in training, each number is dropped with probability `p`."""

    kind: Literal["dropout"] = "dropout"
    principal = "p"

    p: Fraction01 = 0.5

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape)


class Dropout2d(Layer):
    """`torch.nn.Dropout2d`: in training, each whole channel is dropped with probability `p`."""

    kind: Literal["dropout2d"] = "dropout2d"
    principal = "p"

    p: Fraction01 = 0.5

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=image(shape, self))


class Identity(Layer):
    """`torch.nn.Identity`: what comes in goes out."""

    kind: Literal["identity"] = "identity"

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape)
