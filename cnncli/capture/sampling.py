"""Operators that read at places which a network computes: what a unit reads is unknown, its shape and cost are not."""

from math import prod

from cnncli.capture.effect import Context, Effect
from cnncli.capture.layout import UnsupportedOp, free, pieces_of
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach


def sample(operation: Operation, context: Context) -> Effect:
    """`grid_sample` and deformable convolutions."""
    raise UnsupportedOp("reads at places that are known only when it runs")


def affine_grid(operation: Operation, context: Context) -> Effect:
    """`affine_grid`: places from a matrix for each image, as in spatial transformers."""
    layout = context.layout(operation.arguments["theta"])
    shape = operation.outputs[0].shape
    reads = Reach.ALL if any(pieces_of(factor for factors in layout for factor in factors).values()) else Reach.SAME
    return Effect(type="affine_grid", layout=(layout[0], *map(free, shape[1:])), reads=reads)


def sampled_macs(operation: Operation, images: int) -> int:
    """Multiply-accumulates of a deformable convolution for one of several images, without those of interpolation."""
    weight, output = operation.arguments["weight"], operation.outputs[0]
    assert isinstance(weight, Value), operation
    return weight.numel * output.shape[0] * prod(output.shape[2:]) // images
