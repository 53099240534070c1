"""Files that commands write: nothing but an output of the same type is replaced."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.files import atomic_write
from cnncli.training.run_directory import run_of_file

Cnncli = Callable[..., tuple[int, str, str]]
WRITERS = (
    (("inspect", "lenet5"), "--graph"),
    (("unit", "lenet5", "conv1", "0,0"), "--picture"),
    (("data", "digits"), "--out"),
    (("report", "run"), "--out"),
    (("play", "run"), "--out"),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What looks like a run, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "checkpoints/best/weights.safetensors",
        "status.json",
        "events.out.tfevents.1",
        "show/x.png",
        "c.html",
    ):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    return tmp_path / "run"


@pytest.mark.parametrize(("command", "option"), WRITERS)
def test_files_of_other_types_are_not_replaced(
    command: tuple[str, ...], option: str, run: Path, run_cnncli: Cnncli
) -> None:
    Path("my.yaml").write_text("kept")
    code, _, err = run_cnncli(*command, option, "my.yaml")
    assert code == 2
    assert f"{option} my.yaml: not a " in err
    assert Path("my.yaml").read_text() == "kept"


def test_parts_of_a_run_are_not_replaced(run: Path, run_cnncli: Cnncli) -> None:
    out = run / "checkpoints" / "best" / "weights.safetensors"
    code, _, err = run_cnncli("export", run, "--format", "safetensors", "--out", out)
    assert code == 2
    assert f"--out {out}: a part of the run {run}" in err.replace("\n", " ")
    assert out.read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "owned"),
    [
        ("status.json", True),
        ("events.out.tfevents.1", True),
        ("checkpoints/last/state.pt", True),
        ("../run/status.json", True),
        ("show/x.png", False),
        ("c.html", False),
        ("../c.html", False),
    ],
)
def test_what_a_run_consists_of(name: str, owned: bool, run: Path) -> None:
    assert run_of_file(run / name) == (run if owned else None)
    assert run_of_file(Path("run", name)) == (run if owned else None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as file:
        file.write(b"page")
    assert os.read(reader, 10) == b"page"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
