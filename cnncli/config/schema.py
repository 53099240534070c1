"""The JSON Schema of configs, for completion and checks in editors.

It is generated from the classes that parse a config. A field that depends on others says so in the `json_schema_extra`
of its class. There are two schemas of a list of layers: one for models without blocks, and one for models with blocks,
whose names, arguments and `$parameters` are checked only by `cnncli validate`.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cnncli.config.arithmetic import PARAMETER_PATTERN
from cnncli.config.config import ConfigFields
from cnncli.config.model import (
    STRUCTURES,
    BlockFields,
    BranchFields,
    ModelFields,
    RepeatFields,
    ResidualFields,
    ReuseFields,
    SkipFields,
)
from cnncli.fields import Choice
from cnncli.layers import LAYER_CHOICES

JsonSchema = dict[str, Any]

_REF = "#/$defs/{model}"
_WITH_BLOCKS = "with_blocks."
"""Prefix of the definitions for models with blocks."""
_DESCRIPTION = ("title", "description", "default")
_LARGE = 1000
"""Characters of a value's schema above which fields share it."""
_TOO_LARGE = 2**63
_PARAMETER: JsonSchema = {"type": "string", "allOf": [{"pattern": r"\$"}, {"pattern": PARAMETER_PATTERN}]}
_STRUCTURES: tuple[type[BaseModel], ...] = (RepeatFields, ResidualFields, BranchFields, SkipFields, ReuseFields)


def config_schema() -> JsonSchema:
    """The schema of a whole config (JSON Schema 2020-12)."""
    models: list[type[BaseModel]] = [ConfigFields, *_STRUCTURES, BlockFields, ModelFields, *LAYER_CHOICES.values()]
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, JsonSchema] = schema["$defs"]
    config, model, block = (definitions.pop(each.__name__) for each in (ConfigFields, ModelFields, BlockFields))
    for layer in LAYER_CHOICES.values():
        definitions[layer.__name__].pop("required", None)  # model.defaults may set it
    own = {each.__name__: definitions.pop(each.__name__) for each in (*LAYER_CHOICES.values(), *_STRUCTURES)}
    config["properties"]["model"] = _model(model, block)
    whole: JsonSchema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **config,
        "title": "A cnncli config",
        "$defs": {
            **definitions,
            **_with_shared(_definitions(own, ""), ""),
            **_with_shared(
                {name: _with_parameters(each) for name, each in _definitions(own, _WITH_BLOCKS).items()}, _WITH_BLOCKS
            ),
        },
    }
    _limit_integers(whole)
    return whole


