"""What a run will write is estimated before it begins, and compared with the free space."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import cnncli
from cnncli.config.config import read_config
from cnncli.errors import DiskError
from cnncli.experiment.disk_space import DiskUse, check_disk_space, estimate_disk_use, free_bytes
from cnncli.experiment.setup import Experiment, prepare
from cnncli.training.checkpoint import save_checkpoint

FEW = {"log.steps": [], "log.probes": 2, "train.epochs": 2}


def prepared(overrides: dict[str, object], folder: Path) -> Experiment:
    assignments = [f"{field}={json.dumps(value)}" for field, value in overrides.items()]
    config = read_config("quickstart", data_dir=folder, assignments=assignments)
    return prepare(config, data_dir=folder, device=torch.device("cpu"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "overrides",
    [
        FEW,
        FEW | {"log.images": 0, "train.optimizer": {"sgd": {"lr": 0.01}}, "train.ema": 0.9},
        pytest.param(FEW | {"log.images": 0, "train.optimizer": {"rmsprop": {"lr": 0.01}}}, marks=pytest.mark.slow),
        pytest.param(FEW | {"log.histograms": False, "log.snapshots": False}, marks=pytest.mark.slow),
        pytest.param(FEW | {"log.weights": 0, "log.feature_maps": False}, marks=pytest.mark.slow),
        pytest.param({"train.epochs": 20, "log.budget": 1}, marks=pytest.mark.slow),
        pytest.param({"train.epochs": 4}, marks=pytest.mark.slow),
    ],
)
def test_a_run_takes_no_more_than_estimated(overrides: dict[str, object], tmp_path: Path) -> None:
    """Nor much less. A checkpoint that is being written counts as well."""
    use = estimate_disk_use(prepared(overrides, tmp_path))
    run = cnncli.train("quickstart", out=tmp_path / "runs", data_dir=tmp_path, overrides=overrides).path
    taken = size_of(run) + size_of(run / "checkpoints" / "last")
    assert 0.5 * use.total < taken <= use.total, use
    assert 0.5 * use.checkpoints < 3 * size_of(run / "checkpoints" / "last") <= use.checkpoints
    assert size_of(run / "weights") <= use.weights
    assert size_of(run / "snapshots") <= use.snapshots

    again = estimate_disk_use(prepared(overrides, tmp_path), run)
    assert again.checkpoints < use.checkpoints / 2, "it has two of three"
    assert again.pictures <= 0.5 * use.pictures


@pytest.mark.parametrize("on_nan", ["stop", "rollback"])
def test_checkpoints_within_an_epoch(on_nan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are larger, most of all those to which a training can be rolled back."""
    sizes: list[int] = []

    def saved(path: Path, *arguments: object, **settings: object) -> None:
        save_checkpoint(path, *arguments, **settings)  # type: ignore[arg-type]
        sizes.append(size_of(path))

    monkeypatch.setattr("cnncli.experiment.train.save_checkpoint", saved)
    overrides = FEW | {"log.steps": [5], "log.images": 3, "train.epochs": 1, "train.on_nan": on_nan}
    cnncli.train("quickstart", out=tmp_path / "runs", data_dir=tmp_path, overrides=overrides)
    use = estimate_disk_use(prepared(overrides, tmp_path))
    assert max(sizes) > 1.15 * min(sizes)
    assert 0.7 * use.checkpoints < 2 * max(sizes) + min(sizes) <= use.checkpoints


def limit_free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


def test_too_little_space_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is written, with both numbers and what to turn off."""
    experiment = prepared(FEW, tmp_path)
    use = estimate_disk_use(experiment)
    limit_free_space(monkeypatch, use.total)
    check_disk_space(experiment, tmp_path)
    limit_free_space(monkeypatch, use.total - 400_000)
    with pytest.raises(DiskError) as refused:
        cnncli.train("quickstart", out=tmp_path / "runs", data_dir=tmp_path, overrides=FEW)
    assert not (tmp_path / "runs").exists()
    assert re.search(r": [\d.]+ kB are free, but the run may write [\d.]+ kB \(checkpoints ", refused.value.message)
    assert refused.value.remedy is not None
    assert "free 390.6 kB on this disk, or choose another with --out" in refused.value.remedy
    assert "--set log.images=0 saves" in refused.value.remedy
    with pytest.raises(DiskError, match="but the run may write") as refused:
        check_disk_space(experiment, tmp_path, run=tmp_path)
    assert "--out" not in str(refused.value.remedy), "a run that is resumed stays in its directory"


def test_a_smaller_run_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the message says to turn off is enough."""
    limit_free_space(monkeypatch, estimate_disk_use(prepared(FEW, tmp_path)).total - 1)
    check_disk_space(prepared(FEW | {"log.images": 0}, tmp_path), tmp_path)
    check_disk_space(prepared(FEW | {"log.weights": 0}, tmp_path), tmp_path)


def test_free_space_is_that_of_the_first_folder_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=7)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert free_bytes(tmp_path / "not" / "there") == 7
    monkeypatch.chdir(tmp_path)
    assert free_bytes(Path("runs")) == 7
    assert asked == [tmp_path, tmp_path]


def test_sizes_for_people() -> None:
    use = DiskUse(checkpoints=3_000_000, pictures=9_100_000, weights=0, snapshots=1_000, others=2**31)
    assert str(use) == "2.0 GB (others 2.0 GB)"
