"""`cnncli train`: the run directory and the output."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cnncli.config.config import bundled_configs, read_config
from cnncli.data.digits import load_digits
from cnncli.training.run_directory import RunDirectory

Cnncli = Callable[..., tuple[int, str, str]]

LAST, BEST = "checkpoints/last/weights.safetensors", "checkpoints/best/weights.safetensors"
TRAIN = ("train", "tiny.yaml", "--threads", 1)
ONE_EPOCH = ("--set", "train.epochs=1", "--set", "log.images=0")
QUICK = (*TRAIN, *ONE_EPOCH)


def only_run(out: Path) -> Path:
    (run,) = out.iterdir()
    return run


def read_json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def metrics_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    """Bit for bit, names and shapes included."""
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The run directory


def test_the_files_of_a_run(trained: Path) -> None:
    assert re.fullmatch(r"tiny-\d{8}-\d{6}", trained.name)
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert names == {
        *("config.yaml", "resolved.yaml", "metadata.json", "metrics.jsonl", "results.json", "status.json", "lock"),
        *(f"checkpoints/{which}/{name}" for which in ("last", "best") for name in CHECKPOINT_FILES),
        *(f"{folder}/{step}.safetensors" for folder in ("snapshots", "weights") for step in (0, 1, 2, 4, 8, 16, 27)),
        events,
    }


CHECKPOINT_FILES = ("weights.safetensors", "state.pt", "manifest.json")


def test_metrics(trained: Path) -> None:
    lines = metrics_of(trained)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [9, 18, 27]  # 1,150 images in batches of 128
    for line in lines:
        keys = [
            "epoch",
            "step",
            "train",
            "val",
            "learning_rate",
            "unfrozen",
            "rollbacks",
            "seconds",
            "images_per_second",
        ]
        assert list(line) == keys
        assert list(line["train"]) == ["loss", "accuracy"]
        assert list(line["val"]) == [
            "loss",
            "accuracy",
            "balanced_accuracy",
            "macro_precision",
            "macro_f1",
            "top_k_accuracy",
        ]
        assert 0 <= line["train"]["accuracy"] <= 1
        assert line["learning_rate"] == 1e-2
        assert line["seconds"] > 0
        assert line["images_per_second"] > 0
    assert lines[-1]["train"]["loss"] < lines[0]["train"]["loss"]


def test_results(trained: Path) -> None:
    results = read_json(trained / "results.json")
    assert list(results) == ["epoch", "train", "val", "test"]
    for part in ("train", "val", "test"):
        assert list(results[part]) == [
            "loss",
            "accuracy",
            "balanced_accuracy",
            "macro_precision",
            "macro_f1",
            "top_k",
            "top_k_accuracy",
            "per_class",
        ]
        assert list(results[part]["per_class"]) == list("0123456789")
    best = max(metrics_of(trained), key=lambda line: float(line["val"]["accuracy"]))
    assert results["epoch"] == best["epoch"]
    assert results["val"] == best["val"] | {name: results["val"][name] for name in ("top_k", "per_class")}
    images = torch.bincount(load_digits().test.labels).tolist()
    right = [fraction * count for fraction, count in zip(results["test"]["per_class"].values(), images, strict=True)]
    assert right == [pytest.approx(round(each)) for each in right], "whole images"
    assert sum(right) / sum(images) == pytest.approx(results["test"]["accuracy"])


def test_status_and_metadata(trained: Path) -> None:
    assert read_json(trained / "status.json") == {"state": "complete"}
    meta = read_json(trained / "metadata.json")
    assert torch.__version__.startswith(meta["versions"]["torch"])
    assert {"cnncli", "python", "torchvision", "numpy", "tensorboard"} <= meta["versions"].keys()
    assert meta["device"]["type"] in ("cpu", "cuda", "mps")
    assert meta["threads"] == 1
    assert "git_commit" in meta
    assert re.fullmatch(r"md5:[0-9a-f]{32}", meta["data"]["digits.npz"])
    assert meta["command"][:2] == ["cnncli", "train"]
    assert meta["command"][-3:] == ["--threads", "1", "--quiet"]


def test_the_config_is_stored_unchanged(trained: Path) -> None:
    assert (trained / "config.yaml").read_text() == (trained.parents[1] / "tiny.yaml").read_text()


# The output


def test_json_prints_only_an_object_per_epoch(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*TRAIN, "--json", "--set", "log.images=0")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == metrics_of(only_run(Path("runs")))


def test_quiet_prints_only_the_run_directory(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*QUICK, "--quiet")
    assert (code, err) == (0, "")
    assert out == f"{only_run(Path('runs'))}\n"


def test_without_a_terminal_each_epoch_is_a_plain_line(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*TRAIN)
    run = only_run(Path("runs"))
    assert code == 0
    assert not re.search(r"[^\n\x20-\x7e]", err), "only ASCII"
    assert "\x1b" not in out
    lines = err.splitlines()
    assert lines[0] == "tiny: 7 layers, 512 parameters, 6,000 MACs"
    assert "1,150 training, 288 validation and 359 test images" in lines[1]
    assert str(run) in lines[2]
    of_epochs = [line for line in lines[3:] if re.match(r"\s*\d+/3 ", line)]
    for line, metrics in zip(of_epochs, metrics_of(run), strict=True):
        assert line.split()[0] == f"{metrics['epoch']}/3"
        for part in ("train", "val"):
            assert f" {metrics[part]['loss']:.4f} " in line
            assert f" {metrics[part]['accuracy']:.2%} " in line
    assert len(lines) <= 3 + 1 + 3, "a heading at most"
    results = read_json(run / "results.json")
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if len(line.split()) == 4}
    parts = ("train", "val", "test")
    assert table["accuracy"] == [f"{results[part]['accuracy']:.2%}" for part in parts]
    assert table["7"] == [f"{results[part]['per_class']['7']:.2%}" for part in parts]
    assert "cnncli tensorboard runs\n" in out


def test_a_dry_run_prints_the_layers_and_writes_nothing(run_cnncli: Cnncli, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    code, out, _ = run_cnncli(*TRAIN, "--dry-run")
    assert code == 0
    assert sorted(folder.rglob("*")) == before
    assert re.search(r"^ *conv2 +conv +3/1/1/1 +6x4x4 +222 +3,456 ", out, re.MULTILINE)
    assert "3 epochs of 9 steps" in out
    assert re.search(r"^would write about \d+\.\d MB \(checkpoints .*\); [\d.,]+ [MG]B are free$", out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled_configs())
def test_every_bundled_config_trains_and_keeps_its_scores(name: str, run_cnncli: Cnncli) -> None:
    """`cnncli eval` gives those of the end of the training, to the last digit."""
    code, _, err = run_cnncli("train", name, "--set", "data.name=digits", "--set", "train.epochs=1")
    assert code == 0, err
    run = only_run(Path("runs"))
    results = read_json(run / "results.json")
    assert results["test"]["accuracy"] > 0.05
    for split in ("test", "val", "train"):
        if split in results:
            found = json.loads(run_cnncli("eval", run, "--split", split, "--json")[1])
            assert (found["loss"], found["accuracy"]) == (results[split]["loss"], results[split]["accuracy"])


# Options


def test_name_out_and_set_are_recorded(run_cnncli: Cnncli) -> None:
    changes = ("--set", "model.layers.0.conv=5", "--set", "train.optimizer.adamw.lr=3e-3")
    code, *_ = run_cnncli(*QUICK, *changes, "--name", "other", "--out", "elsewhere/runs")
    run = only_run(Path("elsewhere/runs"))
    assert code == 0
    assert run.name.startswith("other-")
    read = read_config(str(run / "resolved.yaml"), data_dir=Path("data"))
    assert read.name == "other"
    assert read.train.epochs == 1
    assert read.train.optimizer.lr == 3e-3
    assert load_file(run / LAST)["conv1.conv.weight"].shape == (5, 1, 3, 3)
    assert read_json(run / "metadata.json")["command"][-4:] == ["--name", "other", "--out", "elsewhere/runs"]


@pytest.mark.parametrize("name", ["tiny.yaml", *bundled_configs()])
def test_the_resolved_config_reads_back_to_the_same(name: str, folder: Path) -> None:
    given = read_config(name, data_dir=folder, assignments=["train.seed=7"])
    (folder / "resolved.yaml").write_text(given.resolved(), encoding="utf-8")
    back = read_config("resolved.yaml", data_dir=folder)
    assert back.resolved() == given.resolved()
    assert (back.name, back.data, back.train, back.log) == (given.name, given.data, given.train, given.log)
    assert back.network == given.network
    assert back.train.seed == 7


def test_the_same_seed_gives_the_same_weights(run_cnncli: Cnncli, trained: Path) -> None:
    for out, seed in (("same", 0), ("different", 1)):
        assert run_cnncli(*TRAIN, "--set", f"train.seed={seed}", "--out", out)[0] == 0
    assert same_weights(only_run(Path("same")) / LAST, trained / LAST)
    assert same_weights(only_run(Path("same")) / BEST, trained / BEST)
    assert not same_weights(only_run(Path("different")) / LAST, trained / LAST)


# Resuming


def test_a_complete_run_can_be_extended(run_cnncli: Cnncli, trained: Path) -> None:
    assert run_cnncli(*TRAIN, "--set", "train.epochs=2")[0] == 0
    run = only_run(Path("runs"))
    code, _, err = run_cnncli("train", "--resume", run, "--set", "train.epochs=3", "--threads", 1)
    assert code == 0, err
    assert [line["epoch"] for line in metrics_of(run)] == [1, 2, 3]
    assert read_json(run / "status.json") == {"state": "complete"}
    assert read_config(str(run / "resolved.yaml"), data_dir=Path("data")).train.epochs == 3
    assert same_weights(run / LAST, trained / LAST), "equal to an uninterrupted run"


def test_a_complete_run_needs_more_epochs_to_be_resumed(run_cnncli: Cnncli) -> None:
    assert run_cnncli(*QUICK)[0] == 0
    run = only_run(Path("runs"))
    before = (run / "metrics.jsonl").read_text(), (run / "results.json").read_text()
    code, _, err = run_cnncli("train", "--resume", run)
    assert code == 2
    assert "is complete" in err
    assert "--set train.epochs=" in err
    assert ((run / "metrics.jsonl").read_text(), (run / "results.json").read_text()) == before
    assert RunDirectory.open(run).status().state == "complete", "the refusal does not change the run"


@pytest.mark.parametrize("change", ["train.seed=1", "train.batch_size=64", "model.layers.0.conv=5"])
def test_a_resumed_run_refuses_other_settings(change: str, run_cnncli: Cnncli, trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    code, out, err = run_cnncli("train", "--resume", trained, "--set", change)
    assert (code, out) == (2, "")
    path = change.partition("=")[0].partition(".layers")[0]
    assert f"was trained with other settings: {path}" in err
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
