"""What `cnncli train` prints: progress, results, the next commands and the profile."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Any, Literal

import typer
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from cnncli.cli.render.console import messages, out
from cnncli.cli.render.runs import show_charts
from cnncli.cli.render.table import show_table
from cnncli.experiment.disk_space import estimate_disk_use, free_bytes
from cnncli.experiment.find_lr import RangeTest
from cnncli.experiment.setup import Experiment
from cnncli.inspection.columns import counted, size_in_bytes
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import inspect_network
from cnncli.inspection.training_memory import training_memory
from cnncli.training.loop import Epoch
from cnncli.training.profile import Profile
from cnncli.training.progress import Progress, Reading

OutputMode = Literal["live", "plain", "json", "quiet"]

_REFRESHES_PER_SECOND = 8


class TrainingDisplay:
    """Shows each epoch when it ends and, on a terminal, a live line for the current one.

    A thread draws the live line from `progress`; the training never waits for it.
    """

    def __init__(self, mode: OutputMode) -> None:
        self.progress = Progress()
        self._mode = mode
        self._console = messages()
        self._is_live = False

    @property
    def for_people(self) -> bool:
        """Whether the output is meant for people."""
        return self._mode in ("live", "plain")

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the live line, if there is one."""
        if self._mode != "live":
            yield
            return
        with Live(
            get_renderable=lambda: _live_line(self.progress.read(), self._console),
            console=self._console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
        ):
            self._is_live = True
            try:
                yield
            finally:
                self._is_live = False

    def start(self, experiment: Experiment, run: Path) -> None:
        """Show what is trained, on which data and device, and the run directory."""
        config = experiment.config
        inspection = inspect_network(config.network, config.name)
        validation = experiment.validation
        frozen = inspection.params - inspection.trainable
        trained = f" ({inspection.trainable:,} of them trained)" if frozen else ""
        held_out = "" if validation is None else f", {validation.image_count:,} validation"
        self.notice(
            f"{config.name}: {len(inspection.rows)} layers, "
            f"{inspection.params:,} parameters{trained}, {inspection.macs:,} MACs\n"
            f"{config.data.name}: {experiment.train.image_count:,} training{held_out} "
            f"and {experiment.test.image_count:,} test images\n"
            f"{_where(experiment)}: {counted(config.train.epochs, 'epoch')} of "
            f"{counted(len(experiment.train), 'step')}, run in {run}\n"
            f"{_header(self._console.width)}"
        )

    def epoch(self, epoch: Epoch) -> None:
        """Show an epoch."""
        if self._mode == "json":
            typer.echo(json.dumps(epoch.as_record()))
        elif self.for_people:
            self.notice(_epoch_line(epoch, self.progress.read().epochs, self._console.width))

    def notice(self, text: str) -> None:
        """Show a message above the live line."""
        if self.for_people:
            # The live display counts lines: it would overwrite a line that the terminal wraps.
            self._console.print(Text(text), soft_wrap=not self._is_live)


def output_mode(*, quiet: bool, as_json: bool) -> OutputMode:
    """The output mode given by the options; by default live on a terminal, else plain."""
    if as_json:
        return "json"
    if quiet:
        return "quiet"
    return "live" if sys.stderr.isatty() else "plain"


def _where(experiment: Experiment) -> str:
    """The type of device, and the number of processes if there are several."""
    processes = experiment.group.size
    return experiment.device.type + (f" in {processes} processes" if processes > 1 else "")


_COLUMNS = ("epoch", "train loss", "accuracy", "val loss", "accuracy", "images/s", "seconds")


_DISPENSABLE = (5, 6, 2, 1)
"""The columns that are omitted from narrow terminals, the first of them first."""


def _shown_columns(width: int) -> list[int]:
    """The columns that fit in a terminal."""
    shown = list(range(len(_COLUMNS)))
    for column in _DISPENSABLE:
        if sum(max(8, len(_COLUMNS[i])) + 2 for i in shown) - 2 <= width:
            break
        shown.remove(column)
    return shown


def _header(width: int) -> str:
    """The heading of the epochs, in a terminal of a width."""
    return "  ".join(f"{_COLUMNS[i]:>8}" for i in _shown_columns(width))


