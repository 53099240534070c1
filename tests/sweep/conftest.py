"""Sweeps whose trials are not trained: the outcomes are made up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.config.config import read_config
from cnncli.sweep import PrunerName, SamplerName
from cnncli.sweep.limits import parse_limits
from cnncli.sweep.space import parse_parameters
from cnncli.sweep.study import Plan, TrialQueue, open_storage

NewQueue = Callable[..., TrialQueue]


@pytest.fixture
def new_queue(tmp_path: Path) -> NewQueue:
    """A process that takes part in a sweep of quickstart, with a folder and a storage."""

    def new(
        *params: str,
        limits: tuple[str, ...] = (),
        sampler: SamplerName = "random",
        pruner: PrunerName = "none",
        seed: int = 0,
        trials: int = 4,
        folder: str = "sweep",
        storage: str = "journal.log",
    ) -> TrialQueue:
        plan = Plan(
            config=read_config("quickstart", data_dir=tmp_path),
            data_dir=tmp_path,
            parameters=parse_parameters(params or ("train.optimizer.adamw.lr=log:1e-4..1e-1",)),
            limits=parse_limits(limits),
            sampler=sampler,
            pruner=pruner,
            seed=seed,
            trials=trials,
        )
        place = storage if "://" in storage else tmp_path / storage
        return TrialQueue("sweep", tmp_path / folder, open_storage(place), plan)

    return new
