"""Base classes and field types of config sections.

A section is a strict, frozen pydantic model whose field names are the YAML keys. A *choice* (a layer, an optimizer, a
schedule) is a bare name or a mapping with one key, and a scalar sets its principal field:

    relu                                    # every field has its default
    max_pool: 2                             # max_pool: {kernel_size: 2}
    conv: {out_channels: 6, kernel_size: 5}
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError, core_schema

from cnncli.limits import MAX_CHANNELS, MAX_LENGTH

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Length = Annotated[int, Field(gt=0, le=MAX_LENGTH)]
LengthFromZero = Annotated[int, Field(ge=0, le=MAX_LENGTH)]
Channels = Annotated[int, Field(gt=0, le=MAX_CHANNELS)]
Fraction01 = Annotated[float, Field(ge=0, lt=1)]


def _both_axes(value: object) -> object:
    """One number applies to both axes; a list is `[height, width]`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise PydanticCustomError("pair", "must be one whole number or [height, width]")


def _both_ends(value: object) -> object:
    """One number applies to both ends of an axis; a list is `[before, after]`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise PydanticCustomError("pair", "must be one whole number or [before, after]")


def _all_sides(value: object) -> object:
    """One number applies to all sides; a list is `[height, width]`, each a number or `[before, after]`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return ((value, value), (value, value))
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise PydanticCustomError("pair", "must be one whole number, [height, width] or [[top, bottom], [left, right]]")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _bool_as_text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


Listed = BeforeValidator(_as_tuple)
NoBool = BeforeValidator(_bool_as_text)
"""For a `Literal` with 0 or 1, which Python takes `false` and `true` for."""
Pair = Annotated[
    tuple[Length, Length], BeforeValidator(_both_axes, json_schema_input_type=Length | tuple[Length, Length])
]
PairFromZero = Annotated[
    tuple[LengthFromZero, LengthFromZero],
    BeforeValidator(_both_axes, json_schema_input_type=LengthFromZero | tuple[LengthFromZero, LengthFromZero]),
]

_ENDS_INPUT = LengthFromZero | tuple[LengthFromZero, LengthFromZero]
Ends = Annotated[tuple[LengthFromZero, LengthFromZero], BeforeValidator(_both_ends, json_schema_input_type=_ENDS_INPUT)]
"""(before, after) along an axis."""
Sides = Annotated[
    tuple[Ends, Ends], BeforeValidator(_all_sides, json_schema_input_type=LengthFromZero | tuple[Ends, Ends])
]
"""((top, bottom), (left, right))."""


def given(*names: str) -> dict[str, Any]:
    """A JSON Schema of mappings in which all these fields have a value other than null."""
    return {"required": [*names], "properties": {name: {"not": {"type": "null"}} for name in names}}


class Spec(BaseModel):
    """A section of a config. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Choice(Spec):
    """An alternative that a config selects by name, such as a layer or an optimizer.

    Subclasses define `type: Literal["name"] = "name"`, the name in the YAML. `principal` is the field that a scalar
    sets. `other_names` are names of the type in other tools, for suggestions.
    """

    type: str
    principal: ClassVar[str | None] = None
    other_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def type_name(cls) -> str:
        """The name that chooses this type in a config."""
        return str(cls.model_fields["type"].default)

    @classmethod
    def names_elsewhere(cls) -> tuple[str, ...]:
        """Its names in other tools."""
        return cls.other_names

    @classmethod
    def has_required_fields(cls) -> bool:
        """Whether some field has no default, so that the bare name does not suffice."""
        return any(field.is_required() for field in cls.model_fields.values())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema of the fields without `type`, which is the key above them."""
        fields = handler(schema)
        handler.resolve_ref_schema(fields)["properties"].pop("type", None)
        return fields

    @model_serializer(mode="wrap")
    def _as_yaml(self, dump: SerializerFunctionWrapHandler) -> Any:  # noqa: ANN401  a name or a mapping, as in YAML
        fields = dump(self)
        name = fields.pop("type")
        return {name: fields} if fields else name


