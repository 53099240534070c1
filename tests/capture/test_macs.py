"""Multiply-accumulates of captured modules, compared with torch's own counter, and what else a trial run finds."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnncli.capture.graph import graph_of_module
from cnncli.capture.verify import verify_module
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import inspect_graph


class FramesAsImages(nn.Module):
    """A 2-D convolution of every frame, then a 3-D one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.last = nn.Conv3d(4, 2, 3)

    def forward(self, videos: Tensor) -> Tensor:
        n, c, t, h, w = videos.shape
        maps = self.conv(videos.transpose(1, 2).reshape(n * t, c, h, w))
        result: Tensor = self.last(maps.reshape(n, t, 4, h - 2, w - 2).transpose(1, 2))
        return result


class FramesUp(nn.Module):
    """A transposed convolution of every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 8, 2, 2)

    def forward(self, videos: Tensor) -> Tensor:
        n, c, t, h, w = videos.shape
        maps: Tensor = self.up(videos.transpose(1, 2).reshape(n * t, c, h, w))
        return maps.reshape(n, t, 8, 2 * h, 2 * w).transpose(1, 2)


class ChannelsAsImages(nn.Module):
    """One filter for every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(1, 1, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        return F.conv2d(images.reshape(n * c, 1, h, w), self.kernel).reshape(n, c, h - 2, w - 2)


class RowsAsSequences(nn.Module):
    """A 1-D convolution of every row."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        maps: Tensor = self.conv(images.transpose(1, 2).reshape(n * h, c, w))
        return maps.reshape(n, h, 8, w - 2).transpose(1, 2)


class PositionalEncoding(nn.Module):
    """A convolution of constants, added to the maps; for every image, if `repeated`."""

    def __init__(self, *, repeated: bool) -> None:
        super().__init__()
        self.repeated = repeated
        self.register_buffer("positions", torch.ones(1, 2, 8, 8))
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.project = nn.Conv2d(2, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        positions = self.get_buffer("positions")
        if self.repeated:
            positions = positions.repeat(len(images), 1, 1, 1)
        maps: Tensor = self.conv(images) + self.project(positions).relu()
        return maps


class Bias(nn.Module):
    """Attention-like bias of every position, from two linear layers that read constants."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 8, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        bias: Tensor = self.mlp(torch.ones(8, 2)).mean()
        return images + bias


VIDEO, IMAGE = (3, 4, 8, 8), (3, 8, 8)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (FramesAsImages(), VIDEO),
        (FramesUp(), VIDEO),
        (ChannelsAsImages(), IMAGE),
        (RowsAsSequences(), IMAGE),
        (PositionalEncoding(repeated=False), IMAGE),
        (PositionalEncoding(repeated=True), IMAGE),
        (Bias(), IMAGE),
        (nn.MultiheadAttention(8, 2, batch_first=True), None),
    ],
)
def test_the_total_is_that_of_torch(module: nn.Module, shape: tuple[int, ...] | None) -> None:
    if shape is None:
        module, shape = _SelfAttention(module), (8, 4, 4)
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *shape))
    graph = graph_of_module(module, shape, "module")
    table = inspect_graph(graph)
    assert table.macs == counter.get_total_flops() // 2 > 0
    assert table.params == sum(parameter.numel() for parameter in module.parameters())
    assert verify_module(module, graph) == []


