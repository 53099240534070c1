"""The `train:` section: defaults, the forms of a choice, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from cnncli.config.problems import problems_of
from cnncli.config.train import (
    AdamW,
    Constant,
    Cosine,
    EarlyStopping,
    MultiStep,
    OneCycle,
    Piecewise,
    Plateau,
    RmsProp,
    Sgd,
    StepDecay,
    TrainSpec,
)


def problems(section: dict[str, Any]) -> list[tuple[str, str]]:
    """The place and the message of each problem of a section."""
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate(section)
    return [(".".join(map(str, each.route)), each.message) for each in problems_of(caught.value, TrainSpec, section)]


def test_defaults() -> None:
    spec = TrainSpec()
    assert (spec.epochs, spec.batch_size, spec.seed) == (10, 128, 0)
    assert spec.optimizer == AdamW(lr=1e-3)
    assert spec.schedule == Constant()
    assert (spec.label_smoothing, spec.clip_norm, spec.early_stopping, spec.ema) == (0.0, None, None, None)
    assert (spec.precision, spec.compile, spec.channels_last) == ("fp32", False, "auto")
    assert spec.on_nan == "stop"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sgd", Sgd()),
        ({"sgd": 0.1}, Sgd(lr=0.1)),
        ({"sgd": {"lr": 1, "momentum": 0.8, "nesterov": True}}, Sgd(lr=1.0, momentum=0.8, nesterov=True)),
        ({"adamw": {"lr": 2e-3, "betas": [0.9, 0.99]}}, AdamW(lr=2e-3, betas=(0.9, 0.99))),
        ({"rmsprop": 0.01}, RmsProp(lr=0.01)),
    ],
)
def test_optimizer_forms(written: object, meant: object) -> None:
    assert TrainSpec.model_validate({"optimizer": written}).optimizer == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("one_cycle", OneCycle(warmup=0.3, start=0.04, final=4e-6)),
        ({"step": 3}, StepDecay(every=3, factor=0.1)),
        ({"multistep": [3, 5]}, MultiStep(epochs=(3, 5), factor=0.1)),
        ({"piecewise": [[0, 0.1], [2.5, 1]]}, Piecewise(points=((0.0, 0.1), (2.5, 1.0)))),
        ({"plateau": 3}, Plateau(patience=3)),
        ({"cosine": {"final": 0.01, "warmup": 0.1}}, Cosine(final=0.01, warmup=0.1)),
    ],
)
def test_schedule_forms(written: object, meant: object) -> None:
    assert TrainSpec.model_validate({"schedule": written}).schedule == meant


@pytest.mark.parametrize("setting", ["auto", True, False])
def test_channels_last_is_auto_or_a_boolean(setting: object) -> None:
    assert TrainSpec.model_validate({"channels_last": setting}).channels_last is setting


def test_early_stopping() -> None:
    spec = TrainSpec.model_validate({"early_stopping": {"patience": 3}})
    assert spec.early_stopping == EarlyStopping(patience=3, metric="accuracy")


def test_round_trip() -> None:
    spec = TrainSpec.model_validate(
        {
            "optimizer": {"sgd": 0.1},
            "schedule": {"step": 2},
            "early_stopping": {"patience": 2},
            "ema": 0.99,
            "loss": {"focal": 1},
            "class_weights": {"cat": 2, "3": 0.5},
        }
    )
    assert TrainSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("section", "where", "part"),
    [
        ({"optimizer": "adamm"}, "optimizer", "Did you mean adam"),
        ({"optimizer": {"sgd": {"lr": 0}}}, "optimizer.sgd.lr", "must be greater than 0"),
        (
            {"optimizer": {"sgd": {"momentum": 0, "nesterov": True}}},
            "optimizer.sgd.nesterov",
            "nesterov requires momentum",
        ),
        ({"optimizer": {"adam": {"lr": "fast"}}}, "optimizer.adam.lr", "must be a number"),
        ({"schedule": {"cosine": {"warmup": 1.0}}}, "schedule.cosine.warmup", "must be less than 1"),
        ({"schedule": "step"}, "schedule", "every is required"),
        ({"loss": "hinge"}, "loss", "unknown loss: hinge. Choose one of: bce, cross_entropy, focal"),
        ({"loss": {"focal": {"gamma": -1}}}, "loss.focal.gamma", "must be greater than or equal to 0"),
        ({"class_weights": "balanced"}, "class_weights", "must be auto, or a mapping of class names to weights"),
        ({"class_weights": {"cat": 0}}, "class_weights.cat", "must be greater than 0"),
        ({"class_weights": "auto", "sampling": "balanced"}, "", "both balance the classes; remove one of them"),
        ({"schedule": {"multistep": [3, 2]}}, "schedule.multistep", "must ascend"),
        ({"schedule": {"piecewise": [[0, 1], [0, 2]]}}, "schedule.piecewise", "the epochs must ascend"),
        ({"schedule": {"plateau": {"factor": 1}}}, "schedule.plateau.factor", "must be less than 1"),
        ({"accumulate": 0}, "accumulate", "must be greater than 0"),
        ({"ema": 1}, "ema", "must be less than 1"),
        ({"clip_norm": 0}, "clip_norm", "must be greater than 0"),
        ({"precision": "fp16"}, "precision", "Did you mean bf16"),
        ({"epochs": 0}, "epochs", "must be greater than 0"),
        ({"epochs": True}, "epochs", "must be a whole number"),
        (
            {"early_stopping": {"patience": 2, "metric": "acuracy"}},
            "early_stopping.metric",
            "Did you mean accuracy",
        ),
        ({"learning_rate": 0.1}, "learning_rate", "unknown field. Did you mean optimizer.adamw.lr?"),
        ({"lr": 0.1}, "lr", "unknown field. Did you mean optimizer.adamw.lr?"),
        ({"lr": 0.1, "optimizer": "sgd"}, "lr", "unknown field. Did you mean optimizer.sgd.lr?"),
        ({"lr": 0.1, "optimizer": {"rmsprop": 0.2}}, "lr", "unknown field. Did you mean optimizer.rmsprop.lr?"),
        ({"nesterov": True, "optimizer": "adam"}, "nesterov", "unknown field. Choose one of: epochs"),
        ({"patience": 3}, "patience", "unknown field. Did you mean early_stopping.patience?"),
    ],
)
def test_invalid_sections(section: dict[str, Any], where: str, part: str) -> None:
    ((place, message),) = problems(section)
    assert place == where
    assert part in message


def test_channels_last_message_lists_the_choices() -> None:
    ((place, message),) = problems({"channels_last": "yes"})
    assert place == "channels_last"
    assert "auto" in message
    assert "true or false" in message


def test_json_schema() -> None:
    schema = TrainSpec.model_json_schema()
    assert {"epochs", "optimizer", "schedule"} <= set(schema["properties"])
