"""What `cnncli train` prints before and after the training itself."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.analysis.graph import graph_of
from cnncli.analysis.rows import inspect_graph
from cnncli.cli.render.console import out
from cnncli.cli.render.layers import show_layers
from cnncli.experiment.setup import Experiment


def show_dry_run(experiment: Experiment) -> None:
    """The layers, and what a training would do."""
    config = experiment.config
    show_layers(inspect_graph(graph_of(config.network, config.name)))
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
        ["board", str(run.parent)],
        ["show", str(run), *data],
        ["report", str(run), *data],
        ["train", "--resume", str(run), *longer, *data, *training],
    ]
    out().print(Text("next:\n" + "\n".join(f"  {shlex.join(['cnncli', *each])}" for each in commands)), soft_wrap=True)
