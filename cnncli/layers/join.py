"""Layers with several inputs, which join the paths of `residual` and `branch`. A config names only those two."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
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


class Multiply(Join):
    """The product of several paths, position by position, as in squeeze-and-excitation (Hu et al., 2018).

    A path may have one row, one column or one channel, or be a vector of the channels: it is repeated.
    """

    type: Literal["multiply"] = "multiply"
    saved = Saved.INPUT

    def _join(self, shapes: Sequence[Shape]) -> Description:
        shape: Shape = (1,) * max(map(len, shapes))
        between = []  # numbers in the products of the first two, three, ... paths
        for each in shapes:
            wide = each + (1,) * (len(shape) - len(each))
            if any(ours != theirs and 1 not in (ours, theirs) for ours, theirs in zip(shape, wide, strict=True)):
                raise ShapeError(
                    f"paths of these shapes cannot be multiplied: {_listed(shapes)}; "
                    "along each axis, the sizes must be equal or 1"
                )
            shape = tuple(max(sizes) for sizes in zip(shape, wide, strict=True))
            between.append(prod(shape))
        part = self._part(shape, saved_bytes=4 * sum(between[1:-1]))
        return Description(shape=shape, parts=(part,))

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import MultiplyPaths

        return MultiplyPaths()

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        units = [Unit(broadcast_index(each.shape, unit.index)) for each in inputs]
        first, *others = (each[own.index].item() for each, own in zip(inputs, units, strict=True))
        term = Term(units[0], first, prod(others))
        return Trace((), (term,), (Combined("times the other paths", term.amount),))


class Max(Join):
    """The largest of several paths of one shape (Goodfellow et al., Maxout, 2013)."""

    type: Literal["max"] = "max"
    saved = Saved.INPUT

    def _join(self, shapes: Sequence[Shape]) -> Description:
        return _of_one_shape(self, shapes, between=len(shapes) - 2)

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import MaxPaths

        return MaxPaths()

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        values = [each[unit.index].item() for each in inputs]
        source = values.index(max(values))
        term = Term(unit, values[source], 1.0, source)
        return Trace((), (term,), (Combined("largest", term.value),))


class Mean(Join):
    """The mean of several paths of one shape."""

    type: Literal["mean"] = "mean"

    def _join(self, shapes: Sequence[Shape]) -> Description:
        return _of_one_shape(self, shapes)

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import MeanPaths

        return MeanPaths()

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        share = 1 / len(inputs)
        terms = tuple(Term(unit, each[unit.index].item(), share, source) for source, each in enumerate(inputs))
        return Trace((), terms, (Combined(f"sum / {len(inputs)}", sum(term.amount for term in terms)),))


Merge = Literal["concat", "add", "multiply", "max", "mean"]
MERGES: dict[Merge, Callable[[], Join]] = {"concat": Concat, "add": Add, "multiply": Multiply, "max": Max, "mean": Mean}
"""How the paths of a `branch` are joined."""


def broadcast_index(shape: Shape, index: tuple[int, ...]) -> tuple[int, ...]:
    """The place in a factor of this shape that belongs to a place in the product."""
    return tuple(place if size > 1 else 0 for size, place in zip(shape, index, strict=False))


def _of_one_shape(layer: Join, shapes: Sequence[Shape], *, between: int = 0) -> Description:
    """The description of a join of paths of one shape, of which so many results between two paths are saved."""
    if len(set(shapes)) > 1:
        raise ShapeError(f"paths of different shapes have no {layer.type}: {_listed(shapes)}")
    part = layer._part(shapes[0], saved_bytes=4 * between * prod(shapes[0]))
    return Description(shape=shapes[0], parts=(part,))


def _listed(shapes: Sequence[Shape]) -> str:
    return " and ".join(format_shape(shape) for shape in shapes)
