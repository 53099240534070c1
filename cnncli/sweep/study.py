"""The trials of a sweep in Optuna's storage: proposed, counted, pruned and finished.

Several processes, on one machine or many, share a storage. Each of them holds a lock in the folder of the sweep, so
that the others can tell a trial that is being trained from one whose process was killed.
"""

import json
import logging
import os
import socket
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from cnncli.config.config import Config, change_config
from cnncli.errors import ConfigError, UsageError
from cnncli.files import disk_errors_explained, is_locked
from cnncli.sweep import PrunerName, SamplerName
from cnncli.sweep.limits import Limit, costs_of, excess
from cnncli.sweep.space import Choices, FloatRange, IntRange, Parameter, Value, combinations
from cnncli.sweep.trial import Outcome, Task

_log = logging.getLogger(__name__)

MOST_REJECTED = 500
"""After so many proposals in a row that are not trained, the sweep gives up."""
_ATTEMPTS, _ATTEMPT_SECONDS = 4, 0.5
"""How often the opening of a database is repeated."""
_RANDOM_TRIALS = 10
"""Trials before TPE has a model; Optuna's default."""
_LEAST_COMPLETE = 4
"""Complete trials from which importances are computed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep varies, and how it searches.

    Attributes:
        config: the config whose fields are varied.
        data_dir: the directory of data sets.
        parameters: the fields.
        limits: on the costs of a network.
        sampler: how values are proposed.
        pruner: how trials are ended early.
        seed: of the proposals.
        trials: how many trials are complete or pruned in the end.
    """

    config: Config
    data_dir: Path
    parameters: tuple[Parameter, ...]
    limits: tuple[Limit, ...]
    sampler: SamplerName
    pruner: PrunerName
    seed: int
    trials: int

    def settings(self) -> dict[str, Any]:
        """What must stay the same when the sweep is continued; the number of trials may change."""
        return {
            "config": self.config.resolved(),
            "params": {parameter.path: parameter.spec for parameter in self.parameters},
            "limits": {limit.cost: limit.most for limit in self.limits},
            "sampler": self.sampler,
            "pruner": self.pruner,
            "seed": self.seed,
        }


class _JournalLock:
    """A lock as `JournalFileBackend` takes it, which the system releases when its process is killed.

    Optuna's own locks stay then, and the next process waits for half a minute.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()


class _Grid(GridSampler):
    """A grid for a loop of our own: Optuna's stops `Study.optimize` at the end, which is not used here."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        pass


