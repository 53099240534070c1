"""Damaged files of runs: every command that reads a run works or names the damage, and changes nothing else."""

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cnncli.errors import RunError
from cnncli.training.checkpoint import load_state, verify_checkpoint
from cnncli.training.run_directory import RunDirectory, Status
from cnncli.training.step import Step
from tests.manifests import write_manifest
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


def at_step(step: int, do: Callable[[], object]) -> Callable[[], None]:
    """An attack: do something during a step of the training."""

    def attack() -> None:
        take, taken = Step.take, iter(range(1, 100))

        def attacked(*arguments: Any) -> None:
            if next(taken) == step:
                do()
            take(*arguments)

        Step.take = attacked  # type: ignore[method-assign, assignment]  # of this process only

    return attack


def terminate_at_step(step: int) -> Callable[[], None]:
    """An attack: SIGTERM during a step."""
    return at_step(step, lambda: os.kill(os.getpid(), signal.SIGTERM))


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


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [("lr: 0.01", "lr: 0.02", "train.optimizer.adamw.lr"), ("seed: 0", "seed: 1", "train.seed")],
)
def test_a_config_that_was_edited_by_hand(
    old: str, new: str, field: str, runs: dict[str, Path], tmp_path: Path, outcomes: Outcomes
) -> None:
    run = tmp_path / "runs" / "run"
    shutil.copytree(runs["interrupted"], run)
    text = (run / "resolved.yaml").read_text()
    assert old in text
    (run / "resolved.yaml").write_text(text.replace(old, new))
    before = content_of(run)
    for arguments, code, message in (
        (
            ("train", "--resume", run),
            5,
            f"resolved.yaml was edited: it is not the config that the run was trained with: {field}",
        ),
        (("runs", "verify", run), 5, f"it is not the config that the run was trained with: {field}"),
        (("show", "kernels", run), 0, f"resolved.yaml is not the config that the run was trained with: {field}"),
    ):
        ended = program_in_child(*arguments, folder=tmp_path)
        assert (ended.code, message in ended.output.replace("\n", " ")) == (code, True), ended.output
        assert content_of(run) == before
        outcomes.add("config of a run that was edited by hand", f"the field is named, exit code {code}")
    (run / "resolved.yaml").write_text(text.replace("epochs: 2", "epochs: 3"))  # what --set may change
    assert resume_in_child(run).code == 0


def test_a_run_that_is_removed_or_renamed_during_its_training(tmp_path: Path, outcomes: Outcomes) -> None:
    for what, attack in (("removed", shutil.rmtree), ("renamed", lambda run: run.rename(run.with_name("renamed")))):
        out = tmp_path / what

        def attacked(out: Path = out, attack: Callable[[Path], object] = attack) -> None:
            attack(next(out.glob("tiny-*")))

        ended = train_in_child(tiny_config(tmp_path), out, attack=at_step(5, attacked))
        assert ended.code == 7, ended.output
        message = ended.output.replace("\n", " ")
        assert "the folder of the run was removed or renamed during the training" in message
        assert "cnncli train --resume FOLDER" in message
        assert not list(out.glob("tiny-*")), "nothing is created in its place"
        outcomes.add("run that is removed or renamed during its training", f"{what}: noticed, exit code 7")
    ended = resume_in_child(tmp_path / "renamed" / "renamed")
    assert ended.code == 0, ended.output


def test_a_lock_that_is_deleted_during_the_training(tmp_path: Path, outcomes: Outcomes) -> None:
    out = tmp_path / "runs"

    def attacked() -> None:
        run = next(out.glob("tiny-*"))
        (run / "lock").unlink()
        with pytest.raises(RunError) as caught, RunDirectory(run).lock():
            pass
        (tmp_path / "refused").write_text(caught.value.message)

    ended = train_in_child(tiny_config(tmp_path), out, attack=at_step(5, attacked))
    assert ended.code == 0, ended.output
    assert "lock was deleted during the training: it is locked again" in ended.output.replace("\n", " ")
    (run,) = runs_in(out)
    assert f"{run}: the run is in use by" in (tmp_path / "refused").read_text()
    assert len(RunDirectory.open(run).metrics()) == 2
    outcomes.add("lock that is deleted during the training", "a second process is refused, the first notices")


