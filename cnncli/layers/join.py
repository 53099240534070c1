"""Layers with several inputs, which join the paths of `residual` and `branch`. A config names only those two."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Description, Layer, Saved, Shape, ShapeError, format_shape
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Combined, Term, Trace, Unit, passed_on

if TYPE_CHECKING:
    from torch import Tensor, nn


class Join(Layer):
    """A layer with several inputs."""

    saved = Saved.NOTHING

    def join(self, shapes: Sequence[Shape]) -> Description:
        """The effect of the layer and its activation on inputs of these shapes.

        Raises:
            ShapeError: they do not go together.
        """
        return self._with_followers(self._join(shapes))

    def _join(self, shapes: Sequence[Shape]) -> Description:
        raise NotImplementedError(self.type)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=self._join(shapes).shape),)


class Add(Join):
    """The sum of several paths of one shape, as at the end of a residual block (He et al., 2015)."""

    type: Literal["add"] = "add"

    activation: ActivationChoice = None

    def _join(self, shapes: Sequence[Shape]) -> Description:
        if len(set(shapes)) > 1:
            raise ShapeError(f"paths of different shapes cannot be added: {_listed(shapes)}")
        return Description(shape=shapes[0])

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import AddPaths

        return AddPaths(self.build_followers(shape).get("activation"))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        terms = tuple(Term(unit, each[unit.index].item(), 1.0, source) for source, each in enumerate(inputs))
        return Trace((), terms, (Combined("sum of the paths", sum(term.amount for term in terms)),))


class Concat(Join):
    """The channels of several paths one after another, as in Inception (Szegedy et al., 2014)."""

    type: Literal["concat"] = "concat"

    def _join(self, shapes: Sequence[Shape]) -> Description:
        if len({shape[1:] for shape in shapes}) > 1 or len({len(shape) for shape in shapes}) > 1:
            raise ShapeError(f"paths whose height or width differ cannot be concatenated: {_listed(shapes)}")
        return Description(shape=(sum(shape[0] for shape in shapes), *shapes[0][1:]))

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import ConcatPaths

        return ConcatPaths()

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        channel = unit.channel
        for source, each in enumerate(inputs):
            if channel < len(each):
                return passed_on(each, Unit((channel, *unit.index[1:])), source)
            channel -= len(each)
        raise AssertionError(f"{unit} is beyond the channels of its inputs")


def _listed(shapes: Sequence[Shape]) -> str:
    return " and ".join(format_shape(shape) for shape in shapes)
