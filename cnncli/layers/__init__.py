"""The layers a config may name, one small class each."""

from typing import get_args

from cnncli.layers.activation import Activation, Elu, Gelu, Hardswish, LeakyRelu, Relu, Sigmoid, Silu, Tanh
from cnncli.layers.base import Description, Layer, Reach, Shape, ShapeError, format_shape
from cnncli.layers.convolution import Conv, ConvTranspose
from cnncli.layers.join import Add, Concat
from cnncli.layers.norm import BatchNorm, GroupNorm, LayerNorm, Norm
from cnncli.layers.pooling import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Upsample,
)
from cnncli.layers.row import Dropout, Dropout2d, Flatten, Identity, Linear, Logits

Writable = (
    Conv
    | ConvTranspose
    | MaxPool
    | AvgPool
    | AdaptiveAvgPool
    | AdaptiveMaxPool
    | GlobalAvgPool
    | GlobalMaxPool
    | Upsample
    | Norm
    | Activation
    | Dropout
    | Dropout2d
    | Flatten
    | Linear
    | Logits
    | Identity
)
"""Every layer that a config may write."""

Join = Add | Concat
"""Layers with several inputs: how `residual` and `branch` end."""

AnyLayer = Writable | Join

LAYERS: dict[str, type[Writable]] = {each.type_name(): each for each in get_args(Writable)}
"""The type as a config writes it -> the class."""

__all__ = [
    "LAYERS",
    "Activation",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Add",
    "AnyLayer",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Description",
    "Dropout",
    "Dropout2d",
    "Elu",
    "Flatten",
    "Gelu",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "Hardswish",
    "Identity",
    "Join",
    "Layer",
    "LayerNorm",
    "LeakyRelu",
    "Linear",
    "Logits",
    "MaxPool",
    "Norm",
    "Reach",
    "Relu",
    "Shape",
    "ShapeError",
    "Sigmoid",
    "Silu",
    "Tanh",
    "Upsample",
    "Writable",
    "format_shape",
]
