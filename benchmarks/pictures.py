"""The cost of the pictures of `log:`, relative to the training time of lenet5 (or another config).

The cost is measured in two ways. The first compares whole training runs with the config's own `log:` and with curves
only, each from the first step to the results in its own run directory, without loading data. The second measures,
within one run, the seconds spent in the TensorBoard log, relative to the rest of the training, including the
checkpoints written at the same steps. The second is more precise: two training runs of a minute differ by more than the
cost of the pictures.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.measure import Comparison, Contender, Numbers, Settings, compare
from cnncli.experiment.tensorboard_log import TensorBoardLog
from cnncli.experiment.train import train_run
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

OFF = "log={images: 0, histograms: false, graph: false}"
WRITES = ("begin", "draw", "epoch", "end")


def run(settings: Settings) -> list[Comparison]:
    """Pictures and curves against curves alone, and the TensorBoard log against the rest of a run."""
    inside: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "with pictures": _training(settings, Path(folder), inside=inside),
            "curves only": _training(settings, Path(folder), OFF),
        }
        rounds = settings.rounds_or(5)
        (whole,) = compare("training", contenders, rounds=rounds, warmup=settings.warmup)
    log = inside[-rounds:]
    rest = [all_of_it - part for all_of_it, part in zip(whole.values["with pictures"], log, strict=True)]
    values = {"in the TensorBoard log": log, "rest of the training": rest}
    return [whole, Comparison(title="within one run", unit="s", values=values)]


def _training(settings: Settings, folder: Path, *assignments: str, inside: list[float] | None = None) -> Contender:
    """Seconds from the start of a run to its results; those in the TensorBoard log are appended to `inside`."""
    quick = ("train.epochs=1",) if settings.quick else ()

    def training(_: int) -> Numbers:
        experiment = ours.prepared(settings, settings.config or "lenet5", *assignments, *quick)
        directory = RunDirectory.create(folder, experiment.config.name, datetime.now(UTC))
        with _clocked() as spent:
            began = time.perf_counter()
            for _epoch in train_run(
                experiment,
                directory,
                command=[],
                resumed=False,
                progress=Progress(),
                stop=lambda: False,
            ):
                pass
            whole = time.perf_counter() - began
        if inside is not None:
            inside.append(spent[0])
        return {"wall time, s": whole}

    return training


@contextmanager
def _clocked() -> Iterator[list[float]]:
    """Sum the seconds spent in the methods of the log, as the only item of the list."""
    spent = [0.0]
    plain = {name: getattr(TensorBoardLog, name) for name in WRITES}
    depth = [0]

    def clocked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*arguments: object) -> object:
            start = time.perf_counter()
            depth[0] += 1
            try:
                return method(*arguments)
            finally:
                depth[0] -= 1
                spent[0] += (time.perf_counter() - start) * (not depth[0])

        return timed

    for name, method in plain.items():
        setattr(TensorBoardLog, name, clocked(method))
    try:
        yield spent
    finally:
        for name, method in plain.items():
            setattr(TensorBoardLog, name, method)
