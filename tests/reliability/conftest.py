"""Attacks on the program, counted by outcome: `pytest tests/reliability -m ""` prints the table of all of them.

A test calls `outcomes.add("SIGKILL before a file operation", "resumed, same files")` for every case of its attack, and
fails by itself if an outcome is wrong.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

_KEY = "outcomes"


@dataclass
class Outcomes:
    """How often each attack had each outcome."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, attack: str, outcome: str, count: int = 1) -> None:
        self.counts[attack, outcome] += count

    def lines(self) -> Iterator[str]:
        """The rows of a Markdown table, sorted by attack."""
        yield "| attack | cases | outcomes |"
        yield "|---|---|---|"
        for attack in sorted({attack for attack, _ in self.counts}):
            found = {outcome: count for (each, outcome), count in sorted(self.counts.items()) if each == attack}
            yield f"| {attack} | {sum(found.values()):,} | {', '.join(f'{n:,} {what}' for what, n in found.items())} |"


_OUTCOMES = pytest.StashKey[Outcomes]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_OUTCOMES] = Outcomes()
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_FromWorkers(config.stash[_OUTCOMES]))


class _FromWorkers:
    """Adds up what the processes of pytest-xdist counted."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        for attack, outcome, count in getattr(node, "workeroutput", {}).get(_KEY, ()):
            self.outcomes.add(attack, outcome, count)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        counts = session.config.stash[_OUTCOMES].counts
        output[_KEY] = [[*case, count] for case, count in counts.items()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash[_OUTCOMES]
    if outcomes.counts:
        terminalreporter.section("attacks by outcome")
        for line in outcomes.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def outcomes(pytestconfig: pytest.Config) -> Outcomes:
    """Counts the outcome of each case."""
    return pytestconfig.stash[_OUTCOMES]


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that trains in a fraction of a second."""
    from tests.reliability.runs import tiny_config  # not on Windows, where nothing here is run

    return tiny_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def reference(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `config` that nothing has attacked, for reading only."""
    from tests.reliability.runs import runs_in, train_in_child

    out = tmp_path_factory.mktemp("reference")
    ended = train_in_child(config, out)
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    return run


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image file of 8x8 pixels."""
    path = tmp_path_factory.mktemp("image") / "digit.png"
    Image.new("L", (8, 8), 7).save(path)
    return path
