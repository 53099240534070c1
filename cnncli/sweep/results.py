"""What a sweep has found: its trials with ranks, importances, the best config, and the scores of the best trial."""

import json
import logging
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

import cnncli
from cnncli.config.config import change_config
from cnncli.files import replace_file, replace_json
from cnncli.sweep.limits import Costs
from cnncli.sweep.space import Value
from cnncli.sweep.study import Plan, TrialQueue, values_of
from cnncli.sweep.trial import Place

_log = logging.getLogger(__name__)

JSON_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial, or a proposal that was not trained.

    Attributes:
        number: of the trial.
        status: `complete`, `pruned`, `diverged`, `running` (also one that was interrupted), `failed` or `infeasible`.
        rank: 1 for the best complete trial; None for others.
        run: its run directory; None if it is on another machine or there is none.
        host: the name of the machine that proposed it.
        values: of the swept fields, by path.
        accuracy: on the validation images, of the best epoch.
        epoch, epochs: the best epoch, and how many were trained.
        costs: of its network; None if the values give no valid network.
        seconds: of training and validation.
        threads: CPU threads.
        reason: why it was not trained to the end.
    """

    number: int
    status: str
    rank: int | None
    run: Path | None
    host: str
    values: Mapping[str, Value]
    accuracy: float | None
    epoch: int | None
    epochs: int
    costs: Costs | None
    seconds: float
    threads: int
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """An element of `trials` and `rejected` in trials.json."""
        record = {
            "trial": self.number,
            "status": self.status,
            "rank": self.rank,
            "run": None if self.run is None else str(self.run),
            "host": self.host,
            "values": dict(self.values),
            "accuracy": self.accuracy,
            "epoch": self.epoch,
            "epochs": self.epochs,
            "params": None,
            "macs": None,
            "ram": None,
            "seconds": round(self.seconds, 3),
            "threads": self.threads,
            "reason": self.reason,
        }
        return record | (asdict(self.costs) if self.costs else {})


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The state of a sweep.

    Attributes:
        plan: what it varies.
        folder: of the sweep.
        trials: those that count, the complete ones first, by rank.
        rejected: proposals that were not trained, or could not be.
        importances: of the parameters by path, the largest first; empty if there are too few trials.
        results: of the best trial's run, as in results.json; None until the sweep has finished.
    """

    plan: Plan
    folder: Path
    trials: tuple[TrialRecord, ...]
    rejected: tuple[TrialRecord, ...]
    importances: Mapping[str, float]
    results: Mapping[str, Any] | None = None

    @property
    def best(self) -> TrialRecord | None:
        """The complete trial with the highest accuracy, the smallest of several."""
        return next((trial for trial in self.trials if trial.rank == 1), None)

    @property
    def best_config(self) -> Path:
        """The file of the best config."""
        return self.folder / "best.yaml"

    def as_json(self) -> dict[str, Any]:
        """The content of trials.json."""
        best, settings = self.best, self.plan.settings()
        del settings["config"]
        return {
            "version": JSON_VERSION,
            "sweep": str(self.folder),
            "config": self.plan.config.name,
            **settings,
            "planned": self.plan.trials,
            "trials": [trial.as_json() for trial in self.trials],
            "rejected": [trial.as_json() for trial in self.rejected],
            "importances": dict(self.importances) or None,
            "best": best
            and {
                "trial": best.number,
                "run": None if best.run is None else str(best.run),
                "config": str(self.best_config),
                "accuracy": best.accuracy,
                "values": dict(best.values),
                "test": self.results and self.results["test"],
            },
        }


def summarize(queue: TrialQueue, plan: Plan, place: Place) -> Summary:
    """The trials of a sweep so far."""
    records = [_record(trial, plan, place) for trial in queue.trials()]
    counted = [record for record in records if record.status not in ("failed", "infeasible", "repeated", "surplus")]
    complete = sorted((record for record in counted if record.status == "complete"), key=_order)
    ranked = [TrialRecord(**{**vars(record), "rank": rank}) for rank, record in enumerate(complete, start=1)]
    return Summary(
        plan=plan,
        folder=place.folder,
        trials=(*ranked, *sorted((each for each in counted if each.status != "complete"), key=_order)),
        rejected=tuple(record for record in records if record.status in ("failed", "infeasible")),
        importances=queue.importances(),
    )


