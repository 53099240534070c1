"""Damaged files of runs: every command that reads a run works or names the damage, and changes nothing else."""

import importlib
import os
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cnncli.training.checkpoint import load_state, verify_checkpoint
from cnncli.training.run_directory import RunDirectory, Status
from tests.reliability.conftest import Outcomes
from tests.reliability.runs import Ended, program_in_child, resume_in_child, runs_in, tiny_config, train_in_child

for _command in (
    "diff",
    "eval",
    "explain",
    "export",
    "inspect",
    "pixel",
    "play",
    "predict",
    "report",
    "runs",
    "show",
    "unit",
):
    importlib.import_module(f"cnncli.cli.commands.{_command}")
for _module in ("export.export", "report.playground", "report.report", "robustness.robustness", "views.kernels"):
    importlib.import_module(f"cnncli.{_module}")
for _module in ("runs.compare", "runs.details", "runs.prune", "runs.verify", "cli.render.runs", "cli.render.table"):
    importlib.import_module(f"cnncli.{_module}")

ATTACK = "damaged file of a run, {}"

DOCUMENTED = {0, 3, 4, 5, 6, 7}
"""Exit codes of a command that is given a damaged run; 1 is a bug."""

Damage = Callable[[Path], None]


def change(edit: Callable[[bytearray], bytes | bytearray]) -> Damage:
    """Replace a file by its edited content."""

    def damage(path: Path) -> None:
        path.write_bytes(edit(bytearray(path.read_bytes())))

    return damage


