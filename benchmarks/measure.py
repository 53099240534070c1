"""Measuring by turns: A B C, A B C, ..., so that what else the machine does meets all of them alike.

What is compared is the median over the rounds of the ratios within a round, not the ratio of two medians.
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
"""What one round gives: quantity -> number. The unit stands in the quantity's name, after a comma."""
Contender = Callable[[int], Numbers]
"""Measures one round; takes its number, from 0."""
Setups = Mapping[str, tuple[Callable[..., Contender], tuple[Any, ...]]]
"""Contender -> a function that gives what measures a round, and its arguments."""


class Missing(Exception):  # noqa: N818  what is missing, a package or data, is no fault
    """What a benchmark compares with is not there."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Attributes:
        rounds: of every contender; None for what the benchmark finds enough.
        quick: as little as shows that it runs, on the embedded digits; the numbers mean nothing.
        data_dir: where the real data sets lie.
        threads: of the CPU, for every contender.
        config: the config that is measured, where a benchmark lets it be chosen; None for its own.
        seeds: how many trainings of a recipe.
    """

    rounds: int | None = None
    quick: bool = False
    data_dir: Path = Path("data")
    threads: int = 1
    config: str | None = None
    seeds: int = 10

    def rounds_or(self, usual: int) -> int:
        """The number of rounds, given what the benchmark finds enough."""
        return self.rounds or (1 if self.quick else usual)

    @property
    def warmup(self) -> int:
        """Rounds before those that count."""
        return 0 if self.quick else 1


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity of several contenders, a number for each round.

    Attributes:
        title: what was measured.
        unit: of the numbers.
        values: contender -> its numbers; the first is what the others are compared with.
    """

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]

    def ratios(self, name: str) -> list[float]:
        """The first contender's number over that of `name`, round by round."""
        first = next(iter(self.values.values()))
        return [ours / theirs for ours, theirs in zip(first, self.values[name], strict=True)]

    def markdown(self) -> str:
        """A table; what was not reached in some round shows as such."""
        first, *_ = self.values
        lines = [
            f"| {self.title} | {self.unit}, median | quartiles | {first}, relative to it |",
            "|---|---|---|---|",
        ]
        for name, numbers in self.values.items():
            comparable = name != first and all(map(isfinite, self.ratios(name))) and all(map(isfinite, numbers))
            ratio = "{} ({})".format(*_spread(self.ratios(name))) if comparable else ""
            lines.append("| {} | {} | {} | {} |".format(name, *_spread(numbers), ratio))
        return "\n".join(lines) + "\n"

    def as_record(self) -> dict[str, Any]:
        """For a line of JSON, which has no word for what is not finite."""
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
    """Let contenders run by turns.

    Args:
        title: of the comparison.
        contenders: by name, ours first.
        rounds: that count.
        warmup: rounds before these that do not.

    Returns:
        One comparison for each quantity that all contenders give, in the order in which the first gives them.
    """
    found: dict[str, list[Numbers]] = {name: [] for name in contenders}
    for turn in range(warmup + rounds):
        for name, contender in contenders.items():
            numbers = contender(max(0, turn - warmup))
            if turn >= warmup:
                found[name].append(numbers)
            print(f"  {title}: round {turn + 1 - warmup} of {rounds}, {name}: {_told(numbers)}", file=sys.stderr)
    quantities = next(iter(found.values()))[0]
    return [
        Comparison(
            title=f"{title}: {quantity}" if quantity else title,
            unit=unit.strip(),
            values={name: [each[key] for each in numbers] for name, numbers in found.items()},
        )
        for key in quantities
        for quantity, _, unit in [key.rpartition(", ")]
    ]


def until_accurate(
    target: float, epoch: Callable[[], object], accuracy: Callable[[], float], *, most_epochs: int
) -> Numbers:
    """Train until a share `target` of the test images is right, or for so many epochs.

    Args:
        target: from 0 to 1.
        epoch: trains for one epoch; this alone is timed.
        accuracy: the share of the test images that is right.
        most_epochs: after which training ends in any case.
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


def _told(numbers: Numbers) -> str:
    return "; ".join(f"{key} {value:.4g}" for key, value in numbers.items())


def command(*words: str) -> Contender:
    """The wall time of a command of this Python, from start to end."""

    def run(_: int) -> Numbers:
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {"wall time, s": time.perf_counter() - began}

    return run


@contextmanager
def in_processes(setups: Setups, settings: Settings) -> Iterator[dict[str, Contender]]:
    """Contenders that live each in a process of its own, with its own memory, and wait there for their turn.

    Args:
        setups: called in the process; picklable: functions of modules, plain data.
        settings: for a quick run all stay in this process.
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
    # Not a daemon, which may not have processes of its own, such as those of a DataLoader.
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
    """Measure a round whenever the other end asks for one, until it hangs up."""
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
