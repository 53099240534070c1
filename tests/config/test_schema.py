"""The JSON Schema accepts what the parser accepts, and refuses what it refuses.

The schema cannot know shapes, whether `model.defaults` sets the required fields of a layer, or which arguments a block
takes: the parser stands here for the part of it that comes before shapes, and such problems do not count.
"""

import json
import random
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from cnncli.config.augment import AugmentSpec, ElasticSpec, EraseSpec
from cnncli.config.config import ConfigFields, _contradictions
from cnncli.config.data import DataSpec
from cnncli.config.document import Problem, parse_document
from cnncli.config.log import LogSpec, ProbesSpec
from cnncli.config.model import read_blueprint
from cnncli.config.problems import problems_of
from cnncli.config.schema import config_schema
from cnncli.config.train import OPTIMIZERS, SCHEDULES, EarlyStopping, TrainSpec
from cnncli.fields import Spec
from cnncli.layers import LAYER_CHOICES
from tests.reliability.fuzz.configs import grammar

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 10**9, 10**18, 0.5, 1.5, -0.5, 1e-3),
    *("", "x", "a b", "same", "valid", "auto", "none", "null", "2", "batch", "batch_norm", "relu", "digits"),
    *([], [1], [2, 2], [0, 1], [1, 2, 3], [0.5, 0.9], [0.5, 2.5], ["a", "b"], ["a", "a"], ["a", ""], [None], [[1, 2]]),
    *({}, {"x": 1}, {"name": "x"}, {"classes": 3}, {"images": [1]}, {"alpha": 2}, {"probability": 0.5}),
    *({"patience": 2}, {"sgd": 0.1}, {"sgd": None}, {"sgd": {"momentum": 0, "nesterov": True}}, {"step": 2}),
    *({"step": {}}, {"cosine": {}}, {"group": 2}, {"leaky_relu": 0.1}, {"leaky_relu": {"negative_slope": 0.1}}),
    *({"relu": None}, {"relu": 1}, 1e-4, 1e40, {"mean": 1e7, "std": 1}, {"mean": 0, "std": 1e-7}, {"focal": 200}),
)  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    found: dict[str, Any] = json.loads(json.dumps(config_schema()))
    return jsonschema.Draft202012Validator(found)


def parser_problems(config: dict[str, Any]) -> list[Problem] | None:
    """What the parser finds before it knows shapes, without what the schema cannot know; None if it stops too early."""
    document = parse_document(json.dumps(config), name="test")
    problems: list[Problem] = []
    try:
        problems += _contradictions(ConfigFields.model_validate(document.data))
    except ValidationError as error:
        problems += problems_of(error, ConfigFields, document.data)
    read_blueprint(document, problems)
    if any("more than 5,000 layers" in each.message for each in problems):
        return None
    return [each for each in problems if not is_beyond_the_schema(each)]


def is_beyond_the_schema(problem: Problem) -> bool:
    *_, place, layer = (None, None, *problem.route)
    missing = (
        "is required, here or in model.defaults" in problem.message
        and isinstance(place, int)
        and layer in LAYER_CHOICES
    )
    others = r"block \w+ requires|unknown parameter of block|must ascend"
    equal = r"must be auto or \[lowest, highest\], found \[(\d+), \1\]"
    return missing or re.match(f"{others}|{equal}", problem.message) is not None


def compare(config: dict[str, Any], schema: jsonschema.Draft202012Validator) -> str:
    """The difference between the two, if there is one."""
    problems = parser_problems(config)
    refused = next(schema.iter_errors(config), None)
    if problems is None or bool(problems) == (refused is not None):
        return ""
    said = "; ".join(f"{each.route} {each.message}" for each in problems) or "accepted"
    return f"{json.dumps(config)}\n  parser: {said}\n  schema: {refused.message[:200] if refused else 'accepted'}"


SECTIONS: tuple[tuple[str, type[Spec], dict[str, Any]], ...] = (
    ("data", DataSpec, {"name": "digits"}),
    ("data", DataSpec, {"name": "emnist"}),
    ("data", DataSpec, {"name": "image-folder", "path": "x", "size": 8}),
    ("data", DataSpec, {"name": "torchvision:DTD", "classes": 47, "size": 8}),
    ("data.augment", AugmentSpec, {}),
    ("data.augment.elastic", ElasticSpec, {}),
    ("data.augment.erase", EraseSpec, {}),
    ("train", TrainSpec, {}),
    ("train.early_stopping", EarlyStopping, {"patience": 3}),
    ("log", LogSpec, {}),
    ("log.probes", ProbesSpec, {}),
    *(
        (
            f"train.{kind}.{name}",
            choice,
            {each: 2 for each, field in choice.model_fields.items() if field.is_required()},
        )
        for kind, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES))
        for name, choice in choices.items()
    ),
)
"""Dotted path, class, and fields that it requires."""