def test_a_run_that_stopped_without_notice_is_reported_by_every_command(
    runs: dict[str, Path], tmp_path: Path, outcomes: Outcomes
) -> None:
    run = tmp_path / "runs" / "run"
    shutil.copytree(runs["interrupted"], run)
    (run / "status.json").write_text('{"state": "running"}')
    for command in ("list", "show", "verify"):
        ended = program_in_child("runs", command, run, folder=tmp_path)
        assert ended.code == 0, ended.output
        assert "stopped without notice" in ended.output.replace("\n", " "), f"{command}: {ended.output}"
        outcomes.add("status that says running without a process", "reported as stopped without notice")
    ended = program_in_child("runs", "list", run.parent, "--json", folder=tmp_path)
    (record,) = json.loads(ended.output)
    assert (record["status"], record["reason"]) == ("interrupted", "stopped without notice")


def test_a_state_of_another_step(runs: dict[str, Path], tmp_path: Path, outcomes: Outcomes) -> None:
    """Hashes and manifest agree with it; the epochs of the run do not."""
    run = tmp_path / "runs" / "run"
    shutil.copytree(runs["interrupted"], run)
    last = run / "checkpoints" / "last"
    torch.save(torch.load(last / "state.pt", weights_only=True) | {"step": 5}, last / "state.pt")
    manifest = json.loads((last / "manifest.json").read_bytes()) | {"step": 5}
    manifest["files"]["state.pt"] = hashlib.sha256((last / "state.pt").read_bytes()).hexdigest()
    write_manifest(last / "manifest.json", manifest)
    before = content_of(run)
    for arguments, message in (
        (("train", "--resume", run), "it says step 5 after 1 epochs of 3 steps and 1 more"),
        (("runs", "verify", run), "it says step 5, but epoch 1 ends at step 3, and it is 1 steps further"),
    ):
        ended = program_in_child(*arguments, folder=tmp_path)
        assert ended.code == 5, ended.output
        assert message in " ".join(ended.output.split())
        assert content_of(run) == before
        outcomes.add("state of another step", "refused, names the step")


def with_nan(checkpoint: Path) -> None:
    """Put a NaN into the weights, with the right hash."""
    file = checkpoint / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-4:] = struct.pack("<f", float("nan"))
    file.write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_bytes())
    manifest["files"][file.name] = hashlib.sha256(content).hexdigest()
    write_manifest(checkpoint / "manifest.json", manifest)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=() if command == "predict" else pytest.mark.slow)
        for command in ("eval", "predict", "explain", "show", "export", "play", "report", "runs compare", "runs verify")
    ],
)
def test_weights_that_are_not_finite(
    command: str, runs: dict[str, Path], image: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    run = tmp_path / "runs" / "run"
    shutil.copytree(runs["complete"], run)
    with_nan(run / "checkpoints" / "best")
    warned = program_in_child(*COMMANDS[command](run, image), folder=tmp_path)
    with_nan(run / "checkpoints" / "last")
    refused = program_in_child(*COMMANDS[command](run, image), folder=tmp_path)
    for ended in (warned, refused):
        message = ended.output.replace("\n", " ")
        assert f"{run / 'checkpoints' / 'best' / 'weights.safetensors'}" in message or command == "runs verify"
        assert "has weights that are not finite" in message
        assert "Traceback" not in message
    assert warned.code == (5 if command == "runs verify" else 0)
    assert refused.code == (0 if command in ("runs compare", "report") else 5)  # these show the rest
    outcomes.add("weights that are not finite", "named, and others used where there are any", 2)


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
