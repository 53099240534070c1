"""Graphs of modules against the modules themselves: a NaN probe of the receptive field of every output unit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnncli.capture.graph import graph_of_module
from cnncli.inspection.graph import Graph
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from tests.nan_probe import zero_weights_stop_nan

IMAGE, LINE, VOLUME = (4, 12, 10), (4, 13), (4, 6, 5, 7)


class Calls(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


class ChannelLinear(nn.Linear):
    """A linear layer at every position, as in ConvNeXt."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        local: Tensor = self.conv(images)
        return local * torch.sigmoid(self.gate(local.mean((2, 3), keepdim=True)))


class SpatialGate(nn.Module):
    """Attention over positions, as in CBAM: a map of one channel multiplies all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 5, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        both = torch.cat([images.mean(1, keepdim=True), images.amax(1, keepdim=True)], 1)
        return images * torch.sigmoid(self.conv(both))


class Attention(nn.Module):
    """Every position attends to every other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        mixed: Tensor = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return mixed.transpose(1, 2).reshape(images.shape)


class Windows(nn.Module):
    """Attention in windows of 4 x 5, or in a grid of 4 x 5 distant positions, as in Swin and MaxViT."""

    def __init__(self, *, shift: int = 0, grid: bool = False) -> None:
        super().__init__()
        self.shift = shift
        self.grid = grid
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        shifted = torch.roll(self.conv(images), (-self.shift, -self.shift), (2, 3))
        rows, columns, order = (4, 5, (0, 3, 5, 2, 4, 1)) if self.grid else (3, 2, (0, 2, 4, 3, 5, 1))
        cut = shifted.reshape(-1, 4, rows, 12 // rows, columns, 10 // columns).permute(order)
        windows = cut.reshape(-1, 20, 4)
        mixed: Tensor = self.attention(windows, windows, windows, need_weights=False)[0]
        back = mixed.reshape(cut.shape).permute([order.index(dim) for dim in range(6)]).reshape(images.shape)
        return images + torch.roll(back, (self.shift, self.shift), (2, 3))


def probe(module: nn.Module, shape: tuple[int, ...], axis: int) -> list[int]:
    """For each unit along an axis of the output (C, positions ...) a bit mask of the input positions it depends on."""
    images = torch.randn(shape[axis], *shape, generator=torch.Generator().manual_seed(1))
    for position, image in enumerate(images):
        image.select(axis, position).fill_(float("nan"))
    with torch.no_grad(), zero_weights_stop_nan():
        touched = module.eval()(images).isnan()
    touched = touched.movedim(axis + 1, 1).flatten(2).any(2) if touched.ndim > 2 else touched.any(1)[:, None]
    return [sum(1 << p for p in range(len(images)) if touched[p, unit]) for unit in range(touched.shape[1])]


def last_field(graph: Graph) -> ReceptiveFields:
    field = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(field, ReceptiveFields), field
    return field


def check(module: nn.Module, shape: tuple[int, ...]) -> Graph:
    """Compare shape, parameters and the receptive field of every unit of the last row."""
    graph = graph_of_module(module, shape, "test")
    assert sum(node.params or 0 for node in graph.nodes) == sum(each.numel() for each in module.parameters())
    with torch.no_grad():
        assert graph.nodes[-1].shape == tuple(module.eval()(torch.zeros(2, *shape)).shape[1:])
    for axis in range(len(shape) - 1):
        expected, actual = list(last_field(graph).axes[axis].masks), probe(module, shape, axis + 1)
        # Features that are no positions any more are one unit.
        assert expected * (len(actual) if len(expected) == 1 else 1) == actual, f"axis {axis}"
    return graph


SPATIAL: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv1d": (nn.Conv1d(4, 3, 4, 2, 1, 2), LINE),
    "conv3d": (nn.Conv3d(4, 3, (1, 2, 3), (1, 2, 1), (0, 1, 2)), VOLUME),
    "conv same": (nn.Conv2d(4, 3, (2, 3), padding="same"), IMAGE),
    "conv circular": (nn.Conv2d(4, 3, 3, padding=2, padding_mode="circular"), IMAGE),
    "conv reflect": (nn.Conv2d(4, 3, 3, padding=(2, 1), padding_mode="reflect"), IMAGE),
    "conv replicate": (nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate"), IMAGE),
    "transposed 1d": (nn.ConvTranspose1d(4, 3, 4, 3, 1, 1), LINE),
    "transposed 2d": (nn.ConvTranspose2d(4, 4, (2, 3), (3, 2), (0, 1), groups=2), IMAGE),
    "transposed 3d": (nn.ConvTranspose3d(4, 3, 2, 2), VOLUME),
    "max pool 1d": (nn.MaxPool1d(3, 2, 1), LINE),
    "max pool ceil": (nn.MaxPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True), IMAGE),
    "max pool dilated": (nn.MaxPool2d(3, 2, dilation=(2, 1)), IMAGE),
    "max pool 3d": (nn.MaxPool3d((1, 2, 3)), VOLUME),
    "avg pool 1d": (nn.AvgPool1d(3, 2, 1, ceil_mode=True), LINE),
    "avg pool ceil": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), IMAGE),
    "avg pool 3d": (nn.AvgPool3d(2), VOLUME),
    "lp pool": (nn.LPPool2d(2, 2), IMAGE),
    "adaptive 1d": (nn.AdaptiveAvgPool1d(5), LINE),
    "adaptive 2d": (nn.AdaptiveMaxPool2d((5, 4)), IMAGE),
    "adaptive 3d": (nn.AdaptiveAvgPool3d((4, 3, 2)), VOLUME),
    "adaptive to more": (nn.AdaptiveAvgPool2d((17, 3)), IMAGE),
    "adaptive to one": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "nearest": (nn.Upsample(size=(17, 7)), IMAGE),
    "nearest by a factor": (nn.Upsample(scale_factor=(1.7, 0.6)), IMAGE),
    "nearest exact": (nn.Upsample(size=(7, 23), mode="nearest-exact"), IMAGE),
    "bilinear": (nn.Upsample(scale_factor=2.3, mode="bilinear"), IMAGE),
    "bilinear aligned": (nn.Upsample(size=(19, 5), mode="bilinear", align_corners=True), IMAGE),
    "bilinear antialiased": (Calls(lambda x: F.interpolate(x, (5, 4), mode="bilinear", antialias=True)), IMAGE),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE),
    "area": (Calls(lambda x: F.interpolate(x, (5, 7), mode="area")), IMAGE),
    "linear 1d": (nn.Upsample(size=20, mode="linear"), LINE),
    "trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), VOLUME),
    "pad constant": (nn.ConstantPad2d((1, 2, 0, 3), 5.0), IMAGE),
    "pad negative": (nn.ZeroPad2d((-1, 2, -2, -1)), IMAGE),
    "pad reflect": (nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE),
    "pad replicate 3d": (nn.ReplicationPad3d(2), VOLUME),
    "pad circular": (nn.CircularPad2d((1, 2, 3, 0)), IMAGE),
    "pad circular 1d": (nn.CircularPad1d(3), LINE),
    "pad channels": (Calls(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2))), IMAGE),
    "pixel shuffle": (nn.PixelShuffle(2), IMAGE),
    "pixel unshuffle": (nn.PixelUnshuffle(2), IMAGE),
    "strided slice": (Calls(lambda x: x[:, :, 1::3, -4:]), IMAGE),
    "flip": (Calls(lambda x: x.flip(2)), IMAGE),
    "roll": (Calls(lambda x: torch.roll(x, (2, -1), (2, 3))), IMAGE),
    "zeros beside": (Calls(lambda x: torch.cat([torch.zeros(len(x), 4, 2, 10, device=x.device), x], 2)), IMAGE),
}

