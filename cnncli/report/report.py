"""The report of a run: its data, collected and written as one HTML file."""

import logging
import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import cnncli
from cnncli.config.config import Config, read_config
from cnncli.data.batches import Normalization
from cnncli.drawing.color import DIVERGING, NOT_FINITE, SEQUENTIAL
from cnncli.errors import DataError, RunError, UsageError
from cnncli.files import disk_errors_explained, replace_file
from cnncli.inspection.columns import columns, size_in_bytes
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.layers import format_size
from cnncli.module import seeded_module
from cnncli.report.arrays import Arrays
from cnncli.report.history import add_drawn_history
from cnncli.report.model_data import model_data
from cnncli.report.network import network_data
from cnncli.report.page import REPORT_PAGE, document
from cnncli.report.pictures import confusion_data, images_data, logged_data
from cnncli.report.views import views_data
from cnncli.run import load_run
from cnncli.training.run_directory import RunDirectory

REPORT = "report.html"
"""The default name of the file in the run directory."""

_log = logging.getLogger(__name__)


def write_report(run: Path, *, out: Path | None, data_dir: Path) -> Path:
    """Write the report of a run, replacing an existing one.

    Args:
        run: the directory of a run, whatever its status.
        out: the file; without it, `report.html` in the run.
        data_dir: where the run's data set is.

    Returns:
        The path of the file.

    Raises:
        UsageError: `out` is a directory.
        RunError: the directory is not a run, or the run is damaged.
        DiskError: the file cannot be written.
    """
    opened = RunDirectory.open(run)
    path = out or run / REPORT
    if path.is_dir():
        raise UsageError(f"{path} is a directory", remedy="give --out the name of a file, such as report.html")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    arrays = Arrays()
    data = collect(opened, arrays, data_dir=data_dir)
    head = data["head"]
    title = f"{head['name']} on {head['data']}: {head['run']}"
    page = document(REPORT_PAGE, data, title=title, parts={"binary": arrays.text()})
    replace_file(path, page.encode())
    return path


def collect(run: RunDirectory, arrays: Arrays, *, data_dir: Path) -> dict[str, Any]:
    """The data of the page, as JSON; weights are added to `arrays`.

    `history` describes the weights of steps, from which the page draws kernels and feature maps; where it is null,
    `logged` has the pictures of steps, and otherwise `logged` is null. What needs trained weights and test images is
    null where they are missing, and `unavailable` gives the reason.

    Args:
        run: complete or not.
        arrays: the numbers of the page.
        data_dir: where its data set is.

    Raises:
        RunError: the run has no `resolved.yaml`, or its files are damaged.
    """
    config = read_config(str(run.find_config()), data_dir=data_dir)
    graph = graph_of(config.network, config.name)
    table = inspect_graph(graph)
    evaluated = _evaluated(run, config, arrays, data_dir=data_dir)
    drawn = evaluated["history"] is not None
    return {
        "head": _head(run, config, table, epoch=evaluated["epoch"]),
        "classes": config.classes,
        "colors": {"diverging": DIVERGING, "sequential": SEQUENTIAL, "not_finite": NOT_FINITE},
        "table": table_data(table),
        "network": network_data(graph),
        "metrics": run.metrics(),
        "augmentation": config.data.augment.active,
        "logged": None if drawn else {**logged_data(run.path), "enabled": config.log.images > 0},
        **evaluated,
        "arrays": arrays.index,
        "files": run.config_texts(),
        "metadata": run.metadata() if (run.path / "metadata.json").exists() else None,
    }


def _head(run: RunDirectory, config: Config, table: LayerTable, *, epoch: int | None) -> dict[str, Any]:
    """The top of the page, for weights of an epoch; without the results of other weights."""
    status = run.status()
    results = run.results() if status.state == "complete" else None
    if results is not None and epoch not in (None, results["epoch"]):
        _log.warning(f"the report shows weights of epoch {epoch}, so it lacks the results of epoch {results['epoch']}")
        results = None
    return {
        "name": config.name,
        "run": run.path.resolve().name,
        "path": str(run.path),
        "data": config.data.name,
        "started": _started(run),
        "created": f"{datetime.now():%Y-%m-%d %H:%M}",
        "cnncli": cnncli.__version__,
        "state": status.state,
        "reason": status.reason,
        "epochs": config.train.epochs,
        "results": results,
        "params": table.params,
        "macs": table.macs,
    }


def _started(run: RunDirectory) -> str:
    """When the run started, by the name of its directory; if that was changed, by the age of its config."""
    stamp = re.search(r"(\d{8}-\d{6})(?:-\d+)?$", run.path.resolve().name)
    if stamp:
        try:
            return f"{datetime.strptime(stamp[1], '%Y%m%d-%H%M%S'):%Y-%m-%d %H:%M}"
        except ValueError:
            pass  # digits that are not a date
    return f"{datetime.fromtimestamp(run.resolved.stat().st_mtime):%Y-%m-%d %H:%M}"


def table_data(table: LayerTable) -> dict[str, Any]:
    """The layer table as text, cell by cell, with hints and notes, as JSON."""
    shown = columns(wide=True)
    memory = table.memory
    return {
        "columns": [{"heading": each.heading, "numeric": each.numeric, "wide": each.wide} for each in shown],
        "input": format_size(table.input_shape),
        "rows": [[each.cell(row) for each in shown] for row in table.rows],
        "totals": [each.total(table) for each in shown],
        "hints": [asdict(each) for each in table.hints],
        "notes": [*table.notes, *(f"{row.name}: {note}" for row in table.rows for note in row.notes)],
        "memory": {
            "weights": size_in_bytes(memory.weights),
            "training activations of one image": size_in_bytes(memory.training),
            "peak inference activations": size_in_bytes(memory.inference),
        },
    }


def _evaluated(run: RunDirectory, config: Config, arrays: Arrays, *, data_dir: Path) -> dict[str, Any]:
    """The network with its best weights, and what it does with the test images, which are not downloaded."""
    epoch = None
    try:
        loaded = load_run(run.path, data_dir=data_dir).offline()
        epoch = loaded.epoch
        images = images_data(loaded)
        network = model_data(loaded.model, classes=loaded.classes, normalization=loaded.normalization)
        confusion, views = confusion_data(loaded), views_data(loaded)
        arrays.add("weights/0", network.weights.astype(network.precision))
        return {
            "unavailable": None,
            "epoch": epoch,
            "model": network.model,
            "images": images,
            "confusion": confusion,
            "views": views,
            "history": add_drawn_history(arrays, loaded, network),
        }
    except (RunError, DataError) as error:
        _log.warning(f"the report shows neither values nor images: {error.message}; {error.remedy}")
        return {
            "unavailable": error.message,
            "epoch": epoch,
            "model": _model_without_weights(config),
            "images": None,
            "confusion": None,
            "views": None,
            "history": None,
        }


def _model_without_weights(config: Config) -> dict[str, Any]:
    """The layers and their operations as JSON, for receptive fields without values."""
    shape = config.network.input_shape
    module = seeded_module(config.network, 0)
    return model_data(module, classes=config.classes, normalization=Normalization.none(shape[0])).model