def flip(content: bytearray) -> bytearray:
    """Change a bit in the middle."""
    if content:
        content[len(content) // 2] ^= 0x10
    return content


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES: Mapping[str, Damage] = {
    "empty": change(lambda content: b""),
    "cut after a quarter": change(lambda content: content[: len(content) // 4]),
    "cut in the middle": change(lambda content: content[: len(content) // 2]),
    "last byte missing": change(lambda content: content[:-1]),
    "flipped bit": change(flip),
    "random bytes": change(lambda content: random.Random(0).randbytes(max(1, len(content)))),
    "a directory": directory,
    "missing": Path.unlink,
    "a link to nowhere": link,
    "not readable": lambda path: path.chmod(0),
}

READING: Mapping[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "inspect": lambda run, image: ("inspect", run),
    "unit": lambda run, image: ("unit", run, "conv1", "1,1"),
    "pixel": lambda run, image: ("pixel", run, "1,1"),
    "diff": lambda run, image: ("diff", run, "quickstart"),
    "runs list": lambda run, image: ("runs", "list", run.parent, "--json"),
    "runs show": lambda run, image: ("runs", "show", run),
    "runs compare": lambda run, image: ("runs", "compare", run, run),
    "runs verify": lambda run, image: ("runs", "verify", run),
    "runs prune": lambda run, image: ("runs", "prune", run.parent),
    "eval": lambda run, image: ("eval", run, "--json"),
    "predict": lambda run, image: ("predict", run, image),
    "explain": lambda run, image: ("explain", "feature-maps", "--run", run, "--image", "3"),
}
WRITING: Mapping[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "show": lambda run, image: ("show", "kernels", run),
    "export": lambda run, image: ("export", run, "--format", "safetensors"),
    "play": lambda run, image: ("play", run),
    "report": lambda run, image: ("report", run),
}
COMMANDS = {**READING, **WRITING}
WRITTEN = ("show", "export", "play.html", "report.html")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A complete run, and one that SIGTERM has interrupted within its second epoch."""
    folder = tmp_path_factory.mktemp("runs")
    config = tiny_config(folder)
    assert train_in_child(config, folder / "complete").code == 0
    assert train_in_child(config, folder / "interrupted", attack=terminate_at_step(4)).code == 128 + signal.SIGTERM
    (complete,), (interrupted,) = runs_in(folder / "complete"), runs_in(folder / "interrupted")
    return {"complete": complete, "interrupted": interrupted}


def terminate_at_step(step: int) -> Callable[[], None]:
    """An attack: SIGTERM during a step."""

    def attack() -> None:
        from cnncli.training.step import Step

        take, taken = Step.take, iter(range(1, 100))

        def terminated(*arguments: Any) -> None:
            if next(taken) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            take(*arguments)

        Step.take = terminated  # type: ignore[method-assign, assignment]  # of this process only

    return attack


def files_of(run: Path) -> list[str]:
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


def content_of(run: Path) -> dict[str, object]:
    """The content of every file of a run, except of those that commands write into it."""
    found: dict[str, object] = {}
    for path in run.rglob("*"):
        name = path.relative_to(run).as_posix()
        if not name.startswith((*WRITTEN, "lock")):
            found[name] = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


@dataclass(frozen=True)
class Case:
    """A damaged file.

    Attributes:
        state: of the run: `complete` or `interrupted`.
        file: its name.
        damage: what was done to it.
    """

    state: str
    file: str
    damage: str

    @property
    def place(self) -> str:
        """What a message about it names: the file or, because another may replace it, its folder."""
        return self.file.split("/")[0] if "/" in self.file else self.file


def cases(runs: Mapping[str, Path]) -> list[Case]:
    """All damages of all files of both runs; root can read every file."""
    return [
        Case(state, file, damage)
        for state, run in runs.items()
        for file in files_of(run)
        for damage in DAMAGES
        if damage != "not readable" or os.getuid()
    ]


def damaged(case: Case, runs: Mapping[str, Path], out: Path) -> Path:
    """A copy of a run with the damage, in the place of the one before."""
    run = out / "runs" / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(runs[case.state], run)
    DAMAGES[case.damage](run / case.file)
    return run


def outcome_of(case: Case, ended: Ended) -> str:
    """Check that a command ended as documented, and that a message names the place; what happened."""
    assert ended.code in DOCUMENTED, f"{case}: exit code {ended.code}: {ended.output}"
    assert "Traceback" not in ended.output, f"{case}: {ended.output}"
    named = case.place in ended.output.replace("\n", "")
    if ended.code == 0:
        return "worked, and named the damage" if named else "worked without the file"
    assert named, f"{case}: exit code {ended.code}, but {case.place} is not named: {ended.output}"
    return f"named the damage, exit code {ended.code}"


def attack(command: str, case: Case, runs: Mapping[str, Path], image: Path, out: Path) -> str:
    """Give a damaged run to a command; the outcome."""
    run = damaged(case, runs, out)
    before = content_of(run)
    ended = program_in_child(*COMMANDS[command](run, image), folder=out)
    outcome = outcome_of(case, ended)
    assert content_of(run) == before, f"{command}, {case}: other files of the run have changed"
    return outcome


def attack_resume(case: Case, runs: Mapping[str, Path], out: Path) -> str:
    """Resume a damaged run: it ends with the weights of the one that was not damaged, or is refused unchanged."""
    run = damaged(case, runs, out)
    before = content_of(run)
    ended = resume_in_child(run)
    if ended.code == 2 and "already has 2 epochs and is complete" in ended.output:
        return "refused: already complete"
    outcome = outcome_of(case, ended)
    if ended.code:
        assert content_of(run) == before, f"{case}: the run has changed"
        return outcome
    assert RunDirectory.open(run).status() == Status("complete"), f"{case}: {ended.output}"
    weights, expected = (load_state(each / "checkpoints" / "last")["model"] for each in (run, runs["complete"]))
    assert all(torch.equal(weights[name], expected[name]) for name in expected), f"{case}: other weights"
    best = verify_checkpoint(run / "checkpoints" / "best")
    assert RunDirectory.open(run).results()["epoch"] == best["epoch"], f"{case}: results of other weights"
    return "resumed: the weights are the same"


def test_a_sample_of_damaged_files(runs: dict[str, Path], image: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    for command, case in (
        ("runs list", Case("complete", "status.json", "flipped bit")),
        ("runs show", Case("interrupted", "metrics.jsonl", "random bytes")),
        ("runs verify", Case("complete", "checkpoints/best/state.pt", "cut in the middle")),
        ("eval", Case("complete", "checkpoints/best/manifest.json", "random bytes")),
        ("predict", Case("interrupted", "resolved.yaml", "a directory")),
        ("show", Case("complete", "checkpoints/best/weights.safetensors", "a link to nowhere")),
    ):
        outcomes.add(ATTACK.format(command), attack(command, case, runs, image, tmp_path))
    for case in (
        Case("complete", "checkpoints/best/weights.safetensors", "flipped bit"),
        Case("interrupted", "checkpoints/last/manifest.json", "empty"),
    ):
        outcomes.add(ATTACK.format("train --resume"), attack_resume(case, runs, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("command", READING)
def test_every_damaged_file_and_a_command_that_reads(
    command: str, runs: dict[str, Path], image: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    for case in cases(runs):
        outcomes.add(ATTACK.format(command), attack(command, case, runs, image, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("command", WRITING)
def test_every_damaged_file_and_a_command_that_writes(
    command: str, runs: dict[str, Path], image: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """These take longer: a fifth of all damages, of every file and of every kind."""
    for case in cases(runs)[:: 5 if os.getuid() == 0 else 7]:
        outcomes.add(ATTACK.format(command), attack(command, case, runs, image, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_every_damaged_file_and_a_resume(state: str, runs: dict[str, Path], tmp_path: Path, outcomes: Outcomes) -> None:
    for case in cases(runs):
        if case.state == state:
            outcomes.add(ATTACK.format("train --resume"), attack_resume(case, runs, tmp_path))