def _limit_integers(schema: object) -> None:
    """Refuse whole numbers that the parser does not read; for JSON Schema, 1e40 is one."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer" and "maximum" not in schema:
            schema.setdefault("exclusiveMaximum", _TOO_LARGE)
        for each in schema.values():
            _limit_integers(each)
    elif isinstance(schema, list):
        for each in schema:
            _limit_integers(each)


def _model(model: JsonSchema, block: JsonSchema) -> JsonSchema:
    """The section `model`: its layers are those with blocks if it has any."""
    taken = {"not": {"enum": [*LAYER_CHOICES, *STRUCTURES]}}
    block["properties"] = {
        "params": {"type": "object", "propertyNames": {"not": {"const": "name"}}},
        "layers": _layers(_WITH_BLOCKS),
    }
    named = {"type": "object", "required": ["name"]}
    defaults = {name: {**_layer_value(layer, ""), "not": named} for name, layer in LAYER_CHOICES.items()}
    model["properties"] = {
        "defaults": {"type": "object", "properties": defaults, "additionalProperties": False},
        "blocks": {"type": "object", "propertyNames": taken, "additionalProperties": block},
        "layers": {},
    }
    has_blocks = {"required": ["blocks"], "properties": {"blocks": {"minProperties": 1}}}
    return {
        **model,
        "if": has_blocks,
        "then": {"properties": {"layers": _layers(_WITH_BLOCKS)}},
        "else": {"properties": {"layers": _layers("")}},
    }


def _definitions(own: Mapping[str, JsonSchema], prefix: str) -> dict[str, JsonSchema]:
    """The definitions of layers and structures for models with or without blocks."""
    found = {f"{prefix}{name}": {**each, "properties": dict(each["properties"])} for name, each in own.items()}
    structures = (RepeatFields, ResidualFields, BranchFields)
    repeat, residual, branch = (found[f"{prefix}{each.__name__}"]["properties"] for each in structures)
    repeat["times"] = {"type": "integer", "minimum": 1}
    repeat["layers"] = residual["main"] = _layers(prefix)
    residual["shortcut"] = {"anyOf": [{"enum": ["auto", "identity"]}, _layers(prefix)], "default": "auto"}
    branch["paths"] = {"type": "array", "items": _layers(prefix), "minItems": 2}
    return {**found, f"{prefix}layer": _layer(prefix)}


def _with_shared(definitions: dict[str, JsonSchema], prefix: str) -> dict[str, JsonSchema]:
    """The definitions with further ones for large values that many layers have, such as norms and activations."""
    shared: dict[str, JsonSchema] = {}
    names: dict[str, str] = {}
    for definition in definitions.values():
        for field, value in definition.get("properties", {}).items():
            described: JsonSchema = {key: value[key] for key in _DESCRIPTION if key in value}
            rest = {key: each for key, each in value.items() if key not in described}
            content = json.dumps(rest)
            if len(content) > _LARGE:
                name = names.setdefault(content, f"{prefix}{field}{len(names) + 1}")
                shared[name] = rest
                definition["properties"][field] = {**described, **_ref(name, "")}
    return {**definitions, **shared}


def _layer(prefix: str) -> JsonSchema:
    """One entry of a list of layers."""
    refs = [_ref(each.__name__, prefix) for each in _STRUCTURES]
    structures = dict(zip(STRUCTURES, refs, strict=True))
    structures["residual"] = {"anyOf": [structures["residual"], _layers(prefix)]}
    structures["reuse"] = {"anyOf": [structures["reuse"], {"type": "string"}]}
    fields = {name: _layer_value(layer, prefix) for name, layer in LAYER_CHOICES.items()}
    mapping = {"type": "object", "properties": {**fields, **structures}, "minProperties": 1, "maxProperties": 1}
    names = {"enum": [*LAYER_CHOICES]}  # model.defaults may set required fields
    if prefix:
        return {"anyOf": [names, mapping, {"type": "string", "description": "a block of this config"}]}
    return {"anyOf": [names, {**mapping, "additionalProperties": False}]}


def _layer_value(layer: type[Choice], prefix: str) -> JsonSchema:
    """The fields of a layer, the value of its principal field, or nothing."""
    ref = _ref(layer.__name__, prefix)
    principal = [] if layer.principal is None else [{"$ref": f"{ref['$ref']}/properties/{layer.principal}"}]
    return {"anyOf": [ref, *principal, {"type": "null"}]}


def _layers(prefix: str) -> JsonSchema:
    return {"type": "array", "items": _ref("layer", prefix), "minItems": 1}


def _ref(name: str, prefix: str) -> JsonSchema:
    return {"$ref": _REF.format(model=f"{prefix}{name}")}


def _with_parameters(schema: JsonSchema) -> JsonSchema:
    """The schema with a `$parameter` allowed in place of each value inside."""

    def or_parameter(value: JsonSchema) -> JsonSchema:
        described: JsonSchema = {key: value[key] for key in _DESCRIPTION if key in value}
        rest = _with_parameters({key: each for key, each in value.items() if key not in described})
        return {**described, "anyOf": [rest, _PARAMETER]}

    changed = dict(schema)
    for key, value in schema.items():
        match key:
            case "properties":
                changed[key] = {name: or_parameter(each) for name, each in value.items()}
            case "items":
                changed[key] = or_parameter(value)
            case "prefixItems":
                changed[key] = [or_parameter(each) for each in value]
            case "anyOf":
                changed[key] = [_with_parameters(each) for each in value]
    return changed
