"""What differs between runs: settings by hand, distances of weights by torch."""

from typing import Any

import pytest
import torch

from cnncli.module import CnnModule, seeded_module
from cnncli.runs.compare import differing_settings, layer_distances
from tests.networks import network_of


def differences(*settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each.path: dict(each.values) for each in differing_settings(settings)}


def test_equal_settings() -> None:
    settings = {"train": {"epochs": 3, "betas": [0.9, 0.999]}, "layers": [{"conv": 8}, "flatten"]}
    assert differences(settings, settings, settings) == {}


def test_paths_are_those_of_set() -> None:
    a = {"train": {"epochs": 3, "betas": [0.9, 0.9], "ema": None}, "model": {"layers": [{"conv": 8}, "flatten"]}}
    b = {"train": {"epochs": 5, "betas": [0.9, 0.8], "ema": 0.9}, "model": {"layers": [{"conv": 8}, "relu"]}}
    assert differences(a, b) == {
        "train.epochs": {"A": 3, "B": 5},
        "train.betas.1": {"A": 0.9, "B": 0.8},
        "train.ema": {"A": None, "B": 0.9},
        "model.layers.1": {"A": "flatten", "B": "relu"},
    }


def test_what_a_config_lacks_is_left_out() -> None:
    a = {"model": {"defaults": {"conv": {"padding": 1}}, "layers": ["a", "b"]}}
    b = {"model": {"layers": ["a"]}}
    assert differences(a, b) == {
        "model.defaults": {"A": {"conv": {"padding": 1}}},
        "model.layers.1": {"A": "b"},
    }


def test_different_choices_are_compared_as_a_whole() -> None:
    a, b = {"optimizer": {"adamw": {"lr": 1, "decay": 0}}}, {"optimizer": {"sgd": {"lr": 1}}}
    assert differences(a, b) == {"optimizer": {"A": {"adamw": {"lr": 1, "decay": 0}}, "B": {"sgd": {"lr": 1}}}}
    assert differences(a, {"optimizer": {"adamw": {"lr": 2, "decay": 0}}}) == {"optimizer.adamw.lr": {"A": 1, "B": 2}}


def test_short_and_long_forms_are_the_same() -> None:
    assert differences({"layers": [{"conv": 8}]}, {"layers": [{"conv": {"out_channels": 8}}]}) == {}
    assert differences({"layers": [{"conv": 8}]}, {"layers": [{"conv": {"out_channels": 9}}]}) == {
        "layers.0.conv.out_channels": {"A": 8, "B": 9}
    }


def test_types_differ() -> None:
    assert differences({"x": 1}, {"x": True}) == {"x": {"A": 1, "B": True}}
    assert differences({"x": [1]}, {"x": {"y": 1}}) == {"x": {"A": [1], "B": {"y": 1}}}


def test_an_unknown_config_is_not_compared() -> None:
    assert differences({"x": 1}, {}) == {}
    assert differences({"x": 1}, {}, {"x": 2}) == {"x": {"A": 1, "C": 2}}


LAYERS = "[{conv: {out_channels: 2, kernel_size: 3, norm: batch}}, {max_pool: 2}, flatten, logits]"


@pytest.fixture
def network() -> Any:
    return network_of(LAYERS, (1, 8, 8))


def test_distances_are_those_of_torch(network: Any) -> None:
    before, first, second = (seeded_module(network, seed) for seed in (0, 1, 2))
    with torch.no_grad():
        for buffer in second.buffers():
            buffer.add_(1)  # running statistics are not weights
    distances = {each.layer: each for each in layer_distances([before, before], [first, second])}
    assert list(distances) == ["conv1", "logits1"]
    for name in distances:
        old, a, b = (
            torch.nn.utils.parameters_to_vector(model.get_submodule(name).parameters()).detach().double()
            for model in (before, first, second)
        )
        moved = [float((each - old).norm() / old.norm()) for each in (a, b)]
        assert distances[name].moved == pytest.approx(moved)
        assert distances[name].apart == pytest.approx([0.0, float((b - a).norm() / a.norm())])
        assert min(moved) > 0.1


def test_what_has_no_distance(network: Any) -> None:
    trained = seeded_module(network, 1)
    wider = CnnModule(network_of(LAYERS.replace("2", "4", 1), (1, 8, 8)))
    (conv, logits) = layer_distances([None, wider, None], [trained, wider, None])
    assert conv.layer == "conv1"
    assert conv.moved == logits.moved == (None, 0.0, None)
    assert conv.apart == logits.apart == (0.0, None, None)
    with torch.no_grad():
        for parameter in wider.parameters():
            parameter.zero_()
    assert layer_distances([wider], [wider])[0].moved == (None,)
