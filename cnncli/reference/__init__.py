"""The operations of a convolutional network as their definitions say: for reading and for checking."""

from cnncli.reference.cross_correlation import (
    conv2d,
    corr2d,
    corr2d_1x1,
    corr2d_multi_in,
    corr2d_multi_in_out,
)
from cnncli.reference.gradients import corr2d_backward
from cnncli.reference.module import Conv2D
from cnncli.reference.pooling import pool2d

__all__ = [
    "Conv2D",
    "conv2d",
    "corr2d",
    "corr2d_1x1",
    "corr2d_backward",
    "corr2d_multi_in",
    "corr2d_multi_in_out",
    "pool2d",
]
