"""Validation errors as problems with a position in the document and a readable message."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from cnncli.config.document import Problem, Route, contains, descend, parse_scalar
from cnncli.errors import did_you_mean, nearest
from cnncli.fields import Choice, Spec

_MESSAGES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
}


def choice_message(error: PydanticCustomError) -> str:
    """The message of an error raised by `open_choice` or `open_body`, with a suggestion."""
    return error.message() + _suggestion(error.context or {})


def _suggestion(context: dict[str, Any]) -> str:
    return did_you_mean(str(context.get("name", "")), context.get("choices", ()))


@dataclass(frozen=True)
class _Finding:
    """One error: what is expected there, what was found, and a suggestion, which ends the message."""

    expected: str
    found: str = ""
    suggestion: str = ""


def problems_of(error: ValidationError, model: type[Spec], value: object, base: Route = ()) -> list[Problem]:
    """The errors of a validation as problems. Errors of several members of a union become one problem.

    A required field counts as misspelled, not as missing, if the name of an unknown field is similar.

    Args:
        error: the error that pydantic raised.
        model: the model that was validated.
        value: the value that was validated.
        base: the place of the value in the document.
    """
    errors = error.errors(include_url=False)
    unknown = [(_route(each["loc"][:-1], value), *_unknown_field(each, model)) for each in errors if _is_unknown(each)]
    misspelled = {(*route, meant) for route, _, meant in unknown if meant}
    findings: dict[tuple[Route, bool], list[_Finding]] = {}
    missing: dict[Route, str] = {}
    for details in errors:
        route = _route(details["loc"], value)
        if details["type"] == "missing":
            name = str(details["loc"][-1])
            if (*route, name) in misspelled:
                continue
            missing[route] = name
        findings.setdefault((route, _is_unknown(details)), []).append(_finding(details, model))
    return [
        Problem((*base, *route), _joined(each), at_key, missing=missing.get(route))
        for (route, at_key), each in findings.items()
    ]


def _is_unknown(details: ErrorDetails) -> bool:
    return details["type"] == "extra_forbidden"


def _joined(findings: list[_Finding]) -> str:
    """The errors of one place as one message, such as `must be same or valid, found sane. Did you mean same?`."""
    expected = " or ".join(dict.fromkeys(each.expected for each in findings)).replace(" or must be ", " or ")
    found = next((f", found {each.found}" for each in findings if each.found), "")
    return expected + found + next((each.suggestion for each in findings if each.suggestion), "")


def _finding(details: ErrorDetails, model: type[Spec]) -> _Finding:
    context, message, found = details.get("ctx", {}), details["msg"], _yaml_text(details["input"])
    match details["type"]:
        case "extra_forbidden":
            suggestion, _ = _unknown_field(details, model)
            return _Finding("unknown field", suggestion=suggestion)
        case "missing":
            return _Finding(f"{details['loc'][-1]} is required")
        case "literal_error":
            choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
            expected = (
                f"must be {' or '.join(choices)}" if len(choices) <= 2 else f"must be one of {', '.join(choices)}"
            )
            near = nearest(found, choices) if isinstance(details["input"], str) else ""
            return _Finding(expected, found, f". Did you mean {near}?" if near else "")
        case "unknown_choice" | "choice_form" | "no_principal":
            return _Finding(message, suggestion=_suggestion(context))
        case "pair":
            return _Finding(message, found)
        case "too_long":
            return _Finding(f"must have at most {context['max_length']} entries, found {context['actual_length']}")
        case "value_error":
            return _Finding(str(context.get("error", message)))
        case known if known in _MESSAGES:
            return _Finding(_MESSAGES[known], found)
    if message.startswith("Input should be"):
        return _Finding(message.replace("Input should be", "must be"), found)
    return _Finding(message)


def _yaml_text(value: object) -> str:
    """A value as in YAML, shortened."""
    constants = {None: "nothing", True: "true", False: "false"}
    if isinstance(value, bool | None):
        return constants[value]
    text = value if isinstance(value, str) and parse_scalar(value) == value else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _route(loc: tuple[int | str, ...], value: object) -> Route:
    """The part of pydantic's location that leads through the value; it also contains names of union members."""
    route: Route = ()
    for step in loc:
        if contains(descend(value, route), step):
            route = (*route, step)
    return route


def _unknown_field(details: ErrorDetails, model: type[Spec]) -> tuple[str, str]:
    """For an unknown field the suggestion, and the name of the similar field, if any."""
    *loc, name = details["loc"]
    models: list[type[Spec]] = [model]
    for step in loc:
        inside = [
            each for one in models if step in one.model_fields for each in _sections(one.model_fields[step].annotation)
        ]
        chosen: list[type[Spec]] = [each for each in models if issubclass(each, Choice) and each.type_name() == step]
        models = inside or chosen or models
    fields = [field for each in models for field in each.model_fields if field != "type"]
    return did_you_mean(str(name), fields), nearest(str(name), fields)


def _sections(annotation: Any) -> Iterator[type[Spec]]:  # noqa: ANN401  any type annotation
    """The sections in a type annotation."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for member in get_args(annotation):
            yield from _sections(member)
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
