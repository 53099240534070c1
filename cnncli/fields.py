"""What every section of a config shares: strict, frozen, and written the way people write YAML.

A section is a pydantic model whose field names are the YAML keys. A *choice* (a layer, an optimizer, a schedule) is
written as a bare word or as a mapping with one key, and a scalar stands for its principal field:

    relu                                    # every field has its default
    max_pool: 2                             # max_pool: {kernel_size: 2}
    conv: {out_channels: 6, kernel_size: 5}
"""

from collections.abc import Mapping
from dataclasses import dataclass
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

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Fraction01 = Annotated[float, Field(ge=0, lt=1)]


def _both_axes(value: object) -> object:
    """One number stands for both axes; a list is `[height, width]`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise PydanticCustomError("pair", "must be one whole number or [height, width]")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Listed = BeforeValidator(_as_tuple)
Pair = Annotated[
    tuple[Positive, Positive], BeforeValidator(_both_axes, json_schema_input_type=Positive | tuple[Positive, Positive])
]
PairFromZero = Annotated[
    tuple[Whole, Whole], BeforeValidator(_both_axes, json_schema_input_type=Whole | tuple[Whole, Whole])
]


class Spec(BaseModel):
    """A section of the config: frozen, keyword-only, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Choice(Spec):
    """One of several things a config may choose by name.

    Subclasses add `type: Literal["word"] = "word"`, the word in the YAML, and may name in `principal` the field that a
    scalar stands for.
    """

    type: str
    principal: ClassVar[str | None] = None

    @classmethod
    def type_name(cls) -> str:
        """The word that chooses this type in a config."""
        return str(cls.model_fields["type"].default)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema of the fields alone: the word that chooses them stands around them."""
        written = handler(schema)
        handler.resolve_ref_schema(written)["properties"].pop("type", None)
        return written

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> Any:  # noqa: ANN401  a word or a mapping, as in YAML
        body = dump(self)
        kind = body.pop("type")
        return {kind: body} if body else kind


def open_choice(value: object, kinds: Mapping[str, type[Choice]], what: str) -> tuple[str, dict[str, Any]]:
    """Split a choice as written into its word and its fields.

    Args:
        value: `word`, `{word: {field: ...}}`, `{word: scalar}` or `{word: null}`.
        kinds: the words that may be chosen.
        what: what is being chosen, for messages ("layer", "optimizer").

    Raises:
        PydanticCustomError: `choice_form` where the form is wrong, `unknown_word` where there is no such word.
    """
    if isinstance(value, str):
        word, body = value, None
    elif isinstance(value, dict) and len(value) == 1:
        ((word, body),) = value.items()
    else:
        found = f"the keys {', '.join(map(str, value))}" if isinstance(value, dict) and value else repr(value)
        raise PydanticCustomError(
            "choice_form", "must be a name or a mapping with one key, found {found}", {"found": found, "what": what}
        )
    if word not in kinds:
        raise PydanticCustomError(
            "unknown_word", "unknown {what}: {word}", {"what": what, "word": str(word), "choices": sorted(kinds)}
        )
    return word, open_body(body, kinds[word])


def open_body(body: object, kind: type[Choice]) -> dict[str, Any]:
    """The fields of a choice, with a scalar or a list put where the kind's principal field is."""
    if body is None:
        return {}
    if isinstance(body, dict):
        return body
    if kind.principal is None:
        raise PydanticCustomError(
            "no_principal",
            "{word} takes no single value; its fields are {fields}",
            {"word": kind.type_name(), "fields": ", ".join(f for f in kind.model_fields if f != "type") or "none"},
        )
    return {kind.principal: body}


@dataclass(frozen=True)
class OneOf:
    """Annotation of a field that holds a choice: `Annotated[Sgd | AdamW, OneOf("optimizer", Sgd, AdamW)]`.

    `aliases` are further words, as in `OneOf("norm", BatchNorm, aliases={"batch": BatchNorm})`; with `none` the word
    `none` chooses nothing.
    """

    what: str
    kinds: Mapping[str, type[Choice]]
    none: bool

    def __init__(
        self, what: str, *kinds: type[Choice], aliases: Mapping[str, type[Choice]] | None = None, none: bool = False
    ) -> None:
        object.__setattr__(self, "what", what)
        object.__setattr__(self, "kinds", {kind.type_name(): kind for kind in kinds} | dict(aliases or {}))
        object.__setattr__(self, "none", none)

    def _open(self, value: object) -> object:
        if self.none and value == "none":
            return None
        if value is None or isinstance(value, Choice):
            return value
        word, body = open_choice(value, self.kinds, self.what)
        return {"type": self.kinds[word].type_name(), **body}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401  pydantic's protocol
        tagged = core_schema.tagged_union_schema(
            {kind.type_name(): handler.generate_schema(kind) for kind in self.kinds.values()}, discriminator="type"
        )
        chosen = core_schema.nullable_schema(tagged) if self.none else tagged
        return core_schema.no_info_before_validator_function(self._open, chosen)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        bare = [
            word for word, kind in self.kinds.items() if not any(f.is_required() for f in kind.model_fields.values())
        ]
        fields = {word: handler(kind.__pydantic_core_schema__) for word, kind in self.kinds.items()}
        for word, kind in self.kinds.items():
            handler.resolve_ref_schema(fields[word])["properties"].pop("type", None)
            if kind.principal is not None:
                scalar = handler.resolve_ref_schema(fields[word])["properties"][kind.principal]
                fields[word] = {"anyOf": [fields[word], scalar]}
        one_key = {
            "type": "object",
            "properties": fields,
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        return {"anyOf": [{"enum": [*bare, "none", None] if self.none else bare}, one_key]}
