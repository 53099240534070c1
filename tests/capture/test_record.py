"""Modules that depend on numbers, write into memory, or return no tensor: exact results, or unknown."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone gives it
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnncli.capture.graph import graph_of_module
from cnncli.capture.model import load_graph
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
    """Doubles two channels in place: every number depends on the same pixels as before."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps[:, :2].mul_(2)
        out: Tensor = self.second(maps)
        return out


class UnderAView(Base):
    """A view that was created before its memory went through ReLU."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        view = maps.permute(0, 1, 3, 2)
        F.relu_(maps)
        out: Tensor = self.second(view)
        return out


class Filled(Base):
    """A concatenation: memory is allocated and then filled with maps."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        both = maps.new_zeros(len(maps), 8, *maps.shape[2:])
        both[:, :4] = maps
        both[:, 4:] = self.second(maps)
        return F.max_pool2d(both, 2)


class Replaced(Base):
    """Everything is overwritten, so that the previous numbers have no influence."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(self.first(images))
        maps.copy_(self.first(images))
        return F.max_pool2d(maps, 3, 1, 1)


class Rows(Base):
    """Some rows are overwritten."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps[:, :, 2:4] = self.second(maps)[:, :, 2:4]
        out: Tensor = self.second(maps)
        return out


class Across(Base):
    """Writes into a transposed view: rows meet columns."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        square = maps.new_zeros(len(maps), 4, 7, 7)
        square.transpose(2, 3)[:, :2] = maps[:, :2, :7]
        return F.max_pool2d(square, 3, 1, 1)


class Blank(Base):
    """A row is set to zero and then depends on nothing."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps[:, :, 0] = 0
        out: Tensor = self.second(maps)
        return out


class Diagonal(Base):
    """A diagonal is set to zero."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps.diagonal(dim1=2, dim2=3).zero_()
        out: Tensor = self.second(maps)
        return out


class Outside(Base):
    """Numbers are exported to NumPy and come back."""

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.second(torch.from_numpy(self.first(images).detach().numpy()[:, :, ::-1].copy()))
        return out


class Branches(Base):
    """Control flow depends on the image."""

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.first(images)
        return self.second(maps) if maps.sum() < torch.inf else maps.mean((2, 3))


class Several(Base):
    """Returns a dictionary of intermediate results and a string."""

    def forward(self, images: Tensor) -> dict[str, object]:
        maps = self.first(images)
        return {"maps": maps, "list": [self.second(maps)], "text": "done"}


class Recurrent(Base):
    """Reads the columns of a map as a sequence."""

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
    """Layers whose shapes follow from their first input."""

    def __init__(self) -> None:
        super().__init__(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))


class OnGpu(Base):
    """Moves itself, and creates a tensor, on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1, device="cuda"))
        self.first.cuda()
        self.second.to("cuda:0")

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.second(self.first(images)) * self.get_buffer("scale")
        return maps


HERE = Path(__file__)


def load(kind: type[nn.Module]) -> Graph:
    """The graph as on the command line, where the module is first created without numbers."""
    return load_graph(f"{HERE}:{kind.__name__}", input_shape=IMAGE, kwargs={})


def probe(module: nn.Module, axis: int) -> tuple[int, ...]:
    """For each unit along an axis of the output a bit mask of the input positions it depends on."""
    size = IMAGE[1 + axis]
    images = torch.randn(size, *IMAGE, generator=torch.Generator().manual_seed(1))
    for position, image in enumerate(images):
        image.select(1 + axis, position).fill_(torch.nan)
    with torch.no_grad():
        touched = module.eval()(images).isnan().movedim(2 + axis, 1).flatten(2).any(2)  # (position, unit)
    return tuple(sum(1 << p for p in range(size) if column[p]) for column in touched.T)


@pytest.mark.parametrize("kind", [ThroughAView, Filled, Replaced])
def test_writes_into_memory_are_tracked(kind: type[nn.Module]) -> None:
    module = kind()
    graph = graph_of_module(module, IMAGE, "test")
    field = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(field, ReceptiveFields), field
    for axis in (0, 1):
        assert field.axes[axis].masks == probe(module, axis)


def test_an_elementwise_write_does_not_change_a_view() -> None:
    """Its axes are those of the image, swapped."""
    module = UnderAView()
    graph = graph_of_module(module, IMAGE, "test")
    field = receptive_fields(graph)["second"]
    assert isinstance(field, ReceptiveFields), field
    assert [each.size for each in (field.axes[0].closed_form, field.axes[1].closed_form) if each is not None] == [5, 5]
    with torch.no_grad():
        assert module(torch.zeros(2, *IMAGE)).shape == (2, 4, 7, 9)


