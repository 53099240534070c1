"""Which runs are deleted, and what happens to links, running runs and interrupted deletions."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cnncli.errors import RunError, UsageError
from cnncli.runs.prune import Selection, check_parts, delete, plan_deletions
from cnncli.training.run_directory import RunDirectory

MakeRun = Callable[..., Path]
DAY = 86_400
NOON = 1_700_000_000


def names(folder: Path, **conditions: Any) -> list[str]:
    now = datetime.fromtimestamp(NOON).astimezone()
    return [each.name for each in plan_deletions(folder, Selection(**conditions), now=now)]


def test_by_default_runs_that_ended_before_their_first_checkpoint(make_run: MakeRun, folder: Path) -> None:
    make_run("complete")
    make_run("failed early", "failed", (), checkpoint=False)
    make_run("failed late", "failed")
    make_run("interrupted early", "interrupted", (), checkpoint=False)
    make_run("interrupted late", "interrupted")
    make_run("killed early", "running", (), checkpoint=False)
    (make_run("damaged", checkpoint=False) / "status.json").write_text("{")
    assert names(folder) == ["failed early", "interrupted early", "killed early"]


def test_a_checkpoint_between_two_renames_counts(make_run: MakeRun, folder: Path) -> None:
    run = make_run("one", "interrupted")
    shutil.rmtree(run / "checkpoints" / "best")
    (run / "checkpoints" / "last").rename(run / "checkpoints" / "last.old")
    assert names(folder) == []


def test_conditions_combine(make_run: MakeRun, folder: Path) -> None:
    for i, config in enumerate("aabab"):
        make_run(f"{i}", "failed" if i == 1 else "complete", config=config, started=NOON - i * DAY)
    assert names(folder, keep=1) == ["1", "3", "4"]
    assert names(folder, keep=2) == ["3"]
    assert names(folder, keep=0) == ["0", "1", "2", "3", "4"]
    assert names(folder, older_than=timedelta(days=2)) == ["3", "4"]
    assert names(folder, states=["failed"]) == ["1"]
    assert names(folder, keep=1, states=["complete"]) == ["3", "4"]
    assert names(folder, keep=1, older_than=timedelta(days=3)) == ["4"]
    assert names(folder, states=["interrupted"]) == []


def test_a_running_run_is_never_deleted(make_run: MakeRun, folder: Path) -> None:
    run = make_run("one", "running", (), checkpoint=False)
    (planned,) = plan_deletions(folder, Selection())
    with RunDirectory(run).lock():
        assert names(folder) == names(folder, keep=0) == names(folder, states=["running"]) == []
        with pytest.raises(RunError, match="in use"):
            delete(planned)
        assert (run / "status.json").exists()
    delete(planned)
    assert not any(folder.iterdir())


def test_damaged_runs_only_if_asked_for(make_run: MakeRun, folder: Path) -> None:
    (make_run("one") / "status.json").write_text("{")
    assert names(folder, keep=0) == []
    assert names(folder, states=["damaged"]) == ["one"]


def test_links_are_not_followed(make_run: MakeRun, folder: Path, tmp_path: Path) -> None:
    run = make_run("one")
    shutil.rmtree(run / "snapshots")
    size = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("kept")
    (run / "link").symlink_to(outside, target_is_directory=True)
    linked = tmp_path / "linked"
    shutil.copytree(run, linked, symlinks=True)
    (folder / "two").symlink_to(linked, target_is_directory=True)
    (run / "snapshots").symlink_to(outside, target_is_directory=True)
    assert plan_deletions(folder, Selection(), ["snapshots"]) == []
    assert plan_deletions(folder, Selection(keep=0)) == []
    (planned,) = plan_deletions(folder, Selection(states=["damaged"]))
    assert planned.name == "one"
    assert planned.size == size + sum((run / link).lstat().st_size for link in ("link", "snapshots"))
    delete(planned)
    assert [file.name for file in outside.iterdir()] == ["data"]
    assert (linked / "status.json").exists()


def test_other_folders_are_not_touched(make_run: MakeRun, folder: Path) -> None:
    make_run("one")
    (folder / "notes").mkdir()
    (folder / "notes" / "metrics.jsonl").touch()
    (folder / ".hidden.deleted").mkdir()
    assert names(folder, keep=0) == ["one"]


def test_an_interrupted_deletion_leaves_no_run(
    make_run: MakeRun, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("one", "failed", (), checkpoint=False)
    (planned,) = plan_deletions(folder, Selection())

    def dying(path: Path) -> None:
        (path / "status.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cnncli.runs.prune.shutil.rmtree", dying)
        with pytest.raises(KeyboardInterrupt):
            delete(planned)
    (left,) = folder.iterdir()
    assert left.name.startswith(".one.")
    (planned,) = plan_deletions(folder, Selection())
    assert planned.path == left
    delete(planned)
    assert not any(folder.iterdir())


def test_parts_of_complete_runs(make_run: MakeRun, folder: Path) -> None:
    run = make_run("old", config="a", started=NOON - DAY)
    make_run("new", config="a", started=NOON)
    make_run("failed", "failed")
    plan = plan_deletions(folder, Selection(), ["snapshots", "last"])
    assert [each.path.relative_to(folder).as_posix() for each in plan] == [
        *("new/snapshots", "new/checkpoints/last", "old/snapshots", "old/checkpoints/last")
    ]
    plan = plan_deletions(folder, Selection(keep=1), ["snapshots"])
    assert [each.path for each in plan] == [run / "snapshots"]
    assert delete(plan[0]).size == 100
    assert not (run / "snapshots").exists()
    (weights, _) = plan_deletions(folder, Selection(), ["weights"])
    assert delete(weights).size == 50
    assert not weights.path.exists()
    assert RunDirectory.open(run).status().state == "complete"


def test_wrong_arguments(make_run: MakeRun, folder: Path) -> None:
    with pytest.raises(RunError, match="is a run, not a folder") as caught:
        plan_deletions(make_run("one"), Selection())
    assert str(folder) in str(caught.value.remedy)
    (folder / "one" / "status.json").unlink()
    with pytest.raises(RunError, match="is a run, not a folder"):
        plan_deletions(folder / "one", Selection(states=["damaged"]))
    assert check_parts(["last", "last"]) == ["last"]
    with pytest.raises(UsageError, match="Did you mean snapshots"):
        check_parts(["snapshot"])
