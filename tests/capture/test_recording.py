"""Modules that look at numbers, write into memory, or return no tensor: known exactly, or not at all."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
from torch import Tensor, nn

from cnncli.capture.graph import graph_of_module, load_graph
from cnncli.capture.verify import verify_module
from cnncli.errors import ConfigError
from cnncli.inspection.graph import Graph
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.layers.base import Unknown

IMAGE = (3, 9, 7)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)


class ThroughAView(Base):
    """Doubles two channels where they lie: every number still depends on what it did."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps[:, :2].mul_(2)
        out: Tensor = self.second(maps)
        return out


class UnderAView(Base):
    """The view was there before its memory went through ReLU."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        view = maps.permute(0, 1, 3, 2)
        F.relu_(maps)
        out: Tensor = self.second(view)
        return out


class Filled(Base):
    """Memory that is made first, and filled with maps side by side: a concatenation."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        both = maps.new_zeros(len(maps), 8, *maps.shape[2:])
        both[:, :4] = maps
        both[:, 4:] = self.second(maps)
        return F.max_pool2d(both, 2)


class Lost(Base):
    """Everything is written over, and what was there has no part in it any more."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(self.first(images))
        maps.copy_(self.first(images))
        return F.max_pool2d(maps, 3, 1, 1)


class Rows(Base):
    """Some rows are written over, others not."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps[:, :, 2:4] = self.second(maps)[:, :, 2:4]
        out: Tensor = self.second(maps)
        return out


class Across(Base):
    """Written into a transposed view: rows meet columns."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        square = maps.new_zeros(len(maps), 4, 7, 7)
        square.transpose(2, 3)[:, :2] = maps[:, :2, :7]
        return F.max_pool2d(square, 3, 1, 1)


class Blank(Base):
    """A row is set to zero, which sees nothing then."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps[:, :, 0] = 0
        out: Tensor = self.second(maps)
        return out


class Outside(Base):
    """Numbers go to numpy, and come back."""

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.second(torch.from_numpy(self.first(images).detach().numpy()[:, :, ::-1].copy()))
        return out


class Branches(Base):
    """Which way it goes depends on the image."""

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.first(images)
        return self.second(maps) if maps.sum() < torch.inf else maps.mean((2, 3))


class Several(Base):
    """Returns a dictionary of what it found on its way, and a word."""

    def forward(self, images: Tensor) -> dict[str, object]:
        maps = self.first(images)
        return {"maps": maps, "list": [self.second(maps)], "word": "done"}


class Recurrent(Base):
    """Reads the columns of a map one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True, bidirectional=True)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(self.first(images)).mean(2).transpose(1, 2)
        out: Tensor = self.lstm(maps)[0]
        return out


class Two(Base):
    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        return images + others


class Constant(Base):
    def forward(self, images: Tensor) -> Tensor:
        return torch.ones(3)


class Exits(Base):
    def forward(self, images: Tensor) -> Tensor:
        raise SystemExit(3)


class Lazy(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.LazyConv2d(4, 3))


HERE = Path(__file__)


def loaded(kind: type[nn.Module]) -> Graph:
    """The graph as the command line makes it, which first makes the module without numbers."""
    return load_graph(f"{HERE}:{kind.__name__}", input_shape=IMAGE, kwargs={})


def probe(module: nn.Module, axis: int) -> tuple[int, ...]:
    """For each unit along an axis of the output the input positions that it sees, as a bit mask."""
    size = IMAGE[1 + axis]
    images = torch.randn(size, *IMAGE, generator=torch.Generator().manual_seed(1))
    for position, image in enumerate(images):
        image.select(1 + axis, position).fill_(torch.nan)
    with torch.no_grad():
        touched = module.eval()(images).isnan().movedim(2 + axis, 1).flatten(2).any(2)  # (position, unit)
    return tuple(sum(1 << p for p in range(size) if column[p]) for column in touched.T)


@pytest.mark.parametrize("kind", [ThroughAView, Filled, Lost])
def test_writing_into_memory_is_followed(kind: type[nn.Module]) -> None:
    module = kind()
    graph = graph_of_module(module, IMAGE, "test")
    field = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(field, ReceptiveFields), field
    for axis in (0, 1):
        assert field.axes[axis].masks == probe(module, axis)


def test_a_view_of_memory_that_changed_number_by_number_is_what_it_was() -> None:
    """Its axes are those of the image exchanged."""
    module = UnderAView()
    graph = graph_of_module(module, IMAGE, "test")
    field = receptive_fields(graph)["second"]
    assert isinstance(field, ReceptiveFields), field
    assert [each.size for each in (field.axes[0].closed_form, field.axes[1].closed_form) if each is not None] == [5, 5]
    with torch.no_grad():
        assert module(torch.zeros(2, *IMAGE)).shape == (2, 4, 7, 9)


@pytest.mark.parametrize("kind", [Rows, Across, Blank])
def test_writing_over_some_positions_is_not_guessed(kind: type[nn.Module]) -> None:
    graph = graph_of_module(kind(), IMAGE, "test")
    last = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(last, Unknown)
    assert "a part of it was overwritten" in last.reason


def test_what_comes_back_from_outside_of_torch_is_not_known() -> None:
    graph = loaded(Outside)
    assert "was run on zeros" in graph.notes[0]
    assert [node.name for node in graph.nodes] == ["first", "outside", "second"]
    last = receptive_fields(graph)["second"]
    assert isinstance(last, Unknown)
    assert "outside of torch" in last.reason


def test_what_looks_at_numbers_runs_on_zeros_and_the_reason_is_said() -> None:
    graph = loaded(Branches)
    assert [node.name for node in graph.nodes if node.params] == ["first", "second"]
    assert "was run on zeros" in graph.notes[0]
    assert "RuntimeError" in graph.notes[0]


def test_any_output_will_do() -> None:
    graph = loaded(Several)
    assert [(node.name, node.shape) for node in graph.nodes] == [("first", (4, 9, 7)), ("second", (4, 9, 7))]


def test_a_recurrent_layer_is_one_row() -> None:
    module = Recurrent()
    (row,) = [node for node in graph_of_module(module, IMAGE, "test").nodes if node.name == "lstm"]
    assert (row.type, row.shape, row.macs) == ("lstm", (7, 10), None)
    assert row.params == sum(each.numel() for each in module.lstm.parameters())
    assert isinstance(row.reads, Unknown)


def test_no_row_without_the_input() -> None:
    graph = loaded(Constant)
    assert graph.nodes == ()
    assert graph.notes[0] == "no output depends on the input"


@pytest.mark.parametrize(
    ("kind", "says", "remedy"),
    [
        (Two, "missing 1 required positional argument: 'others'", "takes one batch of images"),
        (Exits, "SystemExit: 3", "--input"),
        (Lazy, "has lazy layers", "run it on a batch"),
    ],
)
def test_what_cannot_be_run_says_so(kind: type[nn.Module], says: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(kind)
    assert says in raised.value.message
    assert remedy in str(raised.value.remedy)


class Padded(Base):
    """A convolution that is padded by the opposite border, and memory that is made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular")

    def forward(self, images: Tensor) -> Tensor:
        maps = self.around(self.first(images)) + torch.zeros(1, device=images.device)
        maps[:, 1].fill_(1)
        return F.relu(maps)


@pytest.mark.parametrize("kind", [ThroughAView, Filled, Lost, Recurrent, Padded, Outside, Blank])
def test_the_check_finds_the_same_operators(kind: type[nn.Module]) -> None:
    module = kind()
    assert verify_module(module, graph_of_module(module, IMAGE, "test")) == []
