"""Failures of `cnncli train`: exit code, message, no traceback, and no run that looks complete."""

import json
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
import torch

from cnncli.training.run_directory import RunDirectory

Cnncli = Callable[..., tuple[int, str, str]]

TRAIN = ("train", "tiny.yaml", "--threads", 1)


def only_run() -> Path:
    (run,) = Path("runs").iterdir()
    return run


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limit the size of files; Python ignores the signal, so writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "a config is missing"),
        ("tiny.yaml --set train.epochs", 2, "--set train.epochs: not of the form path=value"),
        ("tiny.yaml --epochs 3", 2, "--epochs"),
        ("tiny.yaml --threads 0", 2, "--threads"),
        ("tiny.yaml --device tpu", 2, "tpu"),
        ("tiny.yaml --set train.epoch=3", 3, "train.epoch: unknown field. Did you mean epochs?"),
        ("tiny.yaml --set model.layers.0.conv=0", 3, "model.layers.0.conv: must be greater than 0"),
        ("tiny.yaml --name a/b", 2, "a/b"),
        ("broken.yaml", 3, "broken.yaml:2:28 model.layers.1: unknown layer: flaten. Did you mean"),
        ("teeny.yaml", 3, "Did you mean tiny.yaml?"),
        ("--resume nowhere", 5, "nowhere: does not exist"),
        ("--resume .", 5, ".: not a run directory"),
        ("--resume . --out elsewhere", 2, "--out is for a new run"),
        ("tiny.yaml --out tiny.yaml", 7, "tiny.yaml"),
        ("tiny.yaml --out /dev/full/runs", 7, "/dev/full/runs"),
    ],
)
def test_a_mistake_has_its_code_and_message(
    arguments: str, code: int, message: str, run_cnncli: Cnncli, folder: Path
) -> None:
    Path("broken.yaml").write_text("data: {name: digits}\nmodel: {layers: [identity, flaten, logits]}\n")
    before = sorted(folder.rglob("*"))
    got, out, err = run_cnncli("train", *arguments.split())
    assert got == code
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert sorted(folder.rglob("*")) == before, "nothing is written"


def test_a_damaged_image_is_exit_4(run_cnncli: Cnncli) -> None:
    for part, label in product(("train", "test"), "ab"):
        image = Path("data/pictures", part, label, "1.png")
        image.parent.mkdir(parents=True)
        image.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    data = "--set", "data={name: image-folder, path: pictures, size: 8, validation: 0}"
    code, out, err = run_cnncli("train", "tiny.yaml", *data)
    assert (code, out) == (4, "")
    assert "data/pictures: 4 of 4 images cannot be read: train/a/1.png (not an image), train/b/1.png" in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_exit_8(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*TRAIN, "--device", "cuda")
    assert (code, out) == (8, "")
    assert "device cuda" in err
    assert "--device cpu" in err, "the remedy"
    assert not Path("runs").exists()


def assert_failed(run: Path, message: str) -> None:
    """The status is `failed`, and there are no results."""
    status = json.loads((run / "status.json").read_bytes())
    assert status["state"] == "failed"
    assert message in status["reason"]
    assert not (run / "results.json").exists()


def test_a_run_that_diverges_is_exit_6(run_cnncli: Cnncli) -> None:
    huge = ("--set", "train.optimizer={sgd: {lr: 1e30}}")
    code, out, err = run_cnncli(*TRAIN, *huge)
    assert (code, out) == (6, "")
    assert re.search(r"diverged at step \d+ \(epoch 1, learning rate 1e\+30\): .*(conv|logits)", err)
    assert "Traceback" not in err
    run = only_run()
    assert_failed(run, "diverged at step")
    assert not (run / "checkpoints/best").exists(), "no epoch was completed"


def test_a_full_disk_is_exit_7(run_cnncli: Cnncli) -> None:
    with full_disk(30_000):  # less than the event file needs, more than any other file
        code, out, err = run_cnncli(*TRAIN)
    assert (code, out) == (7, "")
    assert "events.out.tfevents" in err
    assert "Traceback" not in err
    assert_failed(only_run(), "events.out.tfevents")


def test_without_an_intact_checkpoint_the_exit_code_is_5(run_cnncli: Cnncli) -> None:
    assert run_cnncli(*TRAIN, "--set", "train.epochs=1")[0] == 0
    run = only_run()
    for name in ("last", "best"):
        state = run / "checkpoints" / name / "state.pt"
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    code, out, err = run_cnncli("train", "--resume", run, "--set", "train.epochs=2")
    assert (code, out) == (5, "")
    assert "state.pt" in err
    assert "Traceback" not in err
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1, "metrics are kept"


def test_a_run_in_use_by_another_process_is_exit_5(run_cnncli: Cnncli) -> None:
    assert run_cnncli(*TRAIN, "--set", "train.epochs=1")[0] == 0
    run = RunDirectory.open(only_run())
    with run.lock():
        code, out, err = run_cnncli("train", "--resume", run.path, "--set", "train.epochs=2")
    assert (code, out) == (5, "")
    assert ("in use by another process" if os.name == "nt" else f"in use by process {os.getpid()}") in err
    assert run.status().state == "complete", "unchanged"


def test_a_traceback_is_printed_only_with_debug(run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli("train", "--resume", "nowhere", "--debug")
    assert code == 5
    assert "Traceback" in err
    assert "nowhere: does not exist" in err


def test_out_from_the_environment_is_no_mistake_with_resume(
    run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cnncli(*TRAIN, "--set", "train.epochs=1")[0] == 0
    run = only_run()
    monkeypatch.setenv("CNNCLI_OUT", "elsewhere")
    assert run_cnncli("train", "--resume", run, "--set", "train.epochs=2", "--quiet")[0] == 0
    assert not Path("elsewhere").exists()
