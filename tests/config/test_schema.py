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
from cnncli.config.config import ConfigFields, _classes_of_no_image, _contradictions, _wrong_channels
from cnncli.config.data import ColumnsSpec, DataSpec, NormalizeSpec, input_shape
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
    """What the parser finds before it knows shapes, without what the schema cannot know.

    None if it stops too early, or finds only what the schema cannot know: the schema may still refuse something else.
    """
    document = parse_document(json.dumps(config), name="test")
    problems: list[Problem] = []
    try:
        fields = ConfigFields.model_validate(document.data)
        problems += [*_contradictions(fields), *_classes_of_no_image(fields.data)]
        if fields.data.name not in ("npz", "idx") or (fields.data.size and fields.data.channels):
            problems += _wrong_channels(fields.data, input_shape(fields.data)[0])
    except ValidationError as error:
        problems += problems_of(error, ConfigFields, document.data)
    read_blueprint(document, problems)
    if any("more than 5,000 layers" in each.message for each in problems):
        return None
    known = [each for each in problems if not is_beyond_the_schema(each)]
    return known if known or not problems else None


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
    ("data", DataSpec, {"name": "csv", "path": "x", "size": 8}),
    ("data", DataSpec, {"name": "parquet", "path": "x", "size": 8}),
    ("data", DataSpec, {"name": "npz", "path": "x"}),
    ("data", DataSpec, {"name": "torchvision:DTD", "classes": 47, "size": 8}),
    ("data.columns", ColumnsSpec, {}),
    ("data.normalize", NormalizeSpec, {"mean": 0.5, "std": 0.5}),
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


GRAY, RGB = {"name": "mnist"}, {"name": "cifar10"}
FOLDER, ARRAYS = {"name": "image-folder", "path": "x", "size": 8}, {"name": "npz", "path": "x"}
CSV, PARQUET = {**FOLDER, "name": "csv"}, {**FOLDER, "name": "parquet"}


@pytest.mark.parametrize(
    ("data", "train", "valid"),
    [
        (GRAY, {"class_weights": "auto", "sampling": "balanced"}, False),
        (GRAY, {"class_weights": {"3": 2}, "sampling": "balanced"}, True),
        (GRAY, {"class_weights": "auto"}, True),
        ({**GRAY, "validation": 0}, {"schedule": "plateau"}, False),
        ({**GRAY, "validation": 0.0}, {"schedule": {"plateau": {"patience": 2}}}, False),
        ({**GRAY, "validation": 0}, {"schedule": "cosine", "early_stopping": None}, True),
        ({**GRAY, "validation": 0}, {"early_stopping": 3}, False),
        ({**GRAY, "augment": {"hue": 0.1}}, {}, False),
        ({**GRAY, "augment": {"hue": 0, "saturation": 0.0}}, {}, True),
        ({**GRAY, "channels": 3, "augment": {"hue": 0.1}}, {}, True),
        ({**RGB, "channels": 1, "augment": {"saturation": 0.1}}, {}, False),
        ({**FOLDER, "channels": None, "augment": {"saturation": 0.1}}, {}, True),
        ({**FOLDER, "channels": 1, "augment": {"saturation": 0.1}}, {}, False),
        ({**RGB, "augment": {"fill": [0.1, 0.2]}}, {}, False),
        ({**RGB, "augment": {"fill": [0.1, 0.2, 0.3]}}, {}, True),
        ({**GRAY, "augment": {"fill": [0.1, 0.2, 0.3]}}, {}, False),
        ({**GRAY, "augment": {"fill": [1]}}, {}, True),
        ({**RGB, "normalize": {"mean": [0, 0], "std": 1}}, {}, False),
        ({**RGB, "normalize": {"mean": [0], "std": [1, 1, 1]}}, {}, True),
        ({**GRAY, "normalize": {"mean": 0, "std": [1, 1, 1]}}, {}, False),
        ({**PARQUET, "normalize": {"mean": 0, "std": [1, 1]}}, {}, False),
        ({**ARRAYS, "augment": {"hue": 0.1, "fill": [0.1, 0.2, 0.3]}}, {}, True),
        ({**GRAY, "classes": ["3", "12"]}, {}, False),
        ({**GRAY, "classes": ["3", "1"]}, {}, True),
        ({"name": "emnist", "classes": ["a", "c"]}, {}, False),
        ({"name": "emnist", "split": "letters", "classes": ["a", "c"]}, {}, True),
        ({"name": "emnist", "split": "digits", "classes": ["a", "c"]}, {}, False),
        ({**CSV, "columns": {"path": "a", "split": "b"}}, {}, True),
        ({**CSV, "columns": {"image": "a"}}, {}, False),
        ({**CSV, "columns": {"image": None}}, {}, True),
        ({**PARQUET, "columns": {"image": "a", "label": "b"}}, {}, True),
        ({**PARQUET, "columns": {"path": "a"}}, {}, False),
        ({**GRAY, "columns": {"path": None, "label": None}}, {}, True),
        ({**GRAY, "columns": {"label": "a"}}, {}, False),
        ({**GRAY, "augment": {"fill": []}}, {}, False),
        ({**GRAY, "limit": 1e40}, {}, False),
        (GRAY, {"schedule": {"piecewise": []}}, False),
        (GRAY, {"schedule": {"multistep": []}}, False),
        (GRAY, {"init_from": ""}, False),
    ],
)
def test_fields_that_depend_on_each_other(
    data: dict[str, Any], train: dict[str, Any], valid: bool, schema: jsonschema.Draft202012Validator
) -> None:
    config = {"data": data, "model": {"layers": ["flatten", "logits"]}, "train": train}
    assert (parser_problems(config) == [], schema.is_valid(config)) == (valid, valid)


@pytest.mark.slow
def test_every_field_with_every_value(schema: jsonschema.Draft202012Validator) -> None:
    check_all(list(cases()), schema)
