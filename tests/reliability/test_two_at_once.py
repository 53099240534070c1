"""Two commands on one run at the same time: neither damages it, and both end with a result or an explanation.

The training is held before a chosen call, another command runs from its beginning to its end, and the training goes on.
"""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cnncli.training.run_directory import RunDirectory
from tests.reliability.conftest import Outcomes
from tests.reliability.moments import Place, before_call
from tests.reliability.runs import differences, program_in_child, resume_in_child, runs_in, train_in_child

MOMENTS: dict[str, Place] = {
    "starting": ("cnncli.cli.render.training.TrainingDisplay", "start", 1),
    "before the first step": ("cnncli.training.step.Step", "take", 1),
    "before the first checkpoint": ("cnncli.experiment.train", "save_checkpoint", 1),
    "writing the first checkpoint": ("cnncli.training.checkpoint", "write_file", 2),
    "replacing a checkpoint": ("cnncli.training.checkpoint", "_swap_in", 4),
    "deleting an old checkpoint": ("shutil", "rmtree", 6),
    "writing an event": ("cnncli.tensorboard.event_file.EventFile", "scalars", 3),
    "drawing": ("cnncli.experiment.pictures.PicturePlan", "draw", 4),
    "scoring": ("cnncli.experiment.train", "evaluate", 1),
    "writing the results": ("cnncli.training.run_directory.RunDirectory", "finish", 1),
}
COMMANDS = {
    "runs list": ("runs", "list", "OUT", "--json"),
    "runs show": ("runs", "show", "RUN"),
    "runs verify": ("runs", "verify", "RUN"),
    "runs prune": ("runs", "prune", "OUT", "--yes"),
    "runs prune --keep 0": ("runs", "prune", "OUT", "--yes", "--keep", "0"),
    "runs prune --only": ("runs", "prune", "OUT", "--yes", "--only", "snapshots", "--only", "last"),
    "train --resume": ("train", "--resume", "RUN", "--threads", "1", "--set", "train.epochs=4"),
    "show": ("show", "kernels", "RUN"),
    "eval": ("eval", "RUN"),
    "export": ("export", "RUN", "--format", "safetensors"),
    "report": ("report", "RUN"),
    "play": ("play", "RUN"),
}
WRITTEN = ("show/", "export/", "report.html", "play.html", "eval")
"""What these commands add to a run."""
FEW = [("replacing a checkpoint", "show"), ("starting", "runs prune"), ("drawing", "train --resume")]


@pytest.mark.parametrize(
    ("moment", "command"),
    [
        pytest.param(moment, command, marks=[] if (moment, command) in FEW else pytest.mark.slow)
        for moment in MOMENTS
        for command in COMMANDS
    ],
)
def test_beside_a_training(
    moment: str, command: str, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    out, beside = tmp_path / "runs", tmp_path / "beside"
    beside.mkdir()

    def other() -> None:
        (run,) = (path for path in out.iterdir() if path.is_dir())
        words = [{"OUT": str(out), "RUN": str(run)}.get(word, word) for word in COMMANDS[command]]
        directory = run.stat().st_ino
        ended = program_in_child(*words, folder=beside)
        assert run.stat().st_ino == directory, "the run was deleted"
        (beside / "ended.json").write_text(json.dumps([ended.code, ended.output]), encoding="utf-8")

    training = train_in_child(config, out, attack=lambda: before_call(MOMENTS[moment], other))
    assert training.code == 0, training.output
    (run,) = runs_in(out)
    assert [each for each in differences(run, reference) if not each.startswith(WRITTEN)] == []
    code, output = json.loads((beside / "ended.json").read_text(encoding="utf-8"))
    assert "Traceback" not in output
    assert "internal error" not in output
    if command == "train --resume":
        assert code == 5
        assert ("not a run directory" if moment == "starting" else "in use by process") in output
    elif command.startswith(("runs list", "runs prune")) or (command == "runs show" and moment != "starting"):
        assert code == 0, output
    else:
        assert code in (0, 5), output  # there is no checkpoint yet, or not even a run
    outcomes.add(f"{command.split(' --')[0]} beside a training", "done" if code == 0 else f"exit {code} with a reason")


@pytest.mark.parametrize("repetition", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(1, 10))])
def test_two_resumes(repetition: int, config: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """One of them trains. The other one is refused or, if it gets the lock afterwards, finds nothing left to train."""
    out = tmp_path / "runs"
    ended = train_in_child(config, out)
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    arguments = ("train", "--resume", run, "--threads", 1, "--set", "train.epochs=4")
    with ThreadPoolExecutor() as pool:
        both = [*pool.map(lambda folder: program_in_child(*arguments, folder=folder), folders)]
    first, second = sorted(both, key=lambda ended: ended.code)
    assert first.code == 0, first.output
    assert (second.code, "in use by process" in second.output) in ((5, True), (2, False), (0, False)), second.output
    assert "Traceback" not in second.output

    expected = tmp_path / "expected"
    train_in_child(config, expected)
    (other,) = runs_in(expected)
    assert program_in_child(*("train", "--resume", other, *arguments[3:]), folder=expected).code == 0
    assert differences(run, other) == []
    outcomes.add("two resumes of one run", "one is refused" if second.code == 5 else "one comes too late")


def test_the_lock_of_a_killed_process(config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """It names a process that does not exist, and keeps nobody out."""

    def attack() -> None:
        before_call(("cnncli.training.step.Step", "take", 5), lambda: os.kill(os.getpid(), signal.SIGKILL))

    ended = train_in_child(config, tmp_path, attack=attack)
    assert ended.killed
    (run,) = runs_in(tmp_path)
    assert (run / "lock").read_text(encoding="utf-8").startswith("process ")
    assert RunDirectory.open(run).status().state == "interrupted"
    ended = resume_in_child(run)
    assert ended.code == 0, ended.output
    assert differences(run, reference) == []
    outcomes.add("lock of a killed process", "resumed, same files")
