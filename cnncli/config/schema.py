"""The JSON Schema of configs, for completion and checks in editors.

The blocks that a config defines and the types of `$parameters` are checked only by `cnncli validate`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cnncli.config.config import ConfigFields
from cnncli.config.model import BlockFields, BranchFields, ModelFields, RepeatFields, ResidualFields
from cnncli.fields import Choice
from cnncli.layers import LAYERS
from cnncli.layers.tuning import InheritedFields

JsonSchema = dict[str, Any]

_REF = "#/$defs/{model}"
_LAYER: JsonSchema = {"$ref": "#/$defs/layer"}
_LAYERS: JsonSchema = {"type": "array", "items": _LAYER, "minItems": 1}
_PARAMETER: JsonSchema = {"type": "string", "pattern": r"^\$[A-Za-z_][A-Za-z0-9_]*$"}


def config_schema() -> JsonSchema:
    """The schema of a whole config (JSON Schema 2020-12)."""
    structures = (RepeatFields, ResidualFields, BranchFields, BlockFields, ModelFields)
    models: list[type[BaseModel]] = [ConfigFields, *structures, *LAYERS.values()]
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, JsonSchema] = schema["$defs"]
    for layer in LAYERS.values():
        definitions[layer.__name__].pop("required", None)  # model.defaults may set it
        for field in definitions[layer.__name__]["properties"].values():
            _allow_parameter(field)
    for structure in (RepeatFields, ResidualFields, BranchFields):
        for name in InheritedFields.model_fields:
            _allow_parameter(definitions[structure.__name__]["properties"][name])
    _nest_layers(definitions)
    config = definitions.pop("ConfigFields")
    config["properties"]["model"] = {"$ref": "#/$defs/ModelFields"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A cnncli config",
        **config,
        "$defs": {**definitions, "layer": _layer_schema()},
    }


def _layer_schema() -> JsonSchema:
    """One entry of a list of layers."""
    refs: dict[str, JsonSchema] = {name: {"$ref": _REF.format(model=layer.__name__)} for name, layer in LAYERS.items()}
    names = [name for name, layer in LAYERS.items() if not layer.has_required_fields()]
    structures = {
        "repeat": {"$ref": "#/$defs/RepeatFields"},
        "residual": {"anyOf": [{"$ref": "#/$defs/ResidualFields"}, _LAYERS]},
        "branch": {"$ref": "#/$defs/BranchFields"},
    }
    fields = {name: _layer_value(refs[name], layer) for name, layer in LAYERS.items()}
    return {
        "anyOf": [
            {"enum": names},
            {"type": "object", "properties": {**fields, **structures}, "minProperties": 1, "maxProperties": 1},
            {"type": "string", "description": "a block of this config"},
        ]
    }


def _layer_value(ref: JsonSchema, layer: type[Choice]) -> JsonSchema:
    """The fields of a layer, or the value of its principal field."""
    if layer.principal is None:
        return {"anyOf": [ref, {"type": "null"}]}
    principal = {"$ref": f"{ref['$ref']}/properties/{layer.principal}"}
    return {"anyOf": [ref, principal]}


def _allow_parameter(field: JsonSchema) -> None:
    """Allow a `$parameter` as the value of a field."""
    kept = {key: field.pop(key) for key in list(field) if key not in ("title", "description", "default")}
    field["anyOf"] = [*(kept["anyOf"] if list(kept) == ["anyOf"] else [kept]), _PARAMETER]


def _nest_layers(definitions: Mapping[str, JsonSchema]) -> None:
    """Declare that the structures hold lists of layers."""
    for name in ("RepeatFields", "BlockFields", "ModelFields"):
        definitions[name]["properties"]["layers"] = _LAYERS
    definitions["RepeatFields"]["properties"]["times"] = {"anyOf": [{"type": "integer", "minimum": 1}, _PARAMETER]}
    definitions["BranchFields"]["properties"]["paths"] = {"type": "array", "items": _LAYERS, "minItems": 2}
    residual = definitions["ResidualFields"]["properties"]
    residual["main"] = _LAYERS
    residual["shortcut"] = {"anyOf": [{"enum": ["auto", "identity"]}, _LAYERS], "default": "auto"}
    model = definitions["ModelFields"]["properties"]
    model["blocks"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/BlockFields"}}
    defaults = {name: {"$ref": _REF.format(model=layer.__name__)} for name, layer in LAYERS.items()}
    model["defaults"] = {"type": "object", "properties": defaults, "additionalProperties": False}
