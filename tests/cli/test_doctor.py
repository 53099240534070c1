"""`cnncli doctor`: its table, JSON and exit code. What it checks is tested in tests/test_doctor.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli import __version__, doctor
from cnncli.doctor import Device, TorchFacts

Cnncli = Callable[..., tuple[int, str, str]]

CPU = Device(name="cpu", model="Some [bold] processor", memory=8 << 30)
NO_GPU = Device(name="cuda", unavailable="no GPU is available")


@pytest.fixture(autouse=True)
def _no_torch_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "torch_facts", lambda: TorchFacts(version="2.14.1", threads=2, devices=(CPU, NO_GPU)))


def test_without_problems(run_cnncli: Cnncli, folder: Path) -> None:
    code, out, err = run_cnncli("doctor")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert out.startswith(f"cnncli {__version__}, Python ")
    assert ["torch", "2.14.1"] in rows
    assert ["cpu", "Some", "[bold]", "processor", "8.0", "GB", "fp32"] in rows
    assert ["cuda", "no", "GPU", "is", "available"] in rows
    assert ["mnist", "absent"] in rows
    assert any(row[:1] == ["runs"] and row[-1] == str(folder / "runs") for row in rows)
    assert out.endswith("no problems\n")


def test_problems_have_remedies_and_the_exit_code_of_the_first(run_cnncli: Cnncli, folder: Path) -> None:
    raw = folder / "sets" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    (folder / "file").write_text("")
    arguments = ("doctor", "--data-dir", "sets", "--runs-dir", "file")
    code, out, err = run_cnncli(*arguments)
    assert (code, err) == (4, "")
    lines = out.splitlines()
    first, second = (number for number, line in enumerate(lines) if line.startswith("problem: "))
    assert "train-labels-idx1-ubyte: wrong checksum" in lines[first]
    assert lines[first + 1].startswith("  delete ")
    assert f"{folder / 'file'}: no run can be written there" in lines[second]
    code, out, err = run_cnncli(*arguments, "--json")
    assert (code, err) == (4, "")
    found = json.loads(out)
    assert found["ok"] is False
    assert [problem["exit_code"] for problem in found["problems"]] == [4, 7]
    assert all(problem["remedy"] for problem in found["problems"])


def test_json(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("CNNCLI_OUT", "elsewhere")
    code, out, err = run_cnncli("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["ok"] is True
    assert found["versions"]["cnncli"] == __version__
    assert [device["name"] for device in found["devices"]] == ["cpu", "cuda"]
    assert {each["purpose"]: each["path"] for each in found["folders"]} == {
        "data": str(folder / "data"),
        "runs": str(folder / "elsewhere"),
    }
    assert found["environment"] == {"CNNCLI_OUT": "elsewhere"}
    assert found["problems"] == []
