"""The parameters of a sweep: `--param PATH=SPEC` parsed, and checked against the config."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from cnncli.config.config import Config, change_config
from cnncli.config.document import parse_document, parse_scalar
from cnncli.errors import ConfigError, UsageError

Value: TypeAlias = Any
"""The value of a config field: plain YAML data."""

_PREFIXES = re.compile(r"((?:log:|int:)*)(.*)", re.DOTALL)
_EXAMPLES = "for example --param train.optimizer.adamw.lr=log:1e-4..1e-1, --param train.epochs=int:2..8 or " + (
    "--param model.layers.0.conv.out_channels=4,8,16"
)
MOST_COMBINATIONS = 10_000
"""Of a grid: its sampler lists all of them for every trial."""
_MOST_INT = 2**53
"""The largest whole number of a range: Optuna keeps numbers as floats, which are exact up to here."""
_INSIDE = 0.618
"""Where in a range a third value is checked: far from the ends, and not a whole number if the range has others."""


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`, uniform on a linear or logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def samples(self) -> tuple[Value, ...]:
        """The values that are checked before anything is trained."""
        return (self.low, self.high, self.low + _INSIDE * (self.high - self.low))

    def values(self) -> None:
        """There are too many to list."""


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included, uniform on a linear or logarithmic scale."""

    low: int
    high: int
    log: bool = False

    def samples(self) -> tuple[Value, ...]:
        """The values that are checked before anything is trained."""
        return (self.low, self.high)

    def values(self) -> Sequence[Value]:
        """All of them."""
        return range(self.low, self.high + 1)


@dataclass(frozen=True)
class Choices:
    """Values without an order."""

    choices: tuple[Value, ...]

    def samples(self) -> tuple[Value, ...]:
        """The values that are checked before anything is trained."""
        return self.choices

    def values(self) -> Sequence[Value]:
        """All of them."""
        return self.choices


