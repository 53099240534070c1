"""What meta.json says."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from cnncli.training.metadata import collect_meta

CPU = torch.device("cpu")


def test_it_names_versions_machine_data_and_command() -> None:
    meta = collect_meta(device=CPU, data_files={"train.gz": "abc"}, command=["cnncli", "train", "x.yaml"])
    assert meta["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"cnncli", "python", "torchvision"} <= set(meta["versions"])
    assert meta["device"]["type"] == "cpu"
    assert meta["device"]["name"]
    assert meta["threads"] == torch.get_num_threads()
    assert meta["precision"] == "fp32"
    assert collect_meta(device=CPU, bf16=True, data_files={}, command=[])["precision"] == "bf16"
    assert meta["processes"] == 1
    assert meta["data"] == {"train.gz": "abc"}
    assert meta["command"] == ["cnncli", "train", "x.yaml"]
    json.dumps(meta)


def test_the_commit_and_whether_it_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    git("tag", "-a", "v1", "-m", "v1")
    monkeypatch.chdir(tmp_path)
    head = git("rev-parse", "HEAD").strip()
    assert collect_meta(device=CPU, data_files={}, command=[])["git_commit"] == head
    (tmp_path / "file").write_text("two")
    assert collect_meta(device=CPU, data_files={}, command=[])["git_commit"] == f"{head}-dirty"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 2)])
def test_git_is_never_fatal(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", failing)
    assert collect_meta(device=CPU, data_files={}, command=[])["git_commit"] is None


def test_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert collect_meta(device=CPU, data_files={}, command=[])["git_commit"] is None
