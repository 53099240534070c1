"""Graphs of modules: shared and frozen weights, names, shapes, costs, and unsupported operations."""

from fractions import Fraction
from typing import Literal

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
from torch import Tensor, nn

from cnncli.capture.graph import graph_of_module
from cnncli.capture.verify import verify_module
from cnncli.inspection.graph import Graph
from cnncli.inspection.memory import memory_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.inspection.table import inspect_graph
from cnncli.layers.base import Unknown

IMAGE = (3, 8, 8)


class Shared(nn.Module):
    """A convolution that is used twice, and two linear layers with tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.Linear(8, 8, bias=False)
        self.second = nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.second(self.first(self.conv(self.conv(images))))
        return maps


class Overwritten(nn.Module):
    """Writes into the diagonal of its maps."""

    def forward(self, images: Tensor) -> Tensor:
        maps = images * 2
        maps.diagonal(dim1=2, dim2=3).copy_(F.max_pool2d(images, 3, 1, 1)[:, :, 0])
        return maps


class Dynamic(nn.Module):
    """A convolution of every image with the kernels that are computed from all images."""

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, images.mean((2, 3))[:, :, None, None])


class BatchMean(nn.Module):
    """Subtracts the mean of the images of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        numbers: Tensor = self.last(images.mean((0, 2, 3), keepdim=True).flatten(1))
        return numbers


class Blocks(nn.Module):
    """Blocks of positions (N, C, 4, 2, 4, 2) to channels (N, 4 C, 4, 4)."""

    def forward(self, blocks: Tensor) -> Tensor:
        return blocks.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


class FirstImage(nn.Module):
    """The first image of a batch."""

    def forward(self, images: Tensor) -> Tensor:
        return F.max_pool2d(images[0], 2)


class HalfGlobal(nn.Module):
    """Normalizes local and global channels: only the result for the global ones is known."""

    def forward(self, images: Tensor) -> Tensor:
        everywhere = images.mean((2, 3))[:, :, None, None].expand_as(images)
        return torch.cat([images, everywhere], 1).renorm(2, 2, 1)


class Split(nn.Module):
    """Concatenates channels that depend on 3 pixels and on 1, and separates the latter again."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([F.max_pool2d(images, 3, 1, 1), images], 1)[:, 3:].relu()


class Gated(nn.Module):
    """A sum, one half of it gated by the other, twice; only the first channels of the result are used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(1, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        both = self.conv(images) + images.mean(1, keepdim=True)
        one, other = both.chunk(2, 1)
        maps: Tensor = self.last(F.glu(one * other.sigmoid(), 1)[:, :1])
        return maps


class Mean(nn.Module):
    """A global pool as a functional call."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


class Tokens(nn.Module):
    """A vision transformer: patches as tokens, with a class token in front, which is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        taken: Tensor = self.layer(tokens)[:, 0]
        return taken


def graph_of(module: nn.Module) -> Graph:
    return graph_of_module(module, IMAGE, "test")


def test_shared_weights_count_once() -> None:
    module = Shared()
    graph = graph_of(module)
    assert [(node.name, node.params) for node in graph.nodes] == [
        ("conv", 84),
        ("conv#2", 0),
        ("first", 64),
        ("second", 0),
    ]
    assert [bool(node.notes) for node in graph.nodes] == [False, True, False, True]
    assert verify_module(module, graph) == []


def test_frozen_parameters_are_not_trainable() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    module[0].requires_grad_(False)
    (node,) = graph_of(module).nodes
    assert (node.params, node.trainable, node.buffer_bytes) == (24, 8, 2 * 4 * 4 + 8)


def test_padding_belongs_to_its_convolution() -> None:
    nodes = graph_of(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 2))).nodes
    assert [(node.name, node.type, node.shape) for node in nodes] == [("1", "conv", (4, 8, 8))]


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_convolution_that_pads_keeps_its_name(mode: Literal["zeros", "reflect", "replicate", "circular"]) -> None:
    """Convolutions with an even kernel and `same`, or with a mode other than zeros; a padding module is a row."""
    convolution = nn.Conv2d(3, 4, 4, padding="same", padding_mode=mode)
    rows = {node.name: (node.type, node.shape) for node in graph_of(nn.Sequential(convolution)).nodes}
    assert rows.pop("0") == ("conv", (4, 8, 8))
    assert rows == ({} if mode == "zeros" else {"0.pad": ("pad", (3, 11, 11))})
    assert graph_of(nn.Sequential(nn.ReflectionPad2d(1))).nodes[0].name == "0"


