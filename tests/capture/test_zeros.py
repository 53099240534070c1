"""Known zeros: masked kernels, masked attention, and operators that must not get NaN.

The oracle is a perturbation of one row (or column) of the input in double precision: units that change depend on it.
NaN would not do, because NaN times 0 is NaN.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import DeformConv2d

from cnncli.capture.graph import graph_of_module
from cnncli.capture.model import load_graph
from cnncli.capture.verify import verify_module
from cnncli.inspection.graph import Graph
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.inspection.table import inspect_graph


def perturbed(module: nn.Module, shape: tuple[int, ...], axis: int) -> list[int]:
    """For each unit along an axis of the output (N, C, positions ...) a mask of the input positions that change it."""
    masks: list[int] = []
    generator = torch.Generator().manual_seed(0)
    for position in range(shape[1 + axis]):
        images = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
        other = images.clone()
        other.select(2 + axis, position).add_(torch.randn(other.select(2 + axis, 0).shape, generator=generator))
        with torch.no_grad():
            changed = (module(images) != module(other)).movedim(2 + axis, 0).flatten(1).any(1)
        masks = masks or [0] * len(changed)
        masks = [mask | int(hit) << position for mask, hit in zip(masks, changed.tolist(), strict=True)]
    return masks


def check(module: nn.Module, shape: tuple[int, ...]) -> Graph:
    """Compare the last row with the perturbation, and every row with the probe of `--verify`; returns the graph."""
    graph = graph_of_module(module.float(), shape, "masked")
    fields = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(fields, ReceptiveFields), fields
    assert verify_module(module, graph) == []
    module.double().eval()
    for axis in range(len(shape) - 1):
        assert list(fields.axes[axis].masks) == perturbed(module, shape, axis)
    return graph


class Masked(nn.Conv2d):
    """PixelCNN's convolution: rows above, and in its own row the columns to the left (kind B: and the center)."""

    def __init__(self, *args: Any, kind: str, way: str = "product", **options: Any) -> None:
        super().__init__(*args, **options)
        height, width = self.kernel_size
        mask = torch.ones_like(self.weight)
        mask[:, :, height // 2, width // 2 + (kind == "B") :] = 0
        mask[:, :, height // 2 + 1 :] = 0
        self.mask: Tensor
        self.register_buffer("mask", mask)
        self.way = way

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight
        match self.way:
            case "product":
                weight = self.weight * self.mask
            case "in place":
                self.weight.data *= self.mask
            case "where":
                weight = torch.where(self.mask == 0, 0.0, self.weight)
            case "filled":
                weight = self.weight.masked_fill(self.mask == 0, 0)
        return functional.conv2d(images, weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize("way", ["product", "in place", "where", "filled"])
def test_masked_convolutions(way: str) -> None:
    first = Masked(1, 3, 7, padding=3, kind="A", way=way)
    graph = check(nn.Sequential(first, nn.Tanh(), Masked(3, 2, 3, padding=1, kind="B", way=way)), (1, 10, 12))
    row = inspect_graph(graph)["0"]
    assert row.receptive_field.size == (4, 7)
    assert row.notes == ("at 25 of the 49 positions of its kernel all weights are 0, by a mask",)
    assert row.params == 3 * 49 + 3


def test_slices_of_a_weight_set_to_zero() -> None:
    class Causal1d(nn.Conv1d):
        def forward(self, signal: Tensor) -> Tensor:
            self.weight.data[:, :, 3:] = 0
            return super().forward(signal)

    graph = check(Causal1d(2, 3, 5, padding=2, dilation=1), (2, 9))
    assert inspect_graph(graph)["conv"].receptive_field.start == (-2,)
    assert inspect_graph(graph)["conv"].receptive_field.end == (0,)


def test_a_fixed_kernel_with_a_column_of_zeros() -> None:
    class Sobel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kernel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
            self.kernel: Tensor
            self.register_buffer("kernel", kernel[None, None])

        def forward(self, images: Tensor) -> Tensor:
            return functional.conv2d(images, self.kernel, padding=1)

    field = inspect_graph(check(Sobel(), (1, 6, 7)))["conv"].receptive_field
    assert (field.size, field.used) == ((3, 3), (3, 2))


def test_parameters_that_happen_to_be_zero_are_read() -> None:
    """They change in training; a mask does not."""
    conv = nn.Conv2d(1, 1, 3)
    nn.init.zeros_(conv.weight)
    graph = graph_of_module(conv, (1, 5, 5), "zeros")
    assert inspect_graph(graph)["conv"].receptive_field.size == (3, 3)
    assert verify_module(conv, graph) == []


class Attention(nn.Module):
    """Attention over all positions in order, (N, C, positions ...) to the same."""

    def __init__(self, way: Callable[["Attention", Tensor, Tensor, Tensor, Tensor], Tensor], count: int) -> None:
        super().__init__()
        self.way = way
        self.project = nn.Linear(4, 12)
        self.mha = nn.MultiheadAttention(4, 2, batch_first=True)
        self.future: Tensor
        self.register_buffer("future", torch.ones(count, count, dtype=torch.bool).triu(1))

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        mixed = self.way(self, tokens, *self.project(tokens).chunk(3, dim=-1))
        return mixed.transpose(1, 2).reshape(images.shape)


attention = functional.scaled_dot_product_attention


def infinities(like: Tensor) -> Tensor:
    return torch.full((like.shape[1], like.shape[1]), -torch.inf, dtype=like.dtype, device=like.device).triu(1)


WAYS: dict[str, Callable[[Attention, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "is_causal": lambda self, x, q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
    "a mask of booleans": lambda self, x, q, k, v: functional.scaled_dot_product_attention(
        q, k, v, attn_mask=~self.future
    ),
    "added": lambda self, x, q, k, v: (q @ k.mT + infinities(x)).softmax(-1) @ v,
    "filled": lambda self, x, q, k, v: (q @ k.mT).masked_fill(self.future, -torch.inf).softmax(-1) @ v,
    "filled with the smallest number": lambda self, x, q, k, v: (
        (q @ k.mT).masked_fill(self.future, torch.finfo(torch.float32).min).softmax(-1) @ v
    ),
    "where": lambda self, x, q, k, v: torch.where(self.future, -torch.inf, q @ k.mT).softmax(-1) @ v,
    "MultiheadAttention": lambda self, x, q, k, v: self.mha(x, x, x, attn_mask=self.future, need_weights=True)[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_causal_attention(way: str) -> None:
    """Unit 0 of 4 sees itself alone, the last one all."""
    graph = check(Attention(WAYS[way], 4), (4, 4))
    fields = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(fields, ReceptiveFields)
    assert list(fields.axes[0].masks) == [0b1, 0b11, 0b111, 0b1111]


def test_causal_attention_over_the_rows_of_an_image() -> None:
    """A position sees the rows above, and in its own row the columns to the left: along the columns, units see all."""
    graph = check(Attention(WAYS["is_causal"], 15), (4, 3, 5))
    fields = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(fields, ReceptiveFields)
    assert list(fields.axes[0].masks) == [0b1, 0b11, 0b111]


def test_attention_without_a_mask_sees_all() -> None:
    graph = check(Attention(lambda self, x, q, k, v: (q @ k.mT).softmax(-1) @ v, 4), (4, 4))
    assert inspect_graph(graph).rows[-1].receptive_field.size == (4,)


def test_a_band_is_no_causal_mask() -> None:
    """What a visible key has read itself would have to be visible as well: the table keeps to what it can be."""

    def banded(self: Attention, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        near = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril(1).triu(-1)
        return (q @ k.mT).masked_fill(~near, -torch.inf).softmax(-1) @ v

    graph = graph_of_module(Attention(banded, 5), (4, 5), "banded")
    fields = receptive_fields(graph)[graph.nodes[-1].name]
    assert isinstance(fields, ReceptiveFields)
    assert all(mask == 0b11111 for mask in fields.axes[0].masks)


def test_a_mask_of_a_model_created_without_numbers(tmp_path: Path) -> None:
    """On `meta` a buffer has no numbers; then the model is created on the CPU."""
    path = tmp_path / "nets.py"
    path.write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Conv1d):\n"
        "    def __init__(self):\n"
        "        super().__init__(1, 1, 3, padding=1)\n"
        "        self.register_buffer('mask', torch.tensor([1.0, 1.0, 0.0]))\n"
        "    def forward(self, x):\n"
        "        return nn.functional.conv1d(x, self.weight * self.mask, self.bias, padding=1)\n"
    )
    graph = load_graph(f"{path}:Net", input_shape=(1, 8), kwargs={})
    assert inspect_graph(graph)["conv"].receptive_field.size == (2,)


class Deformed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.offset = nn.Conv2d(2, 18, 3, padding=1)
        self.deformed = DeformConv2d(2, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        deformed: Tensor = self.deformed(maps, self.offset(maps))
        return deformed


def test_deformable_convolution() -> None:
    """torchvision's reads outside of memory if its offsets are NaN, which ends the process."""
    module = Deformed()
    graph = graph_of_module(module, (1, 5, 6), "deformed")
    assert verify_module(module, graph) == []
    table = inspect_graph(graph)
    assert table["offset"].receptive_field.size == (5, 5)
    assert table["deformed"].known_receptive_field is None
    assert table["deformed"].params == sum(each.numel() for each in module.deformed.parameters())


@torch.library.custom_op("cnncli_tests::halved", mutates_args=())
def halved(images: Tensor, weight: Tensor) -> Tensor:
    """An operator of another library that must not get NaN."""
    assert not images.isnan().any()
    assert not weight.isnan().any()
    return images * weight / 2


@halved.register_fake
def _(images: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(images)


class Halved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.conv(halved(images, self.weight))
        return result


def test_operators_of_other_libraries_never_get_nan() -> None:
    """Neither by the image nor by a parameter, which is found to belong to their row all the same."""
    module = Halved()
    graph = graph_of_module(module, (1, 5, 6), "halved")
    assert verify_module(module, graph) == []
    assert [(row.name, row.params, row.known_receptive_field) for row in inspect_graph(graph)] == [
        ("halved", 1, None),
        ("conv", 10, None),
    ]


def test_interpolation_at_positions() -> None:
    """Aligned corners, 5 to 9 positions: every second unit lies at a position, and reads nothing else."""
    for mode in ("bilinear", "bicubic"):
        module = nn.Upsample(size=(9, 11), mode=mode, align_corners=True)
        graph = check(module, (1, 5, 6))
        fields = receptive_fields(graph)[graph.nodes[-1].name]
        assert isinstance(fields, ReceptiveFields)
        assert [mask.bit_count() for mask in fields.axes[0].masks[:3:2]] == [1, 1]
    same = check(nn.Upsample(size=(5, 6), mode="bicubic"), (1, 5, 6))
    assert inspect_graph(same).rows[-1].receptive_field.size == (1, 1)


def test_the_pixels_behind_a_flatten_are_those_that_are_read() -> None:
    """3x3 with stride 2 on 28 pixels never reads the last row and column."""
    graph = graph_of_module(
        nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(338, 2)), (1, 28, 28), "n"
    )
    field = inspect_graph(graph).rows[-1].receptive_field
    assert (field.start, field.end, field.size, field.is_global) == ((0, 0), (26, 26), (27, 27), True)
    assert field.center == (Fraction(13), Fraction(13))
