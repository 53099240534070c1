"""`cnncli runs verify`: a run of three epochs is intact; with one byte changed in any of its files it is not."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]  # no stubs
    RawEventFileLoader,
)

from cnncli.runs.verify import Check, verify_run
from cnncli.tensorboard.event_file import LoggedValues, read_logged_values
from tests.manifests import write_manifest

Cnncli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a complete run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without computing the scores again."""
    monkeypatch.setattr("cnncli.runs.verify._check_scores", lambda *_, **__: iter(()))


def problems(run: Path) -> dict[str, Check]:
    return {each.subject: each for each in verify_run(run, data_dir=Path("data")) if each.outcome == "problem"}


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_intact_run(run: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("runs", "verify", run)
    assert (code, err) == (0, "")
    assert all(line.startswith("ok ") for line in out.splitlines())
    accuracy = json.loads((run / "results.json").read_text())["test"]["accuracy"]
    assert f"test accuracy: {accuracy:.2%}, computed again: the same to the last digit" in out
    record = json.loads(run_cnncli("runs", "verify", run, "--json")[1])
    assert record["intact"] is True
    assert len(record["checks"]) == len(out.splitlines())


def test_a_changed_byte_in_any_file_is_noticed(trained: Path, tmp_path: Path, quick: None) -> None:
    files = [
        file.relative_to(trained).as_posix()
        for file in trained.rglob("*")
        if file.is_file() and file.name != "lock" and file.parent.name != "show"
    ]
    assert len(files) == 27
    for name in files:
        copied = Path(shutil.copytree(trained, tmp_path / name.replace("/", "-")))
        content = bytearray((copied / name).read_bytes())
        place = len(content) // 2
        content[place] ^= 0x80
        (copied / name).write_bytes(content)
        found = problems(copied)
        assert name in found, (name, found)
        assert found[name].remedy
        shutil.rmtree(copied)


@pytest.mark.parametrize(
    ("file", "old", "new", "detail"),
    [
        ("config.yaml", "conv: 4", "conv: 5", "not the config that the event file holds"),
        ("resolved.yaml", "seed: 0", "seed: 1", "not the config that the run was trained with: train.seed"),
        ("metrics.jsonl", '"epoch": 2', '"epoch": 3', "line 2: it is epoch 3"),
        ("metrics.jsonl", '"step": 18', '"step": 9', "line 2: step 9"),
        ("metrics.jsonl", '"val": {', '"vla": {', "line 1: val is missing"),
        ("metrics.jsonl", '"accuracy": 0', '"accuracy": 3', "accuracy must be less than or equal to 1"),
        ("results.json", '"epoch": ', '"epoch": 1', "the best checkpoint epoch"),
        ("results.json", '"test"', '"tset"', "no scores for test"),
        ("checkpoints/best/manifest.json", '"mean"', '"nean"', "preprocessing"),
        ("checkpoints/last/manifest.json", '"epoch": 3', '"epoch": 2', "has changed since it was written"),
        ("checkpoints/last/manifest.json", '"format": 1', '"format": 9', "format 9"),
        ("metadata.json", '"threads"', '"treads"', "threads"),
    ],
)
def test_what_disagrees_is_named(file: str, old: str, new: str, detail: str, run: Path, quick: None) -> None:
    change(run / file, old, new)
    assert detail in problems(run)[file].detail


@pytest.mark.parametrize("key", ["loss", "accuracy"])
def test_a_changed_curve_is_noticed(key: str, run: Path, quick: None) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(lines[1])
    record["train"][key] += 1e-5
    (run / "metrics.jsonl").write_text("\n".join([lines[0], json.dumps(record), lines[2], ""]))
    assert f"epoch 2: {key}/train" in problems(run)["metrics.jsonl"].detail


@pytest.mark.parametrize(
    ("split", "key", "value"), [("test", "accuracy", 0.5), ("test", "loss", 9.0), ("train", "accuracy", 0.5)]
)
def test_scores_are_computed_again(split: str, key: str, value: float, run: Path, run_cnncli: Cnncli) -> None:
    results = json.loads((run / "results.json").read_text())
    results[split][key] = value
    (run / "results.json").write_text(json.dumps(results))
    code, out, err = run_cnncli("runs", "verify", run)
    assert code == 5
    assert "1 problem" in err
    (line,) = (line for line in out.splitlines() if line.startswith("problem"))
    assert f"{split} accuracy: the stored {key} is {value}" in line


@pytest.mark.parametrize(("split", "subject"), [("test", "test accuracy"), ("val", "results.json")])
def test_on_the_same_machine_every_digit_counts(split: str, subject: str, run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    results[split]["loss"] *= 1 + 1e-9
    (run / "results.json").write_text(json.dumps(results))
    assert subject in problems(run)
    change(run / "metadata.json", '"platform": "', '"platform": "Other ')
    change(run / "metadata.json", '"processes": 1', '"processes": 2')  # which add up the loss in another order
    assert problems(run) == {}


def test_the_accuracy_of_a_class_is_computed_again(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    results["val"]["per_class"]["3"] = 0.123
    (run / "results.json").write_text(json.dumps(results))
    found = problems(run)
    assert list(found) == ["val accuracy"]
    assert "class 3 is 0.123" in found["val accuracy"].detail


def test_another_machine_gets_a_tolerance(run: Path) -> None:
    change(run / "metadata.json", '"platform": "', '"platform": "Other ')
    results = json.loads((run / "results.json").read_text())
    for shift, intact in ((0.0005, True), (0.002, False)):
        results["test"]["accuracy"] -= shift
        (run / "results.json").write_text(json.dumps(results))
        checks = {each.subject: each for each in verify_run(run, data_dir=Path("data"))}
        assert (checks["test accuracy"].outcome == "ok") is intact
    assert "because of another platform" in checks["val accuracy"].detail


def test_a_manifest_with_the_right_hash_must_agree_with_the_state(run: Path) -> None:
    manifest = run / "checkpoints" / "last" / "manifest.json"
    write_manifest(manifest, json.loads(manifest.read_text()) | {"epoch": 2})
    assert "state.pt epoch 3" in problems(run)["checkpoints/last/manifest.json"].detail


def test_other_weights_with_the_right_hash_have_another_accuracy(run: Path) -> None:
    best = run / "checkpoints" / "best"
    manifest = json.loads((best / "manifest.json").read_text())
    content = bytearray((best / "weights.safetensors").read_bytes())
    content[-40:] = bytes(40)
    (best / "weights.safetensors").write_bytes(content)
    manifest["files"]["weights.safetensors"] = hashlib.sha256(content).hexdigest()
    write_manifest(best / "manifest.json", manifest)
    assert "test accuracy" in problems(run)


def test_without_the_data_set_the_rest_is_verified(run: Path, run_cnncli: Cnncli, folder: Path) -> None:
    change(run / "resolved.yaml", "name: digits", "name: mnist")
    code, out, _ = run_cnncli("runs", "verify", run, "--data-dir", folder / "empty", "--json")
    checks = {each["subject"]: each for each in json.loads(out)["checks"]}
    assert code == 5  # the config was changed
    assert checks["accuracy"]["outcome"] == "skipped"
    assert "mnist" in checks["accuracy"]["detail"]
    assert [each for each in checks.values() if each["outcome"] == "problem"] == [checks["resolved.yaml"]]


def test_files_that_are_missing(trained: Path, tmp_path: Path, quick: None) -> None:
    for name in ("metadata.json", "metrics.jsonl", "results.json", "config.yaml", "checkpoints/best"):
        copied = Path(shutil.copytree(trained, tmp_path / name.replace("/", "-")))
        if (copied / name).is_dir():
            shutil.rmtree(copied / name)
        else:
            (copied / name).unlink()
        assert list(problems(copied)) == [name]
    shutil.rmtree(tmp_path / "metadata.json" / "checkpoints" / "last")
    assert list(problems(tmp_path / "metadata.json")) == ["metadata.json"]


def test_a_run_that_was_killed_is_intact(run: Path, quick: None) -> None:
    """A line and a record after the last checkpoint may be cut off, and there are no results."""
    (run / "results.json").unlink()
    (run / "status.json").write_text('{"state": "running"}')
    for file in (run / "metrics.jsonl", *run.glob("events*")):
        content = file.read_bytes()
        file.write_bytes(content + content[:20])
    assert problems(run) == {}
    (run / "status.json").write_text('{"state": "complete"}')
    assert {"metrics.jsonl", "results.json"} <= problems(run).keys()


def test_event_files_are_read_as_tensorboard_reads_them(trained: Path) -> None:
    (file,) = trained.glob("events*")
    logged = LoggedValues({}, {})
    assert read_logged_values(file, logged) == sum(1 for _ in RawEventFileLoader(str(file)).Load())
    metrics: list[dict[str, Any]] = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    for record in metrics:
        assert logged.scalars["accuracy/val"][record["step"]] == pytest.approx(record["val"]["accuracy"], rel=1e-6)
    assert (trained / "config.yaml").read_text().splitlines()[0] in logged.texts["config"]


def test_a_resumed_run_is_intact(run: Path, run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli("train", "--resume", run, "--set", "train.epochs=4", "--quiet", "--threads", 1)
    assert code == 0, err
    assert problems(run) == {}


def test_not_a_run(run_cnncli: Cnncli, folder: Path) -> None:
    code, out, err = run_cnncli("runs", "verify", folder)
    assert (code, out) == (5, "")
    assert "not a run directory" in err
