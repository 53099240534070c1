"""The conditions of `--filter`, and the order of `--sort`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cnncli.errors import UsageError
from cnncli.runs.selection import KEYS, check_states, parse_age, parse_condition, sort_runs
from cnncli.runs.summary import RunSummary, summarize

MakeRun = Callable[..., Path]


@pytest.fixture
def run(make_run: MakeRun, folder: Path) -> RunSummary:
    """A run of `lenet5` on `mnist`: 3 epochs of 40 s, test accuracy 0.98, started on 2023-11-14 or 15."""
    path = make_run("lenet5-1", "complete", (0.5, 0.9, 0.95), accuracy=0.98, config="lenet5", seconds=40.0)
    return summarize(path, folder=folder)


@pytest.mark.parametrize(
    ("condition", "fulfilled"),
    [
        ("data=mnist", True),
        ("data=Mnist", False),
        ("data != mnist", False),
        ("name=lenet5*", True),
        ("name=lenet?-1", True),
        ("name=net", False),
        ("status=complete", True),
        ("accuracy>0.98", False),
        ("accuracy>=0.98", True),
        ("accuracy = 98%", True),
        ("accuracy<98.5%", True),
        ("val_accuracy>0.9", True),
        ("val_accuracy<=0.9", False),
        ("epochs=3", True),
        ("epochs!=3", False),
        ("seconds>2min", False),
        ("seconds>=120", True),
        ("seconds<0.1h", True),
        ("size>10MB", False),
        ("size<1kB", True),
        ("started>2023-11-13", True),
        ("started>=2024-01-01T12:30", False),
        ("params>10k", False),  # unknown
        ("params<10k", False),
        ("params!=10k", True),
    ],
)
def test_conditions(condition: str, fulfilled: bool, run: RunSummary) -> None:
    assert parse_condition(condition)(run) is fulfilled


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("accuracy", "not a condition"),
        ("", "not a condition"),
        ("acuracy>1", "Did you mean accuracy"),
        ("accuracy>high", "high is not a value of accuracy"),
        ("accuracy>", "nothing is not a value of accuracy"),
        ("accuracy>5kB", "5kB is not a value"),
        ("accuracy>97", "97 is not a value"),  # a fraction, or 97%
        ("val_accuracy<101%", "101% is not a value"),
        ("seconds>5 apples", "is not a value"),
        ("started>yesterday", "is not a value"),
        ("data>mnist", "compared by = or !="),
    ],
)
def test_wrong_conditions(condition: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_condition(condition)


def test_keys_are_attributes_of_runs(run: RunSummary) -> None:
    record = run.as_record()
    for name, key in KEYS.items():
        value = key.of(run)
        assert (value.isoformat() if isinstance(value, datetime) else value) == record[name]
        if key.read is not None:
            key.read(key.example)


def test_order(make_run: MakeRun, folder: Path) -> None:
    paths = [
        make_run("a", accuracy=0.5, config="z"),
        make_run("b", accuracy=0.9, config="y"),
        make_run("c", "interrupted", config="x"),
        make_run("d", accuracy=0.9, config="y"),
    ]
    runs = [summarize(path, folder=folder) for path in reversed(paths)]

    def names(key: str, *, reverse: bool = False) -> str:
        return "".join(run.name for run in sort_runs(runs, key, reverse=reverse))

    assert names("accuracy") == "bdac"
    assert names("accuracy", reverse=True) == "abdc"
    assert names("name") == "abcd"
    assert names("config") == "cbda"
    assert names("name", reverse=True) == "dcba"
    with pytest.raises(UsageError, match="Did you mean size"):
        sort_runs(runs, "sise")


def test_ages() -> None:
    assert parse_age("30d") == timedelta(days=30)
    assert parse_age("12h") == timedelta(hours=12)
    assert parse_age("2w") == timedelta(days=14)
    for text in ("30", "d", "", "30 years", "1e99d"):
        with pytest.raises(UsageError, match="not a time"):
            parse_age(text)


def test_states() -> None:
    assert check_states(["failed"]) == ["failed"]
    assert set(check_states([])) == {"running", "complete", "interrupted", "failed", "damaged"}
    with pytest.raises(UsageError, match="Did you mean failed"):
        check_states(["faild"])
