"""The layer types, one class each: config fields, and everything else that depends on the type."""

from cnncli.layers import (
    activation,
    attention,
    combining,
    convolution,
    coordinates,
    dropout,
    linear,
    norm,
    padding,
    pooling,
    resizing,
    short_forms,
)
from cnncli.layers.activation import Activation
from cnncli.layers.base import Description, Layer, Reach, Shape, ShapeError, format_shape, format_size, per_axis
from cnncli.layers.convolution import Conv
from cnncli.layers.join import MERGES, Add, Join, Merge
from cnncli.layers.norm import BatchNorm
from cnncli.layers.short_forms import ShortForm

_TYPES: tuple[type[Layer], ...] = (
    convolution.Conv,
    convolution.ConvTranspose,
    pooling.MaxPool,
    pooling.AvgPool,
    pooling.LpPool,
    pooling.BlurPool,
    pooling.AdaptiveAvgPool,
    pooling.AdaptiveMaxPool,
    pooling.GlobalAvgPool,
    pooling.GlobalMaxPool,
    padding.Pad,
    padding.Crop,
    resizing.Upsample,
    resizing.ChannelShuffle,
    resizing.PixelShuffle,
    resizing.PixelUnshuffle,
    coordinates.Coordinates,
    norm.BatchNorm,
    norm.GroupNorm,
    norm.LayerNorm,
    norm.InstanceNorm,
    norm.RmsNorm,
    norm.LocalResponseNorm,
    norm.Scale,
    activation.Relu,
    activation.Relu6,
    activation.LeakyRelu,
    activation.Prelu,
    activation.Elu,
    activation.Celu,
    activation.Selu,
    activation.Gelu,
    activation.Silu,
    activation.Mish,
    activation.Softplus,
    activation.Softsign,
    activation.Softshrink,
    activation.Hardshrink,
    activation.Tanhshrink,
    activation.Threshold,
    activation.Tanh,
    activation.Hardtanh,
    activation.Sigmoid,
    activation.LogSigmoid,
    activation.Hardsigmoid,
    activation.Hardswish,
    activation.Softmax,
    attention.SelfAttention,
    combining.Glu,
    combining.Maxout,
    dropout.Dropout,
    dropout.Dropout2d,
    dropout.DropPath,
    dropout.Identity,
    linear.Flatten,
    linear.Linear,
    linear.Logits,
)

LAYERS: dict[str, type[Layer]] = {each.type_name(): each for each in _TYPES}
"""The type as a config writes it -> the class."""

SHORT_FORMS: dict[str, type[ShortForm]] = {
    each.type_name(): each for each in (short_forms.DepthwiseConv, short_forms.SeparableConv)
}
"""The same for what stands for one or several layers."""

LAYER_CHOICES: dict[str, type[Layer] | type[ShortForm]] = {**LAYERS, **SHORT_FORMS}
"""What a list of layers may name besides structures and blocks."""

__all__ = [
    "LAYERS",
    "LAYER_CHOICES",
    "MERGES",
    "Activation",
    "Add",
    "BatchNorm",
    "Conv",
    "Description",
    "Join",
    "Layer",
    "Merge",
    "Reach",
    "Shape",
    "ShapeError",
    "ShortForm",
    "format_shape",
    "format_size",
    "per_axis",
]
