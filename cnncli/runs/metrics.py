"""The lines of metrics.jsonl, checked: each by itself, after the one before, and with the curves of the event files."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isclose
from pathlib import Path
from typing import Any

from cnncli.runs.summary import number_at
from cnncli.tensorboard.event_file import DamagedRecordError, LoggedValues, read_logged_values
from cnncli.training.logged import EVENT_FILES, METRICS, Logged


def find_fault(lines: Sequence[bytes], scalars: Mapping[str, Mapping[int, float]]) -> str | None:
    """The first line of metrics.jsonl that is wrong, and why; None if none is.

    Args:
        lines: complete ones.
        scalars: the curves of the event files, tag -> step -> value; a point that they lack is not compared.
    """
    before: Mapping[str, Any] | None = None
    for number, line in enumerate(lines, 1):
        if fault := _fault_of(line, number, before):
            return f"line {number}: {fault}"
        before = json.loads(line)
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        for tag, value in _curve_points(record):
            point = scalars.get(tag, {}).get(record["step"])
            if point is not None and not _same_float32(value, point):
                return f"line {number}, epoch {record['epoch']}: {tag} is {value:.9g}, in the event file {point:.9g}"
    return None


def explain_change(run: Path, logged: Logged) -> str:
    """What is wrong with a metrics.jsonl that does not begin as it did when a checkpoint was written.

    Args:
        run: the run directory.
        logged: what the checkpoint says.
    """
    content = (run / METRICS).read_bytes()
    values = LoggedValues({}, {})
    for path in sorted(run.glob(EVENT_FILES)):
        with suppress(DamagedRecordError, OSError):  # what precedes counts
            read_logged_values(path, values)
    if fault := find_fault(content[: logged.metrics.size].splitlines(keepends=True), values.scalars):
        return fault
    if len(content) < logged.metrics.size:
        return f"it has {len(content):,} bytes, but it had {logged.metrics.size:,} when the checkpoint was written"
    return f"its first {logged.metrics.size:,} bytes have changed since the checkpoint was written (SHA-256 differs)"


def _fault_of(line: bytes, number: int, before: Mapping[str, Any] | None) -> str | None:
    """What is wrong with a line of metrics.jsonl, if anything."""
    try:
        record = json.loads(line)
    except ValueError:
        return "it is not JSON"
    if not isinstance(record, dict) or not {"epoch", "step", "train", "val", "seconds"} <= record.keys():
        return "it lacks a key"
    if record["epoch"] != number:
        return f"it is epoch {record['epoch']}"
    step = record["step"]
    if not isinstance(step, int) or (before is not None and step <= before["step"]):
        return f"step {step} is not after that of the epoch before"
    for split in ("train", "val"):
        accuracy = number_at(record, split, "accuracy")
        if record[split] is not None and (accuracy is None or not 0 <= accuracy <= 1):
            return f"it has no {split} accuracy from 0 to 1"
    return None


def _curve_points(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The tags of TensorBoard and the values of an epoch."""
    points = [
        (f"{key}/{split}", number_at(record, split, key)) for split in ("train", "val") for key in ("loss", "accuracy")
    ]
    points.append(("training/learning_rate", number_at(record, "learning_rate")))
    return [(tag, value) for tag, value in points if value is not None]


def _same_float32(value: float, rounded: float) -> bool:
    return isclose(value, rounded, rel_tol=2**-22, abs_tol=1e-30)
