"""What is wrong with a metrics.jsonl: a line of it, what the event files hold instead, or that it has changed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isclose
from pathlib import Path
from typing import Any

from cnncli.errors import RunError
from cnncli.runs.summary import number_at
from cnncli.tensorboard.event_file import DamagedRecordError, LoggedValues, read_logged_values
from cnncli.training.logged import EVENT_FILES, METRICS, Logged
from cnncli.training.records import read_metrics


def find_other_curve(metrics: Sequence[Mapping[str, Any]], scalars: Mapping[str, Mapping[int, float]]) -> str | None:
    """The first value that is another one in the event files; None if there is none.

    Args:
        metrics: the records of metrics.jsonl, a line each.
        scalars: the curves of the event files, tag -> step -> value; a point that they lack is not compared.
    """
    for number, record in enumerate(metrics, 1):
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

    Raises:
        OSError: the file cannot be read.
    """
    file = run / METRICS
    size = file.stat().st_size
    try:
        metrics = read_metrics(file)
    except RunError as error:
        return error.message.removeprefix(f"{file}: ")
    values = LoggedValues({}, {})
    for path in sorted(run.glob(EVENT_FILES)):
        with suppress(DamagedRecordError, OSError):  # what precedes counts
            read_logged_values(path, values)
    if other := find_other_curve(metrics, values.scalars):
        return other
    if size < logged.metrics.size:
        return f"it has {size:,} bytes, but it had {logged.metrics.size:,} when the checkpoint was written"
    return f"its first {logged.metrics.size:,} bytes have changed since the checkpoint was written (SHA-256 differs)"


def _curve_points(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The tags of TensorBoard and the values of an epoch."""
    points = [
        (f"{key}/{split}", number_at(record, split, key)) for split in ("train", "val") for key in ("loss", "accuracy")
    ]
    points.append(("training/learning_rate", number_at(record, "learning_rate")))
    return [(tag, value) for tag, value in points if value is not None]


def _same_float32(value: float, rounded: float) -> bool:
    return isclose(value, rounded, rel_tol=2**-22, abs_tol=1e-30)
