"""What a layer refuses, and the remedy that it names."""

import pytest

from cnncli.layers import Layer, ShapeError
from cnncli.layers.activation import Hardtanh, Prelu
from cnncli.layers.attention import SelfAttention
from cnncli.layers.combining import Glu, Maxout
from cnncli.layers.coordinates import Coordinates
from cnncli.layers.norm import GroupNorm, InstanceNorm, LocalResponseNorm
from cnncli.layers.padding import Crop, Pad
from cnncli.layers.pooling import BlurPool, LpPool
from cnncli.layers.resizing import ChannelShuffle, PixelShuffle, PixelUnshuffle


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Prelu(num_parameters=5), (4, 8, 8), "5 is neither 1 nor the number of channels, 4; use 1 or channels"),
        (Hardtanh(min_val=2), (4,), "min_val: 2 must be less than max_val, 1; lower it"),
        (GroupNorm(num_groups=3), (4, 8, 8), "3 does not divide the 4 channels; use a divisor of 4"),
        (GroupNorm(num_groups=4), (4, 1, 1), "one number in each group of 4 x 1 x 1"),
        (Glu(), (5, 8, 8), "5 channels cannot be divided into groups of 2; use a layer with a multiple of 2 channels"),
        (Maxout(pieces=3), (4,), "4 channels cannot be divided into groups of 3"),
        (SelfAttention(num_heads=2), (4,), "self_attention needs an image"),
        (SelfAttention(num_heads=3), (4, 8, 8), "3 does not divide the 4 channels; use a divisor of 4"),
        (InstanceNorm(), (4,), "instance_norm needs an image"),
        (InstanceNorm(), (4, 1, 1), "4 x 1 x 1 has one number in each channel"),
        (LocalResponseNorm(size=3), (4,), "local_response_norm needs an image"),
        (Pad(mode="reflect", padding=((0, 0), (8, 0))), (4, 9, 8), "padding of 8 needs more than 8 pixels"),
        (BlurPool(kernel_size=(3, 64)), (4, 99, 99), "kernel_size: 64 is more than 63"),
        (BlurPool(kernel_size=(5, 5)), (4, 9, 2), "reflected padding of 2 needs more than 2 pixels, but the width"),
        (LpPool(norm_type=2, kernel_size=(2, 2)), (4, 1, 9), "a pool of 2 x 2 does not fit"),
        (Coordinates(), (4,), "coordinates needs an image"),
        (Pad(), (4,), "pad needs an image"),
        (Crop(), (4, 8, 8), "crop needs either cropping or size; give one of them"),
        (Crop(cropping=((0, 0), (3, 5))), (4, 9, 8), "cropping leaves nothing of a width of 8; leave out less"),
        (Crop(size=(10, 1)), (4, 9, 8), "size: 10 is more than the height of its input, 9; lower it, or use pad"),
        (ChannelShuffle(groups=3), (4, 8, 8), "groups: 3 does not divide the 4 channels; use a divisor of 4"),
        (PixelShuffle(upscale_factor=3), (4, 8, 8), "9 does not divide the 4 channels"),
        (PixelUnshuffle(downscale_factor=3), (4, 9, 8), "downscale_factor: 3 does not divide the width 8"),
    ],
)
def test_refusals(layer: Layer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer.describe(shape)
