"""Operators that move, pick, join or scan positions: every unit against NaN, or a perturbation where NaN is lost."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnncli.capture.graph import graph_of_module
from cnncli.capture.verify import verify_module
from cnncli.inspection.graph import Graph
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.inspection.table import inspect_graph

IMAGE = (3, 8, 12)


class Calls(nn.Module):
    """A function of a module with some layers, and a batch of images."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self, images)


def conv(inputs: int = 3, outputs: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def space_to_depth(module: Any, images: Tensor) -> Tensor:
    n, c, h, w = images.shape
    blocks = images.view(n, c, h // 2, 2, w // 3, 3).permute(0, 1, 3, 5, 2, 4)
    result: Tensor = module.conv(blocks.reshape(n, c * 6, h // 2, w // 3))
    return result


def depth_to_space(module: Any, images: Tensor) -> Tensor:
    maps = module.conv(images)
    n, c, h, w = maps.shape
    result: Tensor = module.last(
        maps.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, -1, 2 * h, 2 * w)
    )
    return result


def along_width(module: Any, images: Tensor) -> Tensor:
    """A recurrent layer over the columns of the mean row: (N, C, H, W) to (N, F, W)."""
    result: Tensor = module.layer(images.mean(2).transpose(1, 2))[0].transpose(1, 2)
    return result


def over_rows(module: Any, images: Tensor) -> Tensor:
    n, c, h, w = images.shape
    output = module.layer(images.permute(0, 2, 3, 1).reshape(n * h, w, c))[0]
    return output.reshape(n, h, w, -1).permute(0, 3, 1, 2)  # type: ignore[no-any-return]  # a module returns anything


def last_state(module: Any, images: Tensor) -> Tensor:
    _, (state, _) = module.layer(images.mean(2).transpose(1, 2))
    result: Tensor = state[-1]
    return result


CASES: dict[str, Calls] = {
    "space to depth": Calls(space_to_depth, conv=conv(18, 4)),
    "space to depth, stride": Calls(space_to_depth, conv=conv(18, 4, stride=2)),
    "space to depth, dilation": Calls(space_to_depth, conv=nn.Conv2d(18, 4, 3, padding=2, dilation=2)),
    "depth to space": Calls(depth_to_space, conv=conv(3, 8), last=conv(2, 2)),
    "index by a list": Calls(lambda m, x: m.conv(x[:, :, [3, 1, 0, 5]]), conv=conv()),
    "index by a mask": Calls(lambda m, x: m.conv(x[:, :, :, torch.arange(12) % 5 != 1]), conv=conv()),
    "channels by a list": Calls(lambda m, x: m.conv(m.conv(x)[:, [2, 0, 0]]), conv=conv()),
    "index_select": Calls(lambda m, x: m.conv(x.index_select(3, torch.tensor([7, 7, 2, 0]))), conv=conv()),
    "a quarter turn": Calls(lambda m, x: m.conv(torch.rot90(x, 1, (2, 3))).transpose(2, 3), conv=conv()),
    "half a turn": Calls(lambda m, x: m.conv(torch.rot90(x, 2, (2, 3))), conv=conv()),
    "three quarters": Calls(lambda m, x: torch.rot90(x, -1, (2, 3)).transpose(2, 3)),
    "repeat_interleave": Calls(lambda m, x: m.conv(x.repeat_interleave(2, dim=2)), conv=conv()),
    "chunk": Calls(lambda m, x: m.conv(m.conv(x).chunk(3, dim=3)[1]), conv=conv()),
    "split": Calls(lambda m, x: sum(m.conv(x).split(4, dim=3)), conv=conv()),
    "unbind": Calls(lambda m, x: sum(m.conv(x).unbind(3)[2:4]).unsqueeze(3), conv=conv()),
    "shifted by cat": Calls(lambda m, x: m.conv(torch.cat([x[:, :, 3:], x[:, :, :3]], 2)), conv=conv()),
    "cat with the mirror image": Calls(lambda m, x: m.conv(torch.cat([x, x.flip(2)], 2)), conv=conv()),
    "cat of different layers": Calls(
        lambda m, x: m.conv(torch.cat([m.conv(x), x[..., 2:5], m.conv(x)], 3)), conv=conv()
    ),
    "cat with constants between": Calls(
        lambda m, x: m.conv(torch.cat([x, torch.ones(len(x), 3, 2, 12), x], 2)), conv=conv()
    ),
    "cumsum": Calls(lambda m, x: m.conv(m.conv(x).cumsum(3)), conv=conv()),
    "cumprod along channels": Calls(lambda m, x: m.conv(x).cumprod(1), conv=conv()),
    "fft": Calls(lambda m, x: torch.fft.ifft2(torch.fft.fft2(m.conv(x)) * 2).real, conv=conv()),
    "rfft of rows": Calls(lambda m, x: torch.fft.irfft(torch.fft.rfft(m.conv(x), dim=3) * 2, n=12, dim=3), conv=conv()),
    "Tensor.unfold": Calls(lambda m, x: m.conv(x).unfold(2, 3, 2).sum(-1), conv=conv()),
    "fold": Calls(
        lambda m, x: functional.fold(
            m.mix(functional.unfold(m.conv(x), (3, 2), stride=2)), x.shape[2:], (3, 2), stride=2
        ),
        conv=conv(),
        mix=nn.Conv1d(18, 18, 1),
    ),
    "LSTM": Calls(along_width, layer=nn.LSTM(3, 4, batch_first=True)),
    "GRU in both directions": Calls(along_width, layer=nn.GRU(3, 4, batch_first=True, bidirectional=True)),
    "two layers of RNN over rows": Calls(over_rows, layer=nn.RNN(3, 4, num_layers=2, batch_first=True)),
    "last state": Calls(last_state, layer=nn.LSTM(3, 4, batch_first=True)),
    "LSTM, sequence first": Calls(
        lambda m, x: m.layer(x.mean(2).permute(2, 0, 1))[0].permute(1, 2, 0), layer=nn.LSTM(3, 4)
    ),
}


def nan_masks(module: nn.Module, shape: tuple[int, ...], axis: int) -> list[int]:
    """For each unit along an axis of the output (features are one unit) a mask of the positions that reach it."""
    images = torch.randn(shape[1 + axis], *shape, generator=torch.Generator().manual_seed(1))
    for position, image in enumerate(images):
        image.select(1 + axis, position).fill_(torch.nan)
    with torch.no_grad():
        reached = module.eval()(images).isnan()
    place = axis - len(shape) + 1  # positions are the last axes, those that were reduced are missing
    if reached.ndim == 2 or (reached.ndim < len(shape) + 1 and axis == 0):
        reached = reached.flatten(1).any(1)[:, None]
    else:
        reached = reached.movedim(place, 1).flatten(2).any(2)
    return [sum(1 << p for p in range(len(images)) if reached[p, unit]) for unit in range(reached.shape[1])]


def masks(graph: Graph) -> list[list[int]]:
    fields = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(fields, ReceptiveFields), fields
    return [list(axis.masks) for axis in fields.axes]


@pytest.mark.parametrize("name", CASES)
def test_every_unit_against_nan(name: str) -> None:
    module = CASES[name]
    graph = graph_of_module(module, IMAGE, name)
    table = inspect_graph(graph)
    assert not table.unknown
    found = masks(graph)
    for axis in (0, 1):
        expected = nan_masks(module, IMAGE, axis)
        assert set(found[axis]) == set(expected) if len(expected) != len(found[axis]) else found[axis] == expected
    assert verify_module(module, graph) == []


def largest(maps: Tensor) -> Tensor:
    return maps.gather(2, maps.argmax(2, keepdim=True))


ORDERED: dict[str, tuple[Calls, bool]] = {
    "sort": (Calls(lambda m, x: x.sort(dim=3)[0]), True),
    "topk": (Calls(lambda m, x: x.topk(2, dim=3)[0]), False),
    "median": (Calls(lambda m, x: x.median(dim=3)[0]), False),
    "gather": (Calls(lambda m, x: x.gather(3, x.argmax(3, keepdim=True).expand(-1, -1, -1, 5))), False),
    "gather of a flattened map": (
        Calls(lambda m, x: (lambda y: y.gather(2, y.argmax(2, keepdim=True)))(x.flatten(2))),
        False,
    ),
}


@pytest.mark.parametrize("name", ORDERED)
def test_what_orders_a_row_depends_on_all_of_it(name: str) -> None:
    """A position changes the result in some image: 256 images with one other position each."""
    module, keeps_positions = ORDERED[name]
    graph = graph_of_module(module, IMAGE, name)
    fields = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(fields, ReceptiveFields)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(256, *IMAGE, generator=generator)
    for position in range(IMAGE[2]):
        others = images.clone()
        others[..., position] = 9 * torch.randn(256, *IMAGE[:2], generator=generator)
        changed = (module(images) != module(others)).flatten(1).any(1)
        assert changed.any()
        assert all(mask >> position & 1 for mask in fields.axes[1].masks)
    assert len(fields.axes[1].masks) == (IMAGE[2] if keeps_positions else 1)
    assert verify_module(module, graph) == []


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_macs_of_recurrent_layers(kind: Callable[..., nn.RNNBase], gates: int, bidirectional: bool) -> None:
    """Gates x hidden x (inputs + hidden) at each of 12 positions; the second layer reads both directions."""
    layer = kind(3, 4, num_layers=2, batch_first=True, bidirectional=bidirectional)
    directions = 1 + bidirectional
    expected = 12 * directions * gates * 4 * ((3 + 4) + (4 * directions + 4))
    row = inspect_graph(graph_of_module(Calls(along_width, layer=layer), IMAGE, "recurrent"))["layer"]
    assert row.macs == expected
    assert row.params == sum(each.numel() for each in layer.parameters())


def test_a_number_that_is_printed_is_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    def shows(module: Any, images: Tensor) -> Tensor:
        print(f"mean: {images.mean().item()}")  # noqa: T201  what the test is about
        result: Tensor = module.conv(images)
        return result

    graph = graph_of_module(Calls(shows, conv=conv()), IMAGE, "shows")
    assert [node.name for node in graph.nodes] == ["conv"]
    assert "mean: 0.0" in capsys.readouterr().out
