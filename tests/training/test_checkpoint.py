"""Checkpoints: reading them back, refusing damaged ones, and crashes at every stage of writing."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from cnncli.config.train import AdamW, Sgd
from cnncli.data.batches import Batches
from cnncli.errors import DiskError, RunError
from cnncli.training.checkpoint import has_checkpoint, load_state, load_weights, read_manifest, save_checkpoint
from cnncli.training.loop import fit
from cnncli.training.state import Training
from cnncli.training.step import Step

Make = Callable[..., Training]


@pytest.fixture
def trained(make_training: Make, train: Batches) -> Training:
    training = make_training(ema=0.9)
    list(fit(Step(training), train, None, classes=3, epochs=1))
    return training


def test_the_weights_are_the_moving_average(trained: Training, make_training: Make, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    model = make_training(seed=5).model
    load_weights(tmp_path / "last", model)
    assert trained.ema is not None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, trained.ema.model.state_dict()[name])
    assert not torch.equal(model.state_dict()["conv1.weight"], trained.model.state_dict()["conv1.weight"])


def test_files_can_be_read_by_other_programs(trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    assert {each.name for each in (tmp_path / "last").iterdir()} == {
        "weights.safetensors", "state.pt", "manifest.json",
    }  # fmt: skip
    stored = safetensors.torch.load_file(tmp_path / "last" / "weights.safetensors")
    assert stored["conv1.weight"].shape == (4, 1, 3, 3)
    manifest = json.loads((tmp_path / "last" / "manifest.json").read_text())
    assert (manifest["format"], manifest["epoch"], manifest["step"]) == (1, 1, 3)
    assert manifest["torch"] == torch.__version__


def test_the_state_is_restored(trained: Training, make_training: Make, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    other = make_training(ema=0.9, seed=5)
    other.load_state_dict(load_state(tmp_path / "last"))
    assert (other.epochs_done, other.step, other.best_score, other.best_epoch) == (
        1,
        3,
        trained.best_score,
        1,
    )
    assert other.model.state_dict()["norm1.num_batches_tracked"] == 3


def test_a_new_checkpoint_replaces_the_old_one(trained: Training, train: Batches, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    list(fit(Step(trained), train, None, classes=3, epochs=2))
    save_checkpoint(tmp_path / "last", trained)
    assert read_manifest(tmp_path / "last")["step"] == 6
    assert [each.name for each in tmp_path.iterdir()] == ["last"]


class PowerCut(BaseException):
    """Ends the process at once."""


STAGES = [
    "mkdir",
    "write weights",
    "write state",
    "write manifest",
    "sync",
    "rename away",
    "rename in",
    "remove old",
]


def cut_power_at(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make writing a checkpoint fail at a stage."""
    owner, name, call = {
        "mkdir": (Path, "mkdir", 1),
        "write weights": (os, "fsync", 1),
        "write state": (os, "fsync", 2),
        "write manifest": (os, "fsync", 3),
        "sync": (os, "fsync", 4),
        "rename away": (Path, "rename", 1),
        "rename in": (Path, "rename", 2),
        "remove old": (shutil, "rmtree", 3),
    }[stage]
    real, calls = getattr(owner, name), iter(range(1, 100))

    def dying(*args: object, **kwargs: object) -> object:
        if next(calls) == call:
            raise PowerCut
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, dying)


@pytest.mark.parametrize("stage", STAGES)
def test_a_crash_at_any_stage_leaves_a_checkpoint(
    stage: str,
    trained: Training,
    make_training: Make,
    train: Batches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "last"
    save_checkpoint(path, trained)
    list(fit(Step(trained), train, None, classes=3, epochs=2))
    with monkeypatch.context() as patch:
        cut_power_at(stage, patch)
        with pytest.raises(PowerCut):
            save_checkpoint(path, trained)

    state = load_state(path)
    assert state["step"] == read_manifest(path)["step"] == (6 if stage == "remove old" else 3)
    load_weights(path, make_training().model)

    save_checkpoint(path, trained)
    assert read_manifest(path)["step"] == 6
    assert [each.name for each in tmp_path.iterdir()] == ["last"], "the remains of the crash are deleted"


def test_a_full_disk_keeps_the_old_checkpoint(
    trained: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "last", trained)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match=r"last: cannot be written: No space left") as caught:
            save_checkpoint(tmp_path / "last", trained)
    assert "free some space" in str(caught.value.remedy)
    assert [each.name for each in tmp_path.iterdir()] == ["last"], "the incomplete one is deleted"
    load_state(tmp_path / "last")