class _SelfAttention(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        result: Tensor = self.attention(tokens, tokens, tokens)[0]
        return result


def test_layers_of_constants_are_rows_that_see_nothing() -> None:
    table = inspect_graph(graph_of_module(PositionalEncoding(repeated=False), IMAGE, "module"))
    assert [row.name for row in table] == ["conv", "project", "add"]
    project = table["project"]
    assert (project.params, project.macs, project.output_shape) == (2 * 3 + 3, 2 * 3 * 64, (3, 8, 8))
    assert project.receptive_field.size == (0, 0)
    assert project.notes == ("it does not depend on the input",)
    assert table["conv"].params == 3 * 3 * 9 + 3
    assert table["add"].inputs == ("conv", "project")
    assert table["add"].receptive_field.size == (3, 3)
    assert table["add"].notes == ()


def test_verification_reports_other_macs() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    graph = graph_of_module(module, IMAGE, "module")
    object.__setattr__(graph.nodes[0], "macs", 1)
    assert [str(each) for each in verify_module(module, graph)] == [
        f"the model: MACs: 1 in the table, {3 * 4 * 9 * 36:,} in the network"
    ]


class Distances(nn.Module):
    """The distances of the pixels of each image from each other, whose cost torch does not count."""

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(2).transpose(1, 2)
        return torch.cdist(pixels, pixels)


def test_unknown_macs_of_a_row_leave_the_parameters_known() -> None:
    table = inspect_graph(graph_of_module(nn.Sequential(nn.Conv2d(3, 3, 1), Distances()), IMAGE, "module"))
    totals = as_json(table)["totals"]
    assert (totals["params"], totals["trainable"], totals["macs"], totals["flops"]) == (12, 12, None, None)


class Cached(nn.Module):
    """Keeps a tensor from its first forward pass, as detection models keep their anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.grid: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images)
        if self.grid is None:
            self.grid = torch.arange(maps.shape[-1], device=maps.device, dtype=maps.dtype)
        return maps + self.grid


def test_the_trial_run_leaves_nothing_in_the_module() -> None:
    module = Cached()
    weight = module.conv.weight
    graph = graph_of_module(module, IMAGE, "module")
    assert module.grid is None
    assert module.conv.weight is weight
    assert module(torch.zeros(1, *IMAGE)).device.type == "cpu"
    assert verify_module(module, graph) == []


class Correlated(nn.Module):
    """Features with a kernel made from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return F.conv2d(maps, maps.mean((2, 3))[:, :, None, None])


def test_a_kernel_made_from_the_input_leaves_the_shape_unknown() -> None:
    """The output channels are those of all images, one for one image."""
    module = Correlated()
    assert module(torch.zeros(1, *IMAGE)).shape == (1, 1, 8, 8)
    graph = graph_of_module(module, IMAGE, "module")
    assert graph.nodes[-1].shape is None
    assert verify_module(module, graph) == []


class Rows(nn.Module):
    """A linear layer that torch computes as a view and a product, after a sum in a module that has one called `add`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.add = nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        assert images.mean().item() > -1
        maps: Tensor = self.fc(self.add(self.conv(images) + images))
        return maps


def test_the_row_of_a_module_has_its_parameters_and_its_output() -> None:
    module = Rows()
    table = inspect_graph(graph_of_module(module, IMAGE, "module"))
    for name, submodule in module.named_children():
        assert table[name].params == sum(each.numel() for each in submodule.parameters())
    assert [row.name for row in table] == ["conv", "add#2", "add", "fc"], "a number that is only looked at is no row"
    first = inspect_graph(graph_of_module(nn.Sequential(nn.Linear(8, 3)), IMAGE, "module"))
    assert [(row.name, row.params, row.output_shape) for row in first] == [
        ("0.view", 0, (24, 8)),
        ("0", 27, (3, 8, 3)),
    ]


class Autocast(nn.Module):
    """Casts the input, which is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps: Tensor = self.conv(images)
        return maps


def test_verification_under_autocast() -> None:
    graph = graph_of_module(Autocast(), IMAGE, "module")
    assert [node.name for node in graph.nodes] == ["conv"]
    assert verify_module(Autocast(), graph) == []


@pytest.mark.parametrize("shape", [(128,), (4,)])
def test_an_input_without_positions(shape: tuple[int, ...]) -> None:
    """A multilayer perceptron, or the decoder of a latent vector."""
    module = nn.Sequential(nn.Linear(shape[0], 16), nn.Unflatten(1, (1, 4, 4)), nn.ConvTranspose2d(1, 2, 2, 2))
    graph = graph_of_module(module, shape, "module")
    table = inspect_graph(graph)
    assert [row.macs for row in table] == [16 * shape[0], 1 * 2 * 4 * 16]
    assert table["2"].output_shape == (2, 8, 8)
    assert str(table)
    assert verify_module(module, graph) == []