def open_storage(storage: str | Path) -> BaseStorage:
    """The storage at a database URL, or in a journal file.

    Raises:
        UsageError: the URL cannot be opened, or its driver is not installed.
        DiskError: the journal cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "://" not in str(storage):
        path = Path(storage)
        with disk_errors_explained(path, option="--storage"):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock: Any = _JournalLock(path.with_name(f"{path.name}.lock"))
            _cut_unfinished_line(path, lock)
            try:
                return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            except (ValueError, KeyError, TypeError, AssertionError) as error:
                raise UsageError(
                    f"--storage {storage} is not a journal of Optuna", remedy="choose another file, or restore this one"
                ) from error
    from sqlalchemy.exc import DBAPIError

    try:
        for _ in range(_ATTEMPTS):
            with suppress(DBAPIError):  # another process may be creating the tables
                return get_storage(str(storage))
            time.sleep(_ATTEMPT_SECONDS)
        return get_storage(str(storage))
    except ImportError as error:
        raise UsageError(
            f"--storage {storage}: {error}",
            remedy="install the driver of the database, for PostgreSQL with: pip install psycopg2-binary",
        ) from error
    except Exception as error:  # SQLAlchemy and each driver have errors of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"--storage {storage} cannot be opened: {reason}",
            remedy="give a file, or a database URL such as sqlite:///sweep.db or postgresql://user@host/database",
        ) from error


def _cut_unfinished_line(path: Path, lock: _JournalLock) -> None:
    """Remove a last line that a full disk or a crash has cut off: the next one would be appended to it."""
    if not path.exists():
        return
    lock.acquire()
    try:
        with path.open("rb+") as file:
            content = file.read()
            if content and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
                file.flush()
                os.fsync(file.fileno())
    finally:
        lock.release()


def _suggest(trial: optuna.Trial, parameter: Parameter) -> None:
    """Give a trial a value of a parameter, unless it has one."""
    match parameter.domain:
        case FloatRange(low, high, log):
            trial.suggest_float(parameter.path, low, high, log=log)
        case IntRange(low, high, log):
            trial.suggest_int(parameter.path, low, high, log=log)
        case Choices(choices):
            trial.suggest_categorical(parameter.path, [json.dumps(value) for value in choices])  # true is not 1


def values_of(trial: FrozenTrial, parameters: Sequence[Parameter]) -> dict[str, Value]:
    """The values of a trial by path; those that it has."""
    return {
        parameter.path: json.loads(trial.params[parameter.path])
        if isinstance(parameter.domain, Choices)
        else trial.params[parameter.path]
        for parameter in parameters
        if parameter.path in trial.params
    }


class TrialQueue:
    """Gives out the trials of a sweep, until there are as many as planned.

    Args:
        name: of the sweep in the storage.
        folder: of the sweep; it holds the locks.
        storage: what `open_storage` returns.
        plan: what is varied.

    Raises:
        UsageError: the storage has a sweep of this name with other settings.
    """

    def __init__(self, name: str, folder: Path, storage: BaseStorage, plan: Plan) -> None:
        self._name, self._storage, self._plan = name, storage, plan
        self._combinations = combinations(plan.parameters)
        self._pruner = _pruner(plan)
        self._running: dict[int, optuna.Trial] = {}
        self._locks = folder / "locks"
        self._owner = uuid.uuid4().hex
        self._rejected = 0
        self.given_up: str | None = None
        with disk_errors_explained(self._locks):
            self._locks.mkdir(parents=True, exist_ok=True)
            self._claim = FileLock(self._locks / "claim")
            self._own = FileLock(self._locks / self._owner)
            with self._claim:
                self._own.acquire()
                self._study = self._open_study()
                self._check_settings(folder)
        self._study_id = storage.get_study_id_from_name(name)

    def close(self) -> None:
        """Let other processes take over the trials that are not finished."""
        self._own.release()
        if not any(self._owner_of(trial) == self._owner for trial in self._trials() if _is_running(trial)):
            (self._locks / self._owner).unlink(missing_ok=True)

    def _open_study(self) -> optuna.Study:
        return optuna.create_study(
            study_name=self._name,
            storage=self._storage,
            direction="maximize",
            load_if_exists=True,
            pruner=self._pruner,
        )

    def _check_settings(self, folder: Path) -> None:
        settings, before = self._plan.settings(), self._study.user_attrs.get("settings")
        if before is None:
            self._study.set_user_attr("settings", settings)
            return
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed and self._trials() and all(map(_is_infeasible, self._trials())):
            # Nothing could be trained, so the limits or the values were wrong: the sweep starts again.
            optuna.delete_study(study_name=self._name, storage=self._storage)
            self._study = self._open_study()
            self._study.set_user_attr("settings", settings)
            return
        if changed:
            self._own.release()
            (self._locks / self._owner).unlink(missing_ok=True)
            words = [f"{key} (was {_words(before.get(key))})" if key != "config" else key for key in changed]
            raise UsageError(
                f"{folder} is a sweep with other settings: {', '.join(words)}",
                remedy="repeat the command that started it, in which only --trials, --workers, --threads and --device "
                "may change, or start a new sweep with --name",
            )

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _owner_of(self, trial: FrozenTrial) -> str:
        return str(trial.user_attrs.get("owner", ""))

    def trials(self) -> list[FrozenTrial]:
        """All trials, those that cannot be trained included."""
        return self._trials()

    def finished(self) -> int:
        """The number of trials that are complete or were ended early."""
        return sum(_counts(trial) and not _is_running(trial) for trial in self._trials())

    def running_elsewhere(self) -> list[FrozenTrial]:
        """The trials that other processes train."""
        return [t for t in self._trials() if _is_running(t) and self._owner_of(t) != self._owner]

    def next_task(self) -> Task | None:
        """Take over a trial whose process was killed, or propose a new one; None if there are enough.

        Raises:
            UsageError: no proposal can be trained.
            DiskError: the storage cannot be written.
        """
        with self._claim:
            for trial in self._trials():
                if _is_running(trial) and self._is_orphaned(trial):
                    trial_id = self._id_of(trial.number)
                    self._storage.set_trial_user_attr(trial_id, "owner", self._owner)
                    task = self._propose(trial_id, trial.number)
                    if task is not None:
                        return task
            while self.given_up is None and self._is_wanted(self._trials()):
                template = create_trial(
                    state=TrialState.RUNNING, user_attrs={"owner": self._owner, "host": socket.gethostname()}
                )
                trial_id = self._storage.create_new_trial(self._study_id, template)
                number = self._storage.get_trial(trial_id).number
                # A process with another folder, which does not see the lock, may have been faster.
                if not self._is_wanted([trial for trial in self._trials() if trial.number < number]):
                    self._drop(trial_id, "surplus", "another process has the last trial")
                    break
                task = self._propose(trial_id, number)
                if task is not None:
                    return task
                self._rejected += 1
            if self.given_up is not None and not any(map(_counts, self._trials())):
                self.close()
                raise UsageError(self.given_up, remedy="raise a --limit, or give --param values that meet it")
        return None

    def _id_of(self, number: int) -> int:
        """What the storage calls a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _is_orphaned(self, trial: FrozenTrial) -> bool:
        lock = self._locks / self._owner_of(trial)
        return self._owner_of(trial) != self._owner and lock.exists() and not is_locked(lock)

    def _is_wanted(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether another trial may follow these; `given_up` says why not if there are too few."""
        if sum(map(_counts, trials)) >= self._plan.trials:
            return False
        values = [values_of(trial, self._plan.parameters) for trial in trials]
        tried = len({json.dumps(each) for each in values if len(each) == len(self._plan.parameters)})
        reasons = [trial.user_attrs["outcome"]["reason"] for trial in trials if _is_infeasible(trial)]
        last = f"; the last one: {reasons[-1]}" if reasons else ""
        places = self._combinations if self._plan.sampler == "grid" else None
        if tried == self._combinations or (places is not None and len(trials) >= places):
            self.given_up = f"all {tried:,} combinations of values were tried{last}"
        elif self._rejected >= MOST_REJECTED:
            self.given_up = f"none of {MOST_REJECTED} proposals in a row can be trained{last}"
        return self.given_up is None

    def _propose(self, trial_id: int, number: int) -> Task | None:
        """The task of a trial that is in the storage, or None if it is not to be trained."""
        # With a sampler for each number, a sweep that was killed proposes what it would have proposed.
        study = optuna.load_study(
            study_name=self._name, storage=self._storage, sampler=self._sampler(number), pruner=self._pruner
        )
        trial = optuna.Trial(study, trial_id)
        for parameter in self._plan.parameters:
            _suggest(trial, parameter)
        values = values_of(self._storage.get_trial(trial_id), self._plan.parameters)
        assignments = [parameter.assignment(values[parameter.path]) for parameter in self._plan.parameters]
        try:
            config = change_config(self._plan.config, assignments, data_dir=self._plan.data_dir, option="--param")
        except (ConfigError, UsageError) as error:
            _constrain(trial, "config", 1.0)
            self._prune(trial, error.message.splitlines()[0])
            return None
        costs = costs_of(config.network)
        trial.set_user_attr("costs", asdict(costs))
        for limit in self._plan.limits:
            _constrain(trial, limit.cost, getattr(costs, limit.cost) / limit.most - 1)
        if too_much := excess(costs, self._plan.limits):
            self._prune(trial, too_much)
            return None
        if (same := self._same(values, number)) is not None:
            self._drop(trial_id, "repeated", f"the same values as trial {same}")
            return None
        self._rejected = 0
        self._running[number] = trial
        return Task(number=number, values=values, config=config, costs=costs)

    def _same(self, values: Mapping[str, Value], number: int) -> int | None:
        """An earlier trial with these values: another one would only repeat it."""
        for trial in self._trials():
            tried = _counts(trial) or _status(trial) == "failed"
            if trial.number < number and tried and values_of(trial, self._plan.parameters) == values:
                return trial.number
        return None

    def _prune(self, trial: optuna.Trial, reason: str) -> None:
        """Record an infeasible proposal; from its constraints the sampler learns to avoid others like it."""
        trial.set_user_attr("outcome", {"status": "infeasible", "reason": reason})
        trial.study.tell(trial.number, state=TrialState.PRUNED)

    def _drop(self, trial_id: int, status: str, reason: str) -> None:
        """Record a proposal from which the sampler must not learn."""
        self._storage.set_trial_user_attr(trial_id, "outcome", {"status": status, "reason": reason})
        self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence((self._plan.seed, number)).generate_state(1)[0])
        if self._plan.sampler == "grid":
            # The grid has one order for all trials; the number of a trial is its place in it.
            return _Grid(
                {
                    parameter.path: [
                        json.dumps(value) if isinstance(parameter.domain, Choices) else value
                        for value in parameter.domain.values() or ()
                    ]
                    for parameter in self._plan.parameters
                },
                seed=self._plan.seed,
            )
        trials = self._trials()
        # TPE would propose values that were tried again and again.
        repeated = 0 < number <= len(trials) and _status(trials[number - 1]) == "repeated"
        if self._plan.sampler == "random" or repeated:
            return RandomSampler(seed=seed)
        infeasible = sum(map(_is_infeasible, trials))
        return TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS + infeasible)

    def report(self, number: int, epoch: int, accuracy: float) -> bool:
        """Record an epoch of a trial.

        Returns:
            Whether the trial should be pruned.
        """
        trial = self._running[number]
        step = epoch - 1  # pruners count from 0
        if step not in self._storage.get_trial(self._id_of(number)).intermediate_values:
            trial.report(accuracy, step)
        return bool(trial.should_prune())  # some pruners return NumPy's

    def finish(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a trial; an interrupted one stays open, to be resumed."""
        trial = self._running.pop(number)
        if outcome.status == "interrupted":
            return
        trial.set_user_attr("outcome", asdict(outcome))
        match outcome.status:
            case "complete":
                trial.study.tell(number, outcome.accuracy)
            case "pruned" | "diverged":
                trial.study.tell(number, state=TrialState.PRUNED)
            case "failed":
                trial.study.tell(number, state=TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """The importance of each parameter by path, the largest first, which add up to 1 (PED-ANOVA).

        Empty with fewer than two parameters or four complete trials, or if all have the same accuracy.

        Source: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces", IJCAI 2023.
        """
        accuracies = [trial.value for trial in self._trials() if trial.state == TrialState.COMPLETE]
        if len(accuracies) < _LEAST_COMPLETE or len({*accuracies}) == 1 or len(self._plan.parameters) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few trials, or equal ones, give rough numbers
            found = optuna.importance.get_param_importances(self._study)
        return {path: float(found[path]) for path in sorted(found, key=lambda path: -found[path])}


def _status(trial: FrozenTrial) -> str | None:
    """The status of a trial that has ended."""
    status: str | None = trial.user_attrs.get("outcome", {}).get("status")
    return status


def _is_infeasible(trial: FrozenTrial) -> bool:
    return _status(trial) == "infeasible"


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those that were planned."""
    counted = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return trial.state in counted and not (trial.state == TrialState.PRUNED and _is_infeasible(trial))


def _constrain(trial: optuna.Trial, name: str, excess: float) -> None:
    """Set a constraint of a trial, unless an earlier process has: above 0 it is violated."""
    if name not in trial.constraints:
        trial.set_constraint(name, excess)


def _is_running(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.RUNNING


def _words(value: object) -> str:
    """A setting of a sweep for an error message."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
    return str(value)


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    if plan.pruner == "none":
        return optuna.pruners.NopPruner()
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner()
    varied = any(parameter.path == "train.epochs" for parameter in plan.parameters)
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource="auto" if varied else plan.config.train.epochs)
