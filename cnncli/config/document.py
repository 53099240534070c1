"""Strict YAML with positions: plain data, and the line and column of every value.

Scalars have the value that a reader expects: `1e-3` is a number, `no` and `off` are strings, `010` is ten, duplicate
keys are errors, and there are no tags, dates or merge keys.
"""

import functools
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import yaml

from cnncli.errors import ConfigError
from cnncli.file_types import PREFIX, FileType, file_type, type_of_bytes
from cnncli.files import open_to_read
from cnncli.limits import MAX_CONFIG_BYTES, MAX_DEPTH, MAX_VALUES

_log = logging.getLogger(__name__)

Route = tuple[str | int, ...]
"""Keys and list positions that lead from the top of a document to a value."""

_CONSTANTS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "true": True,
    "True": True,
    "false": False,
    "False": False,
}
_WHOLE = re.compile(r"[-+]?\d+(_\d+)*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{tag}"
    for tag in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "seq", "map")
}
_MAX_DIGITS = 19
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, order=True)
class Mark:
    """A position in a file: line and column, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """A problem in a config, and its position.

    Attributes:
        route: the value it is about; if the document lacks it, its nearest ancestor is shown.
        message: what is wrong.
        at_key: whether the key is wrong, not the value.
        also: related places, each with an explanation.
        missing: name of the required field that is missing, if that is the problem.
    """

    route: Route
    message: str
    at_key: bool = False
    also: tuple[tuple[Route, str], ...] = ()
    missing: str | None = None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A config as it was read.

    Attributes:
        name: the file's name for messages.
        text: content of the file.
        data: plain dicts, lists and scalars.
        marks: position of each value.
        key_marks: position of each key.
        overridden: values set on the command line, with the option and its text: `--set train.epochs=3`.
    """

    name: str
    text: str
    data: Any
    marks: dict[Route, Mark] = field(default_factory=dict)
    key_marks: dict[Route, Mark] = field(default_factory=dict)
    overridden: dict[Route, str] = field(default_factory=dict)

    def raise_problems(self, problems: Iterable[Problem]) -> None:
        """Raise one ConfigError that lists all `problems` in the order of the file, if there are any."""
        ordered = sorted(problems, key=lambda problem: self._mark(problem.route, problem.at_key))
        messages = dict.fromkeys(self._message(problem) for problem in ordered)
        if messages:
            raise ConfigError("\n".join(messages))

    def place(self, route: Route) -> str:
        """Where a value comes from: `file:line:column`, or the option that has set it."""
        known = self._known(route)
        if known in self.overridden:
            return f"{self.overridden[known]}:"
        mark = self._mark(route, at_key=False)
        return f"{self.name}:{mark.line}:{mark.column}"

    def _known(self, route: Route) -> Route:
        """The longest part of `route` that is in the file or was set by `--set`."""
        while route and route not in self.marks and route not in self.overridden:
            route = route[:-1]
        return route

    def _mark(self, route: Route, at_key: bool) -> Mark:
        if at_key and route in self.key_marks:
            return self.key_marks[route]
        return self.marks.get(self._known(route), Mark(1, 1))

    def _message(self, problem: Problem) -> str:
        known = self._known(problem.route)
        path = dotted(problem.route if problem.at_key else known)
        override = next(
            (self.overridden[known[:n]] for n in range(len(known), 0, -1) if known[:n] in self.overridden), None
        )
        message = f"{path}: {problem.message}" if path else problem.message
        if override is not None:
            lines = [f"{override}: {message}"]
        else:
            below = [flag for route, flag in self.overridden.items() if route[: len(known)] == known != ()]
            message += f" (with {', '.join(below)})" if below else ""
            lines = self.quote(self._mark(problem.route, problem.at_key), message)
        for route, why in problem.also:
            lines += self.quote(self._mark(route, at_key=True), why)
        return "\n".join(lines)

    def quote(self, mark: Mark, message: str) -> list[str]:
        """`file:line:column message`, the line itself, and a caret under the position."""
        lines = [f"{self.name}:{mark.line}:{mark.column} {message}"]
        source = self.text.splitlines()
        if mark.line <= len(source):
            line = source[mark.line - 1].replace("\t", " ")
            lines += [f"{mark.line:5} | {line}", f"{'':5} | {'':{mark.column - 1}}^"]
        return lines


def dotted(route: Route) -> str:
    """A route in the form that `--set` takes: `model.layers.0.conv`."""
    return ".".join(map(str, route))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a document describes, for messages.

    Attributes:
        noun: with its article.
        keys: of its mapping.
        remedy: for a file that is not found.
    """

    noun: str
    keys: str
    remedy: str


CONFIG = Kind(
    noun="a config",
    keys="version, name, data, model, train and log",
    remedy="cnncli init NAME writes a config to start from",
)


def read_document(path: Path, kind: Kind = CONFIG) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: the file cannot be read, or is not strict YAML.
    """
    try:
        with open_to_read(path) as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
        type = file_type(path) if path.is_file() else type_of_bytes(raw[:PREFIX])  # a pipe can be read only once
    except FileNotFoundError:
        raise ConfigError(f"{kind.noun.split()[-1]} not found: {path}", remedy=kind.remedy) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return _parse_bytes(raw, type, name=str(path), kind=kind)


_STDIN = "<stdin>"