Domain = FloatRange | IntRange | Choices


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A field of the config that a sweep varies.

    Attributes:
        path: of the field, such as `train.optimizer.adamw.lr`.
        spec: its values as given: `log:1e-4..1e-1`.
        domain: its values.
    """

    path: str
    spec: str
    domain: Domain

    def assignment(self, value: Value) -> str:
        """A value as an override: `path=value`, where every number has all its digits."""
        return f"{self.path}={json.dumps(value, ensure_ascii=False)}"


def parse_parameters(texts: Sequence[str]) -> tuple[Parameter, ...]:
    """The parameters of all `--param` options.

    Raises:
        UsageError: one is not of the form PATH=SPEC, or a field is given twice or lies inside another.
    """
    parameters = tuple(map(_parse, texts))
    for i, parameter in enumerate(parameters):
        for other in parameters[:i]:
            if parameter.path == other.path:
                raise UsageError(
                    f"--param {parameter.path} is given twice", remedy="separate its values by commas in one --param"
                )
            outer, inner = sorted((parameter.path, other.path), key=len)
            if inner.startswith(f"{outer}."):
                raise UsageError(
                    f"--param {inner} lies inside --param {outer}, whose values replace it",
                    remedy="vary one of them, or run one sweep for each value of the outer one with --set",
                )
    return parameters


def _parse(text: str) -> Parameter:
    path, equals, spec = (part.strip() for part in text.partition("="))
    if not equals or not spec or not all(path.split(".")):
        raise UsageError(f"--param {text}: not of the form PATH=SPEC", remedy=_EXAMPLES)
    match = _PREFIXES.fullmatch(spec)
    assert match, "the pattern matches any text"
    prefixes, rest = match[1].split(":")[:-1], match[2]
    low, dots, high = rest.partition("..")
    ends = (parse_scalar(low.strip()), parse_scalar(high.strip()))
    if dots and all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        return Parameter(path=path, spec=spec, domain=_range(text, ends[0], ends[1], prefixes))
    if prefixes:
        raise UsageError(f"--param {text}: {rest} is not a range of numbers LOW..HIGH", remedy=_EXAMPLES)
    return Parameter(path=path, spec=spec, domain=_choices(text, rest))


def _range(text: str, low: Value, high: Value, prefixes: Sequence[str]) -> FloatRange | IntRange:
    log = "log" in prefixes
    if not low < high:
        raise UsageError(f"--param {text}: {low} is not below {high}", remedy="write the smaller number first")
    if log and low <= 0:
        raise UsageError(
            f"--param {text}: a logarithmic range starts above 0", remedy="omit log:, or raise the low end"
        )
    if "int" not in prefixes:
        return FloatRange(float(low), float(high), log)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise UsageError(f"--param {text}: int: takes whole numbers", remedy="omit int:, or write int:1..8")
    if max(-low, high) > _MOST_INT:
        raise UsageError(f"--param {text}: the numbers are too large", remedy="use numbers up to 2^53")
    return IntRange(low, high, log)


def _choices(text: str, spec: str) -> Choices:
    try:
        values = parse_document(f"values: [{spec}]", name=f"--param {text}").data["values"]
    except ConfigError:
        raise UsageError(f"--param {text}: {spec} is not a list of YAML values", remedy=_EXAMPLES) from None
    if not isinstance(values, list) or len(values) < 2:
        if ".." in spec:
            raise UsageError(f"--param {text}: {spec} is not a range of numbers LOW..HIGH", remedy=_EXAMPLES)
        raise UsageError(
            f"--param {text}: a parameter has at least two values",
            remedy=f"fix it with --set {text}, or write a range such as 1e-4..1e-1 or several values such as 4,8,16",
        )
    labels = [json.dumps(value) for value in values]
    for value, label in zip(values, labels, strict=True):
        if labels.count(label) > 1:
            raise UsageError(f"--param {text}: {value} is listed twice", remedy="list each value once")
    return Choices(tuple(values))


def check_space(config: Config, parameters: Sequence[Parameter], *, data_dir: Path) -> None:
    """Check that the config is valid with each choice and with the ends of each range.

    Raises:
        ConfigError, UsageError: it is not; the message names the option and the place in the config.
    """
    for parameter in parameters:
        for value in parameter.domain.samples():
            assignment = parameter.assignment(value)
            try:
                changed = change_config(config, [assignment], data_dir=data_dir, option="--param")
            except ConfigError as error:
                raise ConfigError(error.message, remedy=_remedy(parameter, error)) from None
            if not changed.data.validation:
                raise ConfigError(
                    f"--param {assignment}: a sweep compares accuracies on validation images, but there are none",
                    remedy="leave data.validation above 0, such as --set data.validation=0.1",
                )


def _remedy(parameter: Parameter, error: ConfigError) -> str | None:
    domain = parameter.domain
    if isinstance(domain, FloatRange) and "whole number" in error.message:
        return f"for whole numbers write --param {parameter.path}=int:{domain.low:g}..{domain.high:g}"
    suggested = "Did you mean" in error.message
    return None if suggested else f"every value of --param {parameter.path} must be valid in the config as it is"


def combinations(parameters: Sequence[Parameter]) -> int | None:
    """The number of different values of all parameters together; None if a range has no steps."""
    count = 1
    for parameter in parameters:
        values = parameter.domain.values()
        if values is None:
            return None
        count *= len(values)
    return count


def check_grid(parameters: Sequence[Parameter]) -> None:
    """Check that all combinations of values can be listed.

    Raises:
        UsageError: a range has no steps, or there are more than `MOST_COMBINATIONS`.
    """
    for parameter in parameters:
        if parameter.domain.values() is None:
            raise UsageError(
                f"--sampler grid: {parameter.path}={parameter.spec} has infinitely many values",
                remedy=f"list some of them, such as --param {parameter.path}=1e-3,1e-2, or use --sampler random",
            )
    count = combinations(parameters)
    if count is not None and count > MOST_COMBINATIONS:
        raise UsageError(
            f"--sampler grid: {count:,} combinations of values are more than {MOST_COMBINATIONS:,}",
            remedy="give fewer values, or use --sampler random",
        )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Headings for paths: of each the fewest last parts that no other has, never beginning with a position."""
    names = {}
    for path in paths:
        parts = path.split(".")
        for start in range(len(parts) - 1, -1, -1):
            name = ".".join(parts[start:])
            others = (other for other in paths if other != path)
            if not parts[start].isdecimal() and not any(f".{other}".endswith(f".{name}") for other in others):
                break
        names[path] = name
    return names