def _epoch_line(epoch: Epoch, epochs: int, width: int) -> str:
    """The line of an epoch: 70 characters with usual numbers, without some columns in a narrower terminal."""
    validation = epoch.validation
    cells = (
        f"{epoch.number}/{epochs}",
        f"{epoch.train.loss:.4f}",
        f"{epoch.train.accuracy:.2%}",
        "" if validation is None else f"{validation.loss:.4f}",
        "" if validation is None else f"{validation.accuracy:.2%}",
        f"{epoch.images_per_second:,.0f}",
        f"{epoch.seconds:.1f}",
    )
    line = "  ".join(f"{cells[i]:>{max(8, len(_COLUMNS[i]))}}" for i in _shown_columns(width))
    if not epoch.stopped_early:
        return line
    return f"{line}  stopped early" if len(line) + 15 <= width else f"{line}\nstopped early"


def _live_line(reading: Reading, console: Console) -> Group | Table:
    """The current epoch in one line; trailing cells that do not fit in the terminal are omitted."""
    if not reading.steps:
        return Group()
    score = reading.score
    cells = [
        f"epoch {reading.epoch}/{reading.epochs}",
        f"step {reading.step}/{reading.steps}",
        "" if isnan(score.loss) else f"loss {score.loss:.3f}",
        "" if isnan(score.accuracy) else f"accuracy {score.accuracy:.1%}",
        f"{reading.images_per_second:,.0f} img/s" if reading.images_per_second else "",
        _time_left(reading),
    ]
    bar_width, used = 20, 0
    shown = []
    for cell in cells:
        used += len(cell) + 2
        if cell and used <= console.width - 2:
            shown.append(Text(cell))
    line = Table.grid(padding=(0, 2, 0, 0))
    row: list[Text | ProgressBar] = [*shown]
    if console.width - used > bar_width + 2:
        row.insert(1, ProgressBar(total=reading.steps, completed=reading.step, width=bar_width))
    line.add_row(*row)
    return line


def _time_left(reading: Reading) -> str:
    """An estimate for all remaining epochs, without validation."""
    if not reading.seconds_per_step:
        return ""
    steps = reading.steps - reading.step + (reading.epochs - reading.epoch) * reading.steps
    minutes, seconds = divmod(round(steps * reading.seconds_per_step), 60)
    return f"{minutes}:{seconds:02} left"


def show_dry_run(experiment: Experiment, folder: Path, run: Path | None) -> None:
    """Print the layers, and what a training run would do and write; see `check_disk_space` for the paths."""
    config = experiment.config
    left = free_bytes(run or folder)
    free = "" if left is None else f"; {size_in_bytes(left)} are free"
    show_table(inspect_network(config.network, config.name))
    out().print(
        Text(
            f"would train on {experiment.device.type}: "
            f"{config.train.epochs} epochs of {len(experiment.train):,} steps, "
            f"{experiment.train.image_count:,} images of {config.data.name}\n"
            f"would write about {estimate_disk_use(experiment, run)}" + free
        ),
        soft_wrap=True,
    )


def dry_run_record(experiment: Experiment, folder: Path, run: Path | None) -> dict[str, Any]:
    """What `show_dry_run` prints as JSON values; sizes are in bytes."""
    config = experiment.config
    disk_use = estimate_disk_use(experiment, run)
    parts = {"train": experiment.train, "val": experiment.validation, "test": experiment.test}
    return {
        "name": config.name,
        "data": config.data.name,
        "images": {part: batches.image_count for part, batches in parts.items() if batches is not None},
        "device": experiment.device.type,
        "epochs": config.train.epochs,
        "steps_per_epoch": len(experiment.train),
        "memory": training_memory(config.network, config.train, images=experiment.train.image_count).total,
        "disk": {**vars(disk_use), "total": disk_use.total},
        "disk_free": free_bytes(run or folder),
        "network": as_json(inspect_network(config.network, config.name)),
    }


def show_range_test(test: RangeTest, picture: Path) -> None:
    """Print a learning-rate range test as a plot and a table, with its suggestion."""
    show_charts([test.chart()])
    table = _table("", "learning rate", "loss", "smoothed")
    best = test.learning_rates[test.best]
    for rate, loss, smoothed in sorted({*test.rows(12), (best, test.losses[test.best], test.smoothed[test.best])}):
        table.add_row("lowest" if rate == best else "", f"{rate:.2g}", f"{loss:.4f}", f"{smoothed:.4f}")
    out().print(table)
    out().print(Text(f"{test.explanation()}\npicture: {picture}"), soft_wrap=True)