def test_a_path_that_cannot_be_written(trained: Training, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(DiskError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "last", trained)


def test_no_checkpoint(tmp_path: Path, make_training: Make) -> None:
    with pytest.raises(RunError, match="no checkpoint in ") as caught:
        load_weights(tmp_path / "last", make_training().model)
    assert "after its first epoch" in str(caught.value.remedy)


def test_without_a_best_checkpoint_the_remedy_is_to_resume_from_the_last(trained: Training, tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    save_checkpoint(checkpoints / "last", trained)
    assert has_checkpoint(checkpoints / "last")
    assert not has_checkpoint(checkpoints / "best")
    with pytest.raises(RunError, match=r"no checkpoint in .*best") as caught:
        read_manifest(checkpoints / "best")
    assert f"cnncli train --resume {tmp_path / 'run'}" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_detected(name: str, damage: str, trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    file = tmp_path / "last" / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "remove":
        file.unlink()
    with pytest.raises(RunError, match=f"last: the checkpoint is damaged: .*{name}") as caught:
        load_weights(tmp_path / "last", trained.model) if "weights" in name else load_state(tmp_path / "last")
    assert "best" in str(caught.value.remedy)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '"format"'])
def test_a_damaged_manifest(content: str, trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    (tmp_path / "last" / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=r"damaged: .*manifest\.json"):
        load_state(tmp_path / "last")


def test_another_format(trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    (tmp_path / "last" / "manifest.json").write_text('{"format": 2, "cnncli": "9.0"}')
    with pytest.raises(RunError, match=r"has format 2, .* reads format 1") as caught:
        load_state(tmp_path / "last")
    assert "version 9.0" in str(caught.value.remedy)


def test_weights_of_another_network_are_refused(trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    other = nn.Sequential()
    other.add_module("conv1", nn.Conv2d(1, 8, 3, bias=False))
    other.add_module("conv2", nn.Conv2d(8, 8, 3, bias=False))
    with pytest.raises(RunError) as caught:
        load_weights(tmp_path / "last", other)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("last: the weights do not fit the network:")
    missing, unexpected, shape = lines[1:]
    assert missing == '  Missing key(s) in state_dict: "conv2.weight".'
    assert unexpected.startswith('  Unexpected key(s) in state_dict: "logits.bias", "logits.weight", "norm1.bias"')
    assert len(unexpected) <= 202
    assert "conv1.weight" in shape
    assert "[4, 1, 3, 3]" in shape
    assert "[8, 1, 3, 3]" in shape
    assert "resolved.yaml" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"optimizer": Sgd(), "ema": 0.9}, "trained with AdamW, but the config has SGD"),
        (
            {"optimizer": AdamW(), "ema": None},
            "the checkpoint has a moving average of the weights, but the config has none",
        ),
    ],
)
def test_state_of_another_training_is_refused(
    other: dict[str, Any], message: str, trained: Training, make_training: Make, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "last", trained)
    with pytest.raises(RunError, match=message):
        make_training(**other).load_state_dict(load_state(tmp_path / "last"))


def test_state_is_read_without_running_code(trained: Training, tmp_path: Path) -> None:
    """With `weights_only` torch loads only tensors and plain values."""
    save_checkpoint(tmp_path / "last", trained)
    assert torch.load(tmp_path / "last" / "state.pt", weights_only=True)["step"] == 3
