"""The program, run in this process or in its own, on a config that trains in about a second."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cnncli

if TYPE_CHECKING:
    from tests.forked import Forked  # not on Windows

# 1,150 training and 287 validation images: 9 steps per epoch.
TINY = """\
version: 1
name: tiny
data: {name: digits, size: 8, validation: 0.2}
model:
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
  layers: [{conv: 4}, {max_pool: 2}, {conv: 6}, {avg_pool: 2}, flatten, {dropout: 0.2}, logits]
train: {epochs: 3, batch_size: 128, optimizer: {adamw: {lr: 1e-2}}}
log: {probes: 2}
"""

ExitCodeOf = Callable[..., int]
Cnncli = Callable[..., tuple[int, str, str]]
Start = Callable[..., "Forked"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the config in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run_cnncli(exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]) -> Cnncli:
    """Runs the program in this process: arguments -> exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = exit_code_of(*arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of the program in its own process."""
    package = Path(cnncli.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def start_cnncli() -> Iterator[Start]:
    """Starts the program in a forked process, with pipes for stdout and stderr."""
    from tests.forked import Forked, run_program

    with ExitStack() as started:
        yield lambda *arguments: started.enter_context(Forked(partial(run_program, *arguments)))


@pytest.fixture(scope="session")
def trained(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run of three epochs, for reading only."""
    out = tmp_path_factory.mktemp("trained")
    config = out / "tiny.yaml"
    config.write_text(TINY, encoding="utf-8")
    assert exit_code_of("train", config, "--out", out / "runs", "--threads", 1, "--quiet") == 0
    (run,) = (out / "runs").iterdir()
    return run