def read_stdin() -> Document:
    """Read YAML from standard input, whose name in messages is `<stdin>`. Reading it again gives the same.

    Raises:
        ConfigError: there is no input, or it is not strict YAML.
    """
    raw = b"" if sys.stdin is None else _content(sys.stdin)
    if not raw.strip():
        raise ConfigError(
            f"{_STDIN} is empty, but a config is expected there",
            remedy="give a config in place of -, or pipe one into the command: cnncli inspect - < my.yaml",
        )
    return _parse_bytes(raw, type_of_bytes(raw[:PREFIX]), name=_STDIN, kind=CONFIG)


@functools.lru_cache(maxsize=1)  # a stream can be read only once
def _content(stream: TextIO) -> bytes:
    if stream.isatty():
        end = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
        _log.info(f"reading a config from the terminal; end it with {end} on a new line")
    return stream.buffer.read(MAX_CONFIG_BYTES + 1)


def _parse_bytes(raw: bytes, type: FileType | None, *, name: str, kind: Kind) -> Document:
    if type is not None:
        raise ConfigError(f"{name} is {type.what}, not {kind.noun}", remedy=type.remedy)
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"{name} has more than {MAX_CONFIG_BYTES:,} bytes, the limit of {kind.noun}",
            remedy="use repeat, blocks and defaults for layers that are alike",
        )
    try:
        return parse_document(raw.decode("utf-8-sig"), name=name, kind=kind)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line} is not UTF-8 text", remedy="save the file as UTF-8") from None


def parse_document(text: str, *, name: str, kind: Kind = CONFIG) -> Document:
    """Parse YAML text; see `read_document`."""
    document = Document(name=name, text=text, data=None)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        context = f"{error.context}: " if error.context else ""
        raise ConfigError("\n".join(document.quote(place, f"not YAML: {context}{error.problem}"))) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {error}") from None
    except _TooDeepError as error:
        raise ConfigError(f"{name}:{error.line}: nested more than {MAX_DEPTH} deep") from None
    builder = _Builder(document)
    data = builder.value(node, ()) if node else None
    document.raise_problems(builder.problems)
    if not text.strip():
        raise ConfigError(f"{name} is empty", remedy=kind.remedy)
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: {kind.noun} must be a mapping with the keys {kind.keys}")
    return replace(document, data=data)


def parse_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted YAML scalar: null, true or false, a number, or the string itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _NUMBER.fullmatch(text) and len(text) <= 2 * _MAX_DIGITS:
        return float(text)
    return text


class _TooDeepError(Exception):
    """Nodes are nested more deeply than any config, in a line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Ends at nodes far too deep: the time that PyYAML takes grows with the square of the depth, up to its crash."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401  as in PyYAML
        self._depth += 1
        if self._depth > 2 * MAX_DEPTH:  # a mistake below that is described better by its kind
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs say nothing of it
            raise _TooDeepError(event.start_mark.line + 1)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Turns YAML nodes into plain data and records the position of each value."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.open: list[yaml.Node] = []
        self.count = 0

    def value(self, node: yaml.Node, route: Route) -> Any:  # noqa: ANN401  plain YAML data
        """The data of the node at `route`."""
        self.document.marks[route] = _mark(node)
        self.count += 1
        if self.count > MAX_VALUES:
            raise ConfigError(f"{self.document.name}: more than {MAX_VALUES:,} values, aliases included")
        if len(route) > MAX_DEPTH:
            raise ConfigError(f"{self.document.name}:{_mark(node).line}: nested more than {MAX_DEPTH} deep")
        if node in self.open:
            self.problems.append(Problem(route, "this alias contains itself"))
            return None
        self.open.append(node)
        try:
            return self._plain(node, route)
        finally:
            self.open.pop()

    def _plain(self, node: yaml.Node, route: Route) -> Any:  # noqa: ANN401  plain YAML data
        if node.tag not in _PLAIN_TAGS:
            self.problems.append(Problem(route, f"YAML tags such as {node.tag} are not supported"))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*route, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, route))
        assert isinstance(node, yaml.ScalarNode), "YAML has three types of nodes"
        if _SURROGATE.search(node.value):
            self.problems.append(Problem(route, "has a surrogate, which is half of a character and no text"))
        return parse_scalar(node.value) if node.style is None else node.value

    def _items(self, node: yaml.MappingNode, route: Route) -> Iterator[tuple[str, Any]]:
        seen: dict[str, yaml.Node] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.document.marks[(*route, "?")] = _mark(key)
                self.problems.append(Problem((*route, "?"), "a key must be a string"))
                continue
            name = str(key.value)
            if _SURROGATE.search(name):
                self.document.marks[(*route, "?")] = _mark(key)
                self.problems.append(Problem((*route, "?"), "a key must be text, without surrogates"))
                continue
            if name in seen:
                self.document.marks[(*route, name)] = _mark(key)
                line = _mark(seen[name]).line
                self.problems.append(Problem((*route, name), f"duplicate key, first defined on line {line}"))
                continue
            seen[name] = key
            self.document.key_marks[(*route, name)] = _mark(key)
            yield name, self.value(child, (*route, name))


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def contains(data: object, step: str | int) -> bool:
    """Whether a mapping has a key, or a list a position."""
    if isinstance(data, list | tuple):
        return isinstance(step, int) and 0 <= step < len(data)
    return isinstance(data, dict) and step in data


def descend(data: Any, route: Sequence[str | int]) -> Any:  # noqa: ANN401  plain YAML data
    """The value at `route`, or None if there is none."""
    for step in route:
        if not contains(data, step):
            return None
        data = data[step]
    return data
