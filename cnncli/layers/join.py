"""Where paths meet: the ends of `residual` and `branch`. A config writes those two, never these."""

from typing import Literal

from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Description, Layer, Shape, ShapeError, format_shape
from cnncli.layers.composite import Composite


class Add(Composite):
    """The sum of several paths of one shape, as at the end of a residual block (He et al., 2015)."""

    type: Literal["add"] = "add"

    activation: ActivationChoice = None

    def join(self, shapes: tuple[Shape, ...]) -> Description:
        """What the sum of inputs of these shapes is.

        Raises:
            ShapeError: the shapes differ.
        """
        if len(set(shapes)) > 1:
            raise ShapeError(f"paths of different shapes cannot be added: {_listed(shapes)}")
        return self.with_followers(Description(shape=shapes[0]))


class Concat(Layer):
    """The channels of several paths one after another, as in Inception (Szegedy et al., 2014)."""

    type: Literal["concat"] = "concat"

    def join(self, shapes: tuple[Shape, ...]) -> Description:
        """What the inputs of these shapes are side by side: the sum of their channels.

        Raises:
            ShapeError: heights or widths differ.
        """
        if len({shape[1:] for shape in shapes}) > 1 or len({len(shape) for shape in shapes}) > 1:
            raise ShapeError(f"paths whose height or width differ cannot be concatenated: {_listed(shapes)}")
        return Description(shape=(sum(shape[0] for shape in shapes), *shapes[0][1:]))


def _listed(shapes: tuple[Shape, ...]) -> str:
    return " and ".join(format_shape(shape) for shape in shapes)
