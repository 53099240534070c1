"""All that a page says of a run, as JSON."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import cnncli
from cnncli.analysis.graph import graph_of
from cnncli.analysis.rows import Inspection, inspect_graph
from cnncli.errors import DataError, RunError
from cnncli.interpret.predictions import predict
from cnncli.pictures.colour import DIVERGING, NOT_FINITE, SEQUENTIAL
from cnncli.report.confusion import confusion_data
from cnncli.report.exhibits import exhibits_data
from cnncli.report.logged import logged_data
from cnncli.report.maps import maps_data
from cnncli.report.network import network_data
from cnncli.report.table import table_data
from cnncli.spec.config import Config, read_config
from cnncli.trained import open_run
from cnncli.training.run_directory import RunDirectory


def collect(run: RunDirectory, *, data_dir: Path, notify: Callable[[str], None]) -> dict[str, Any]:
    """Everything there is about a run.

    What needs trained weights and test images is null where they cannot be had, and `untested` says why.

    Args:
        run: complete or not.
        data_dir: where its data set is.
        notify: takes what a reader of the page should also hear at once.

    Raises:
        RunError: the run has not got as far as its config, or what it has is damaged.
    """
    if not run.resolved.is_file():
        raise RunError(f"{run.path}: it ended before it had a config", remedy="train again")
    config = read_config(str(run.resolved), data_dir=data_dir)
    graph = graph_of(config.network, config.name)
    inspection = inspect_graph(graph)
    return {
        "head": _head(run, config, inspection),
        "classes": list(config.classes),
        "colours": {
            "diverging": [[place, list(colour)] for place, colour in DIVERGING],
            "sequential": [[place, list(colour)] for place, colour in SEQUENTIAL],
            "not_finite": list(NOT_FINITE),
        },
        "table": table_data(inspection),
        "network": network_data(graph),
        "metrics": run.metrics(),
        "logged": {**logged_data(run.path), "wanted": config.log.images > 0},
        **_tested(run, data_dir=data_dir, notify=notify),
        "files": _files(run),
        "meta": run.meta() if (run.path / "meta.json").is_file() else None,
    }


def _head(run: RunDirectory, config: Config, inspection: Inspection) -> dict[str, Any]:
    """What stands at the top of the page."""
    status = run.status()
    return {
        "name": config.name,
        "run": run.path.resolve().name,
        "data": config.data.name,
        "began": _began(run),
        "made": f"{datetime.now():%Y-%m-%d %H:%M}",
        "cnncli": cnncli.__version__,
        "state": status.state,
        "reason": status.reason,
        "epochs": config.train.epochs,
        "results": run.results() if status.state == "complete" else None,
        "params": inspection.params,
        "macs": inspection.macs,
    }


def _began(run: RunDirectory) -> str:
    """When the run was made: its directory says so, unless it was renamed; then the config that was put there first."""
    stamp = re.search(r"(\d{8}-\d{6})(?:-\d+)?$", run.path.resolve().name)
    if stamp:
        try:
            return f"{datetime.strptime(stamp[1], '%Y%m%d-%H%M%S'):%Y-%m-%d %H:%M}"
        except ValueError:
            pass  # digits that are no date
    return f"{datetime.fromtimestamp(run.resolved.stat().st_mtime):%Y-%m-%d %H:%M}"


def _tested(run: RunDirectory, *, data_dir: Path, notify: Callable[[str], None]) -> dict[str, Any]:
    """What the best weights make of the test images."""
    try:
        trained = open_run(run.path, data_dir=data_dir, notify=notify)
    except (RunError, DataError) as error:
        notify(f"without what the network makes of test images: {error.message}")
        return {"untested": error.message, "maps": None, "confusion": None, "exhibits": [], "epoch": None}
    return {
        "untested": None,
        "epoch": trained.epoch,
        "maps": maps_data(trained),
        "confusion": confusion_data(trained, predict(trained.model, trained.batches())),
        "exhibits": exhibits_data(trained),
    }


def _files(run: RunDirectory) -> dict[str, str]:
    """The run's own texts: its config as given and with its defaults."""
    paths = {"config.yaml": run.path / "config.yaml", "resolved.yaml": run.resolved}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.is_file()}
