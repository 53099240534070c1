"""The content of metadata.json."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from cnncli.training.metadata import collect_metadata

CPU = torch.device("cpu")


def test_it_names_versions_machine_data_and_command() -> None:
    metadata = collect_metadata(device=CPU, data_files={"train.gz": "abc"}, command=["cnncli", "train", "x.yaml"])
    assert metadata["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"cnncli", "python", "torchvision"} <= set(metadata["versions"])
    assert metadata["device"]["type"] == "cpu"
    assert metadata["device"]["name"]
    assert metadata["threads"] == torch.get_num_threads()
    assert metadata["precision"] == "fp32"
    assert collect_metadata(device=CPU, bf16=True, data_files={}, command=[])["precision"] == "bf16"
    assert metadata["processes"] == 1
    assert metadata["data"] == {"train.gz": "abc"}
    assert metadata["command"] == ["cnncli", "train", "x.yaml"]
    json.dumps(metadata)


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
    assert collect_metadata(device=CPU, data_files={}, command=[])["git_commit"] == head
    (tmp_path / "file").write_text("two")
    assert collect_metadata(device=CPU, data_files={}, command=[])["git_commit"] == f"{head}-dirty"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 2)])
def test_git_is_never_fatal(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", failing)
    assert collect_metadata(device=CPU, data_files={}, command=[])["git_commit"] is None


def test_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert collect_metadata(device=CPU, data_files={}, command=[])["git_commit"] is None
