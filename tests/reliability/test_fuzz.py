"""The fuzzer finds nothing; and it finds what is there: a crash, a hang, a leak of control characters."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.conftest import Outcomes
from tests.reliability.fuzz.case import Case
from tests.reliability.fuzz.fuzz import GENERATORS, describe, fuzz, import_everything, make_case, trained_run
from tests.reliability.fuzz.minimize import minimize, reduce
from tests.reliability.fuzz.runner import run_cases

CASES, SEED = 150, 1
ALL_CASES = 50_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_everything()
    return trained_run(tmp_path_factory.mktemp("fuzz"))


def test_a_fixed_sample(run: Path, outcomes: Outcomes) -> None:
    """Only success, or a documented exit code and a message that names the place."""
    _fuzz(run, CASES, 1, outcomes)


@pytest.mark.slow
def test_everything(run: Path, outcomes: Outcomes) -> None:
    """The same for many cases, in as many processes as there are cores."""
    _fuzz(run, ALL_CASES, os.cpu_count() or 1, outcomes)


def _fuzz(run: Path, cases: int, jobs: int, outcomes: Outcomes) -> None:
    report = fuzz(run, range(cases), seed=SEED, jobs=jobs)
    assert sum(report.outcomes.values()) == cases
    for (kind, outcome), count in report.outcomes.items():
        outcomes.add(f"fuzzer: {kind}", outcome, count)
    assert not report.failures, describe(report)


def test_cases_can_be_repeated(run: Path) -> None:
    """A number and a seed are a case; another seed is another one. Every kind has a generator."""
    for kind in GENERATORS:
        first, again, other = (make_case(3, seed=seed, kind=kind, run=run) for seed in (1, 1, 2))
        assert first == again != other


def module(body: str) -> Case:
    """A model in code that does this when it is built."""
    lines = ["import os, signal, sys, torch", "def Net():", *(f"    {line}" for line in body.split("; "))]
    code = "\n".join([*lines, "    return torch.nn.Conv2d(1, 2, 3)", ""]).encode()
    return Case("planted", ("inspect", "nets.py:Net", "--input", "1x8x8"), {"nets.py": code, "other": b"1\n2\n"})


def test_planted_failures(run: Path) -> None:
    """Each is found, and the cases after it still run."""
    good = module("x = 1")
    planted = {
        "os.kill(os.getpid(), signal.SIGKILL)": "the process ended with 9",
        "sys.stdout.write('\\x1b[31m')": "prints control characters",
        "print('Traceback')": "prints a traceback",
        "os._exit(3)": "the process ended with 768",
    }
    cases = [case for body in planted for case in (good, module(body))]
    results = [*run_cases([*cases, good], run)]
    assert [result.failure for result in results[1::2]] == [*planted.values()]
    assert [result.outcome for result in results[::2]] == ["done"] * (len(planted) + 1)


@pytest.mark.slow
def test_planted_hangs(run: Path) -> None:
    """What computes for ever is ended, and what takes too much memory is refused by the system."""
    results = [*run_cases([module("while True: pass"), module("x = bytearray(3 * 2**30)"), module("x = 1")], run)]
    assert results[0].failure == "takes more than 5 s of CPU time"
    assert "MemoryError" in results[1].output
    assert results[2].outcome == "done"


def test_failures_are_minimized(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the failure does not need is left out."""
    monkeypatch.setattr("tests.reliability.fuzz.minimize._MOST_RUNS", 50)
    case = module("x = 1; os.kill(os.getpid(), signal.SIGKILL); y = 2")
    case = replace(case, arguments=(*case.arguments, "--wide"))
    smaller = minimize(case, "the process ended with 9", run)
    assert "other" not in smaller.files
    assert "--wide" not in smaller.arguments
    code = smaller.files["nets.py"]
    assert code is not None
    assert b"SIGKILL" in code
    assert b"x = 1" not in code


@pytest.mark.parametrize("needed", [(), (3,), (0, 99), (17, 18, 60)], ids=str)
def test_reduce(needed: tuple[int, ...]) -> None:
    """Only the parts that are needed are left."""
    assert [*reduce(range(100), lambda some: {*needed} <= {*some})] == [*needed]
