"""Links in a run: no command reads or writes through a symbolic one, which is named; hard ones are taken apart."""

import os
import shutil
from pathlib import Path

import pytest

from cnncli.tensorboard.event_file import EventFile
from tests.reliability.conftest import Outcomes
from tests.reliability.runs import program_in_child, runs_in, tiny_config, train_in_child
from tests.reliability.test_damaged_runs import COMMANDS

ATTACK = "symbolic link in a run"

LINKS = (
    *("lock", "status.json", "results.json", "resolved.yaml", "metrics.jsonl", "metadata.json", "config.yaml"),
    *("snapshots", "weights", "checkpoints", "checkpoints/last", "checkpoints/best", "checkpoints/best/state.pt"),
    *("show", "export", "show/kernels", "play.html", "report.html", "events.out.tfevents.9", "trace.json.gz"),
)
"""Files and folders of a run, those included that only some runs have."""

READ_ONE_FILE = ("inspect", "unit", "pixel", "diff")
"""Commands that read only resolved.yaml of a run."""

LIST = ("runs list", "runs prune")
"""Commands that list several runs: the one with the link is called damaged, and is not read."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("complete")
    assert train_in_child(tiny_config(folder, "train.epochs=1"), folder / "runs").code == 0
    (run,) = runs_in(folder / "runs")
    return run


def attack(command: str, name: str, complete: Path, image: Path, out: Path) -> str:
    """Replace a part of a run by a link to a copy of it outside, and run a command; the outcome."""
    run, outside = out / "runs" / "run", out / "outside"
    for folder in (run, outside):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(complete, run)
    outside.mkdir()
    target = outside / "target"
    if (run / name).exists():
        (run / name).rename(target)
    elif "." in name or name == "lock":
        target.write_text("text of another program")
    else:
        target.mkdir()
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(target)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    arguments = (
        ("train", "--resume", run, "--set", "train.epochs=2") if command == "train" else COMMANDS[command](run, image)
    )
    ended = program_in_child(*arguments, folder=out)
    case = f"{command}, {name}"
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before, (
        f"{case}: written through"
    )
    assert "Traceback" not in ended.output, f"{case}: {ended.output}"
    if command in READ_ONE_FILE and name != "resolved.yaml":
        assert ended.code == 0, f"{case}: {ended.output}"
        return "not needed"
    assert f"{run / name} is a symbolic link" in ended.output.replace("\n", " ") or command == "runs prune", (
        f"{case}: {ended.output}"
    )
    assert ended.code == (0 if command in LIST else 5), f"{case}: {ended.code} {ended.output}"
    return "named, and not followed"


def test_a_sample_of_links(run: Path, image: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    for command, name in (
        ("train", "lock"),
        ("train", "snapshots"),
        ("show", "show"),
        ("runs list", "lock"),
        ("eval", "checkpoints"),
    ):
        outcomes.add(ATTACK, attack(command, name, run, image, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", *COMMANDS])
def test_every_link(command: str, run: Path, image: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    for name in LINKS:
        outcomes.add(ATTACK, attack(command, name, run, image, tmp_path))


def test_a_copy_by_hard_links_is_resumed_alone(run: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """`cp -al` makes one; the run that was copied, and a file of another program, keep their content."""
    copy, other = tmp_path / "runs" / "copy", tmp_path / "other.txt"
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(tmp_path / "run", copy, copy_function=os.link)
    (copy / "lock").unlink(missing_ok=True)
    other.write_text("text of another program")
    os.link(other, copy / "lock")
    with (copy / "metrics.jsonl").open("a") as metrics:  # in both: it is cut off when the run is resumed
        metrics.write("{")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in (*files, other)}
    ended = program_in_child("train", "--resume", copy, "--set", "train.epochs=2", folder=tmp_path)
    assert ended.code == 0, ended.output
    assert len((copy / "metrics.jsonl").read_text().splitlines()) == 2
    assert {path: path.read_bytes() for path in before} == before
    outcomes.add("hard link in a run", "resumed, and the other name is unchanged", 2)


def test_tensorboard_is_not_started_on_a_run_with_a_link(tmp_path: Path, outcomes: Outcomes) -> None:
    run = tmp_path / "runs" / "run"
    with EventFile(run):
        pass
    (run / "status.json").write_text('{"state": "interrupted"}')
    (run / "events.out.tfevents.9").symlink_to("elsewhere")
    ended = program_in_child("tensorboard", tmp_path / "runs", folder=tmp_path)
    assert ended.code == 5, ended.output
    assert f"{run / 'events.out.tfevents.9'} is a symbolic link" in ended.output.replace("\n", " ")
    outcomes.add(ATTACK, "named, and not followed")


def test_a_run_may_be_reached_through_a_link(run: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    shutil.copytree(run, tmp_path / "elsewhere")
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    for arguments in (
        ("eval", tmp_path / "run"),
        ("show", "kernels", tmp_path / "run"),
        ("train", "--resume", tmp_path / "run", "--set", "train.epochs=2"),
    ):
        ended = program_in_child(*arguments, folder=tmp_path)
        assert ended.code == 0, ended.output
        outcomes.add("run that is reached through a link", "worked")
    assert (tmp_path / "elsewhere" / "show" / "kernels" / "01_conv1.png").is_file()
