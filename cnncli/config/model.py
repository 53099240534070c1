"""The `model:` section read into a tree of layers: defaults merged in, blocks opened, repeats written out.

Shapes play no part here; `network` adds them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from cnncli.config.document import Document, Problem, Route
from cnncli.config.problems import custom_message, did_you_mean, problems_of
from cnncli.fields import Spec, open_body
from cnncli.layers import LAYERS, Activation, Layer
from cnncli.layers.activation import ActivationChoice


@dataclass(frozen=True)
class Place:
    """Where a layer stands in the config, and through which uses of blocks it got there, innermost last."""

    route: Route
    uses: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Single:
    """One layer."""

    layer: Layer
    place: Place


@dataclass(frozen=True)
class Residual:
    """A main path and a shortcut around it, added."""

    main: "Sequence"
    shortcut: "Sequence | Literal['auto', 'identity']"
    activation: Activation | None
    name: str | None
    place: Place


@dataclass(frozen=True)
class Branch:
    """Several paths from one input, added or concatenated."""

    paths: tuple["Sequence", ...]
    merge: Literal["concat", "add"]
    name: str | None
    place: Place


@dataclass(frozen=True)
class Block:
    """One use of a named block."""

    word: str
    items: "Sequence"
    name: str | None
    place: Place


Item = Single | Residual | Branch | Block
Sequence = tuple[Item, ...]


_MOST_LAYERS = 10_000
_STRUCTURES = ("repeat", "residual", "branch")
_OTHER_WORDS = {
    "dense": "linear",
    "fc": "linear",
    "fully_connected": "linear",
    "softmax": "logits: the loss has the softmax in it",
}
"""What other tools call things."""
_FieldsT = TypeVar("_FieldsT", bound=Spec)


class ResidualFields(Spec):
    """The keys of `residual:`."""

    main: list[Any]
    shortcut: list[Any] | Literal["auto", "identity"] = "auto"
    activation: ActivationChoice = None
    name: str | None = None


class BranchFields(Spec):
    """The keys of `branch:`."""

    merge: Literal["concat", "add"]
    paths: list[list[Any]]
    name: str | None = None


class RepeatFields(Spec):
    """The keys of `repeat:`."""

    times: int
    layers: list[Any]


class ModelFields(Spec):
    """The keys of the `model:` section."""

    defaults: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    layers: list[Any]


class BlockFields(Spec):
    """The keys of one entry of `model.blocks`; a parameter that is `required` has no default."""

    params: dict[str, Any] = {}
    layers: list[Any]


def read_blueprint(document: Document, problems: list[Problem]) -> Sequence:
    """The layers of a config as a tree; what is wrong with them is added to `problems`."""
    model = document.data.get("model")
    if not isinstance(model, dict):
        return ()  # the check of the whole config has said so
    try:
        fields = ModelFields.model_validate(model)
    except ValidationError as error:
        problems += problems_of(error, ModelFields, ("model",))
        return ()
    reader = _Reader(problems)
    reader.read_defaults(fields.defaults)
    reader.read_blocks(fields.blocks)
    return reader.sequence(fields.layers, Place(("model", "layers")))


@dataclass
class _Reader:
    """Reads lists of layers, collecting what is wrong instead of stopping at the first."""

    problems: list[Problem]
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    blocks: dict[str, BlockFields] = field(default_factory=dict)
    faulty_blocks: set[str] = field(default_factory=set)
    count: int = 0

    def report(self, place: Place, message: str, *, at_key: bool = False) -> None:
        """Note a problem, naming the uses of blocks that led to it."""
        also = tuple((use, "in the block used here") for use in reversed(place.uses))
        self.problems.append(Problem(place.route, message, at_key, also))

    def report_validation(self, error: ValidationError, model: type[Spec], place: Place, route: Route) -> None:
        """Note every error of a validation of what stands at `route`."""
        for problem in problems_of(error, model, route):
            self.report(Place(problem.route, place.uses), problem.message, at_key=problem.at_key)

    def read_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Check and keep `model.defaults`: fields for every layer of a kind."""
        for word, body in defaults.items():
            route: Route = ("model", "defaults", word)
            if word not in LAYERS:
                self.report(Place(route), f"there is no layer {word}{did_you_mean(word, LAYERS)}", at_key=True)
                continue
            try:
                fields = open_body(body, LAYERS[word])
            except PydanticCustomError as error:
                self.report(Place(route), custom_message(error))
                continue
            try:
                LAYERS[word].model_validate(fields)
            except ValidationError as error:
                given = [p for p in problems_of(error, LAYERS[word], route) if not p.message.endswith("is required")]
                self.problems += given
                fields = {
                    name: value for name, value in fields.items() if (*route, name) not in {p.route for p in given}
                }
            if "name" in fields:
                self.report(Place((*route, "name")), "a name belongs to one layer, not to all of a kind", at_key=True)
            self.defaults[word] = fields

    def read_blocks(self, blocks: Mapping[str, Any]) -> None:
        """Check and keep the definitions of `model.blocks`."""
        for word, body in blocks.items():
            route: Route = ("model", "blocks", word)
            if word in LAYERS or word in _STRUCTURES:
                self.report(Place(route), f"{word} is a layer already; give the block another name", at_key=True)
                continue
            if not word.isidentifier():
                self.report(Place(route), "a block's name must be letters, digits and _", at_key=True)
                continue
            try:
                self.blocks[word] = BlockFields.model_validate(body)
            except ValidationError as error:
                self.report_validation(error, BlockFields, Place(route), route)
                self.faulty_blocks.add(word)
                continue
            if "name" in self.blocks[word].params:
                self.report(Place((*route, "params", "name")), "name is taken: it names the block's use", at_key=True)

    def sequence(self, items: list[Any], place: Place) -> Sequence:
        """Read a list of layers that stands at `place`."""
        if not items:
            self.report(place, "at least one layer is needed")
        read = [each for i, item in enumerate(items) for each in self.item(item, Place((*place.route, i), place.uses))]
        return tuple(read)

    def item(self, item: Any, place: Place) -> Iterator[Item]:  # noqa: ANN401  plain YAML data
        """Read one entry of a list of layers; a `repeat` gives several items, a faulty entry none."""
        if isinstance(item, str):
            word, body, route = item, None, place.route
        elif isinstance(item, dict) and len(item) == 1:
            ((word, body),) = item.items()
            route = (*place.route, word)
        else:
            found = f"the keys {', '.join(item)}" if isinstance(item, dict) and item else repr(item)
            self.report(place, f"a layer is a word or a mapping with one key, found {found}")
            return
        self.count += 1
        if self.count > _MOST_LAYERS:
            if self.count == _MOST_LAYERS + 1:
                self.report(place, f"more than {_MOST_LAYERS:,} layers, counting repeats")
            return
        inside = Place(route, place.uses)
        if word == "repeat":
            yield from self.repeat(body, inside)
        elif word == "residual":
            yield from self.residual(body, inside)
        elif word == "branch":
            yield from self.branch(body, inside)
        elif word in self.blocks:
            yield from self.block(word, body, inside)
        elif word in LAYERS:
            yield from self.single(word, body, inside)
        elif word not in self.faulty_blocks:
            self.report(inside, f"there is no layer {word}{self.meant(word)}", at_key=True)

    def meant(self, word: str) -> str:
        """What somebody who wrote a word that is no layer probably meant."""
        if word.lower() in _OTHER_WORDS:
            return f"; here it is {_OTHER_WORDS[word.lower()]}"
        first, *rest = word.split(maxsplit=1)
        if rest and (first in LAYERS or first in _STRUCTURES or first in self.blocks):
            return f"; put a colon and a space after {first}"
        return did_you_mean(word, [*LAYERS, *_STRUCTURES, *self.blocks])

    def single(self, word: str, body: Any, place: Place) -> Iterator[Single]:  # noqa: ANN401  plain YAML data
        """Read one layer, with the defaults of its kind."""
        kind = LAYERS[word]
        try:
            fields = open_body(body, kind)
        except PydanticCustomError as error:
            self.report(place, custom_message(error))
            return
        try:
            layer = kind.model_validate({**self.defaults.get(word, {}), **fields})
        except ValidationError as error:
            for problem in problems_of(error, kind, place.route):
                where = f", here or in model.defaults.{word}" if problem.message.endswith("is required") else ""
                self.report(Place(problem.route, place.uses), problem.message + where, at_key=problem.at_key)
            return
        yield Single(layer, place)

    def repeat(self, body: Any, place: Place) -> Iterator[Item]:  # noqa: ANN401  plain YAML data
        """Read `repeat: {times, layers}` as its layers, that many times."""
        fields = self.fields(RepeatFields, body, place)
        if fields is None:
            return
        if fields.times < 1:
            self.report(Place((*place.route, "times"), place.uses), f"must be at least 1, found {fields.times}")
            return
        for _ in range(fields.times):
            before = len(self.problems)
            yield from self.sequence(fields.layers, Place((*place.route, "layers"), place.uses))
            if len(self.problems) > before:
                return

    def residual(self, body: Any, place: Place) -> Iterator[Residual]:  # noqa: ANN401  plain YAML data
        """Read `residual: {main, shortcut, activation}`; a list alone is its main path."""
        fields = self.fields(ResidualFields, {"main": body} if isinstance(body, list) else body, place)
        if fields is None:
            return
        main_route = place.route if isinstance(body, list) else (*place.route, "main")
        main = self.sequence(fields.main, Place(main_route, place.uses))
        shortcut = fields.shortcut
        read = (
            self.sequence(shortcut, Place((*place.route, "shortcut"), place.uses))
            if isinstance(shortcut, list)
            else shortcut
        )
        yield Residual(main, read, fields.activation, fields.name, place)

    def branch(self, body: Any, place: Place) -> Iterator[Branch]:  # noqa: ANN401  plain YAML data
        """Read `branch: {merge, paths}`."""
        fields = self.fields(BranchFields, body, place)
        if fields is None:
            return
        if len(fields.paths) < 2:
            self.report(Place((*place.route, "paths"), place.uses), "a branch needs at least two paths")
            return
        paths = tuple(
            self.sequence(path, Place((*place.route, "paths", i), place.uses)) for i, path in enumerate(fields.paths)
        )
        yield Branch(paths, fields.merge, fields.name, place)

    def block(self, word: str, body: Any, place: Place) -> Iterator[Block]:  # noqa: ANN401  plain YAML data
        """Read one use of a named block, with its parameters put in."""
        definition = self.blocks[word]
        route: Route = ("model", "blocks", word, "layers")
        if any(use[-1] == word for use in place.uses) or place.route[:3] == route[:3]:
            self.report(place, f"the block {word} uses itself", at_key=True)
            return
        arguments = (
            body if isinstance(body, dict) else {} if body is None else {next(iter(definition.params), ""): body}
        )
        values = self.arguments(word, definition, arguments, place)
        if values is None:
            return
        name = arguments.get("name")
        inside = Place(route, (*place.uses, place.route))
        layers = self.substitute(definition.layers, values, inside)
        yield Block(word, self.sequence(layers, inside), None if name is None else str(name), place)

    def arguments(
        self, word: str, definition: BlockFields, given: dict[str, Any], place: Place
    ) -> dict[str, Any] | None:
        """The value of every parameter of a block, or None where one is unknown or missing."""
        params = definition.params
        unknown = [name for name in given if name not in params and name != "name"]
        meant = {near for name in unknown for near in get_close_matches(name, params, n=1)}
        missing = [name for name, default in params.items() if default == "required" and name not in {*given, *meant}]
        for name in unknown:
            message = f"the block {word} takes no single value" if not name else "there is no such parameter"
            self.report(Place((*place.route, name), place.uses), message + did_you_mean(name, params), at_key=True)
        if missing:
            self.report(place, f"the block {word} needs {' and '.join(missing)}")
        return None if unknown or missing else {name: given.get(name, default) for name, default in params.items()}

    def substitute(self, data: Any, values: Mapping[str, Any], place: Place) -> Any:  # noqa: ANN401  plain YAML data
        """The data with every scalar `$x` replaced by the value of the parameter x."""
        if isinstance(data, dict):
            return {
                key: self.substitute(value, values, Place((*place.route, key), place.uses))
                for key, value in data.items()
            }
        if isinstance(data, list):
            return [
                self.substitute(value, values, Place((*place.route, i), place.uses)) for i, value in enumerate(data)
            ]
        if not isinstance(data, str) or not data.startswith("$"):
            return data
        if data[1:] not in values:
            self.report(place, f"there is no parameter {data}{did_you_mean(data[1:], values)}")
            return next(iter(values.values()), None)
        return values[data[1:]]

    def fields(self, model: type[_FieldsT], body: Any, place: Place) -> _FieldsT | None:  # noqa: ANN401  plain YAML data
        """The fields of a structure, or None where they are faulty."""
        try:
            return model.model_validate(body)
        except ValidationError as error:
            self.report_validation(error, model, place, place.route)
            return None
