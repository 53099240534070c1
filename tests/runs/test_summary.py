"""Runs found in a folder and summarized; damaged ones as well."""

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import safetensors.torch

from cnncli.errors import RunError
from cnncli.module import CnnModule
from cnncli.runs.summary import find_runs, size_of, summarize, summarize_all
from cnncli.training.run_directory import RunDirectory
from tests.networks import network_of

MakeRun = Callable[..., Path]


def test_a_complete_run(make_run: MakeRun, folder: Path) -> None:
    path = make_run("one", "complete", (0.5, 0.9, 0.8), accuracy=0.85, config="lenet5", data="mnist", seconds=1.5)
    run = summarize(path, folder=folder)
    assert (run.name, run.status, run.config, run.data) == ("one", "complete", "lenet5", "mnist")
    assert (run.epochs, run.planned_epochs, run.accuracy, run.val_accuracy) == (3, 2, 0.85, 0.9)
    assert run.curve == (0.5, 0.9, 0.8)
    assert run.seconds == 4.5
    assert run.started == datetime.fromtimestamp(1_700_000_000).astimezone()
    assert run.size == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert run.problems == ()


def test_a_config_or_data_set_with_a_name_that_yaml_reads_as_something_else(make_run: MakeRun, folder: Path) -> None:
    run = summarize(make_run("one", config='"no"', data="1e3"), folder=folder)
    assert (run.config, run.data) == ("no", "1e3")


def test_without_validation_there_is_no_curve(make_run: MakeRun, folder: Path) -> None:
    run = summarize(make_run("one", accuracies=(None, None)), folder=folder)
    assert (run.epochs, run.val_accuracy, run.curve) == (2, None, ())


def test_a_running_run_whose_process_has_died_is_interrupted(make_run: MakeRun, folder: Path) -> None:
    path = make_run("one", "running")
    assert summarize(path, folder=folder).status == "interrupted"
    with RunDirectory(path).lock():
        assert summarize(path, folder=folder).status == "running"


def test_parameters_are_those_of_torch(make_run: MakeRun, folder: Path) -> None:
    layers = "[{conv: {out_channels: 4, kernel_size: 3, norm: batch}}, prelu, flatten, {linear: 6}, logits]"
    model = CnnModule(network_of(layers, (1, 8, 8)))
    path = make_run("one")
    weights = path / "checkpoints" / "best" / "weights.safetensors"
    weights.write_bytes(safetensors.torch.save(model.state_dict(), {"preprocessing": "{}"}))
    assert any(True for _ in model.buffers())
    assert summarize(path, folder=folder).params == sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.jsonl", b'{"epoch": 1}\n{"epoch": \n'),
        ("metrics.jsonl", b"\xff\xfe\n"),
        ("metrics.jsonl", b"7\n"),
        ("metrics.jsonl", b"{}\n"),
        ("results.json", b"[" * 100_000),
        ("resolved.yaml", b"[" * 100_000),
        ("checkpoints/best/weights.safetensors", b"\xff\xff\0\0\0\0\0\0" + b"[" * 100_000),
        ("results.json", b"{"),
        ("results.json", b'{"test": {"accuracy": NaN}}'),
        ("results.json", b"[1]"),
        ("resolved.yaml", b"a: [1\n"),
        ("resolved.yaml", b"\xff"),
        ("checkpoints/best/weights.safetensors", b"short"),
        ("checkpoints/best/weights.safetensors", b"\xff" * 16),
        ("checkpoints/best/weights.safetensors", b"\x02\0\0\0\0\0\0\0[]"),
        ("status.json", b"{}"),
        ("status.json", b'{"state": "runing"}'),
        ("status.json", b'{"state": []}'),
        ("status.json", b"\0\0"),
    ],
)
def test_a_damaged_file_is_named(file: str, content: bytes, make_run: MakeRun, folder: Path) -> None:
    path = make_run("one")
    (path / file).write_bytes(content)
    (run,) = summarize_all(folder)
    assert len(run.problems) == 1
    assert str(path / file) in run.problems[0]
    assert run.status == ("damaged" if file == "status.json" else "complete")
    json.dumps(run.as_record(), allow_nan=False)


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "results.json", "resolved.yaml", "checkpoints/best/weights.safetensors", "status.json"]
)
def test_a_directory_in_the_place_of_a_file_is_named(name: str, make_run: MakeRun, folder: Path) -> None:
    path = make_run("one")
    (path / name).unlink(missing_ok=True)
    (path / name).mkdir()
    (run,) = summarize_all(folder)
    assert len(run.problems) == 1
    assert str(path / name) in run.problems[0]


def test_a_run_with_a_link_is_damaged_and_not_read(make_run: MakeRun, folder: Path, tmp_path: Path) -> None:
    path = make_run("one")
    (path / "results.json").rename(tmp_path / "results.json")
    (path / "results.json").symlink_to(tmp_path / "results.json")
    (run,) = summarize_all(folder)
    assert (run.status, run.accuracy, run.epochs) == ("damaged", None, None)
    (problem,) = run.problems
    assert problem.startswith(f"{path / 'results.json'} is a symbolic link")


def test_a_run_without_a_status_is_damaged(make_run: MakeRun, folder: Path) -> None:
    (make_run("one") / "status.json").unlink()
    (run,) = summarize_all(folder)
    assert run.status == "damaged"


@pytest.mark.parametrize("name", ["metrics.jsonl", "resolved.yaml"])
def test_a_run_that_ended_before_its_first_step(name: str, make_run: MakeRun, folder: Path) -> None:
    path = make_run("one", "interrupted", (), checkpoint=False)
    (path / name).unlink()
    (run,) = summarize_all(folder)
    assert run.problems == ()
    assert run.params is None


def test_runs_are_found_below_and_other_folders_are_not(make_run: MakeRun, folder: Path, tmp_path: Path) -> None:
    make_run("sweep/a")
    make_run("b")
    make_run(".hidden/c")
    (folder / "empty").mkdir()
    (folder / "note.txt").write_text("status.json")
    elsewhere = tmp_path / "elsewhere"
    (folder / "b").rename(elsewhere)
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert [run.name for run in summarize_all(folder)] == ["link", "sweep/a"]
    assert find_runs(elsewhere) == [elsewhere]


def test_a_folder_that_does_not_exist(folder: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        find_runs(folder / "nowhere")
    (folder / "file").touch()
    with pytest.raises(RunError, match="not a folder"):
        find_runs(folder / "file")
    assert find_runs(folder) == []


def test_without_an_event_file_the_config_tells_the_time(make_run: MakeRun, folder: Path) -> None:
    path = make_run("one")
    next(path.glob("events*")).unlink()
    os.utime(path / "config.yaml", (1_600_000_000, 1_600_000_000))
    assert summarize(path, folder=folder).started == datetime.fromtimestamp(1_600_000_000).astimezone()


def test_folders_may_be_nested_more_deeply_than_functions(tmp_path: Path) -> None:
    deepest = tmp_path
    for _ in range(1200):
        deepest = deepest / "a"
        deepest.mkdir()
    (deepest / "status.json").write_text("{}")
    try:
        assert find_runs(tmp_path) == [deepest]
        assert size_of(tmp_path) == 2
    finally:  # pytest could not delete so many
        (deepest / "status.json").unlink()
        while deepest != tmp_path:
            deepest.rmdir()
            deepest = deepest.parent
