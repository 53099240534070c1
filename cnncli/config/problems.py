"""Validation errors in words people understand, each at its place in the document."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from cnncli.config.document import Problem, Route, parse_scalar
from cnncli.fields import Choice, OneOf, Spec

_PLAIN = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a word",
    "model_type": "must be a section with fields",
    "dict_type": "must be a section with fields",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
}


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean x?` where a choice is near, else the choices if they are few, else nothing."""
    choices = list(choices)
    near = nearest(word, choices)
    if near:
        return f"; did you mean {near}?"
    return f"; it is one of {', '.join(choices)}" if 0 < len(choices) <= 40 else ""


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice most like a word, whatever its case; nothing where none is."""
    lower = {choice.lower(): choice for choice in choices}
    return next((lower[near] for near in get_close_matches(word.lower(), lower, n=1)), "")


def custom_message(error: PydanticCustomError) -> str:
    """The message of a choice that could not be opened, with the near choice."""
    context = error.context or {}
    choices = context.get("choices", ())
    return error.message() + did_you_mean(str(context.get("word", "")), choices)


def problems_of(error: ValidationError, model: type[Spec], base: Route = ()) -> list[Problem]:
    """Every error of a validation as a Problem.

    Args:
        error: what pydantic found.
        model: the model that was validated, for the names of the fields that exist.
        base: where in the document the validated value stands.
    """
    told: dict[tuple[Route, bool], list[_Told]] = {}
    misspelled: set[Route] = set()
    for details in error.errors(include_url=False):
        route, at_key, explained = _explain(details, model)
        told.setdefault(((*base, *route), at_key), []).append(explained)
        if explained.meant:
            misspelled.add((*base, *route[:-1], explained.meant))
    return [
        Problem(route, _join(each), at_key)
        for (route, at_key), each in told.items()
        if not any((*route, one.missing) in misspelled for one in each)
    ]


@dataclass(frozen=True)
class _Told:
    """What one error says: what should stand there, what was found instead, and what was probably meant."""

    what: str
    found: str = ""
    near: str = ""
    meant: str = ""
    missing: str = ""


def _join(told: list[_Told]) -> str:
    """The errors of one place as one message: `must be same or valid or one whole number, found sane; ...`."""
    what = " or ".join(dict.fromkeys(each.what for each in told)).replace(" or must be ", " or ")
    found = next((each.found for each in told if each.found), "")
    return what + (f", found {found}" if found else "") + next((each.near for each in told if each.near), "")


def _explain(details: ErrorDetails, model: type[Spec]) -> tuple[Route, bool, _Told]:
    """Where an error is (relative to the model), whether it is about the key, and what it says."""
    kind, context, message = details["type"], details.get("ctx", {}), details["msg"]
    route = tuple(_spoken(details["loc"], model))
    found = _shown(details["input"])
    if kind == "extra_forbidden":
        owner = _model_at(model, route[:-1]) or model
        fields = [name for name in owner.model_fields if name != "type"]
        meant = nearest(str(route[-1]), fields)
        return route, True, _Told("there is no such field", near=did_you_mean(str(route[-1]), fields), meant=meant)
    if kind == "missing":
        return route[:-1], False, _Told(f"{route[-1]} is required", missing=str(route[-1]))
    if kind == "literal_error":
        words = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        near = nearest(found, words) if isinstance(details["input"], str) else ""
        meant = f"; did you mean {near}?" if near else ""
        return route, False, _Told("must be " + " or ".join(words), found, meant)
    if kind in ("unknown_word", "choice_form", "no_principal"):
        return route, False, _Told(message, near=did_you_mean(str(context.get("word", "")), context.get("choices", ())))
    if kind == "pair":
        return route, False, _Told(message, found)
    if kind in _PLAIN:
        return route, False, _Told(_PLAIN[kind], found)
    if kind == "too_long":
        return route, False, _Told(f"takes {context['max_length']} at most, found {context['actual_length']}")
    if kind == "value_error":
        return route, False, _Told(str(context.get("error", message)))
    if message.startswith("Input should be"):
        return route, False, _Told(message.replace("Input should be", "must be"), found)
    return route, False, _Told(message)


def _shown(value: object) -> str:
    """A value as YAML would have it, shortened."""
    text = {None: "nothing", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else None
    text = text or (value if isinstance(value, str) and parse_scalar(value) == value else repr(value))
    return text if len(text) <= 40 else text[:37] + "..."


def _spoken(loc: tuple[int | str, ...], model: type[Spec]) -> Iterator[str | int]:
    """The part of pydantic's location that is keys of the document: members of a plain union are left out."""
    here: type[Spec] | None = model
    pending: OneOf | None = None
    for step in loc:
        if pending is not None:
            here, pending = _chosen(pending, step), None
            yield step
        elif here is not None and step in here.model_fields:
            here, pending = _inside(here, str(step))
            yield step
        elif isinstance(step, int) or (here is not None and step == loc[-1]):
            yield step


def _model_at(model: type[Spec], route: Route) -> type[Spec] | None:
    here: type[Spec] | None = model
    pending: OneOf | None = None
    for step in route:
        if pending is not None:
            here, pending = _chosen(pending, step), None
        elif here is not None and step in here.model_fields:
            here, pending = _inside(here, str(step))
    return here


def _chosen(choice: OneOf, word: str | int) -> type[Choice] | None:
    return choice.kinds.get(str(word))


def _inside(model: type[Spec], name: str) -> tuple[type[Spec] | None, OneOf | None]:
    """The section or the choice that a field holds."""
    field = model.model_fields[name]
    for mark in (*field.metadata, *_marks(field.annotation)):
        if isinstance(mark, OneOf):
            return None, mark
    sections = [each for each in _members(field.annotation) if isinstance(each, type) and issubclass(each, Spec)]
    return (sections[0], None) if sections else (None, None)


def _members(annotation: Any) -> Iterator[Any]:  # noqa: ANN401  any type annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _marks(annotation: Any) -> Iterator[Any]:  # noqa: ANN401  any type annotation
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _marks(member)
