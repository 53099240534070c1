"""Where the time of a training went, as tables."""

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
from rich.table import Table
from rich.text import Text

from cnncli.cli.render.console import messages, out
from cnncli.cli.render.table import show_table
from cnncli.experiment.setup import Experiment
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import inspect_graph
from cnncli.training.loop import Epoch
from cnncli.training.profile import Profile
from cnncli.training.progress import Progress, Reading

Loudness = Literal["live", "plain", "json", "quiet"]

_REFRESHES_PER_SECOND = 8


class TrainingDisplay:
    """Shows epochs as they end and, on a terminal, the one under way.

    The live line is drawn by a thread of its own that polls `progress`; training never waits for it.
    """

    def __init__(self, loudness: Loudness) -> None:
        self.progress = Progress()
        self._loudness = loudness
        self._console = messages()

    @property
    def speaks(self) -> bool:
        """Whether people read along."""
        return self._loudness in ("live", "plain")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the training goes on."""
        if self._loudness != "live":
            yield
            return
        with Live(
            get_renderable=lambda: _live_line(self.progress.read(), self._console),
            console=self._console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
        ):
            yield

    def start(self, experiment: Experiment, run: Path) -> None:
        """Say what is trained, on what, and where it is written."""
        config = experiment.config
        inspection = inspect_graph(graph_of(config.network, config.name))
        validation = experiment.validation
        held_out = "" if validation is None else f", {validation.image_count:,} for validation"
        self.notice(
            f"{config.name}: {len(inspection.rows)} layers, "
            f"{inspection.params:,} parameters, {inspection.macs:,} MACs\n"
            f"{config.data.name}: {experiment.train.image_count:,} images to learn from{held_out}, "
            f"{experiment.test.image_count:,} for the test\n"
            f"{_where(experiment)}: {_count(config.train.epochs, 'epoch')} of "
            f"{_count(len(experiment.train), 'step')}, run in {run}\n"
            f"{_header()}"
        )

    def epoch(self, epoch: Epoch) -> None:
        """Show that an epoch has ended."""
        if self._loudness == "json":
            typer.echo(json.dumps(epoch.as_record()))
        elif self.speaks:
            self.notice(_epoch_line(epoch, self.progress.read().epochs))

    def notice(self, text: str) -> None:
        """Show a message above the live line."""
        if self.speaks:
            self._console.print(Text(text), soft_wrap=True)


def loudness(*, quiet: bool, as_json: bool) -> Loudness:
    """How to show a training, given the flags and whether anybody watches."""
    if as_json:
        return "json"
    if quiet:
        return "quiet"
    return "live" if sys.stderr.isatty() else "plain"


def _where(experiment: Experiment) -> str:
    """The kind of device, and on how many processes, if several."""
    processes = experiment.group.size
    return experiment.device.type + (f" in {processes} processes" if processes > 1 else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


_COLUMNS = ("epoch", "train loss", "accuracy", "val loss", "accuracy", "images/s", "seconds")


def _header() -> str:
    """The line above the epochs."""
    return "  ".join(f"{column:>8}" for column in _COLUMNS)


def _epoch_line(epoch: Epoch, epochs: int) -> str:
    """The numbers of an epoch under their headings, 77 columns wide with the usual numbers of digits."""
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
    line = "  ".join(f"{cell:>{max(8, len(column))}}" for cell, column in zip(cells, _COLUMNS, strict=True))
    return line + ("  stopped early" if epoch.stopped_early else "")


def _live_line(reading: Reading, console: Console) -> Group | Table:
    """One line as wide as the terminal; what does not fit is left out from the end."""
    if not reading.steps:
        return Group()
    cells = [
        f"epoch {reading.epoch}/{reading.epochs}",
        f"step {reading.step}/{reading.steps}",
        "" if isnan(reading.loss) else f"loss {reading.loss:.3f}",
        "" if isnan(reading.accuracy) else f"accuracy {reading.accuracy:.1%}",
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
    """An estimate for all epochs to come, without their validation."""
    if not reading.seconds_per_step:
        return ""
    steps = reading.steps - reading.step + (reading.epochs - reading.epoch) * reading.steps
    minutes, seconds = divmod(round(steps * reading.seconds_per_step), 60)
    return f"{minutes}:{seconds:02} left"


def show_dry_run(experiment: Experiment) -> None:
    """The layers, and what a training would do."""
    config = experiment.config
    show_table(inspect_graph(graph_of(config.network, config.name)))
    out().print(
        Text(
            f"would train on {experiment.device.type}: "
            f"{config.train.epochs} epochs of {len(experiment.train):,} steps, "
            f"{experiment.train.image_count:,} images of {config.data.name}"
        ),
        soft_wrap=True,
    )


def show_results(results: Mapping[str, Any]) -> None:
    """Loss and accuracy of every part of the data, per class too.

    Args:
        results: as in results.json.
    """
    parts = {part: results[part] for part in ("train", "val", "test") if part in results}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for part in parts:
        table.add_column(part, justify="right")
    table.add_row("loss", *(f"{score['loss']:.4f}" for score in parts.values()))
    table.add_row("accuracy", *(_percent(score["accuracy"]) for score in parts.values()))
    table.add_section()
    for name in results["test"]["per_class"]:
        table.add_row(Text(name), *(_percent(score["per_class"][name]) for score in parts.values()))
    out().print(Text(f"weights of epoch {results['epoch']}, the best on {'val' if 'val' in parts else 'train'}"))
    out().print(table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def show_next(run: Path, epochs: int, *, data: Sequence[str], training: Sequence[str]) -> None:
    """The commands that come next.

    Args:
        run: its directory.
        epochs: how many it has.
        data: the flags that say where the data are, which have to be given again.
        training: the other flags that a training has to be given again.
    """
    longer = ["--set", f"train.epochs={2 * epochs}"]
    commands = [
        ["tensorboard", str(run.parent)],
        ["show", str(run), *data],
        ["report", str(run), *data],
        ["train", "--resume", str(run), *longer, *data, *training],
    ]
    out().print(Text("next:\n" + "\n".join(f"  {shlex.join(['cnncli', *each])}" for each in commands)), soft_wrap=True)


_SHOWN_OPERATORS = 10


def show_profile(profile: Profile) -> None:
    """The parts of the training, and the operators of the steps that were traced."""
    parts = profile.parts()
    whole = sum(part.seconds for part in parts)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("where the time went", "seconds", "share", "times", "ms each"):
        table.add_column(heading, justify="left" if heading.startswith("where") else "right")
    for part in parts:
        each = f"{1000 * part.seconds / part.times:,.2f}" if part.times else ""
        times = f"{part.times:,}" if part.times else ""
        table.add_row(part.name, f"{part.seconds:,.2f}", f"{part.seconds / whole:.1%}", times, each)
    out().print(table)
    if not profile.operators:
        out().print(Text("no trace: the training had too few steps"))
        return
    traced = sum(operator.seconds for operator in profile.operators)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (f"operators, {profile.traced_steps} steps traced", "calls a step", "ms a step", "share"):
        table.add_column(heading, justify="left" if heading.startswith("operators") else "right")
    for operator in profile.operators[:_SHOWN_OPERATORS]:
        table.add_row(
            Text(operator.name),
            f"{operator.calls:,.1f}",
            f"{1000 * operator.seconds:,.3f}",
            f"{operator.seconds / traced:.1%}" if traced else "",
        )
    out().print(table)
    out().print(Text(f"trace: {profile.path}, to be opened at https://ui.perfetto.dev"), soft_wrap=True)
