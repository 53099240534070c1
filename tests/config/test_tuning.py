"""`freeze`, `lr_scale` and `weight_decay` on layers and on the structures around them."""

from math import inf
from pathlib import Path

import pytest

from cnncli.config.config import read_config
from cnncli.errors import ConfigError
from cnncli.inspection.table import inspect_network
from cnncli.layers.tuning import Tuning
from cnncli.module import CnnModule
from tests.networks import lay_out_text, network_of_text

CONV = "conv: {out_channels: 4, kernel_size: 1%s}"


def tunings(model: str) -> dict[str, Tuning]:
    return CnnModule(network_of_text(f"model: {{{model}}}", (4, 8, 8))).tunings()


def test_a_layer_and_its_norm_and_activation() -> None:
    found = tunings(
        "layers: [{conv: {out_channels: 4, kernel_size: 1, freeze: true, lr_scale: 0.5, weight_decay: 0.1, "
        "activation: prelu, norm: {batch: {freeze: {epochs: 2}}}}}, {scale: {lr_scale: 2}}, relu]"
    )
    assert found == {
        "conv1.conv.weight": Tuning(inf, 0.5, 0.1),
        "conv1.norm.weight": Tuning(2, 0.5),
        "conv1.norm.bias": Tuning(2, 0.5),
        "conv1.activation.weight": Tuning(inf, 0.5),
        "scale1.weight": Tuning(0, 2.0),
    }


def test_the_innermost_structure_counts_and_defaults_count_least() -> None:
    """A value on the layer, on the structures around it from the inside, then in the defaults."""
    found = tunings(
        "defaults: {conv: {bias: false, lr_scale: 8, weight_decay: 8}}, "
        f"blocks: {{pair: {{params: {{rate: 3}}, layers: [{{{CONV % ''}}}, {{{CONV % ', lr_scale: $rate'}}}]}}}}, "
        "layers: [{repeat: {times: 2, lr_scale: 2, layers: [{pair: {freeze: {epochs: 1}}}]}}, "
        "{branch: {merge: add, freeze: true, paths: [[pair], [{pair: {rate: 5, freeze: false, weight_decay: 0}}]]}}]"
    )
    assert found == {
        "pair1.conv1.conv.weight": Tuning(1, 2.0, 8.0),
        "pair1.conv2.conv.weight": Tuning(1, 3.0, 8.0),
        "pair2.conv1.conv.weight": Tuning(1, 2.0, 8.0),
        "pair2.conv2.conv.weight": Tuning(1, 3.0, 8.0),
        "branch1.path1.pair1.conv1.conv.weight": Tuning(inf, 8.0, 8.0),
        "branch1.path1.pair1.conv2.conv.weight": Tuning(inf, 3.0, 8.0),
        "branch1.path2.pair1.conv1.conv.weight": Tuning(0, 8.0, 0.0),
        "branch1.path2.pair1.conv2.conv.weight": Tuning(0, 5.0, 0.0),
    }


def test_an_automatic_shortcut_is_part_of_its_residual() -> None:
    """But not of the layers in the main path."""
    main = "{conv: {out_channels: 6, kernel_size: 1, norm: batch, lr_scale: 7}}"
    found = tunings(f"layers: [{{residual: {{main: [{main}], lr_scale: 0.5, freeze: true, activation: prelu}}}}]")
    shortcut = {name: each for name, each in found.items() if "shortcut" in name or "add" in name}
    assert set(shortcut.values()) == {Tuning(inf, 0.5)}
    assert len(shortcut) == 4
    assert found["residual1.conv1.norm.weight"] == Tuning(inf, 7.0)
    found = tunings(f"layers: [{{residual: [{main}]}}]")
    assert found["residual1.shortcut.norm.weight"] == Tuning()


def test_the_layer_table_tells_what_is_trained() -> None:
    network = network_of_text(
        f"model: {{layers: [{{{CONV % ', freeze: true, norm: batch'}}}, "
        f"{{{CONV % ', freeze: {epochs: 1}, lr_scale: 0.1, weight_decay: 0'}}}, flatten, logits]}}",
        (4, 1, 1),
    )
    table = inspect_network(network, "test")
    assert [(row.params, row.trainable) for row in table] == [(24, 0), (20, 20), (0, 0), (50, 50)]
    assert (table.params, table.trainable) == (94, 70)
    assert table["conv1"].notes == ("frozen",)
    assert table["conv2"].notes == ("frozen in the first epoch", "learning rate times 0.1", "weight decay 0")


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("layers: [{relu: {freeze: true}}]", "unknown field"),
        ("layers: [{batch_norm: {weight_decay: 0}}]", "unknown field"),
        (f"layers: [{{{CONV % ', freeze: 2'}}}]", "must be true or false"),
        (f"layers: [{{{CONV % ', freeze: {epochs: 0}'}}}]", "must be greater than 0"),
        (f"layers: [{{{CONV % ', lr_scale: 0'}}}]", "must be greater than 0"),
        (f"layers: [{{residual: {{lr_scale: -1, main: [{{{CONV % ''}}}]}}}}]", "must be greater than 0"),
        (f"blocks: {{b: {{layers: [{{{CONV % ''}}}]}}}}, layers: [{{b: {{weight_decay: -1}}}}]", "must be greater"),
        (f"blocks: {{b: {{params: {{freeze: 1}}, layers: [{{{CONV % ''}}}]}}}}, layers: [b]", "freeze is a field of"),
    ],
)
def test_problems(model: str, problem: str) -> None:
    _, problems = lay_out_text(f"model: {{{model[:-1]}, relu]}}", (4, 8, 8))
    assert problem in problems[0]


@pytest.mark.parametrize("freeze", ["true", "{epochs: 3}"])
def test_something_must_be_trained_from_the_start(freeze: str, tmp_path: Path) -> None:
    path = tmp_path / "frozen.yaml"
    path.write_text(
        f"data: {{name: digits}}\nmodel: {{layers: [{{{CONV % f', freeze: {freeze}'}}}, flatten, "
        f"{{logits: {{freeze: {freeze}}}}}]}}"
    )
    with pytest.raises(ConfigError, match="every layer is frozen in the first epoch"):
        read_config(str(path), data_dir=tmp_path)
