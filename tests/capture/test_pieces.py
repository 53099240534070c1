"""Positions cut into windows and blocks, tokens, written parts, inputs of other sizes: every unit against NaN."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d

from cnncli.capture.graph import graph_of_module
from cnncli.capture.verify import verify_module
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields_from
from cnncli.inspection.table import inspect_graph
from tests.capture.test_positions import Calls, conv, masks, nan_masks

IMAGE = (4, 8, 12)


def blocks(images: Tensor, *, inside_first: bool) -> Tensor:
    """Blocks of 2 x 2 positions among the channels, before the channels or after them."""
    n, c, h, w = images.shape
    cut = images.view(n, c, h // 2, 2, w // 2, 2)
    order = (0, 3, 5, 1, 2, 4) if inside_first else (0, 1, 3, 5, 2, 4)
    return cut.permute(order).reshape(n, 4 * c, h // 2, w // 2)


def windows(maps: Tensor, size: int) -> Tensor:
    """Windows as a batch: (N, C, H, W) to (N * windows, C, size, size)."""
    n, c, h, w = maps.shape
    cut = maps.view(n, c, h // size, size, w // size, size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, size, size)


def joined(parts: Tensor, height: int, width: int) -> Tensor:
    """Windows back to a map."""
    _, c, size, _ = parts.shape
    cut = parts.view(-1, height, width, c, size, size)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(-1, c, height * size, width * size)


def tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def attend(query: Tensor, other: Tensor) -> Tensor:
    """Attention of tokens (N, T, C) to others."""
    return (query @ other.transpose(1, 2)).softmax(-1) @ other


def as_map(numbers: Tensor, height: int, width: int) -> Tensor:
    return numbers.transpose(1, 2).reshape(len(numbers), -1, height, width)


def attend_in_windows(query: Tensor, other: Tensor) -> Tensor:
    return as_map(attend(tokens(query), tokens(other)), *query.shape[2:])


def halo(module: Any, images: Tensor) -> Tensor:
    """Windows of 4 that attend to the windows of 6 around them."""
    n, c, h, w = images.shape
    query = tokens(windows(module.conv(images), 4)).reshape(n, -1, 16, c)
    around = functional.pad(images, [1] * 4).unfold(2, 6, 4).unfold(3, 6, 4).reshape(n, c, -1, 36).permute(0, 2, 3, 1)
    result = (query @ around.transpose(-1, -2)).softmax(-1) @ around
    return joined(result.reshape(-1, 16, c).transpose(1, 2).reshape(-1, c, 4, 4), h // 4, w // 4)


def global_queries(module: Any, images: Tensor) -> Tensor:
    """The same queries, from a pooled map, in every window."""
    h, w = images.shape[2:]
    query = functional.avg_pool2d(module.conv(images), (2, 3)).repeat_interleave(h // 4 * (w // 4), dim=0)
    return joined(attend_in_windows(query, windows(images, 4)), h // 4, w // 4)


def written(module: Any, images: Tensor, *, at: tuple[slice, ...], value: Tensor | float | None = None) -> Tensor:
    maps = module.conv(images).clone()
    part = maps[(slice(None), *at)]
    maps[(slice(None), *at)] = images[..., : part.shape[2], : part.shape[3]] if value is None else value
    result: Tensor = module.conv(maps)
    return result


def shifted(module: Any, images: Tensor) -> Tensor:
    """Some channels of the row above, some of the row below."""
    maps = torch.zeros_like(images)
    maps[:, :1, 1:] = images[:, :1, :-1]
    maps[:, 1:2, :-1] = images[:, 1:2, 1:]
    maps[:, 2:] = images[:, 2:]
    result: Tensor = module.conv(maps)
    return result


def added(module: Any, images: Tensor) -> Tensor:
    maps = module.conv(images)
    maps[:, :, 2:4] += images[:, :, :2]
    result: Tensor = module.conv(maps)
    return result


def interleaved(module: Any, images: Tensor) -> Tensor:
    maps = torch.zeros(len(images), 4, 16, 24, device=images.device)
    maps[..., ::2, ::2] = images
    maps[..., 1::2, 1::2] = module.conv(images)
    result: Tensor = module.conv(maps)
    return result


class Classes(nn.Module):
    """A token without a position before those of a map, and what is done with it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.patches, self.last = nn.Conv2d(4, 4, 2, 2), conv(4, 4)
        self.token, self.linear = nn.Parameter(torch.ones(1, 1, 4)), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images)
        each = tokens(maps)
        token = each.mean(1, keepdim=True) if self.kind == "mean" else self.token.expand(len(images), -1, -1)
        every = self.linear(torch.cat([token, each], 1))
        if self.kind == "split":
            first, rest = every.split([1, every.shape[1] - 1], 1)
            every = torch.cat([first, rest + first], 1)
        elif self.kind == "padded":
            every = functional.pad(every[:, 1:], (0, 0, 1, 0)) + 1
        elif self.kind == "attended":
            every = torch.cat([attend(every[:, :1], every), every[:, 1:]], 1)
        result: Tensor = self.last(as_map(every[:, 1:], *maps.shape[2:]))
        return result


