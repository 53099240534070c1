"""`--set`: any field, by its path."""

from typing import Any

import pytest

from cnncli.config.document import parse_document
from cnncli.config.overrides import override
from cnncli.config.train import OPTIMIZERS
from cnncli.errors import UsageError
from cnncli.layers import LAYER_CHOICES

CONFIG = """
data: {name: mnist}
model:
  layers:
    - conv: 32
    - conv: {out_channels: 8, kernel_size: 3}
    - relu
train:
  optimizer: adamw
"""


def changed(*assignments: str) -> Any:
    """The data of CONFIG with assignments applied."""
    return override(parse_document(CONFIG, name="c.yaml"), assignments, {**LAYER_CHOICES, **OPTIMIZERS}).data


def test_values_are_read_as_yaml() -> None:
    """Numbers, strings, lists and mappings."""
    assert changed("train.epochs=3")["train"]["epochs"] == 3
    assert changed("data.name=digits")["data"] == {"name": "digits"}
    assert changed("data.size=[28, 32]")["data"]["size"] == [28, 32]
    assert changed("train.optimizer={sgd: {lr: 1e-1}}")["train"]["optimizer"] == {"sgd": {"lr": 0.1}}
    assert changed("train.ema=null")["train"]["ema"] is None
    assert changed("name=a=b")["name"] == "a=b"


def test_list_items_are_numbered() -> None:
    """`model.layers.1` is the second layer."""
    assert changed("model.layers.1.conv.out_channels=16")["model"]["layers"][1] == {
        "conv": {"out_channels": 16, "kernel_size": 3}
    }


def test_short_forms_are_expanded() -> None:
    """A scalar becomes its principal field and a name a mapping, so that another field can be set."""
    assert changed("model.layers.0.conv.kernel_size=5")["model"]["layers"][0] == {
        "conv": {"out_channels": 32, "kernel_size": 5}
    }
    assert changed("train.optimizer.adamw.lr=0.01")["train"]["optimizer"] == {"adamw": {"lr": 0.01}}


def test_the_document_is_not_changed() -> None:
    document = parse_document(CONFIG, name="c.yaml")
    override(document, ["data.name=digits"], {})
    assert document.data["data"] == {"name": "mnist"}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epochs", "not of the form path=value"),
        ("=3", "not of the form path=value"),
        ("model.layers.7.conv=3", "7 is not a position in a list of 3"),
        ("model.layers.x=3", "x is not a position in a list of 3"),
        ("data.name.x=3", "data.name is 'mnist' and has no fields"),
        ("train.epochs=[1", "the value is not YAML"),
    ],
)
def test_invalid_assignments(assignment: str, message: str) -> None:
    """The message quotes the option and gives the reason."""
    with pytest.raises(UsageError) as caught:
        changed(assignment)
    assert message in caught.value.message
    assert assignment in caught.value.message
