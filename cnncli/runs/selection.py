"""Which runs, and in which order: the keys that runs are sorted and filtered by, and the conditions of `--filter`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from operator import eq, ge, gt, le, lt, ne
from typing import Any, get_args

from cnncli.errors import UsageError, did_you_mean
from cnncli.runs.summary import RunSummary
from cnncli.training.records import State

STATES = (*get_args(State), "damaged")

_CONDITION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_QUANTITY = re.compile(r"([-+]?\d[\d_,]*\.?\d*(?:[eE][-+]?\d+)?)\s*([A-Za-z%]*)")

_COUNT_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_FRACTION_UNITS = {"": 1.0, "%": 0.01}
_TIME_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SIZE_UNITS = {"": 1.0, "B": 1.0, "kB": 2.0**10, "MB": 2.0**20, "GB": 2.0**30}  # as sizes are printed


@dataclass(frozen=True)
class Key:
    """A property of a run that runs are sorted and filtered by.

    Attributes:
        of: the property; None if it is unknown.
        read: a value that a user has typed; raises ValueError. None for text, which is compared with a pattern.
        example: of such a value.
    """

    of: Callable[[RunSummary], Any]
    read: Callable[[str], Any] | None
    example: str


def _quantity(units: Mapping[str, float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        match = _QUANTITY.fullmatch(text)
        if match is None or match[2] not in units:
            raise ValueError(text)
        return float(match[1].replace(",", "")) * units[match[2]]

    return read


def _date(text: str) -> datetime:
    """The local time in ISO 8601 format; a date is its first moment."""
    return datetime.fromisoformat(text).astimezone()


def _fraction(text: str) -> float:
    """A fraction or a percentage; `97` is neither, and no accuracy is above it."""
    fraction = _quantity(_FRACTION_UNITS)(text)
    if not 0 <= fraction <= 1:
        raise ValueError(text)
    return fraction


KEYS: Mapping[str, Key] = {
    "name": Key(lambda run: run.name, None, "'lenet5*'"),
    "status": Key(lambda run: run.status, None, "complete"),
    "config": Key(lambda run: run.config, None, "lenet5"),
    "data": Key(lambda run: run.data, None, "mnist"),
    "epochs": Key(lambda run: run.epochs, _quantity(_COUNT_UNITS), "10"),
    "accuracy": Key(lambda run: run.accuracy, _fraction, "0.98"),
    "val_accuracy": Key(lambda run: run.val_accuracy, _fraction, "98%"),
    "params": Key(lambda run: run.params, _quantity(_COUNT_UNITS), "50k"),
    "seconds": Key(lambda run: run.seconds, _quantity(_TIME_UNITS), "10min"),
    "size": Key(lambda run: run.size, _quantity(_SIZE_UNITS), "20MB"),
    "started": Key(lambda run: run.started, _date, "2026-01-31"),
}
"""Key -> property; the names are those of `RunSummary`."""


def parse_condition(text: str) -> Callable[[RunSummary], bool]:
    """The condition of a `--filter`, such as `accuracy>0.98`, `data=mnist` or `name=lenet5*`.

    Text is compared with a pattern in which `*` and `?` stand for other characters; numbers may have a unit. A run of
    which the property is unknown does not fulfill a condition, except `!=`.

    Raises:
        UsageError: the text is not a condition.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--filter {text}: not a condition",
            remedy="write KEY=VALUE, or !=, <, <=, > or >=, in quotes: --filter 'accuracy>0.98'",
        )
    name, sign, value = match.groups()
    key = _key(name, option="--filter")
    if key.read is None:
        if sign not in ("=", "!="):
            raise UsageError(f"--filter {text}: {name} is text, which is compared by = or !=")
        return lambda run: fnmatchcase(key.of(run) or "", value) is (sign == "=")
    try:
        wanted = key.read(value)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--filter {text}: {value or 'nothing'} is not a value of {name}",
            remedy=f"for example --filter '{name}{sign}{key.example}'",
        ) from None
    compare = _COMPARISONS[sign]

    def fulfilled(run: RunSummary) -> bool:
        actual = key.of(run)
        return compare(actual, wanted) if actual is not None else sign == "!="

    return fulfilled


def parse_age(text: str) -> timedelta:
    """The time of `30d`, `12h` or `2w`.

    Raises:
        UsageError: the text has another form.
    """
    units = {unit: seconds for unit, seconds in _TIME_UNITS.items() if unit}
    try:
        return timedelta(seconds=_quantity(units)(text))
    except (ValueError, OverflowError):
        raise UsageError(f"--older-than {text}: not a time", remedy="for example 30d, 12h or 2w") from None


def sort_runs(runs: Sequence[RunSummary], key: str, *, reverse: bool = False) -> list[RunSummary]:
    """Runs in the order of a property: text from A to Z, numbers and times from the largest.

    Runs of which it is unknown are last, and equal ones in the order of their names.

    Args:
        runs: the runs.
        key: one of `KEYS`.
        reverse: the other way round.

    Raises:
        UsageError: there is no such key.
    """
    chosen = _key(key, option="--sort")
    known = sorted((run for run in runs if chosen.of(run) is not None), key=lambda run: run.name)
    known.sort(key=chosen.of, reverse=(chosen.read is not None) != reverse)
    unknown = sorted((run for run in runs if chosen.of(run) is None), key=lambda run: run.name)
    return [*known, *unknown]


def check_states(names: Sequence[str]) -> Sequence[str]:
    """The states of `--status`; all if there are none.

    Raises:
        UsageError: one of them is unknown.
    """
    for name in names:
        if name not in STATES:
            raise UsageError(f"--status {name}: unknown state{did_you_mean(name, STATES)}")
    return names or STATES


def _key(name: str, *, option: str) -> Key:
    if name not in KEYS:
        raise UsageError(f"{option}: runs have no {name}{did_you_mean(name, KEYS)}")
    return KEYS[name]
