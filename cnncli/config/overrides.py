"""`--set a.b=c`: override any field of a config."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import yaml

from cnncli.config.document import Document, Route, parse_document
from cnncli.errors import UsageError
from cnncli.fields import Choice


def override(
    document: Document, assignments: Sequence[str], choices: dict[str, type[Choice]], *, option: str = "--set"
) -> Document:
    """The document with every assignment applied. Whether the fields exist is checked when the config is validated.

    Args:
        document: the config as read.
        assignments: such as `model.layers.0.conv.out_channels=8`; the value is strict YAML.
        choices: layers, optimizers, schedules and losses by name, to expand `conv: 32` into its fields if one of them
            is set.
        option: of the command line, for error messages.

    Raises:
        UsageError: an assignment is not of the form `path=value`, or its path leads through a scalar.
    """
    data = copy.deepcopy(document.data)
    overridden = dict(document.overridden)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        flag = f"{option} {assignment}"
        if not equals or not all(path.strip().split(".")):
            raise UsageError(f"{flag}: not of the form path=value", remedy=f"for example {option} train.epochs=3")
        route = _put(data, path.strip(), _parse(text, flag), choices, flag)
        overridden[route] = flag
    return replace(document, data=data, overridden=overridden)


def _parse(text: str, flag: str) -> Any:  # noqa: ANN401  plain YAML data
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        raise UsageError(f"{flag}: the value is not YAML", remedy="quote it for the shell") from None
    indented = "\n".join("  " + line for line in text.splitlines())
    return parse_document(f"value:\n{indented}" if text.strip() else "value:", name=f"{flag}").data["value"]


def _put(data: Any, path: str, value: Any, choices: dict[str, type[Choice]], flag: str) -> Route:  # noqa: ANN401  plain YAML data
    """Set the value at a dotted path and return its route; missing sections are created."""
    *parents, last = path.split(".")
    here: Any = data
    route: Route = ()
    for position, name in enumerate(parents):
        step = _step(here, name, flag)
        following = (*parents, last)[position + 1]
        child = here.get(step) if isinstance(here, dict) else here[step]
        expanded = _expanded(name, child, following, choices)
        _check_choice(name, expanded, following, choices, ".".join(parents[: position + 1]), flag)
        if not isinstance(expanded, dict | list):
            raise UsageError(
                f"{flag}: {'.'.join(parents[: position + 1])} is {child!r} and has no fields",
                remedy=f"set {'.'.join(parents[: position + 1])} itself",
            )
        here[step] = expanded
        here, route = expanded, (*route, step)
    step = _step(here, last, flag)
    here[step] = value
    return (*route, step)


def _step(here: dict[str, Any] | list[Any], name: str, flag: str) -> str | int:
    """A key of a mapping, or a position of a list."""
    if isinstance(here, dict):
        return name
    if not name.isdecimal() or int(name) >= len(here):
        raise UsageError(
            f"{flag}: {name} is not a position in a list of {len(here)}",
            remedy=f"positions are 0 to {len(here) - 1}" if here else None,
        )
    return int(name)


def _expanded(name: str, value: Any, following: str, choices: dict[str, type[Choice]]) -> Any:  # noqa: ANN401  plain YAML data
    """A value that can hold the key `following`: `adamw` becomes `{adamw: null}`, the 32 of `conv: 32` its field."""
    if value is None:
        return {}
    if isinstance(value, str) and following == value:
        return {value: None}
    choice = choices.get(name)
    if choice is not None and choice.principal is not None and not isinstance(value, dict):
        return {choice.principal: value}
    return value


def _check_choice(
    name: str,
    value: object,
    following: str,
    choices: dict[str, type[Choice]],
    path: str,
    flag: str,
) -> None:
    """Refuse a second choice, or a field of the choice, next to the existing choice.

    Raises:
        UsageError: the remedy is how to set the field, and how to choose something else.
    """
    chosen = [value] if isinstance(value, str) else [*value] if isinstance(value, dict) else []
    if name == "defaults" or len(chosen) != 1 or chosen[0] not in choices or following == chosen[0]:
        return
    raise UsageError(
        f"{flag}: {path} is {chosen[0]}",
        remedy=f"set one of its fields, {path}.{chosen[0]}.FIELD=VALUE, or replace it: {path}=NAME",
    )