def show_results(results: Mapping[str, Any]) -> None:
    """Print loss, accuracies and macro F1 of every split, and the accuracy of each class.

    Args:
        results: as in results.json.
    """
    parts = {part: results[part] for part in ("train", "val", "test") if part in results}
    table = _table("", *parts)
    table.add_row("loss", *(f"{score['loss']:.4f}" for score in parts.values()))
    titles = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "top_k_accuracy": f"top-{results['train']['top_k']} accuracy",
    }
    for name, title in titles.items():
        if all(score[name] is not None for score in parts.values()):
            table.add_row(title, *(_percent(score[name]) for score in parts.values()))
    table.add_section()
    for name in results["test"]["per_class"]:
        table.add_row(Text(name), *(_percent(score["per_class"][name]) for score in parts.values()))
    out().print(Text(f"weights of epoch {results['epoch']}, the best on {'val' if 'val' in parts else 'train'}"))
    out().print(table)


def show_rollbacks(rollbacks: Sequence[Mapping[str, Any]]) -> None:
    """Print how often the training was rolled back, if it was; see `Training.rollbacks`."""
    if rollbacks:
        steps = ", ".join(f"{each['step']:,}" for each in rollbacks)
        out().print(
            Text(
                f"diverged at step {steps} and was rolled back each time: since then, the learning rate is "
                f"{rollbacks[-1]['factor']:g} times that of the schedule"
            ),
            soft_wrap=True,
        )


def _table(first: str, *others: str) -> Table:
    """A table whose first column holds text and whose other columns hold numbers."""
    return Table(first, *(Column(each, justify="right") for each in others), box=box.SIMPLE_HEAD, pad_edge=False)


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.2%}"


def show_next(run: Path, experiment: Experiment, *, data: Sequence[str], training: Sequence[str]) -> None:
    """Print the commands to use next.

    Args:
        run: the run directory.
        experiment: its training, at the end.
        data: the option of the data directory, which must be repeated.
        training: the other options that a training run must repeat.
    """
    spec, done = experiment.config.train, experiment.training.epochs_done
    extended = ["--set", f"train.epochs={2 * done}"] if done >= spec.epochs else []
    if spec.early_stopping and experiment.training.epochs_without_improvement >= spec.early_stopping.patience:
        extended += ["--set", "train.early_stopping=null"]
    commands = [
        ["tensorboard", str(run.parent)],
        ["show", str(run), *data],
        ["play", str(run), *data],
        ["report", str(run), *data],
        ["train", "--resume", str(run), *extended, *data, *training],
    ]
    out().print(Text("next:\n" + "\n".join(f"  {shlex.join(['cnncli', *each])}" for each in commands)), soft_wrap=True)


_SHOWN_OPERATORS = 10


def show_profile(profile: Profile) -> None:
    """Print the parts of the training, and the operators of the traced steps."""
    parts = profile.parts()
    total = sum(part.seconds for part in parts)
    table = _table("part", "seconds", "share", "times", "ms each")
    for part in parts:
        each = f"{1000 * part.seconds / part.times:,.2f}" if part.times else ""
        times = f"{part.times:,}" if part.times else ""
        table.add_row(part.name, f"{part.seconds:,.2f}", f"{part.seconds / total:.1%}", times, each)
    out().print(table)
    if not profile.operators:
        out().print(Text("no trace: the training has too few steps"))
        return
    traced = sum(operator.seconds for operator in profile.operators)
    table = _table(f"operators, {profile.traced_steps} steps traced", "calls a step", "ms a step", "share")
    for operator in profile.operators[:_SHOWN_OPERATORS]:
        table.add_row(
            Text(operator.name),
            f"{operator.calls:,.1f}",
            f"{1000 * operator.seconds:,.3f}",
            f"{operator.seconds / traced:.1%}" if traced else "",
        )
    out().print(table)
    out().print(Text(f"trace: {profile.path} (open it at https://ui.perfetto.dev)"), soft_wrap=True)
