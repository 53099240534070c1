"""Validation errors as problems with a position in the document and a readable message."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from cnncli.config.document import Problem, Route, contains, descend, dotted, parse_scalar
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
    # the name of an experiment is the only field with a pattern
    "string_pattern_mismatch": "must consist of letters, digits, '.', '_' and '-', and start with a letter or digit",
}


_MODEL = ("defaults", "blocks", "layers")
"""The fields of `model`, which is validated separately."""

SYNONYMS = {"learning_rate": "lr"}
"""Names that people give to fields."""


def choice_message(error: PydanticCustomError) -> str:
    """The message of an error raised by `open_choice` or `open_body`, with a suggestion."""
    return error.message() + _suggestion(error.context or {})


def _suggestion(context: dict[str, Any]) -> str:
    if context.get("remark"):
        return f"; {context['remark']}"
    if context.get("meant"):
        return f". Did you mean {context['meant']}?"
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
    unknown = [
        (_route(each["loc"][:-1], value), *_unknown_field(each, model, value)) for each in errors if _is_unknown(each)
    ]
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
        findings.setdefault((route, _is_unknown(details)), []).append(_finding(details, model, value))
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


def _finding(details: ErrorDetails, model: type[Spec], value: object) -> _Finding:
    context, message, found = details.get("ctx", {}), details["msg"], _yaml_text(details["input"])
    match details["type"]:
        case "extra_forbidden":
            suggestion, _ = _unknown_field(details, model, value)
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
        case "string_too_short" | "too_short":
            return _Finding("must not be empty")
        case "string_too_long":
            return _Finding(f"must have at most {context['max_length']} characters, found {len(details['input'])}")
        case "too_long":
            return _Finding(f"must have at most {context['max_length']} entries, found {context['actual_length']}")
        case "value_error":
            return _Finding(str(context.get("error", message)))
        case "int_type" | "int_from_float" if isinstance(details["input"], float) and details["input"] >= 2**63:
            return _Finding("must be a whole number below 2**63", found)
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


def _unknown_field(details: ErrorDetails, model: type[Spec], value: object) -> tuple[str, str]:
    """For an unknown field the suggestion, and the name of the similar field, if any."""
    *loc, name = details["loc"]
    models: list[type[Spec]] = [model]
    for step in loc:
        inside = [
            each for one in models if step in one.model_fields for each in _sections(one.model_fields[step].annotation)
        ]
        chosen: list[type[Spec]] = [each for each in models if issubclass(each, Choice) and each.type_name() == step]
        models = inside or chosen or models
    fields = [info.alias or field for each in models for field, info in each.model_fields.items() if field != "type"]
    route = _route(tuple(loc), value)
    meant: list[Route] = [("model", str(name))] if not route and name in _MODEL else []
    meant += (
        each
        for one in models
        for each in fields_below(one, descend(value, route))
        if each[-1] == SYNONYMS.get(str(name), name)
    )
    if meant:
        return f". Did you mean {dotted((*route, *meant[0]))}?", ""
    return did_you_mean(str(name), fields), nearest(str(name), fields)


def fields_below(section: type[Spec], value: object = None) -> Iterator[Route]:
    """Routes to all fields of the sections below a section, after those of fewer steps.

    Args:
        section: which.
        value: its value in a config, or None. Of a choice, only the type chosen there is searched: in a config with
            `optimizer: sgd` the field `lr` of `train` is `optimizer.sgd.lr`.
    """
    below = [(route, inner, descend(value, route)) for route, inner in _sections_below(section, value)]
    yield from ((*route, name) for route, inner, _ in below for name in inner.model_fields if name != "type")
    for route, inner, given in below:
        yield from ((*route, *rest) for rest in fields_below(inner, given))


def _sections_below(section: type[Spec], value: object) -> Iterator[tuple[Route, type[Spec]]]:
    """The sections in the fields of a section, and the types that are chosen there."""
    for field, info in section.model_fields.items():
        chosen = descend(value, (field,))
        if chosen is None and not info.is_required():
            chosen = info.get_default(call_default_factory=True)
        for inner in _sections(info.annotation):
            if not issubclass(inner, Choice):
                yield (field,), inner
            elif isinstance(chosen, inner) or inner.type_name() == chosen or contains(chosen, inner.type_name()):
                yield (field, inner.type_name()), inner


def _sections(annotation: Any) -> Iterator[type[Spec]]:  # noqa: ANN401  any type annotation
    """The sections in a type annotation."""
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple):
        for member in get_args(annotation):
            yield from _sections(member)
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
