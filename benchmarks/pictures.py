"""What the pictures of `log:` cost of the time that `configs/lenet5.yaml` trains, on the real MNIST.

    python benchmarks/pictures.py --data-dir DIR

Two ways to see it. **By turns:** the whole training with the default `log:`, and with nothing but the curves, A B A B,
each run from the first step to its results in a run directory of its own; loading the data does not count. **Inside
one run:** the seconds that pass in the logbook while a run with the default `log:` trains, without the checkpoints that
are written at the same steps. The second is the finer measure: two trainings of a minute differ by more than pictures
cost.

The first turn of each kind warms up and does not count. DIR has `MNIST/raw`.
"""

import argparse
import functools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from cnncli.experiment.logbook import Logbook
from cnncli.experiment.run import conduct
from cnncli.experiment.setup import prepare
from cnncli.spec.config import read_config
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

OFF = "log={images: 0, histograms: false, graph: false}"
WRITES = ("begin", "draw", "epoch", "end")


def main() -> None:
    """Print a Markdown table of medians, and of the fastest and slowest rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6, help="as in the config; fewer make pictures dearer")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    seconds: dict[str, list[float]] = {"with log": [], "without": [], "in the logbook": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 + given.rounds):
            with _clocked() as inside:
                seconds["with log"].append(_train(given.data_dir, Path(folder), given.epochs))
            seconds["in the logbook"].append(inside[0])
            seconds["without"].append(_train(given.data_dir, Path(folder), given.epochs, OFF))
    _print(seconds, given.rounds, given.epochs)


def _train(data_dir: Path, folder: Path, epochs: int, *settings: str) -> float:
    """Seconds from the first page of a run to its results."""
    config = read_config("lenet5", data_dir=data_dir, assignments=[f"train.epochs={epochs}", *settings])
    experiment = prepare(config, data_dir=data_dir, device=torch.device("cpu"))
    run = RunDirectory.create(folder, config.name, datetime.now(UTC))
    start = time.perf_counter()
    for _ in conduct(
        experiment,
        run,
        command=[],
        resumed=False,
        progress=Progress(),
        stop=lambda: False,
        notify=print,
    ):
        pass
    return time.perf_counter() - start


@contextmanager
def _clocked() -> Iterator[list[float]]:
    """While it lasts, the seconds spent in a logbook's methods are added up in the one number of the list."""
    spent = [0.0]
    plain = {name: getattr(Logbook, name) for name in WRITES}
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
        setattr(Logbook, name, clocked(method))
    try:
        yield spent
    finally:
        for name, method in plain.items():
            setattr(Logbook, name, method)


def _print(seconds: dict[str, list[float]], rounds: int, epochs: int) -> None:
    counted = {name: times[1:] for name, times in seconds.items()}
    turns = [a / b - 1 for a, b in zip(counted["with log"], counted["without"], strict=True)]
    shares = [a / (b - a) for a, b in zip(counted["in the logbook"], counted["with log"], strict=True)]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, ", end="")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {epochs} epochs, ", end="")
    print(f"{rounds} rounds after one to warm up\n\n| | median | least | most |\n|---|---|---|---|")
    for name, times in counted.items():
        print(f"| {name} | {statistics.median(times):.2f} s | {min(times):.2f} s | {max(times):.2f} s |")
    for name, parts in (("with log, more than without", turns), ("in the logbook, of the rest", shares)):
        print(f"| {name} | {statistics.median(parts):.1%} | {min(parts):.1%} | {max(parts):.1%} |")


if __name__ == "__main__":
    main()
