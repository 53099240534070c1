"""Everything that the files of a run tell about it, without torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cnncli.config.config import Config, read_config
from cnncli.config.datasets import STANDARD_DATA, known_dataset
from cnncli.config.document import read_document
from cnncli.drawing.chart import Chart, Curve
from cnncli.errors import CnncliError
from cnncli.inspection.table import LayerTable, inspect_network
from cnncli.runs.summary import RunSummary, files_of, number_at, summarize
from cnncli.training.run_directory import RunDirectory
from cnncli.training.scores import wilson_interval

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    """The content of a run's files. What is missing or damaged is None or empty; `summary.problems` says why.

    Attributes:
        summary: what a list of runs says about it, with more problems.
        settings: the resolved config.
        config: the same, read as a config.
        table: the layers of its network.
        results: the content of results.json.
        metrics: the lines of metrics.jsonl.
        metadata: the content of metadata.json.
        files: path in the run -> bytes.
    """

    summary: RunSummary
    settings: Mapping[str, Any]
    config: Config | None
    table: LayerTable | None
    results: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]
    files: Mapping[str, int]

    @property
    def costs(self) -> dict[str, int | None] | None:
        """Parameters, MACs for an image, and bytes: activations in training of a batch, at the peak of inference.

        None if the network is unknown.
        """
        if self.table is None or self.config is None:
            return None
        memory = self.table.memory
        training = None if memory.training is None else memory.training // memory.batch * self.config.train.batch_size
        return {
            "params": self.table.params,
            "macs": self.table.macs,
            "training_bytes": training,
            "inference_bytes": memory.inference,
        }

    @property
    def test_images(self) -> int | None:
        """The number of test images; None for own images or some classes of a data set, which are not read."""
        if self.config is None or self.config.data.name not in STANDARD_DATA or self.config.data.classes is not None:
            return None
        counts = known_dataset(self.config.data.name, self.config.data.split).counts
        return None if counts is None else counts[1]

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the test accuracy, see `wilson_interval`; None where it or `test_images` is unknown."""
        accuracy, images = number_at(self.results, "test", "accuracy"), self.test_images
        if accuracy is None or images is None or not 0 <= accuracy <= 1:
            return None
        return wilson_interval(round(accuracy * images), images)

    def as_record(self) -> dict[str, Any]:
        """The object of `cnncli runs show --json`."""
        table = self.table
        return self.summary.as_record() | {
            "network": table and {"layers": len(table), "params": table.params, "macs": table.macs},
            "settings": dict(self.settings),
            "results": self.results,
            "metrics": list(self.metrics),
            "metadata": dict(self.metadata),
            "files": dict(self.files),
        }


def read_details(path: Path, *, data_dir: Path) -> RunDetails:
    """Read the files of a run.

    Args:
        path: the run directory.
        data_dir: the folder with the data sets, in which an image folder is looked up for its classes.

    Raises:
        RunError: `path` is not a run directory.
    """
    run = RunDirectory.open(path)
    summary = summarize(path, folder=path)
    problems = list(summary.problems)

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except CnncliError as error:
            if error.message not in problems:
                problems.append(error.message)
        return None

    has_config = run.resolved.exists()
    document = attempt(lambda: read_document(run.resolved)) if has_config else None
    config = attempt(lambda: read_config(str(run.resolved), data_dir=data_dir)) if document else None
    results = attempt(run.results) if summary.status == "complete" else None
    metrics = attempt(run.metrics) or []
    metadata = (attempt(run.metadata) or {}) if has_config else {}
    return RunDetails(
        summary=replace(summary, problems=tuple(problems)),
        settings=document.data if document and isinstance(document.data, dict) else {},
        config=config,
        table=inspect_network(config.network, config.name) if config else None,
        results=results,
        metrics=metrics,
        metadata=metadata,
        files=dict(files_of(path)),
    )


def run_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Accuracy and loss in training and validation of a run, by epoch; empty before the first one.

    Args:
        metrics: the lines of metrics.jsonl.
    """
    charts = []
    for title, key in (("accuracy", "accuracy"), ("loss", "loss")):
        curves = tuple(
            Curve(label=part, mark=part[0], values=tuple(number_at(record, part, key) for record in metrics))
            for part in ("train", "val")
        )
        shown = tuple(curve for curve in curves if any(value is not None for value in curve.values))
        if shown:
            charts.append(Chart(title=title, curves=shown, percent=key == "accuracy"))
    return charts