class EachKernel(nn.Module):
    """Every image with its own kernel, a mixture of four by numbers computed from the image (CondConv)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.mixture = nn.Parameter(torch.randn(4, 5 * 4 * 9)), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        kernels = (self.mixture(images.mean((2, 3))) @ self.weights).reshape(-1, c, 3, 3)
        return functional.conv2d(images.reshape(1, n * c, h, w), kernels, groups=n).reshape(n, 5, h - 2, w - 2)


class Normalized(nn.Module):
    """A batch norm that has no running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(4, 4), nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(images))
        return result


ROWS, INSIDE = (slice(None), slice(2, 5)), (slice(None), slice(1, -1), slice(1, -1))
CASES: dict[str, nn.Module] = {
    "blocks, groups of channels": Calls(lambda m, x: m.conv(blocks(x, inside_first=False)), conv=conv(16, 8, groups=4)),
    "blocks, groups of places": Calls(
        lambda m, x: m.last(m.conv(blocks(x, inside_first=True))), conv=conv(16, 8, groups=4), last=conv(8, 3)
    ),
    "blocks, each channel": Calls(
        lambda m, x: m.last(m.conv(blocks(x, inside_first=True))), conv=conv(16, 16, groups=16), last=conv(16, 3)
    ),
    "blocks, pooled": Calls(
        lambda m, x: m.conv(functional.max_pool2d(blocks(x, inside_first=True), 2, 1)), conv=conv(16, 3)
    ),
    "blocks, residual": Calls(
        lambda m, x: m.last((lambda y: m.conv(y) + y)(blocks(x, inside_first=False))), conv=conv(16, 16), last=conv(16)
    ),
    "windows of a convolution": Calls(lambda m, x: joined(m.conv(windows(m.conv(x), 4)), 2, 3), conv=conv(4, 4)),
    "windows, pooled": Calls(
        lambda m, x: m.conv(joined(functional.avg_pool2d(windows(m.conv(x), 4), 2), 2, 3)), conv=conv(4, 4)
    ),
    "windows, rolled": Calls(lambda m, x: joined(windows(m.conv(x), 4).roll((1, 2), (2, 3)), 2, 3), conv=conv(4, 4)),
    "windows that read all of a pooled map": Calls(global_queries, conv=conv(4, 4)),
    "windows with pooled keys": Calls(
        lambda m, x: joined(
            attend_in_windows(windows(m.conv(x), 4), windows(functional.avg_pool2d(m.conv(x), 2), 2)), 2, 3
        ),
        conv=conv(4, 4),
    ),
    "windows with a halo": Calls(halo, conv=nn.Conv2d(4, 4, 1)),
    "pooled keys": Calls(lambda m, x: as_map(attend(tokens(x), tokens(m.pool(x))), 8, 12), pool=nn.Conv2d(4, 4, 2, 2)),
    "pooled queries": Calls(
        lambda m, x: as_map(attend(tokens(m.conv(x[:, :, ::2, ::3])), tokens(x)), 4, 4), conv=conv(4, 4)
    ),
    "cross-covariance": Calls(
        lambda m, x: as_map(tokens(m.conv(x)) @ (x.flatten(2) @ tokens(x)).softmax(-1), 8, 12), conv=conv(4, 4)
    ),
    "rows written": Calls(lambda m, x: written(m, x, at=ROWS), conv=conv(4, 4)),
    "rows set to a constant": Calls(lambda m, x: written(m, x, at=ROWS, value=1.0), conv=conv(4, 4)),
    "inside written": Calls(lambda m, x: written(m, x, at=INSIDE), conv=conv(4, 4)),
    "shifted by writing": Calls(shifted, conv=conv(4, 4)),
    "every other position written": Calls(interleaved, conv=conv(4, 4)),
    "added to rows in place": Calls(added, conv=conv(4, 4)),
    "a mean joined to its map": Calls(lambda m, x: m.conv(torch.cat([x.mean(3, keepdim=True), x], 3)), conv=conv(4, 4)),
    **{f"class token, {kind}": Classes(kind) for kind in ("dropped", "split", "padded", "attended", "mean")},
    "kernels of each image": EachKernel(),
    "batch norm without statistics": Normalized(),
}


