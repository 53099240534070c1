"""Environment variables in place of options: `CNNCLI_OUT`, `CNNCLI_DEVICE` and `CNNCLI_THREADS`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import cnncli

Cnncli = Callable[..., tuple[int, str, str]]
CHECKOUT = Path(cnncli.__file__).parents[1]


@pytest.fixture(autouse=True)
def _threads() -> object:
    """Commands of this file set the number of threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


ONCE = ("train", "tiny.yaml", "--set", "train.epochs=1", "--set", "log.images=0")


def resume_command(out: str) -> str:
    """The command to resume the run, among those that training prints at the end."""
    (command,) = (line for line in out.splitlines() if "--resume" in line)
    return command


def test_variables_in_place_of_options(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command printed at the end also works in a shell that lacks the variables."""
    monkeypatch.setenv("CNNCLI_OUT", "from-environment")
    monkeypatch.setenv("CNNCLI_DATA", "elsewhere")
    monkeypatch.setenv("CNNCLI_DEVICE", "cpu")
    monkeypatch.setenv("CNNCLI_THREADS", "1")
    code, out, _ = run_cnncli(*ONCE)
    assert (code, len(list(Path("from-environment").iterdir()))) == (0, 1)
    resume = resume_command(out)
    options = ("--resume from-environment/", "--data-dir elsewhere", "--device cpu", "--threads 1")
    assert [option for option in options if option not in resume] == []


def test_options_take_precedence(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command printed at the end also works in a shell whose variables say something else."""
    for name in ("CNNCLI_OUT", "CNNCLI_DATA"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("CNNCLI_DEVICE", "cuda")
    monkeypatch.setenv("CNNCLI_THREADS", "2")
    options = ("--data-dir data", "--device auto", "--threads 1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, _ = run_cnncli(*ONCE, "--out", "runs", *" ".join(options).split())
    assert (code, len(list(Path("runs").iterdir()))) == (0, 1)
    assert [option for option in options if option not in resume_command(out)] == []


def test_tensorboard_looks_in_the_folder_of_runs(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNCLI_OUT", "nowhere")
    code, out, err = run_cnncli("tensorboard")
    assert (code, out) == (5, "")
    assert "nowhere: no such folder" in err


def test_threads(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNCLI_THREADS", "3")
    assert run_cnncli("train", "tiny.yaml", "--dry-run")[0] == 0
    assert torch.get_num_threads() == 3
    assert run_cnncli("train", "tiny.yaml", "--dry-run", "--threads", 2)[0] == 0
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", ["0", "100000", "many"])
def test_an_impossible_number_of_threads(count: str, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNCLI_THREADS", count)
    code, out, err = run_cnncli("train", "tiny.yaml", "--dry-run")
    assert (code, out) == (2, "")
    assert "CNNCLI_THREADS" in err


def test_device(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CNNCLI_DEVICE", "cuda:1")
    code, out, err = run_cnncli("train", "tiny.yaml", "--dry-run")
    assert (code, out) == (8, "")
    assert "device cuda:1" in err
    code, out, _ = run_cnncli("train", "tiny.yaml", "--dry-run", "--device", "cpu")
    assert code == 0
    assert "would train on cpu" in out


def test_an_unknown_device(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNCLI_DEVICE", "gpu")
    code, out, err = run_cnncli("train", "tiny.yaml", "--dry-run")
    assert (code, out) == (2, "")
    assert "CNNCLI_DEVICE" in err
    assert "use cuda" in err


def test_an_empty_variable_is_no_variable(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CNNCLI_OUT", "CNNCLI_DEVICE", "CNNCLI_THREADS", "CNNCLI_DATA"):
        monkeypatch.setenv(name, "")
    assert run_cnncli("train", "tiny.yaml", "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("command", "variables"),
    [("train", ["CNNCLI_OUT", "CNNCLI_DEVICE", "CNNCLI_THREADS", "CNNCLI_DATA"]), ("tensorboard", ["CNNCLI_OUT"])],
)
def test_help_names_the_variables(command: str, variables: list[str], run_cnncli: Cnncli) -> None:
    words = run_cnncli(command, "--help")[1].split()
    assert [each for each in variables if not any(each in word for word in words)] == []


def test_class_names_that_the_locale_cannot_decode(tmp_path: Path) -> None:
    """They are valid UTF-8: the locale is named, before anything is trained."""
    for name in ("äpfel", "birnen"):
        (tmp_path / "fruit" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "fruit" / name / "1.png")
    (tmp_path / "fruit.yaml").write_text(
        "data: {name: image-folder, path: fruit, size: 8}\nmodel: {layers: [flatten, logits]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "cnncli", "validate", "fruit.yaml", "--data-dir", "."],
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 4, done.stderr
    assert "fel cannot be decoded as ascii" in done.stderr
    assert "PYTHONUTF8=1" in done.stderr