def test_a_slice_of_an_output_is_not_the_output() -> None:
    """Each row has the shape of its layer's output, whichever part of it is used afterward."""
    module = Gated()
    graph = graph_of(module)
    assert [(node.name, node.shape) for node in graph.nodes] == [
        ("conv", (8, 8, 8)),
        ("mean", (1, 8, 8)),
        ("add", (8, 8, 8)),
        ("sigmoid", (4, 8, 8)),
        ("mul", (4, 8, 8)),
        ("glu", (2, 8, 8)),
        ("last", (2, 6, 6)),
    ]
    assert verify_module(module, graph) == []


def test_operators_have_their_names_in_aten() -> None:
    """Not that of the layer `scale`, whose factor is learned."""

    class Halved(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images / 2 * 3

    (node,) = graph_of(nn.Sequential(Halved())).nodes
    assert (node.type, [part.type for part in node.parts]) == ("div", ["div", "mul"])


def test_a_map_of_one_position_is_pooled_and_flattened_like_any_other() -> None:
    """After either a unit has no position: the receptive field is global, although it does not cover the image."""
    conv = nn.Conv2d(3, 4, 5, 5)
    for layers, names in (
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)], ["0", "1", "3"]),
        ([nn.Flatten(), nn.Linear(4, 2)], ["0", "1", "2"]),
        ([Mean(), nn.Linear(4, 2)], ["0", "1", "2"]),
    ):
        rows = inspect_graph(graph_of(nn.Sequential(conv, *layers))).rows
        assert [row.name for row in rows] == names
        is_global = [bool(field and field.is_global) for field in (row.known_receptive_field for row in rows)]
        assert is_global == [False, True, True]
        assert [row.coverage for row in rows] == [Fraction(25, 64)] * 3


def test_a_norm_before_anything_is_a_row() -> None:
    nodes = graph_of(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 1))).nodes
    assert [(node.name, node.type, tuple(part.type for part in node.parts)) for node in nodes] == [
        ("0", "batch_norm", ("batch_norm", "relu")),
        ("2", "conv", ("conv",)),
    ]


@pytest.mark.parametrize(
    ("module", "reason", "macs"),
    [
        (Overwritten(), "a part of it was overwritten", 0),
        (Dynamic(), "kernel depends on the input", None),
        (HalfGlobal(), "the operator renorm is not supported", None),
        (BatchMean(), "mixes the images", 0),
        (FirstImage(), "splits the batch", 0),
    ],
)
def test_unsupported_operations_are_unknown(module: nn.Module, reason: str, macs: int | None) -> None:
    graph = graph_of(module)
    unknown = next(node for node in graph.nodes if isinstance(node.reads, Unknown))
    assert isinstance(unknown.reads, Unknown)
    assert reason in unknown.reads.reason
    assert unknown.macs == macs
    assert isinstance(receptive_fields(graph)[graph.nodes[-1].name], Unknown)


@pytest.mark.parametrize("module", [Dynamic(), BatchMean(), FirstImage()])
def test_without_a_batch_axis_shape_and_cost_are_unknown(module: nn.Module) -> None:
    """They are given for one image, and the number of images is unknown."""
    graph = graph_of(module)
    assert (graph.nodes[-1].shape, memory_of(graph, 1).inference) == (None, None)
    assert all(node.macs is None for node in graph.nodes if node.params)
    assert verify_module(module, graph) == []


def test_the_cost_of_a_convolution_is_known_after_an_unsupported_view() -> None:
    """Blocks of 2 x 2 positions to groups of channels: only the receptive field is lost."""
    conv = nn.Conv2d(12, 4, 3, groups=2, bias=False)
    layers = nn.Sequential(nn.Unflatten(2, (4, 2)), nn.Unflatten(4, (4, 2)), Blocks(), conv)
    node = graph_of(layers).nodes[-1]
    assert isinstance(node.reads, Unknown)
    assert (node.type, node.shape, node.macs) == ("conv", (4, 2, 2), 6 * 4 * 9 * 4)


def test_tokens_and_attention() -> None:
    module = Tokens()
    graph = graph_of(module)
    assert graph.nodes[0].shape == (4, 2, 2)
    last = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(last, ReceptiveFields)
    assert [axis.masks for axis in last.axes] == [(0b11111111,), (0b11111111,)]
    assert verify_module(module, graph) == []


def test_channels_are_assumed_to_be_mixed() -> None:
    """The receptive field of a row is the union over its channels; verification reports where that is too large."""
    module = Split()
    assert [str(each) for each in verify_module(module, graph_of(module))] == [
        f"relu: receptive field: unit 0 of axis {axis} sees 0-1 in the table, 0 in the network" for axis in (0, 1)
    ]


def test_modes_and_hooks_are_restored() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(), nn.BatchNorm2d(4))
    module[1].eval()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    graph_of(module)
    assert [each.training for each in module] == [True, False, True]
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
    assert torch.is_grad_enabled()
