"""Environment variables in place of options: `CNNCLI_OUT`, `CNNCLI_DEVICE` and `CNNCLI_THREADS`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Cnncli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _threads() -> object:
    """Commands of this file set the number of threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_folder_of_runs(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNCLI_OUT", "from-environment")
    once = ("train", "tiny.yaml", "--quiet", "--set", "train.epochs=1", "--set", "log.images=0")
    code, out, _ = run_cnncli(*once)
    assert (code, Path(out.strip()).parent) == (0, Path("from-environment"))
    code, out, _ = run_cnncli(*once, "--out", "from-option")
    assert (code, Path(out.strip()).parent) == (0, Path("from-option"))


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


def test_commands_to_use_next_do_what_this_one_did(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a shell that lacks the variables, and in one where they say something else than the options."""
    monkeypatch.setenv("CNNCLI_DATA", "elsewhere")
    monkeypatch.setenv("CNNCLI_DEVICE", "cpu")
    monkeypatch.setenv("CNNCLI_THREADS", "1")
    once = ("train", "tiny.yaml", "--set", "train.epochs=1", "--set", "log.images=0")
    (resume,) = (line for line in run_cnncli(*once)[1].splitlines() if "--resume" in line)
    assert all(option in resume for option in ("--data-dir elsewhere", "--device cpu", "--threads 1")), resume
    (resume,) = (
        line
        for line in run_cnncli(*once, "--data-dir", "data", "--device", "auto", "--threads", 2)[1].splitlines()
        if "--resume" in line
    )
    assert all(option in resume for option in ("--data-dir data", "--device auto", "--threads 2")), resume


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
