"""torchvision's models against published receptive fields (Araujo et al., Distill 2019) and costs (torchvision)."""

from collections.abc import Callable

import pytest
from torch import nn
from torchvision.models.maxvit import MaxVit
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from cnncli.capture.graph import graph_of_module
from cnncli.capture.model import load_graph
from cnncli.capture.verify import verify_module
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable, Row, inspect_graph


def inspected(name: str) -> LayerTable:
    return inspect_graph(load_graph(f"torchvision:{name}", input_shape=None, kwargs={}))


def row(inspection: LayerTable, name: str) -> Row:
    return next(each for each in inspection.rows if each.name == name)


def numbers(of: Row) -> tuple[int, int, int]:
    """Size, jump and padding (-start), which are equal for both axes here."""
    field = of.receptive_field
    assert field is not None
    assert field.jump is not None
    assert field.start is not None
    assert len({*field.size}) == len({*field.jump}) == len({*field.start}) == 1
    return field.size[0], int(field.jump[0]), -field.start[0]


@pytest.mark.parametrize(
    ("name", "last", "expected", "params", "macs"),
    [
        ("alexnet", "features.12", (195, 32, 66), 61_100_840, 714_188_480),
        ("vgg16", "features.30", (212, 32, 90), 138_357_544, 15_470_264_320),
        ("resnet18", "layer4.1.add", (435, 32, 217), 11_689_512, 1_814_073_344),
        ("resnet34", "layer4.2.add", (899, 32, 449), 21_797_672, 3_663_761_408),
        ("resnet50", "layer4.2.add", (427, 32, 213), 25_557_032, 4_089_184_256),
    ],
)
def test_last_spatial_layer(name: str, last: str, expected: tuple[int, int, int], params: int, macs: int) -> None:
    inspection = inspected(name)
    assert numbers(row(inspection, last)) == expected
    assert (inspection.params, inspection.macs) == (params, macs)


@pytest.mark.parametrize(
    ("name", "rows", "sizes"),
    [
        ("vgg16", ["features.4", "features.9", "features.16", "features.23", "features.30"], [6, 16, 44, 100, 212]),
        ("resnet18", ["layer1.1.add", "layer2.1.add", "layer3.1.add", "layer4.1.add"], [43, 99, 211, 435]),
        ("resnet50", ["layer1.2.add", "layer2.3.add", "layer3.5.add", "layer4.2.add"], [35, 91, 267, 427]),
    ],
)
def test_stages(name: str, rows: list[str], sizes: list[int]) -> None:
    inspection = inspected(name)
    assert [numbers(row(inspection, each))[0] for each in rows] == sizes


def test_rows_are_layers() -> None:
    rows = inspected("resnet18").rows
    assert [row.name for row in rows[:5]] == ["conv1", "maxpool", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.add"]
    assert [row.type for row in rows[-3:]] == ["add", "adaptive_avg_pool", "linear"]
    assert len(rows) == 31  # 17 convolutions, 3 shortcuts, 8 sums, 2 pools, 1 linear layer


def test_auxiliary_heads_are_excluded_and_reported() -> None:
    """The auxiliary heads of GoogLeNet: 6,379,984 of 13,004,888 parameters."""
    inspection = inspected("googlenet")
    assert inspection.params == 13_004_888 - 6_379_984
    assert any(
        "6,379,984 of 13,004,888 parameters are not used in evaluation mode" in note for note in inspection.notes
    )


def test_a_class_token_depends_on_everything_after_attention() -> None:
    inspection = inspect_graph(load_graph("torchvision:vit_b_16", input_shape=None, kwargs={}))
    assert inspection.params == 86_567_656
    assert numbers(row(inspection, "conv_proj")) == (16, 16, 0)
    field = inspection.rows[-1].receptive_field
    assert field is not None
    assert field.is_global


MODELS_OF_WINDOWS: dict[str, Callable[[], nn.Module]] = {
    "swin": lambda: SwinTransformer([2, 2], 8, [1, 2], [1, 2], [3, 3], num_classes=4),
    "swin_v2": lambda: SwinTransformer(
        [2, 2], 8, [1, 2], [1, 2], [5, 5], 4, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2
    ),
    "maxvit": lambda: MaxVit((24, 24), 8, 3, [8, 16], [1, 1], 4, 0.0, num_classes=4),
}


@pytest.mark.parametrize("name", MODELS_OF_WINDOWS)
def test_window_attention(name: str) -> None:
    """Small models with shifted windows and padding, against the NaN probe of every unit."""
    module = MODELS_OF_WINDOWS[name]()
    graph = graph_of_module(module, (3, 24, 24), name)
    assert inspect_graph(graph).unknown == ()
    assert verify_module(module, graph) == []


def test_windows_of_swin_by_hand() -> None:
    """Patches of 4, windows of 7: a unit depends on its window of 28 pixels, and on two after a shift.

    The last shifted window goes on at the other border. Swin masks that by adding -100, which leaves a trace.
    """
    fields = inspected("swin_t").receptive_fields
    before, after = fields["features.1.0.add"], fields["features.1.1.add"]
    assert isinstance(before, ReceptiveFields)
    assert isinstance(after, ReceptiveFields)
    assert [seen.bit_count() for seen in before.axes[0].masks] == [28] * 56
    assert [seen.bit_count() for seen in after.axes[0].masks] == [56] * 56
    assert after.axes[0].masks[-1] == sum(1 << pixel for pixel in (*range(28), *range(196, 224)))
