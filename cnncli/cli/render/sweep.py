"""What `cnncli sweep` prints: a line for each trial, a live line for those in training, and the table at the end."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.text import Text

from cnncli.cli.render.console import messages, out
from cnncli.cli.render.table import show_lines
from cnncli.cli.render.training import OutputMode
from cnncli.inspection.columns import counted
from cnncli.inspection.formatting import Line, Span, align
from cnncli.sweep.limits import format_cost
from cnncli.sweep.results import Summary, TrialRecord
from cnncli.sweep.space import Value, short_names
from cnncli.sweep.study import Plan
from cnncli.sweep.trial import TrialEpoch
from cnncli.sweep.workers import Event


class SweepDisplay:
    """Shows each trial when it ends and, on a terminal, a live line for each one in training."""

    def __init__(self, mode: OutputMode, plan: Plan) -> None:
        self._mode = mode
        self._plan = plan
        self._names = short_names([parameter.path for parameter in plan.parameters])
        self._console = messages()
        self._running: dict[int, tuple[Event, TrialEpoch | None]] = {}

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the live lines, if there are any."""
        if self._mode != "live":
            yield
            return
        with Live(get_renderable=self._live_lines, console=self._console, refresh_per_second=4, transient=True):
            yield

    def start(self, folder: Path, finished: int, *, workers: int) -> None:
        """Show what is varied, and where the trials are."""
        plan = self._plan
        self.notice(f"{plan.config.name}: {counted(plan.trials, 'trial')} in {folder}, {counted(workers, 'worker')}")
        for parameter in plan.parameters:
            self.notice(f"  {parameter.path} = {parameter.spec}")
        if plan.limits:
            self.notice("  " + ", ".join(f"{each.cost} <= {format_cost(each.cost, each.most)}" for each in plan.limits))
        if finished:
            self.notice(f"continuing after {counted(finished, 'trial')}")

    def event(self, event: Event, finished: int) -> None:
        """Show what has happened to a trial."""
        number = event.task.number
        if event.outcome is None:
            self._running[number] = (event, event.epoch)
            return
        self._running.pop(number, None)
        outcome = event.outcome
        reason = "" if outcome.reason is None else f": {outcome.reason.splitlines()[0]}"
        words = [f"{finished}/{self._plan.trials}", f"trial {number} {outcome.status}{reason}"]
        if outcome.accuracy is not None:
            words.append(f"{outcome.accuracy:.2%}")
        words.append(format_values(event.task.values, self._names))
        if outcome.seconds:
            words.append(f"{outcome.seconds:.1f} s")
        self.notice("  ".join(words))

    def notice(self, text: str) -> None:
        """Show a message above the live lines."""
        if self._mode in ("live", "plain"):
            self._console.print(Text(text), soft_wrap=True)

    def _live_lines(self) -> Group:
        lines = []
        for number, (event, epoch) in sorted(self._running.items()):
            progress = "starting" if epoch is None else f"epoch {epoch.number}/{epoch.epochs}  {epoch.accuracy:.2%}"
            text = f"trial {number}  {progress}  {format_values(event.task.values, self._names)}"
            lines.append(Text(text, no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


def format_values(values: Mapping[str, Value], names: Mapping[str, str]) -> str:
    """Values with their headings: `lr=0.01, out_channels=8`."""
    return ", ".join(f"{names[path]}={format_value(value)}" for path, value in values.items())


def format_value(value: Value) -> str:
    """A value for people: numbers with four digits, words without quotes."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_STYLES = {"complete": "", "pruned": "dim", "diverged": "red", "running": "cyan"}


def show_sweep(summary: Summary) -> None:
    """Print the trials, the importances of the parameters, and the best config."""
    names = short_names([parameter.path for parameter in summary.plan.parameters])
    if summary.trials:
        show_lines(_table(summary, names, width=out().width))
    if summary.rejected:
        infeasible = sum(trial.status == "infeasible" for trial in summary.rejected)
        failed = len(summary.rejected) - infeasible
        parts = [f"{infeasible} infeasible"] * bool(infeasible) + [f"{failed} failed"] * bool(failed)
        _print(f"not counted: {' and '.join(parts)} proposals, see {summary.folder / 'trials.json'}")
    if summary.importances:
        _print("importance: " + ", ".join(f"{names[path]} {share:.0%}" for path, share in summary.importances.items()))
    best = summary.best
    if best is None or summary.results is None:
        return
    _print(
        f"best: trial {best.number}, validation accuracy {best.accuracy:.2%}, "
        f"test accuracy {summary.results['test']['accuracy']:.2%}"
    )
    commands = [
        ["train", str(summary.best_config), "--threads", str(best.threads)],
        ["show", str(best.run)],
        ["tensorboard", str(summary.folder)],
    ]
    _print("next:\n" + "\n".join(f"  {shlex.join(['cnncli', *each])}" for each in commands))


_OMITTED = ("epochs", "MACs", "RAM", "params", "status", "rank")
"""The columns that a narrow terminal does not show, the least important first."""


def _table(summary: Summary, names: Mapping[str, str], *, width: int) -> list[Line]:
    """The trials, in as many columns as fit."""
    headings = ["rank", "trial", *names.values(), "val accuracy", "params", "MACs", "RAM", "epochs", "status"]
    rows = [_row(trial, names) for trial in summary.trials]
    swept = range(2, 2 + len(names))  # a parameter may be called epochs, too
    shown = list(range(len(headings)))
    for omitted in (None, *_OMITTED):
        shown = [i for i in shown if i in swept or headings[i] != omitted]
        widths = [max(len(headings[i]), *(len(row[i][0]) for row in rows)) for i in shown]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    return align(
        [headings[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
        numeric=[headings[i] != "status" for i in shown],
    )


def _row(trial: TrialRecord, names: Mapping[str, str]) -> list[Span]:
    style = _STYLES.get(trial.status, "")
    costs = trial.costs
    cells = [
        "" if trial.rank is None else str(trial.rank),
        str(trial.number),
        *(format_value(trial.values[path]) if path in trial.values else "" for path in names),
        "" if trial.accuracy is None else f"{trial.accuracy:.2%}",
        *((format_cost(cost, getattr(costs, cost)) if costs else "") for cost in ("params", "macs", "ram")),
        str(trial.epochs),
        trial.status,
    ]
    return [(cell, style) for cell in cells]


def _print(text: str) -> None:
    out().print(Text(text), soft_wrap=True)
