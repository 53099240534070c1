"""The torch module of a network description.

Letters for shapes: N images, C channels, H height, W width, F features.
"""

from collections.abc import Collection
from typing import assert_never

import torch
from torch import Tensor, nn

from cnncli.config.network import INPUT, Network, Node
from cnncli.layers import (
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dropout,
    Dropout2d,
    Elu,
    Flatten,
    Gelu,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Hardswish,
    Identity,
    Layer,
    LayerNorm,
    LeakyRelu,
    Linear,
    Logits,
    MaxPool,
    Norm,
    Relu,
    Shape,
    Sigmoid,
    Silu,
    Tanh,
    Upsample,
)


class CnnModule(nn.Module):
    """A network as torch runs it: every node a submodule of its own name (`conv1`, `vgg1.conv2`).

    Layers with a norm or an activation are `nn.Sequential`s with the parts `conv` (or `linear`), `norm`, `activation`,
    so that the kernels of `conv1` are `conv1.conv.weight` in the state dict.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._steps: list[tuple[str, tuple[str, ...], nn.Module]] = []
        for node in network.nodes:
            module = build_layer(node.layer, node.input_shapes[0], node.shape)
            _place(self, node.name, module)
            self._steps.append((node.name, node.inputs, module))
        self._last_use = {name: i for i, (_, inputs, _) in enumerate(self._steps) for name in inputs}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        return self._run(images, keep=())[self._steps[-1][0]]

    def outputs(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The outputs of the nodes called `names` for images (N, C, H, W), in a pass that ends with the last."""
        values = self._run(images, keep=names)
        return {name: values[name] for name in names}

    def _run(self, images: Tensor, keep: Collection[str]) -> dict[str, Tensor]:
        values = {INPUT: images}
        wanted = set(keep)
        for i, (name, inputs, module) in enumerate(self._steps):
            values[name] = module(*(values[each] for each in inputs))
            for each in inputs:
                # Freed as soon as nothing reads it any more: without gradients this bounds the memory.
                if self._last_use[each] == i and each not in keep:
                    values.pop(each, None)
            wanted.discard(name)
            if keep and not wanted - {INPUT}:
                break
        return values

    def layer(self, node: Node) -> nn.Module:
        """The module of a node."""
        return self.get_submodule(node.name)

    def kernels(self) -> dict[str, Tensor]:
        """Name -> weight of every convolution, in order: (O, I / groups, kh, kw), a filter for each output channel."""
        found = {}
        for node in self.network.nodes:
            if node.layer.has_kernels:
                part = next(each for each in self.layer(node).modules() if isinstance(each, _CONVOLUTIONS))
                transposed = isinstance(part, nn.ConvTranspose2d)
                found[node.name] = _by_output(part.weight, part.groups) if transposed else part.weight
        return found


def seeded_module(network: Network, seed: int) -> CnnModule:
    """A module with the weights that a seed means: built on the CPU, so that they are the same on every device.

    The CPU's random numbers go on from there.
    """
    torch.manual_seed(seed)
    return CnnModule(network)


