"""Run directories written file by file: listing and deleting them needs no training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of runs."""
    path = tmp_path / "runs"
    path.mkdir()
    return path


@pytest.fixture
def make_run(folder: Path) -> MakeRun:
    """Writes a run: its name, state and validation accuracies -> its directory."""

    def make(
        name: str,
        state: str = "complete",
        accuracies: tuple[float | None, ...] = (0.5, 0.75),
        *,
        accuracy: float = 0.7,
        config: str = "small",
        data: str = "mnist",
        started: int = 1_700_000_000,
        seconds: float = 2.0,
        checkpoint: bool = True,
    ) -> Path:
        run = folder / name
        run.mkdir(parents=True)
        status: dict[str, Any] = {"state": state} | ({"reason": "the loss is NaN"} if state == "failed" else {})
        (run / "status.json").write_text(json.dumps(status))
        (run / "config.yaml").write_text("version: 1\n")
        (run / "resolved.yaml").write_text(f"name: {config}\ndata: {{name: {data}}}\ntrain: {{epochs: 2}}\n")
        (run / "metadata.json").write_text("{}")
        lines = [
            {
                "epoch": epoch,
                "step": 10 * epoch,
                "train": {"loss": 1.0, "accuracy": 0.5},
                "val": None if value is None else {"loss": 1.0, "accuracy": value},
                "seconds": seconds,
            }
            for epoch, value in enumerate(accuracies, 1)
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (run / f"events.out.tfevents.{started}.123456.host.7").write_bytes(b"12345678")
        for part, size in (("snapshots", 100), ("weights", 50)):
            (run / part).mkdir()
            (run / part / "0.safetensors").write_bytes(b"0" * size)
        if state == "complete":
            scores = {"loss": 1.0, "accuracy": accuracy, "per_class": {}}
            (run / "results.json").write_text(json.dumps({"epoch": 2, "train": scores, "test": scores}))
        if checkpoint:
            for checkpoint_name in ("best", "last"):
                (run / "checkpoints" / checkpoint_name).mkdir(parents=True)
                (run / "checkpoints" / checkpoint_name / "manifest.json").write_text("{}")
        return run

    return make
