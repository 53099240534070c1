"""A small run to report on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.run import Run, load_run

ExitCodeOf = Callable[..., int]
BuildOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def lenet(build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """The directory of a complete run of LeNet-5 on images of 28 x 28, for reading only."""
    settings = ("data.name=digits", "train.epochs=2", "data.validation=0.2")
    sets = [word for setting in settings for word in ("--set", setting)]

    def fill(out: Path) -> None:
        assert exit_code_of("train", "lenet5", "--out", out, "--threads", 1, "--quiet", *sets) == 0

    (run,) = build_once("lenet5", fill).iterdir()
    return run


@pytest.fixture(scope="session")
def lenet_run(lenet: Path) -> Run:
    """The same run, opened."""
    return load_run(lenet, data_dir=Path("nowhere"))
