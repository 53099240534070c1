"""The `model:` section as a tree of layers: defaults applied, blocks expanded, repeats unrolled.

Shapes are not known here; `network` adds them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from cnncli.config.arithmetic import evaluate, has_parameter
from cnncli.config.document import Document, Problem, Route
from cnncli.config.problems import choice_message, problems_of
from cnncli.errors import did_you_mean, nearest
from cnncli.fields import Spec, named_elsewhere, open_body
from cnncli.layers import LAYER_CHOICES, Activation, Layer, Merge, ShortForm
from cnncli.layers.activation import CRELU_REMARK, ActivationChoice
from cnncli.layers.tuning import InheritedFields
from cnncli.limits import MAX_LAYERS


class ModelFields(Spec):
    """The keys of the `model:` section."""

    defaults: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    layers: list[Any]


class BlockFields(Spec):
    """The keys of one entry of `model.blocks`; a parameter that is `required` has no default."""

    params: dict[str, Any] = {}
    layers: list[Any]


class RepeatFields(InheritedFields):
    """The keys of `repeat:`."""

    times: int
    layers: list[Any]


class ResidualFields(InheritedFields):
    """The keys of `residual:`."""

    main: list[Any]
    shortcut: list[Any] | Literal["auto", "identity"] = "auto"
    activation: ActivationChoice = None
    name: str | None = None


class BranchFields(InheritedFields):
    """The keys of `branch:`."""

    merge: Merge
    paths: list[list[Any]]
    name: str | None = None


class SkipFields(Spec):
    """The keys of `skip:`."""

    source: str = Field(alias="from")
    merge: Merge
    name: str | None = None


class ReuseFields(Spec):
    """The keys of `reuse:`."""

    layer: str
    name: str | None = None


@dataclass(frozen=True)
class Place:
    """A place in the config, and the uses of blocks that led to it, the innermost last."""

    route: Route
    uses: tuple[Route, ...] = ()

    def inside(self, *steps: str | int) -> "Place":
        """A place below this one."""
        return Place((*self.route, *steps), self.uses)

    def uses_as_notes(self) -> tuple[tuple[Route, str], ...]:
        """The uses of blocks, for `Problem.also`."""
        return tuple((use, "in the block used here") for use in reversed(self.uses))


@dataclass(frozen=True)
class Single:
    """One layer, or what stands for one or several."""

    layer: Layer | ShortForm
    place: Place


@dataclass(frozen=True)
class Residual:
    """The sum of a main path and a shortcut around it.

    Attributes:
        inherited: how the weights of an automatic shortcut are trained.
    """

    main: "Sequence"
    shortcut: "Sequence | Literal['auto', 'identity']"
    activation: Activation | None
    name: str | None
    inherited: InheritedFields
    place: Place


@dataclass(frozen=True)
class Branch:
    """Several paths from one input, which are joined."""

    paths: tuple["Sequence", ...]
    merge: Merge
    name: str | None
    place: Place


@dataclass(frozen=True)
class Block:
    """One use of the block `block`."""

    block: str
    items: "Sequence"
    name: str | None
    place: Place


@dataclass(frozen=True)
class Skip:
    """The output of the layer before it, joined with that of an earlier one.

    Attributes:
        source: the name of the earlier layer, block, residual or branch; `input` is the image.
    """

    source: str
    merge: Merge
    name: str | None
    place: Place


@dataclass(frozen=True)
class Reuse:
    """An earlier layer, or the layers of an earlier block, residual or branch, with the same weights.

    Attributes:
        layer: its name.
    """

    layer: str
    name: str | None
    place: Place


Item = Single | Residual | Branch | Block | Skip | Reuse
Sequence = tuple[Item, ...]

_INHERITED = tuple(InheritedFields.model_fields)
_USE_FIELDS = {"name", *_INHERITED}
"""The fields of every use of a block, besides its parameters."""
STRUCTURES = ("repeat", "residual", "branch", "skip", "reuse")
"""What a list of layers may contain besides layers and blocks."""
_REMARKS = {"crelu": CRELU_REMARK}
"""What to say about layers of other tools that are not a layer type here."""
_FieldsT = TypeVar("_FieldsT", bound=Spec)


def read_blueprint(document: Document, problems: list[Problem]) -> Sequence:
    """The layers of a config as a tree; problems are appended to `problems`."""
    model = document.data.get("model")
    if not isinstance(model, dict):
        return ()  # reported when the whole config is validated
    try:
        fields = ModelFields.model_validate(model)
    except ValidationError as error:
        problems += problems_of(error, ModelFields, model, ("model",))
        return ()
    reader = _Reader(problems)
    reader.read_defaults(fields.defaults)
    reader.read_blocks(fields.blocks)
    return reader.sequence(fields.layers, Place(("model", "layers")))


@dataclass
class _Reader:
    """Reads lists of layers, and collects problems instead of stopping at the first.

    Attributes:
        inherited: those of `InheritedFields` that the structures around the current layer set.
    """

    problems: list[Problem]
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    blocks: dict[str, BlockFields] = field(default_factory=dict)
    invalid_blocks: set[str] = field(default_factory=set)
    inherited: dict[str, Any] = field(default_factory=dict)
    count: int = 0

    def report(self, place: Place, message: str, *, at_key: bool = False) -> None:
        """Add a problem, with the uses of blocks that led to it."""
        self.problems.append(Problem(place.route, message, at_key, place.uses_as_notes()))

    def validated(self, model: type[_FieldsT], value: Any, place: Place) -> _FieldsT | None:  # noqa: ANN401  plain YAML data
        """A value as a section, or None, with every problem reported."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for problem in problems_of(error, model, value, place.route):
                self.report(Place(problem.route, place.uses), problem.message, at_key=problem.at_key)
            return None

    @contextmanager
    def inside(self, fields: InheritedFields) -> Iterator[None]:
        """Read the layers of a structure, which inherit some of its fields."""
        outer = self.inherited
        given = {name: getattr(fields, name) for name in InheritedFields.model_fields}
        self.inherited = outer | {name: value for name, value in given.items() if value is not None}
        yield
        self.inherited = outer

    def read_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Check and keep `model.defaults`: fields for every layer of a type."""
        for name, body in defaults.items():
            place = Place(("model", "defaults", name))
            if name not in LAYER_CHOICES:
                self.report(place, f"unknown layer: {name}{self.suggestion(name)}", at_key=True)
                continue
            try:
                fields = open_body(body, LAYER_CHOICES[name])
                LAYER_CHOICES[name].model_validate(fields)
            except PydanticCustomError as error:
                self.report(place, choice_message(error))
                continue
            except ValidationError as error:
                wrong = [p for p in problems_of(error, LAYER_CHOICES[name], fields, place.route) if not p.missing]
                self.problems += wrong
                routes = {problem.route for problem in wrong}
                fields = {key: value for key, value in fields.items() if (*place.route, key) not in routes}
            if "name" in fields:
                self.report(place.inside("name"), "a name belongs to one layer, not to all of a type", at_key=True)
            self.defaults[name] = fields

    def read_blocks(self, blocks: Mapping[str, Any]) -> None:
        """Check and keep the definitions of `model.blocks`."""
        for name, body in blocks.items():
            place = Place(("model", "blocks", name))
            if name in LAYER_CHOICES or name in STRUCTURES:
                self.report(place, f"{name} is a layer type; give the block another name", at_key=True)
                continue
            if not name.isidentifier():
                self.report(place, "the name of a block must consist of letters, digits and _", at_key=True)
                continue
            fields = self.validated(BlockFields, body, place)
            if fields is None:
                self.invalid_blocks.add(name)
                continue
            self.blocks[name] = fields
            for reserved in _USE_FIELDS & fields.params.keys():
                self.report(
                    place.inside("params", reserved), f"{reserved} is a field of every use of a block", at_key=True
                )

    def sequence(self, items: list[Any], place: Place) -> Sequence:
        """Read a list of layers."""
        if not items:
            self.report(place, "at least one layer is required")
        return tuple(each for i, item in enumerate(items) for each in self.item(item, place.inside(i)))

    def item(self, item: Any, place: Place) -> Iterator[Item]:  # noqa: ANN401  plain YAML data
        """Read one entry of a list of layers; a `repeat` gives several items, an invalid entry none."""
        if isinstance(item, str):
            name, body = item, None
        elif isinstance(item, dict) and len(item) == 1:
            ((name, body),) = item.items()
            place = place.inside(name)
        else:
            found = f"the keys {', '.join(item)}" if isinstance(item, dict) and item else repr(item)
            self.report(place, f"a layer must be a name or a mapping with one key, found {found}")
            return
        self.count += 1
        if self.count > MAX_LAYERS:
            if self.count == MAX_LAYERS + 1:
                self.report(place, f"more than {MAX_LAYERS:,} layers, repeats included")
            return
        if name == "repeat":
            yield from self.repeat(body, place)
        elif name == "residual":
            yield from self.residual(body, place)
        elif name == "branch":
            yield from self.branch(body, place)
        elif name == "skip":
            yield from self.skip(body, place)
        elif name == "reuse":
            yield from self.reuse(body, place)
        elif name in self.blocks:
            yield from self.block(name, body, place)
        elif name in LAYER_CHOICES:
            yield from self.single(name, body, place)
        elif name not in self.invalid_blocks:
            self.report(place, f"unknown layer: {name or repr(name)}{self.suggestion(name, body)}", at_key=True)

    def suggestion(self, name: str, body: object = None) -> str:
        """The end of the message about an unknown layer: what was probably meant."""
        if name.lower() in _REMARKS:
            return f"; {_REMARKS[name.lower()]}"
        if name in ("activation", "norm") and isinstance(body, str):
            full = body if body in LAYER_CHOICES else f"{body}_{name}"
            return f". Did you mean {full}?" if full in LAYER_CHOICES else did_you_mean(body, LAYER_CHOICES)
        if meant := named_elsewhere(name, LAYER_CHOICES):
            return f". Did you mean {meant}?"
        first, space, _ = name.strip().partition(" ")
        known = [*LAYER_CHOICES, *STRUCTURES, *self.blocks]
        if space and first in known:
            return f"; put a colon and a space after {first}"
        return did_you_mean(name, known)

    def single(self, name: str, body: Any, place: Place) -> Iterator[Single]:  # noqa: ANN401  plain YAML data
        """Read one layer, with the defaults of its type."""
        layer_type = LAYER_CHOICES[name]
        try:
            inherited = {key: value for key, value in self.inherited.items() if key in layer_type.model_fields}
            fields = {**self.defaults.get(name, {}), **inherited, **open_body(body, layer_type)}
            yield Single(layer_type.model_validate(fields), place)
        except PydanticCustomError as error:
            self.report(place, choice_message(error))
        except ValidationError as error:
            for problem in problems_of(error, layer_type, fields, place.route):
                message = problem.message + (f", here or in model.defaults.{name}" if problem.missing else "")
                self.report(Place(problem.route, place.uses), message, at_key=problem.at_key)

    def repeat(self, body: Any, place: Place) -> Iterator[Item]:  # noqa: ANN401  plain YAML data
        """Read `repeat: {times, layers}`: its layers, `times` times."""
        fields = self.validated(RepeatFields, body, place)
        if fields is None:
            return
        if fields.times < 1:
            self.report(place.inside("times"), f"must be at least 1, found {fields.times}")
            return
        for _ in range(fields.times):
            before = len(self.problems)
            with self.inside(fields):
                items = self.sequence(fields.layers, place.inside("layers"))
            yield from items
            if len(self.problems) > before:
                return

    def residual(self, body: Any, place: Place) -> Iterator[Residual]:  # noqa: ANN401  plain YAML data
        """Read `residual: {main, shortcut, activation}`; a list alone is the main path."""
        fields = self.validated(ResidualFields, {"main": body} if isinstance(body, list) else body, place)
        if fields is None:
            return
        with self.inside(fields):
            main = self.sequence(fields.main, place if isinstance(body, list) else place.inside("main"))
            shortcut = fields.shortcut
            path = self.sequence(shortcut, place.inside("shortcut")) if isinstance(shortcut, list) else shortcut
            inherited = InheritedFields(**self.inherited)
        activation = fields.activation and fields.activation.inheriting(inherited)
        yield Residual(main, path, activation, fields.name, inherited, place)

    def branch(self, body: Any, place: Place) -> Iterator[Branch]:  # noqa: ANN401  plain YAML data
        """Read `branch: {merge, paths}`."""
        fields = self.validated(BranchFields, body, place)
        if fields is None:
            return
        if len(fields.paths) < 2:
            self.report(place.inside("paths"), "a branch needs at least two paths")
            return
        with self.inside(fields):
            paths = tuple(self.sequence(path, place.inside("paths", i)) for i, path in enumerate(fields.paths))
        yield Branch(paths, fields.merge, fields.name, place)

    def skip(self, body: Any, place: Place) -> Iterator[Skip]:  # noqa: ANN401  plain YAML data
        """Read `skip: {from, merge}`."""
        fields = self.validated(SkipFields, {"from": body} if isinstance(body, str) else body, place)
        if fields is not None:
            yield Skip(fields.source, fields.merge, fields.name, place)

    def reuse(self, body: Any, place: Place) -> Iterator[Reuse]:  # noqa: ANN401  plain YAML data
        """Read `reuse: {layer, name}`; a string alone is the layer."""
        fields = self.validated(ReuseFields, {"layer": body} if isinstance(body, str) else body, place)
        if fields is not None:
            yield Reuse(fields.layer, fields.name, place)

    def block(self, name: str, body: Any, place: Place) -> Iterator[Block]:  # noqa: ANN401  plain YAML data
        """Read one use of a block, with its arguments substituted."""
        definition = self.blocks[name]
        route: Route = ("model", "blocks", name, "layers")
        if any(use[-1] == name for use in place.uses) or place.route[:3] == route[:3]:
            self.report(place, f"block {name} uses itself", at_key=True)
            return
        if body is None:
            body = {}
        elif not isinstance(body, dict):
            body = {next(iter(definition.params), ""): body}
        values = self.arguments(name, definition, body, place)
        use = self.validated(InheritedFields, {key: body[key] for key in _INHERITED if key in body}, place)
        if values is None or use is None:
            return
        inside = Place(route, (*place.uses, place.route))
        layers = self.substitute(definition.layers, values, inside)
        given = body.get("name")
        with self.inside(use):
            items = self.sequence(layers, inside)
        yield Block(name, items, None if given is None else str(given), place)

    def arguments(
        self, block: str, definition: BlockFields, given: dict[str, Any], place: Place
    ) -> dict[str, Any] | None:
        """The value of every parameter of a block, or None if one is unknown or missing."""
        params = definition.params
        unknown = [name for name in given if name not in params and name not in _USE_FIELDS]
        meant = {nearest(name, params) for name in unknown}
        missing = [name for name, default in params.items() if default == "required" and name not in {*given, *meant}]
        for name in unknown:
            message = f"block {block} takes no single value" if not name else f"unknown parameter of block {block}"
            self.report(place.inside(name), message + did_you_mean(name, params), at_key=True)
        if missing:
            self.report(place, f"block {block} requires {' and '.join(missing)}")
        return None if unknown or missing else {name: given.get(name, default) for name, default in params.items()}

    def substitute(self, data: Any, values: Mapping[str, Any], place: Place) -> Any:  # noqa: ANN401  plain YAML data
        """The data with every scalar `$x` replaced by the value of the parameter x, and `$x * 2` by twice that."""
        if isinstance(data, dict):
            return {key: self.substitute(value, values, place.inside(key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self.substitute(value, values, place.inside(i)) for i, value in enumerate(data)]
        if not isinstance(data, str) or not has_parameter(data):
            return data
        try:
            return evaluate(data, values)
        except ValueError as error:
            self.report(place, str(error))
            return next(iter(values.values()), None)