MIXING: dict[str, tuple[Any, tuple[int, ...]]] = {
    "add": (Calls(lambda x: F.max_pool2d(x, 3, 1, 1) + x), IMAGE),
    "mul": (Calls(lambda x: F.avg_pool2d(x, 5, 1, 2) * x.tanh()), IMAGE),
    "concat": (Calls(lambda x: torch.cat([x, F.max_pool2d(x, (1, 3), 1, (0, 1))], 1)), IMAGE),
    "chunk": (Calls(lambda x: torch.cat([part.relu() for part in x.chunk(2, 1)][::-1], 1)), IMAGE),
    "split": (Calls(lambda x: torch.split(x, 2, 1)[1]), IMAGE),
    "unbind, stack": (Calls(lambda x: torch.stack(x.unbind(1)[:2], 1)), IMAGE),
    "mean over space": (Calls(lambda x: x.mean((2, 3))), IMAGE),
    "mean over width": (Calls(lambda x: x.mean(3, keepdim=True)), IMAGE),
    "maximum over channels": (Calls(lambda x: x.amax(1, keepdim=True)), IMAGE),
    "softmax over channels": (nn.Softmax(1), IMAGE),
    "softmax over width": (nn.Softmax(3), IMAGE),
    "linear over channels": (ChannelLinear(4, 2), IMAGE),
    "linear over width": (nn.Linear(10, 6), IMAGE),
    "matmul of two": (Calls(lambda x: x @ x.transpose(2, 3) @ x), IMAGE),
    "einsum": (Calls(lambda x: torch.einsum("nchw,dc->ndhw", x, torch.ones(3, 4, device=x.device))), IMAGE),
    "batch norm": (nn.BatchNorm2d(4), IMAGE),
    "instance norm": (nn.InstanceNorm2d(4, affine=True), IMAGE),
    "group norm": (nn.GroupNorm(2, 4), IMAGE),
    "layer norm over all": (nn.LayerNorm(IMAGE), IMAGE),
    "layer norm over width": (nn.LayerNorm(10), IMAGE),
    "local response norm": (nn.LocalResponseNorm(3), IMAGE),
    "rms norm": (nn.RMSNorm(10), IMAGE),
    "normalize": (Calls(lambda x: F.normalize(x, dim=1)), IMAGE),
    "glu": (nn.GLU(1), IMAGE),
    "prelu": (nn.PReLU(4), IMAGE),
    "squeeze and excite": (SqueezeExcite(), IMAGE),
    "spatial gate": (SpatialGate(), IMAGE),
    "attention": (Attention(), IMAGE),
    "attention in windows": (Windows(), IMAGE),
    "attention in shifted windows": (Windows(shift=2), IMAGE),
    "attention over a grid": (Windows(grid=True), IMAGE),
    "mean of each block": (Calls(lambda x: x.reshape(-1, 4, 3, 4, 5, 2).mean((3, 5))), IMAGE),
    "mean over blocks": (Calls(lambda x: x.reshape(-1, 4, 3, 4, 5, 2).mean((2, 4))), IMAGE),
    "outer product": (Calls(lambda x: x.mean(3, keepdim=True) @ x.amax(2, keepdim=True)), IMAGE),
    "channel shuffle": (nn.ChannelShuffle(2), IMAGE),
    "channel shuffle by hand": (Calls(lambda x: x.view(-1, 2, 2, 12, 10).transpose(1, 2).reshape(x.shape)), IMAGE),
    "flatten and back": (Calls(lambda x: x.flatten(2).view(-1, 4, 12, 10)), IMAGE),
    "flatten": (nn.Flatten(), IMAGE),
    "in place": (Calls(lambda x: x.clone().relu_().add_(1).mul_(x)), IMAGE),
    "features": (nn.Sequential(nn.Flatten(), nn.Linear(480, 3), nn.LayerNorm(3)), IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SPATIAL, *MIXING])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's own, about a copy
def test_receptive_fields_equal_the_probe(name: str) -> None:
    module, shape = {**SPATIAL, **MIXING}[name]
    check(module, shape)


@pytest.mark.parametrize("name", [*SPATIAL, *MIXING])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_macs_equal_those_of_torch(name: str) -> None:
    """torch counts two operations for each multiply-accumulate of convolutions and matrix products."""
    module, shape = {**SPATIAL, **MIXING}[name]
    graph = graph_of_module(module, shape, "test")
    with (
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        module.train()(torch.zeros(2, *shape))
    assert 2 * 2 * sum(node.macs or 0 for node in graph.nodes) == counter.get_total_flops()
