"""A small run to report on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.run import Run, load_run

ExitCodeOf = Callable[..., int]


@pytest.fixture(scope="session")
def lenet(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run of LeNet-5 on images of 28 x 28, for reading only."""
    out = tmp_path_factory.mktemp("lenet")
    settings = ("data.name=digits", "train.epochs=2", "data.validation=0.2")
    sets = [word for setting in settings for word in ("--set", setting)]
    assert exit_code_of("train", "lenet5", "--out", out, "--threads", 1, "--quiet", *sets) == 0
    (run,) = out.iterdir()
    return run


@pytest.fixture(scope="session")
def lenet_run(lenet: Path) -> Run:
    """The same run, opened."""
    return load_run(lenet, data_dir=Path("nowhere"))
