"""`cnncli train --profile`."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

Cnncli = Callable[..., tuple[int, str, str]]
TRAIN = ("train", "tiny.yaml", "--threads", 1, "--set", "log.images=0")
WEIGHTS = "checkpoints/last/weights.safetensors"


def test_table_trace_and_unchanged_weights(run_cnncli: Cnncli) -> None:
    code, plain, _ = run_cnncli(*TRAIN, "--out", "plain")
    assert code == 0
    code, output, _ = run_cnncli(*TRAIN, "--out", "profiled", "--profile")
    assert code == 0
    for part in (
        "forward",
        "backward",
        "optimizer",
        "data",
        "validation",
        "pictures",
        "checkpoints",
        "scores",
        "other",
    ):
        assert f" {part} " in output
        assert f" {part} " not in plain
    (without,), (run,) = Path("plain").iterdir(), Path("profiled").iterdir()
    assert not (without / "trace.json.gz").exists()
    assert "20 steps traced" in output
    assert "traceEvents" in json.loads(gzip.decompress((run / "trace.json.gz").read_bytes()))
    expected, actual = load_file(without / WEIGHTS), load_file(run / WEIGHTS)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_too_few_steps_for_a_trace(run_cnncli: Cnncli) -> None:
    code, output, _ = run_cnncli(*TRAIN, "--set", "train.epochs=1", "--set", "train.batch_size=512", "--profile")
    assert code == 0
    assert "too few steps" in output
    (run,) = Path("runs").iterdir()
    assert not (run / "trace.json.gz").exists()


def test_quiet_prints_no_profile(run_cnncli: Cnncli) -> None:
    code, output, _ = run_cnncli(*TRAIN, "--quiet", "--profile")
    assert code == 0
    (run,) = Path("runs").iterdir()
    assert output.strip() == str(run)
    assert (run / "trace.json.gz").exists()
