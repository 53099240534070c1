"""The fuzzer: which kinds of cases there are, run in several processes, counted and minimized."""

import gc
import importlib
import multiprocessing
import pkgutil
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

import cnncli.cli.commands
import cnncli.cli.render
from cnncli.cli.app import main
from tests.reliability.fuzz.case import Case, Generator
from tests.reliability.fuzz.configs import bundled_case, grammar_case, override_case, target_case
from tests.reliability.fuzz.inputs import (
    folder_case,
    idx_case,
    image_case,
    network_file_case,
    npz_case,
    run_case,
    table_case,
)
from tests.reliability.fuzz.minimize import minimize
from tests.reliability.fuzz.runner import run_cases

GENERATORS: dict[str, tuple[float, Callable[[Path], Generator]]] = {
    "grammar": (20, lambda _: grammar_case),
    "bundled": (29, lambda _: bundled_case),
    "set": (20, lambda _: override_case),
    "target": (8, lambda _: target_case),
    "image": (10, lambda _: image_case),
    "folder": (2, lambda _: folder_case),
    "idx": (3, lambda _: idx_case),
    "run": (2, lambda run: partial(run_case, run=run)),
    "table": (2, lambda _: table_case),
    "npz": (2, lambda _: npz_case),
    "network": (2, lambda _: network_file_case),
}
"""Kind -> its share of the cases, and its generator, given a trained run."""
_BATCH = 200
"""Cases of one process."""
_MOST_MINIMIZED = 20

CONFIG = """\
name: run
data: {name: digits}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3, activation: relu}}, {max_pool: 2}, flatten, logits]}
train: {epochs: 1, batch_size: 512}
log: {probes: 1, images: 2}
"""


@dataclass
class Report:
    """What a run of the fuzzer has found.

    Attributes:
        outcomes: kind and outcome -> number of cases.
        failures: failure -> number and case of the first that failed like this, and what it printed.
        counts: failure -> number of cases.
        seconds: CPU time of the slowest case.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[str, tuple[int, Case, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def trained_run(folder: Path) -> Path:
    """A run of a tiny network, trained in this process."""
    config = folder / "run.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    arguments = sys.argv
    sys.argv = ["cnncli", "train", str(config), "--out", str(folder / "runs"), "--quiet", "--device", "cpu"]
    try:
        main()
    except SystemExit:
        pass
    finally:
        sys.argv = arguments
    [run] = (folder / "runs").iterdir()
    assert (run / "results.json").exists(), "the training is complete"
    return run


def make_case(number: int, *, seed: int, kind: str | None, run: Path) -> Case:
    """Case `number` of a seed: always the same."""
    r = random.Random(f"{seed} {number}")
    names = [kind] if kind else [*GENERATORS]
    [name] = r.choices(names, [GENERATORS[each][0] for each in names])
    return GENERATORS[name][1](run)(r)


def fuzz(run: Path, numbers: Sequence[int], *, seed: int, kind: str | None = None, jobs: int = 1) -> Report:
    """Run cases, and make the first of each kind of failure smaller."""
    import_everything()
    batches = [numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH)]
    report = Report()
    work = partial(_batch, seed=seed, kind=kind, run=run)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for outcomes, failures, seconds in pool.map(work, batches) if jobs > 1 else map(work, batches):
            report.outcomes.update(outcomes)
            report.seconds = max(report.seconds, seconds)
            for number, failure, output in failures:
                report.counts[failure] += 1
                if failure not in report.failures:
                    report.failures[failure] = (number, make_case(number, seed=seed, kind=kind, run=run), output)
    for failure, (number, case, output) in [*report.failures.items()][:_MOST_MINIMIZED]:
        report.failures[failure] = (number, minimize(case, failure, run), output)
    return report


def _batch(
    numbers: Sequence[int], *, seed: int, kind: str | None, run: Path
) -> tuple[Counter[tuple[str, str]], list[tuple[int, str, str]], float]:
    """Outcomes, failures, and the CPU time of the slowest case."""
    cases = [make_case(number, seed=seed, kind=kind, run=run) for number in numbers]
    outcomes: Counter[tuple[str, str]] = Counter()
    failures: list[tuple[int, str, str]] = []
    seconds = 0.0
    for number, case, result in zip(numbers, cases, run_cases(cases, run), strict=True):
        outcomes[case.kind, result.outcome] += 1
        seconds = max(seconds, result.seconds)
        if result.failure:
            failures.append((number, result.failure, result.output))
    return outcomes, failures, seconds


def describe(report: Report) -> str:
    """Outcomes by kind, and every failure with a case that shows it."""
    lines = []
    for kind in sorted({kind for kind, _ in report.outcomes}):
        of_kind = {outcome: n for (each, outcome), n in sorted(report.outcomes.items()) if each == kind}
        lines.append(f"{kind}: {sum(of_kind.values()):,}: {', '.join(f'{n:,} {what}' for what, n in of_kind.items())}")
    lines.append(f"slowest case: {report.seconds:.1f} s of CPU time")
    for failure, (number, case, output) in report.failures.items():
        lines += ["", f"FAILURE {failure} ({report.counts[failure]:,} cases), case {number}", str(case)]
        lines += ["... printed", output[-1500:]]
    return "\n".join(lines)


def import_everything() -> None:
    """Import what commands import when they run, so that forked processes have it, and freeze it."""
    torch.set_num_threads(1)
    for package in (cnncli.cli.commands, cnncli.cli.render):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in ("cnncli.run", "cnncli.experiment.train", "cnncli.capture.graph", "cnncli.runs.verify", "yaml"):
        importlib.import_module(name)
    cnncli.inspect(torch.nn.Flatten(), input_shape=(1, 2, 2))  # torch imports half of itself when it first traces
    gc.freeze()