_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def _by_output(weight: Tensor, groups: int) -> Tensor:
    """The weight of a transposed convolution, (I, O / groups, kh, kw), as (O, I / groups, kh, kw)."""
    inputs, outputs, *size = weight.shape
    in_groups = weight.reshape(groups, inputs // groups, outputs, *size)
    return in_groups.transpose(1, 2).reshape(groups * outputs, inputs // groups, *size)


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a dotted name, with empty modules for the parts before the last."""
    *scopes, last = name.split(".")
    for scope in scopes:
        if scope not in dict(root.named_children()):
            root.add_module(scope, nn.Module())
        root = root.get_submodule(scope)
    assert last not in dict(root.named_children()), f"{name} is there twice"
    root.add_module(last, module)


def build_layer(layer: Layer, shape: Shape, out: Shape) -> nn.Module:
    """The module of one layer.

    Args:
        layer: as configured.
        shape: of (one of) its inputs, `(C, H, W)` or `(F,)`.
        out: of its output.
    """
    match layer:
        case Conv():
            return _conv(layer, shape, out)
        case ConvTranspose():
            return _conv_transpose(layer, shape, out)
        case Linear():
            linear = nn.Linear(shape[0], layer.out_features, layer.bias)
            return _chain(linear=linear, norm=_norm(layer.norm, out), activation=_activation(layer.activation))
        case Logits():
            return nn.Linear(shape[0], out[0], layer.bias)
        case MaxPool():
            strides, pads = layer.strides(), layer.pads()
            return nn.MaxPool2d(layer.kernel_size, strides, pads, layer.dilation, ceil_mode=layer.ceil_mode)
        case AvgPool():
            strides, pads = layer.strides(), layer.pads()
            return nn.AvgPool2d(layer.kernel_size, strides, pads, layer.ceil_mode, layer.count_include_pad)
        case AdaptiveAvgPool():
            return nn.AdaptiveAvgPool2d(layer.output_size)
        case AdaptiveMaxPool():
            return nn.AdaptiveMaxPool2d(layer.output_size)
        case GlobalAvgPool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case GlobalMaxPool():
            return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        case Upsample():
            return nn.Upsample(size=(out[1], out[2]), mode=layer.mode)
        case BatchNorm() | GroupNorm() | LayerNorm():
            return build_norm(layer, out)
        case Relu() | LeakyRelu() | Elu() | Gelu() | Silu() | Tanh() | Sigmoid() | Hardswish():
            return build_activation(layer)
        case Dropout():
            return nn.Dropout(layer.p)
        case Dropout2d():
            return nn.Dropout2d(layer.p)
        case Flatten():
            return nn.Flatten()
        case Identity():
            return nn.Identity()
        case Add():
            return AddPaths(_activation(layer.activation))
        case Concat():
            return ConcatPaths()
    raise AssertionError(layer.type)


def _conv(layer: Conv, shape: Shape, out: Shape) -> nn.Module:
    (top, bottom), (left, right) = layer.pads()
    even = (top, left) == (bottom, right)
    conv = nn.Conv2d(
        shape[0],
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        (top, left) if even else 0,
        layer.dilation,
        layer.groups,
        layer.has_bias,
    )
    pad = None if even else nn.ZeroPad2d((left, right, top, bottom))
    return _chain(pad=pad, conv=conv, norm=_norm(layer.norm, out), activation=_activation(layer.activation))


def _conv_transpose(layer: ConvTranspose, shape: Shape, out: Shape) -> nn.Module:
    conv = nn.ConvTranspose2d(
        shape[0],
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.has_bias,
        layer.dilation,
    )
    return _chain(conv=conv, norm=_norm(layer.norm, out), activation=_activation(layer.activation))


def _norm(norm: Norm | None, shape: Shape) -> nn.Module | None:
    return None if norm is None else build_norm(norm, shape)


def _activation(activation: Activation | None) -> nn.Module | None:
    return None if activation is None else build_activation(activation)


def build_norm(norm: Norm, shape: Shape) -> nn.Module:
    """The norm of outputs of `shape`, `(C, H, W)` or `(F,)`."""
    match norm:
        case BatchNorm():
            return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])
        case GroupNorm():
            return nn.GroupNorm(norm.num_groups, shape[0])
        case LayerNorm():
            return ChannelNorm(shape[0]) if len(shape) == 3 else nn.LayerNorm(shape[0])
    assert_never(norm)


def build_activation(activation: Activation) -> nn.Module:
    """The module of an activation."""
    match activation:
        case Relu():
            return nn.ReLU()
        case LeakyRelu():
            return nn.LeakyReLU(activation.negative_slope)
        case Elu():
            return nn.ELU(activation.alpha)
        case Gelu():
            return nn.GELU()
        case Silu():
            return nn.SiLU()
        case Tanh():
            return nn.Tanh()
        case Sigmoid():
            return nn.Sigmoid()
        case Hardswish():
            return nn.Hardswish()
    assert_never(activation)


def _chain(**parts: nn.Module | None) -> nn.Module:
    """The parts that are there, one after another under their names."""
    chain = nn.Sequential()
    for name, part in parts.items():
        if part is not None:
            chain.add_module(name, part)
    return chain


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position: (N, C, H, W) to the same."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize each position of maps (N, C, H, W) over C."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class AddPaths(nn.Module):
    """The sum of paths, then an activation."""

    def __init__(self, activation: nn.Module | None) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, *paths: Tensor) -> Tensor:
        """Add paths of one shape (N, C, H, W) or (N, F)."""
        total = paths[0]
        for path in paths[1:]:
            total = total + path
        return total if self.activation is None else self.activation(total)


class ConcatPaths(nn.Module):
    """The channels of paths one after another."""

    def forward(self, *paths: Tensor) -> Tensor:
        """Concatenate paths (N, C_i, H, W) to (N, sum of C_i, H, W)."""
        return torch.cat(paths, dim=1)
