"""How a training looks while it goes on: a live line on a terminal, a plain line per epoch elsewhere."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cnncli.analysis.graph import graph_of
from cnncli.analysis.rows import inspect_graph
from cnncli.cli.render.console import messages
from cnncli.experiment.setup import Experiment
from cnncli.training.fit import Epoch
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