def cases() -> Iterator[dict[str, Any]]:
    """Every field of every section, layer and structure with every value."""
    for path, spec, required in SECTIONS:
        for name, value in product((*spec.model_fields, "x"), VALUES):
            yield changed(path, {**required, name: value})
    for value in VALUES:
        for path in (*ConfigFields.model_fields, *(path for path, _, _ in SECTIONS)):
            yield changed(path, value)
        for body in (
            {"layers": value},
            {"layers": [value]},
            {"layers": [{"repeat": value}]},
            {"layers": [{"repeat": {"times": value, "layers": ["relu"]}}]},
            {"layers": [{"residual": value}]},
            {"layers": [{"residual": {"main": ["relu"], "shortcut": value}}]},
            {"layers": [{"residual": {"main": ["relu"], "activation": value}}]},
            {"layers": [{"branch": {"merge": value, "paths": [["relu"], ["identity"]]}}]},
            {"layers": [{"branch": {"merge": "add", "paths": value}}]},
            {"layers": ["relu", {"skip": value}]},
            {"layers": ["relu", {"skip": {"from": value, "merge": "add"}}]},
            {"layers": ["relu", {"skip": {"from": "input", "merge": value}}]},
            {"layers": ["logits", {"reuse": value}]},
            {"layers": ["logits", {"reuse": {"layer": value}}]},
            {"layers": ["logits", {"reuse": {"layer": "logits1", "name": value}}]},
            {"layers": ["relu"], "defaults": value},
            {"layers": ["relu"], "x": value},
            {"layers": [{"b": {"x": value}}], "blocks": {"b": {"params": {"x": 1}, "layers": ["relu"]}}},
        ):
            yield changed("model", body)
    for (layer, fields), value in product(LAYER_CHOICES.items(), VALUES):
        yield changed("model", {"layers": [{layer: value}]})
        yield changed("model", {"defaults": {layer: value}, "layers": ["logits"]})
        for name in (*(field for field in fields.model_fields if field != "type"), "x"):
            yield changed("model", {"layers": [{layer: {name: value}}]})
            yield changed("model", {"layers": ["b"], "blocks": {"b": {"layers": [{layer: {name: value}}]}}})


def changed(path: str, value: object) -> dict[str, Any]:
    """A small config with a value at a path."""
    config: dict[str, Any] = {"data": {"name": "digits"}, "model": {"layers": ["flatten", "logits"]}}
    *above, last = path.split(".")
    place = config
    for key in above:
        place = place.setdefault(key, {})
    place[last] = value
    return config


def check_all(configs: list[dict[str, Any]], schema: jsonschema.Draft202012Validator) -> None:
    differences = [each for config in configs if (each := compare(config, schema))]
    assert not differences, f"{len(differences)} of {len(configs)}:\n" + "\n".join(differences[:20])


def test_some_fields_with_some_values(schema: jsonschema.Draft202012Validator) -> None:
    check_all(random.Random(0).sample(list(cases()), 300), schema)


def test_whole_configs(schema: jsonschema.Draft202012Validator) -> None:
    """Most of them are valid or almost so. The parser does not read a block that is not used."""
    configs = []
    for seed in range(60):
        config = grammar(random.Random(seed))
        layers = json.dumps(config["model"]["layers"])
        if all(f'"{name}"' in layers for name in config["model"].get("blocks", ())):
            configs.append(config)
    check_all(configs, schema)


@pytest.mark.parametrize(
    ("path", "value", "valid"),
    [
        ("data.augment", {"erase": 0.2}, True),
        ("data.augment", {"elastic": 2}, True),
        ("data", {"name": "image-folder"}, False),
        ("model.layers", ["flaten", "logits"], False),
        ("model.layers", [{"upsample": {"scale_factor": 2, "size": 8}}, "logits"], False),
        ("model.layers", [{"upsample": {"scale_factor": 2, "size": None}}, "logits"], True),
        ("model.layers", [{"pad": [[0, 1], 2]}, "logits"], True),
        ("model.layers", [{"pad": [[0, 1, 2], 2]}, "logits"], False),
        ("model.layers", [{"pad": {"mode": "reflect", "padding": 1, "channels": 1}}, "logits"], False),
        ("model.layers", [{"pad": {"mode": "reflect", "padding": 1, "channels": 0}}, "logits"], True),
        ("model.layers", [{"pad": {"mode": "circular", "value": 0.5}}, "logits"], False),
        ("model.layers", [{"crop": {"cropping": 1, "size": 8}}, "logits"], False),
        ("train", {"early_stopping": {"patience": 2}}, True),
    ],
)
def test_what_the_schema_says_in_editors(
    path: str, value: object, valid: bool, schema: jsonschema.Draft202012Validator
) -> None:
    assert schema.is_valid(changed(path, value)) == valid


@pytest.mark.slow
def test_every_field_with_every_value(schema: jsonschema.Draft202012Validator) -> None:
    check_all(list(cases()), schema)