def _order(record: TrialRecord) -> tuple[float, int, int]:
    """The highest accuracy first; of equal ones the network with fewer parameters."""
    accuracy = -1.0 if record.accuracy is None else record.accuracy
    return (-accuracy, record.costs.params if record.costs else 0, record.number)


def _record(trial: FrozenTrial, plan: Plan, place: Place) -> TrialRecord:
    outcome, costs = trial.user_attrs.get("outcome", {}), trial.user_attrs.get("costs")
    run = place.run_path(trial.number)
    reported = trial.intermediate_values
    return TrialRecord(
        number=trial.number,
        status="running" if trial.state == TrialState.RUNNING else outcome["status"],
        rank=None,
        run=run if (run / "status.json").exists() else None,
        host=str(trial.user_attrs.get("host", "")),
        values=values_of(trial, plan.parameters),
        accuracy=outcome.get("accuracy", max(reported.values(), default=None)),
        epoch=outcome.get("epoch"),
        epochs=outcome.get("epochs", len(reported)),
        costs=None if costs is None else Costs(**costs),
        seconds=outcome.get("seconds", 0.0),
        threads=outcome.get("threads", 0),
        reason=outcome.get("reason"),
    )


def write_trials(summary: Summary) -> None:
    """Write trials.json.

    Raises:
        DiskError: it cannot be written.
    """
    replace_json(summary.folder / "trials.json", summary.as_json())


def finish_sweep(summary: Summary, place: Place) -> Summary:
    """Write best.yaml, and evaluate the test images once, with the best trial.

    Returns:
        The summary with the results of the best trial, or without if its run is on another machine.

    Raises:
        DataError: the data set is unavailable.
        DiskError: a file cannot be written.
    """
    import torch

    from cnncli.experiment.train import evaluate_test
    from cnncli.run import load_run
    from cnncli.training.device import resolve_device

    best = summary.best
    if best is None:
        _log.warning("no trial is complete: there is no best config")
        return summary
    with FileLock(summary.folder / "locks" / "finish"):
        replace_file(summary.best_config, best_config_text(summary, best).encode())
        if best.run is None:
            _log.warning(_missing_run(best, place))
            return summary
        torch.set_num_threads(best.threads)
        run = load_run(best.run, data_dir=place.data_dir, device=resolve_device(place.device))
        return Summary(**{**vars(summary), "results": evaluate_test(run)})


def _missing_run(best: TrialRecord, place: Place) -> str:
    if best.host == socket.gethostname():
        return (
            f"{place.run_path(best.number)} is missing, so the best trial is not evaluated on the test images; "
            "train its config, best.yaml, to repeat it"
        )
    return (
        f"the run of the best trial {best.number} is on {best.host}: "
        "run the same command there to evaluate it on the test images"
    )


def best_config_text(summary: Summary, best: TrialRecord) -> str:
    """The config of the best trial, with comments that say where it is from and how to repeat it."""
    plan = summary.plan
    assignments = [parameter.assignment(best.values[parameter.path]) for parameter in plan.parameters]
    config = change_config(plan.config, assignments, data_dir=plan.data_dir, option="--param")
    command = ["cnncli", "train", str(summary.best_config), "--threads", str(best.threads)]
    comments = [
        f"The best of {len(summary.trials)} trials of the sweep {summary.folder.name}: trial {best.number}, with "
        f"validation accuracy {best.accuracy!r} in epoch {best.epoch}.",
        *(f"{path} = {json.dumps(value)}" for path, value in best.values.items()),
        f"Trained by cnncli {cnncli.__version__} on {best.host}. Repeat it with: {shlex.join(command)}",
    ]
    return "".join(f"# {comment}\n" for comment in _on_one_line(comments)) + config.resolved()


def _on_one_line(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.splitlines()) for text in texts]