@pytest.mark.parametrize("name", CASES)
def test_every_unit_against_nan(name: str) -> None:
    module = CASES[name].eval()
    graph = graph_of_module(module, IMAGE, name)
    table = inspect_graph(graph)
    assert not table.unknown
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *IMAGE))
    assert table.macs == counter.get_total_flops() // 2
    found = masks(graph)
    for axis in (0, 1):
        expected = nan_masks(module, IMAGE, axis)
        assert found[axis] == expected if len(found[axis]) == len(expected) else set(found[axis]) == set(expected)
    assert verify_module(module, graph) == []


def test_pooled_tokens_count_along_rows() -> None:
    """Tokens of 8 positions of a map that is 12 wide read parts of rows: the table gives whole ones, and says so."""
    module = Calls(lambda m, x: attend(tokens(x), m.pool(x.flatten(2)).transpose(1, 2)), pool=nn.AvgPool1d(8))
    graph = graph_of_module(module, IMAGE, "pooled")
    pooled = next(node for node in graph.nodes if node.type == "avg_pool")
    assert pooled.upper_bound
    assert masks(graph) == [[0xFF] * 8, [0xFFF] * 12]
    expected = nan_masks(nn.Sequential(nn.Flatten(2), nn.AvgPool1d(8), nn.Unflatten(2, (12, 1))), IMAGE, 0)
    from_pool = graph_of_module(nn.Sequential(nn.Flatten(2), nn.AvgPool1d(8)), IMAGE, "pool")
    assert masks(from_pool) == [expected, [0xFFF]]
    assert verify_module(module, graph) == []


class Sampled(nn.Module):
    """A deformable convolution, and a grid sample."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Conv2d(4, 18, 3, padding=1)
        self.deformed = DeformConv2d(4, 6, 3, padding=1, groups=2)
        self.flow = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.deformed(images, self.places(images))
        return functional.grid_sample(maps, self.flow(maps).permute(0, 2, 3, 1), align_corners=False)


def test_sampling_is_unknown_in_space_alone() -> None:
    module = Sampled()
    graph = graph_of_module(module, IMAGE, "sampled")
    table = inspect_graph(graph)
    assert [(row.name, row.output_shape, row.macs) for row in table] == [
        ("places", (18, 8, 12), 18 * 4 * 9 * 96),
        ("deformed", (6, 8, 12), 6 * 2 * 9 * 96),
        ("flow", (2, 8, 12), 12 * 96),
        ("grid_sampler_2d", (6, 8, 12), 0),
    ]
    assert [row.unknown for row in table][:2] == [None, "deformed: reads at places that are known only when it runs"]
    assert verify_module(module, graph) == []


@pytest.mark.parametrize("positions", [False, True])
def test_a_bilinear_layer_multiplies_each_weight_at_each_position(positions: bool) -> None:
    def forward(module: Any, images: Tensor) -> Tensor:
        one = images.permute(0, 2, 3, 1) if positions else images.mean((2, 3))
        result: Tensor = module.layer(one, one[..., :3])
        return result

    module = Calls(forward, layer=nn.Bilinear(4, 3, 5))
    graph = graph_of_module(module, IMAGE, "bilinear")
    row = inspect_graph(graph)["layer"]
    assert (row.params, row.macs) == (4 * 3 * 5 + 5, 4 * 3 * 5 * (96 if positions else 1))
    assert row.known_receptive_field is not None
    assert row.known_receptive_field.size == ((1, 1) if positions else (8, 12))
    assert verify_module(module, graph) == []


class Either(nn.Module):
    """One of two convolutions, by a condition on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = conv(4, 4), nn.Conv2d(4, 4, 5, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = torch.cond(images.mean() > 0, self.small, self.large, (images,))
        return result


def test_both_branches_of_a_condition_are_rows() -> None:
    module = Either()
    graph = graph_of_module(module, IMAGE, "either")
    table = inspect_graph(graph)
    assert [(row.name, row.params, row.receptive_field.size) for row in table] == [
        ("small", 4 * 4 * 9 + 4, (3, 3)),
        ("large", 4 * 4 * 25 + 4, (5, 5)),
        ("cond", 0, (5, 5)),
    ]
    assert verify_module(module, graph) == []


def test_receptive_fields_in_units_of_a_layer_that_is_pooled_for_keys() -> None:
    module = Calls(
        lambda m, x: as_map(attend(tokens(y := m.conv(x)), tokens(m.pool(y))), 8, 12),
        conv=conv(4, 4),
        pool=nn.Conv2d(4, 4, 2, 2),
    )
    graph = graph_of_module(module, IMAGE, "attention")
    fields = receptive_fields_from(graph, "conv")["matmul"]
    assert isinstance(fields, ReceptiveFields)
    assert [axis.masks for axis in fields.axes] == [(0xFF,) * 8, (0xFFF,) * 12]