def named_elsewhere(name: str, types: Mapping[str, type[Choice]]) -> str:
    """The type that other tools call `name`, such as `Conv2d` or `nn.Conv2d`; empty if there is none."""
    plain = name.rpartition(".")[2].lower()
    return next((own for own, each in types.items() if plain in map(str.lower, each.names_elsewhere())), "")


def open_choice(
    value: object, types: Mapping[str, type[Choice]], what: str, remarks: Mapping[str, str] | None = None
) -> tuple[str, dict[str, Any]]:
    """Split a choice in a config into its name and its fields.

    Args:
        value: `name`, `{name: {field: ...}}`, `{name: scalar}` or `{name: null}`.
        types: the types that may be chosen, by name.
        what: what is being chosen, for messages: `layer`, `optimizer`.
        remarks: what to say about names that are none of these types.

    Raises:
        PydanticCustomError: `choice_form` for another form of value, `unknown_choice` for an unknown name.
    """
    if isinstance(value, str):
        name, body = value, None
    elif isinstance(value, dict) and len(value) == 1:
        ((name, body),) = value.items()
    else:
        found = f"the keys {', '.join(map(str, value))}" if isinstance(value, dict) and value else repr(value)
        raise PydanticCustomError(
            "choice_form", "must be a name or a mapping with one key, found {found}", {"found": found, "what": what}
        )
    if name not in types:
        context = {
            "what": what,
            "name": str(name),
            "choices": sorted(types),
            "meant": named_elsewhere(str(name), types),
            "remark": (remarks or {}).get(str(name).lower(), ""),
        }
        raise PydanticCustomError("unknown_choice", "unknown {what}: {name}", context)
    return name, open_body(body, types[name])


def open_body(body: object, chosen: type[Choice]) -> dict[str, Any]:
    """The fields of a choice; a scalar or a list is the value of its principal field."""
    if body is None:
        return {}
    if isinstance(body, dict):
        return body
    if chosen.principal is None:
        fields = ", ".join(name for name in chosen.model_fields if name != "type") or "none"
        raise PydanticCustomError(
            "no_principal",
            "{name} takes no single value; its fields are {fields}",
            {"name": chosen.type_name(), "fields": fields},
        )
    return {chosen.principal: body}


class OneOf:
    """Annotation of a field that holds a choice: `Annotated[Sgd | AdamW, OneOf("optimizer", Sgd, AdamW)]`.

    `aliases` are further names, as in `OneOf("norm", BatchNorm, aliases={"batch": BatchNorm})`; with `none` the name
    `none` chooses nothing; `remarks` are what to say about names that are none of these types.
    """

    def __init__(
        self,
        what: str,
        *types: type[Choice],
        aliases: Mapping[str, type[Choice]] | None = None,
        none: bool = False,
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        self.what, self.none, self.remarks = what, none, remarks
        self.types: dict[str, type[Choice]] = {each.type_name(): each for each in types} | dict(aliases or {})

    def _open(self, value: object) -> object:
        if self.none and value == "none":
            return None
        if value is None or isinstance(value, Choice):
            return value
        name, body = open_choice(value, self.types, self.what, self.remarks)
        return {"type": self.types[name].type_name(), **body}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401  pydantic's protocol
        tagged = core_schema.tagged_union_schema(
            {each.type_name(): handler.generate_schema(each) for each in self.types.values()}, discriminator="type"
        )
        chosen = core_schema.nullable_schema(tagged) if self.none else tagged
        return core_schema.no_info_before_validator_function(self._open, chosen)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        bare = [name for name, each in self.types.items() if not each.has_required_fields()]
        fields = {name: handler(each.__pydantic_core_schema__) for name, each in self.types.items()}
        for name, each in self.types.items():
            of_type = handler.resolve_ref_schema(fields[name])
            of_type["properties"].pop("type", None)
            alone = [] if each.principal is None else [of_type["properties"][each.principal]]
            empty = [] if each.has_required_fields() else [{"type": "null"}]
            fields[name] = {"anyOf": [fields[name], *alone, *empty]}
        one_key = {
            "type": "object",
            "properties": fields,
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        return {"anyOf": [{"enum": [*bare, "none", None] if self.none else bare}, one_key]}
