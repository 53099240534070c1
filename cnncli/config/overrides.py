"""`--set a.b=c`: any field of a config changed for one run."""

import copy
from collections.abc import Sequence
from typing import Any

import yaml

from cnncli.config.document import Document, Route, parse_document
from cnncli.errors import UsageError
from cnncli.fields import Choice


def override(document: Document, assignments: Sequence[str], kinds: dict[str, type[Choice]]) -> Document:
    """The document with every `path=value` put in; whether the fields exist is for the config's own checks to say.

    Args:
        document: the config as read.
        assignments: `model.layers.0.conv.out_channels=8`; the value is read as the config's YAML.
        kinds: the choices of the config by word, to open `conv: 32` into its fields where one of them is set.

    Raises:
        UsageError: an assignment that is not `path=value`, or that goes through something that has no fields.
    """
    data = copy.deepcopy(document.data)
    overridden = dict(document.overridden)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.strip().split(".")):
            raise UsageError(f"--set {assignment}: not of the form path=value", remedy="--set train.epochs=3")
        route = _put(data, path.strip(), _parse(text, assignment), kinds, assignment)
        overridden[route] = assignment
    return Document(
        name=document.name,
        text=document.text,
        data=data,
        marks=document.marks,
        key_marks=document.key_marks,
        overridden=overridden,
    )


def _parse(text: str, assignment: str) -> Any:  # noqa: ANN401  plain YAML data
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise UsageError(f"--set {assignment}: the value is not YAML", remedy="quote it for the shell") from None
    indented = "\n".join("  " + line for line in text.splitlines())
    return parse_document(f"value:\n{indented}" if text.strip() else "value:", name=f"--set {assignment}").data["value"]


def _put(data: Any, path: str, value: Any, kinds: dict[str, type[Choice]], assignment: str) -> Route:  # noqa: ANN401  plain YAML data
    """Set the value at a dotted path and return its route; sections that are missing are made on the way."""
    *parents, last = path.split(".")
    here: Any = data
    route: Route = ()
    for position, name in enumerate(parents):
        step = _step(here, name, assignment)
        following = (*parents, last)[position + 1]
        child = here.get(step) if isinstance(here, dict) else here[step]
        opened = _opened(name, child, following, kinds)
        _check_choice(name, opened, following, kinds, ".".join(parents[: position + 1]), assignment)
        if not isinstance(opened, dict | list):
            raise UsageError(
                f"--set {assignment}: {'.'.join(parents[: position + 1])} is {child!r} and has no fields",
                remedy=f"set {'.'.join(parents[: position + 1])} itself",
            )
        here[step] = opened
        here, route = opened, (*route, step)
    step = _step(here, last, assignment)
    here[step] = value
    return (*route, step)


def _step(here: dict[str, Any] | list[Any], name: str, assignment: str) -> str | int:
    """A key of a mapping, or a position of a list."""
    if isinstance(here, dict):
        return name
    if not name.isdecimal() or int(name) >= len(here):
        raise UsageError(
            f"--set {assignment}: {name!r} is no position in a list of {len(here)}",
            remedy=f"positions are 0 to {len(here) - 1}" if here else None,
        )
    return int(name)


def _opened(name: str, value: Any, following: str, kinds: dict[str, type[Choice]]) -> Any:  # noqa: ANN401  plain YAML data
    """A value that can take the key `following`: `adamw` becomes `{adamw: null}`, `conv: 32` its principal field."""
    if value is None:
        return {}
    if isinstance(value, str) and following == value:
        return {value: None}
    kind = kinds.get(name)
    if kind is not None and kind.principal is not None and not isinstance(value, dict):
        return {kind.principal: value}
    return value


def _check_choice(
    name: str,
    value: object,
    following: str,
    kinds: dict[str, type[Choice]],
    path: str,
    assignment: str,
) -> None:
    """Refuse to put a second choice, or a field of the choice, beside the one that was made.

    Raises:
        UsageError: says how to set the field, and how to choose something else.
    """
    words = [value] if isinstance(value, str) else [*value] if isinstance(value, dict) else []
    if name == "defaults" or len(words) != 1 or words[0] not in kinds or following == words[0]:
        return
    raise UsageError(
        f"--set {assignment}: {path} is {words[0]}",
        remedy=f"set a field of it, {path}.{words[0]}.FIELD=VALUE, or choose another: {path}=WORD",
    )
