"""A run as one HTML file."""

import logging
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import cnncli
from cnncli.config.config import Config, read_config
from cnncli.drawing.color import DIVERGING, NOT_FINITE, SEQUENTIAL
from cnncli.errors import DataError, RunError, UsageError
from cnncli.files import disk_errors_explained, replace_file
from cnncli.inspection.formatting import columns, size_in_bytes
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.report.network import maps_data, network_data
from cnncli.report.page import document
from cnncli.report.pictures import confusion_data, exhibits_data, logged_data
from cnncli.run import load_run, predict
from cnncli.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)


def table_data(inspection: LayerTable) -> dict[str, Any]:
    """Headings, cells and totals as texts; the hints; notes; as JSON."""
    shown = columns(wide=True)
    memory = inspection.memory
    return {
        "columns": [{"heading": each.heading, "numeric": each.numeric, "wide": each.wide} for each in shown],
        "input": "x".join(map(str, inspection.input_shape)),
        "rows": [[each.cell(row) for each in shown] for row in inspection.rows],
        "totals": [each.total(inspection) for each in shown],
        "hints": [
            {"name": each.name, "layer": each.layer, "says": each.says, "consider": each.consider}
            for each in inspection.hints
        ],
        "notes": [*inspection.notes, *(f"{row.name}: {note}" for row in inspection.rows for note in row.notes)],
        "memory": {
            "weights": size_in_bytes(memory.weights),
            "activations in training, one image": size_in_bytes(memory.training),
            "activations in inference at their peak": size_in_bytes(memory.inference),
        },
    }


def collect(run: RunDirectory, *, data_dir: Path) -> dict[str, Any]:
    """Everything there is about a run.

    What needs trained weights and test images is null where they cannot be had, and `untested` says why.

    Args:
        run: complete or not.
        data_dir: where its data set is.

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
        "colors": {
            "diverging": [[place, list(color)] for place, color in DIVERGING],
            "sequential": [[place, list(color)] for place, color in SEQUENTIAL],
            "not_finite": list(NOT_FINITE),
        },
        "table": table_data(inspection),
        "network": network_data(graph),
        "metrics": run.metrics(),
        "logged": {**logged_data(run.path), "wanted": config.log.images > 0},
        **_tested(run, data_dir=data_dir),
        "files": _files(run),
        "meta": run.meta() if (run.path / "meta.json").is_file() else None,
    }


def _head(run: RunDirectory, config: Config, inspection: LayerTable) -> dict[str, Any]:
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


def _tested(run: RunDirectory, *, data_dir: Path) -> dict[str, Any]:
    """What the best weights make of the test images."""
    try:
        trained = load_run(run.path, data_dir=data_dir)
    except (RunError, DataError) as error:
        _log.warning(f"without what the network makes of test images: {error.message}")
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


REPORT = "report.html"
"""The page's file in its run, unless another is named."""


def write_report(run: Path, *, out: Path | None, data_dir: Path) -> Path:
    """Write the page of a run, in place of the one that is there.

    Args:
        run: the directory of a run, whatever its status.
        out: the file; `report.html` in the run, if not given.
        data_dir: where the run's data set is.

    Returns:
        Where the page is.

    Raises:
        UsageError: there is a directory of that name.
        RunError: it is no run, or it is damaged.
        DiskError: the page cannot be written.
    """
    opened = RunDirectory.open(run)
    path = out or run / REPORT
    if path.is_dir():
        raise UsageError(f"{path} is a directory", remedy="give --out the name of a file, such as report.html")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    data = collect(opened, data_dir=data_dir)
    head = data["head"]
    replace_file(path, document(data, title=f"{head['name']} on {head['data']}: {head['run']}").encode())
    return path