def test_overwriting_a_diagonal_is_unknown() -> None:
    graph = graph_of_module(Diagonal(), IMAGE, "test")
    last = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(last, Unknown)
    assert "a part of it was overwritten" in last.reason


def test_a_tensor_from_outside_of_torch_is_unknown() -> None:
    graph = load(Outside)
    assert "was run on zeros" in graph.notes[0]
    assert [node.name for node in graph.nodes] == ["first", "outside", "second"]
    last = receptive_fields(graph)["second"]
    assert isinstance(last, Unknown)
    assert "outside of torch" in last.reason


def test_a_module_that_needs_numbers_runs_on_zeros() -> None:
    graph = load(Branches)
    assert [node.name for node in graph.nodes if node.params] == ["first", "second"]
    assert "was run on zeros" in graph.notes[0]
    assert "RuntimeError" in graph.notes[0]


def test_outputs_may_be_nested() -> None:
    graph = load(Several)
    assert [(node.name, node.shape) for node in graph.nodes] == [("first", (4, 9, 7)), ("second", (4, 9, 7))]


def test_a_recurrent_layer_is_one_row() -> None:
    module = Recurrent()
    (row,) = [node for node in graph_of_module(module, IMAGE, "test").nodes if node.name == "lstm"]
    # At 7 positions in both directions, 4 gates of 5 numbers read 4 channels and the state of 5.
    assert (row.type, row.shape, row.macs) == ("lstm", (7, 10), 7 * 2 * 4 * 5 * (4 + 5))
    assert row.params == sum(each.numel() for each in module.lstm.parameters())
    assert not isinstance(row.reads, Unknown)


def test_lazy_layers_get_their_shapes_from_one_run() -> None:
    module = Lazy()
    graph = graph_of_module(module, IMAGE, "test")
    assert all(is_lazy(each) for each in (*module[0].parameters(), *module[3].parameters())), "it is not changed"
    rows = [("0", (4, 7, 5), 3 * 4 * 9 + 4 + 8), ("2", (140,), 0), ("3", (2,), 140 * 2 + 2)]
    assert [(node.name, node.shape, node.params) for node in graph.nodes] == rows
    assert [(node.name, node.shape, node.params) for node in load(Lazy).nodes] == rows
    assert verify_module(module, graph) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_model_that_is_created_on_a_gpu_is_inspected_without_one() -> None:
    assert [(node.name, node.params) for node in load(OnGpu).nodes] == [("first", 112), ("second", 148)]


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:FutureWarning")
def test_programs_of_torch_in_memory() -> None:
    """Their rows are those of the module that they were made from."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(140, 2)).eval()
    graph = graph_of_module(module, IMAGE, "test")
    images = torch.zeros(2, *IMAGE)
    exported = torch.export.export(module, (images,)).module()
    for program in (torch.jit.trace(module, images), exported):  # type: ignore[no-untyped-call]  # torch does not annotate it
        same = graph_of_module(program, IMAGE, "test")
        assert [(a.shape, a.params, a.macs) for a in same.nodes] == [(a.shape, a.params, a.macs) for a in graph.nodes]
        assert [*receptive_fields(same).values()] == [*receptive_fields(graph).values()]


def test_no_rows_without_the_input() -> None:
    graph = load(Constant)
    assert graph.nodes == ()
    assert graph.notes[0] == "no output depends on the input"


@pytest.mark.parametrize(
    ("kind", "message", "remedy"),
    [
        (Two, "missing 1 required positional argument: 'others'", "takes one batch of images"),
        (Exits, "SystemExit: 3", "--input"),
    ],
)
def test_modules_that_cannot_run_are_reported(kind: type[nn.Module], message: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(kind)
    assert message in raised.value.message
    assert remedy in str(raised.value.remedy)


class Padded(Base):
    """A convolution with circular padding, and memory allocated in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular")

    def forward(self, images: Tensor) -> Tensor:
        maps = self.around(self.first(images)) + torch.zeros(1, device=images.device)
        maps[:, 1].fill_(1)
        return F.relu(maps)


@pytest.mark.parametrize("kind", [ThroughAView, Filled, Replaced, Recurrent, Padded, Outside, Rows, Across, Blank])
def test_verification_sees_the_same_operators(kind: type[nn.Module]) -> None:
    module = kind()
    assert verify_module(module, graph_of_module(module, IMAGE, "test")) == []
