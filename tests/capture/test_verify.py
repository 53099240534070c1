"""Verification of tables: no mismatch if the table is right, a precise one if it is wrong."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnncli.capture.graph import graph_of_module
from cnncli.capture.verify import behind_comparisons, verify_module, verify_network
from cnncli.config.config import bundled_configs, read_config
from cnncli.inspection.graph import Graph, GraphNode
from cnncli.module import CnnModule
from cnncli.windows import Sliding

SCRIPT = Path(__file__).parents[2] / "scripts" / "try_models.py"
MODELS: dict[str, int] = runpy.run_path(str(SCRIPT))["VERIFIED"]


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3)
    )


def with_row(graph: Graph, name: str, **changes: object) -> Graph:
    """The graph with one row changed."""
    changed: list[GraphNode] = [
        replace(node, **changes) if node.name == name else node  # type: ignore[arg-type]  # of any field
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(changed))


@pytest.mark.parametrize("name", bundled_configs())
def test_bundled_configs_have_no_mismatch(name: str) -> None:
    network = read_config(name, data_dir=Path("data")).network
    assert verify_network(network, CnnModule(network)) == []


def test_a_correct_graph_has_no_mismatch() -> None:
    module = small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert verify_module(module, graph_of_module(module, (2, 12, 9), "small")) == []
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_each_kind_of_mismatch_is_reported() -> None:
    """Change one property of one row; nothing else is reported than its consequences."""
    module = small()
    graph = graph_of_module(module, (2, 12, 9), "small")
    assert [node.name for node in graph.nodes] == ["0", "3", "4"]

    def mismatches(name: str, **changes: object) -> list[str]:
        return [str(each) for each in verify_module(module, with_row(graph, name, **changes))]

    assert mismatches("4", shape=(4, 3, 2)) == ["4: shape: 4 x 3 x 2 in the table, 4 x 4 x 2 in the network"]
    assert mismatches("0", params=57) == ["0: params: 57 in the table, 63 in the network"]
    wide = Sliding(kernel=5, before=2, after=2)
    narrow = Sliding(kernel=3, before=1, after=1)
    assert mismatches("0", reads=(wide, narrow))[0] == (
        "0: receptive field: unit 0 of axis 0 sees 0-2 in the table, 0-1 in the network"
    )
    assert [line.partition(":")[0] for line in mismatches("0", reads=(wide, narrow))] == ["0", "3", "4"]
    holes = Sliding(kernel=2, dilation=2, before=1, after=1)
    assert (
        mismatches("0", reads=(narrow, holes))[0]
        == "0: receptive field: unit 0 of axis 1 sees 1 in the table, 0-1 in the network"
    )


def test_a_sample_of_positions_is_probed() -> None:
    """A row that reads too much differs only in the units that one of the positions reaches."""
    module = small()
    graph = graph_of_module(module, (2, 12, 9), "small")
    assert verify_module(module, graph, sample={3, 8, 11}) == []
    wrong = with_row(graph, "0", reads=(Sliding(kernel=5, before=2, after=2), Sliding(kernel=3, before=1, after=1)))
    assert str(verify_module(module, wrong, sample={11})[0]) == (
        "0: receptive field: unit 9 of axis 0 sees 11 in the table, nothing in the network"
    )


class Keeps(nn.Module):
    """Computes a bias in its first forward pass alone, as the attention of LeViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)
        self.kept: list[Tensor] = []

    def forward(self, maps: Tensor) -> Tensor:
        if not self.kept:
            self.kept.append(self.conv.weight.mean().abs())
        result: Tensor = self.last(self.conv(maps) + self.kept[0])
        return result


def test_every_probe_runs_a_module_as_if_it_had_not_run_before() -> None:
    module = Keeps()
    graph = graph_of_module(module, (1, 8, 8), "keeps")
    assert verify_module(module, graph) == []
    wide = Sliding(kernel=5, before=1, after=1)
    wrong = [each.layer for each in verify_module(module, with_row(graph, "last", reads=(wide, wide)))]
    assert wrong == ["last", "last"]


class Clipped(nn.Module):
    """ReLU written as a comparison."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.masked_fill(maps < 0, 0)


def test_after_a_comparison_only_too_small_fields_are_reported() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Clipped(), nn.MaxPool2d(3, 1, 1))
    graph = graph_of_module(module, (1, 6, 6), "clipped")
    assert behind_comparisons(graph) == {"0", "2"}
    assert verify_module(module, graph) == []
    narrow, wide = Sliding(kernel=1), Sliding(kernel=5, before=2, after=2)
    assert verify_module(module, with_row(graph, "2", reads=(wide, wide))) == []
    assert str(verify_module(module, with_row(graph, "2", reads=(narrow, wide)))[0]) == (
        "2: receptive field: unit 0 of axis 0 sees 0-1 in the table, 0-2 in the network"
    )


class OnePath(nn.Module):
    """Takes another branch than the recorded one if the input has NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images) if bool(images.isnan().any()) else images.relu()


def test_a_module_whose_operations_depend_on_the_input() -> None:
    """Recorded on zeros it only applies ReLU; verification detects the other branch."""
    graph = graph_of_module(OnePath(), (1, 5, 5), "looks")
    assert "without numbers" in graph.notes[0]
    assert [node.type for node in graph.nodes][-1] == "relu"
    assert [each.what for each in verify_module(OnePath(), graph)] == ["rows"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")  # torchvision's, of two models
@pytest.mark.parametrize("name", MODELS)
def test_torchvision_has_no_mismatch(name: str) -> None:
    assert len(MODELS) >= 25
    module = torchvision.models.get_model(name, weights=None)
    shape = (3, MODELS[name], MODELS[name])
    assert verify_module(module, graph_of_module(module, shape, name)) == []
