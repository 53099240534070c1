"""The commands that `cnncli train` prints, pasted; and what a resumed run may change."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any, Self

import pytest

from tests.cli.conftest import Cnncli

SMALL = ("--threads", 1, "--set", "log.images=0")


class NoServer:
    """Stands for TensorBoard, which would run until Ctrl-C; it ends at once."""

    def __init__(self, runs: Path, **_: Any) -> None:
        assert runs.is_dir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait_for_answer(self, *_: object, **__: object) -> None: ...


def next_commands(out: str) -> list[list[str]]:
    _, _, listed = out.partition("\nnext:\n")
    commands = [shlex.split(line) for line in listed.splitlines()]
    assert all(each[0] == "cnncli" for each in commands)
    return [each[1:] for each in commands]


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        (("train.epochs=1",), 2),
        (("train.epochs=4", "train.early_stopping.patience=1", "train.optimizer.adamw.lr=1e-12"), 4),
        (("train.epochs=2", "train.early_stopping.patience=1", "train.optimizer.adamw.lr=1e-12"), 4),
    ],
    ids=["complete", "stopped early", "stopped early in the last epoch"],
)
def test_every_printed_command_works(
    settings: tuple[str, ...], epochs: int, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnncli.cli.commands.tensorboard.Server", NoServer)
    monkeypatch.setenv("CNNCLI_DATA", "data")
    sets = [word for each in settings for word in ("--set", each)]
    code, out, err = run_cnncli("train", "tiny.yaml", *SMALL, *sets)
    assert code == 0
    assert ("stopped early" in err) == (len(settings) > 1)
    commands = next_commands(out)
    assert [each[0] for each in commands] == ["tensorboard", "show", "play", "report", "train"]
    for command in commands if epochs == 2 else commands[-1:]:  # only the last one is another after an early stop
        code, out, err = run_cnncli(*command)
        assert code == 0, (command, err)
    (run,) = Path("runs").iterdir()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == epochs
    assert next_commands(out)[-1][-6:-4] == ["--set", f"train.epochs={2 * epochs}"]


@pytest.fixture
def run(trained: Path) -> Path:
    """A copy of a run of three epochs."""
    return Path(shutil.copytree(trained, Path("runs", trained.name)))


def resume(run: Path, run_cnncli: Cnncli, *words: str) -> tuple[int, str]:
    code, _, err = run_cnncli("train", "--resume", run, *SMALL, "--set", "train.epochs=4", *words)
    return code, err


def test_the_learning_rate_and_the_schedule_change_by_force(run: Path, run_cnncli: Cnncli) -> None:
    words = ("--set", "train.optimizer.adamw.lr=1e-4", "--set", "train.schedule={exponential: 0.5}")
    code, err = resume(run, run_cnncli, *words)
    assert code == 2
    assert "was trained with another train.optimizer.adamw.lr" in err
    assert "add --force" in err
    code, err = resume(run, run_cnncli, *words, "--force")
    assert code == 0
    assert "from step 27 on with another train.optimizer.adamw.lr" in err
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["learning_rate"] == pytest.approx(1e-4 * 0.5 ** (35 / 9))  # the last of 36 steps
    (resumed,) = json.loads((run / "metadata.json").read_text())["resumed"]
    assert resumed["step"] == 27
    assert resumed["changed"] == ["train.optimizer.adamw.lr", "train.schedule.constant", "train.schedule.exponential"]
    assert "exponential" in (run / "resolved.yaml").read_text()
    assert resume(run, run_cnncli, "--set", "train.epochs=5")[0] == 0, "from here on, that is its schedule"


def test_a_change_by_force_is_noted_where_the_last_checkpoint_is_missing(run: Path, run_cnncli: Cnncli) -> None:
    shutil.rmtree(run / "checkpoints" / "last")
    code, err = resume(run, run_cnncli, "--set", "train.optimizer.adamw.lr=1", "--force")
    assert code == 0, err
    (resumed,) = json.loads((run / "metadata.json").read_text())["resumed"]
    assert (resumed["checkpoint"], resumed["changed"]) == ("best", ["train.optimizer.adamw.lr"])
    assert f"from step {resumed['step']} on with another train.optimizer.adamw.lr" in err
    assert "now covers" not in err, "that the learning rate is another one is what was asked for"


def test_other_settings_do_not_change_by_force(run: Path, run_cnncli: Cnncli) -> None:
    for setting in ("train.batch_size=64", "train.optimizer.adamw.weight_decay=0", "train.optimizer=sgd"):
        code, err = resume(run, run_cnncli, "--force", "--set", setting)
        assert code == 2, setting
        assert "a resumed run may change only" in err
    code, _, err = run_cnncli("train", "tiny.yaml", "--force")
    assert code == 2
    assert "--force is for --resume" in err


def test_a_learning_rate_that_jumps_up_is_announced(run_cnncli: Cnncli) -> None:
    cosine = ("--set", "train.schedule=cosine", "--set", "train.epochs=2")
    assert run_cnncli("train", "tiny.yaml", *SMALL, *cosine)[0] == 0
    (run,) = Path("runs").iterdir()
    code, err = resume(run, run_cnncli)
    assert code == 0
    rates = [json.loads(line)["learning_rate"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rates[2] > 10 * rates[1]
    assert f"the learning rate jumps from {rates[1]:.2g} to 0.005 at step 18" in err
    assert "now covers 4 epochs instead of 2" in err
    _, _, err = run_cnncli("train", "--resume", run, *SMALL, "--set", "train.epochs=5")
    assert "jumps" in err
