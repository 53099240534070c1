"""Measure contenders in turns (A B C, A B C, ...), so that other load on the machine affects all of them alike.

The result is the median over the rounds of the ratios within a round, not the ratio of two medians.
"""

import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isfinite
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Numbers = Mapping[str, float]
"""The results of a round: quantity -> number. The unit is part of the quantity's name, after a comma."""
Contender = Callable[[int], Numbers]
"""Measures one round; takes its number, from 0."""
Setups = Mapping[str, tuple[Callable[..., Contender], tuple[Any, ...]]]
"""Contender -> a function that creates it, and its arguments."""


class Missing(Exception):  # noqa: N818  a benchmark without it is skipped
    """A package or data set that a benchmark needs is missing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Attributes:
        rounds: of every contender; None for the benchmark's default.
        quick: only check that it runs, on the embedded digits; the numbers mean nothing.
        data_dir: of the real data sets.
        threads: CPU threads of every contender.
        config: the config to measure; None for the benchmark's default.
        seeds: number of training runs of a recipe.
    """

    rounds: int | None = None
    quick: bool = False
    data_dir: Path = Path("data")
    threads: int = 1
    config: str | None = None
    seeds: int = 10

    def rounds_or(self, default: int) -> int:
        """The number of rounds."""
        return self.rounds or (1 if self.quick else default)

    @property
    def warmup(self) -> int:
        """Rounds before the measured ones."""
        return 0 if self.quick else 1


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity of several contenders, a number for each round.

    Attributes:
        title: what was measured.
        unit: of the numbers.
        values: contender -> its numbers; the others are compared with the first.
    """

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]

    def ratios(self, name: str) -> list[float]:
        """The first contender's number over that of `name`, round by round."""
        first = next(iter(self.values.values()))
        return [ours / theirs for ours, theirs in zip(first, self.values[name], strict=True)]

    def markdown(self) -> str:
        """A table, which also shows where a target was not reached."""
        first, *_ = self.values
        lines = [
            f"| {self.title} | {self.unit}, median | quartiles | {first} relative to this row |",
            "|---|---|---|---|",
        ]
        for name, numbers in self.values.items():
            comparable = name != first and all(map(isfinite, self.ratios(name))) and all(map(isfinite, numbers))
            ratio = "{} ({})".format(*_spread(self.ratios(name))) if comparable else ""
            lines.append("| {} | {} | {} | {} |".format(name, *_spread(numbers), ratio))
        return "\n".join(lines) + "\n"

    def as_record(self) -> dict[str, Any]:
        """For a line of JSON; numbers that are not finite are null."""
        values = {name: [x if isfinite(x) else None for x in numbers] for name, numbers in self.values.items()}
        return {"title": self.title, "unit": self.unit, "values": values}


def _spread(numbers: Sequence[float]) -> tuple[str, str]:
    """Median and quartiles, with three digits."""
    if not all(map(isfinite, numbers)):
        reached = sum(map(isfinite, numbers))
        return f"not reached in {len(numbers) - reached} of {len(numbers)} rounds", ""
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else [*numbers] * 3
    return _three_digits(middle), f"{_three_digits(low)} to {_three_digits(high)}"


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}"


def compare(title: str, contenders: Mapping[str, Contender], *, rounds: int, warmup: int) -> list[Comparison]:
    """Measure contenders in turns.

    Args:
        title: of the comparison.
        contenders: by name, ours first.
        rounds: measured rounds.
        warmup: rounds before these.

    Returns:
        One comparison for each quantity, in the order of the first contender.
    """
    results: dict[str, list[Numbers]] = {name: [] for name in contenders}
    for turn in range(warmup + rounds):
        for name, contender in contenders.items():
            numbers = contender(max(0, turn - warmup))
            if turn >= warmup:
                results[name].append(numbers)
            print(f"  {title}: round {turn + 1 - warmup} of {rounds}, {name}: {_format(numbers)}", file=sys.stderr)
    quantities = next(iter(results.values()))[0]
    return [
        Comparison(
            title=f"{title}: {quantity}" if quantity else title,
            unit=unit.strip(),
            values={name: [each[key] for each in numbers] for name, numbers in results.items()},
        )
        for key in quantities
        for quantity, _, unit in [key.rpartition(", ")]
    ]


def until_accurate(
    target: float, epoch: Callable[[], object], accuracy: Callable[[], float], *, most_epochs: int
) -> Numbers:
    """Train until the accuracy on the test images reaches `target`.

    Args:
        target: from 0 to 1.
        epoch: trains for one epoch; only this is timed.
        accuracy: measures the accuracy on the test images.
        most_epochs: the largest number of epochs.
    """
    spent, reached, epochs = 0.0, -1.0, 0
    while epochs < most_epochs and reached < target:
        began = time.perf_counter()
        epoch()
        spent += time.perf_counter() - began
        epochs += 1
        reached = accuracy()
    return {
        "an epoch, s": spent / epochs,
        f"to {target:.1%} of the test images, s": spent if reached >= target else float("inf"),
        "accuracy at the end, %": 100 * reached,
    }


def _format(numbers: Numbers) -> str:
    return "; ".join(f"{key} {value:.4g}" for key, value in numbers.items())


def command(*words: str) -> Contender:
    """The wall time of a command of this Python."""

    def run(_: int) -> Numbers:
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {"wall time, s": time.perf_counter() - began}

    return run


@contextmanager
def in_processes(setups: Setups, settings: Settings) -> Iterator[dict[str, Contender]]:
    """Contenders that each run in their own process.

    Args:
        setups: called in that process, so it must be picklable: module-level functions, plain data.
        settings: a quick run keeps all contenders in this process.
    """
    if settings.quick:
        yield {name: setup(*arguments) for name, (setup, arguments) in setups.items()}
        return
    with ExitStack() as processes:
        yield {name: processes.enter_context(_process(setup, arguments)) for name, (setup, arguments) in setups.items()}


@contextmanager
def _process(setup: Callable[..., Contender], arguments: tuple[Any, ...]) -> Iterator[Contender]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    # Not a daemon, which could not start processes such as the workers of a DataLoader.
    process = context.Process(target=_serve, args=(there, setup, arguments))
    process.start()
    there.close()

    def contender(turn: int) -> Numbers:
        here.send(turn)
        answer = here.recv()
        if isinstance(answer, Exception):
            raise answer
        numbers: Numbers = answer
        return numbers

    try:
        yield contender
    finally:
        here.close()
        process.join()


def _serve(pipe: Connection, setup: Callable[..., Contender], arguments: tuple[Any, ...]) -> None:
    """Measure a round for every request, until the other end closes the pipe."""
    contender: Contender | None = None
    while True:
        try:
            turn = pipe.recv()
        except EOFError:
            return
        try:
            contender = contender or setup(*arguments)
            pipe.send(contender(turn))
        except Exception as error:
            pipe.send(error)
