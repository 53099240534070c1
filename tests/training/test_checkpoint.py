"""Checkpoints: reading them back, refusing damaged ones, and crashes at every stage of writing."""

import errno
import hashlib
import io
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
from cnncli.training.checkpoint import (
    has_checkpoint,
    load_state,
    load_weights,
    read_manifest,
    remove_leftovers,
    save_checkpoint,
    verify_checkpoint,
)
from cnncli.training.loop import fit
from cnncli.training.state import Training
from cnncli.training.step import Step
from tests.manifests import write_manifest

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


def test_a_run_that_was_removed_is_not_created_again(trained: Training, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written: No such file"):
        save_checkpoint(tmp_path / "run" / "checkpoints" / "last", trained)
    assert not (tmp_path / "run").exists()


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
    with pytest.raises(RunError, match=f"last/{name}: the checkpoint is damaged: ") as caught:
        load_weights(tmp_path / "last", trained.model) if "weights" in name else load_state(tmp_path / "last")
    assert "train --resume" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("", "it is not JSON"),
        ("[]", "it must be a JSON object"),
        ('"format"', "it must be a JSON object"),
        ("[" * 100_000, "it is nested too deeply"),
        ({"format": None}, "format must be a valid integer"),
        ({"files": "all"}, "files must be a valid dictionary or instance of HashesRecord"),
        ({"files": {}}, "files.weights.safetensors is missing"),
        ({"step": float("inf")}, "Infinity is not JSON"),
        ({"step": -5}, "step must be greater than or equal to 0"),
        ({"step": 10**12}, "step must be less than or equal to 100000000000"),
        ({"step": "3"}, "step must be a valid integer"),
        ({"epoch": True}, "epoch must be a valid integer"),
        ({"preprocessing": {"channels": 1}}, "preprocessing.size is missing"),
    ],
)
def test_a_damaged_manifest(change: str | dict[str, Any], problem: str, trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    file = tmp_path / "last" / "manifest.json"
    file.write_text(change if isinstance(change, str) else json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(RunError) as caught:
        load_state(tmp_path / "last")
    assert caught.value.message.startswith(f"{file}: the checkpoint is damaged: {problem}")


def replace_state(checkpoint: Path, content: bytes) -> None:
    """Put another file in the place of `state.pt`, with its hash in the manifest."""
    (checkpoint / "state.pt").write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"]["state.pt"] = hashlib.sha256(content).hexdigest()
    write_manifest(checkpoint / "manifest.json", manifest)


def saved(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(60), b"\x80\x02cos\nsystem\n.", saved([1, 2])])
def test_junk_with_the_right_hash_is_damage(content: bytes, trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    replace_state(tmp_path / "last", content)
    with pytest.raises(RunError, match=r"state\.pt: the checkpoint is damaged: "):
        load_state(tmp_path / "last")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"step": -5}, "step must be greater than or equal to 0"),
        ({"step": 10**12}, "step must be less than or equal to 100000000000"),
        ({"model": 5}, "model must be a valid dictionary"),
        ({"optimizer": None}, "optimizer must be a valid dictionary"),
        ({"best_score": "high"}, "best_score must be a valid number"),
        ({"sums": {"loss": torch.zeros(3), "correct": torch.zeros(()), "images": 1}}, "sums.loss .*must be a scalar"),
        ({"sums": {"loss": torch.zeros(()), "correct": torch.zeros(()), "images": -1}}, "sums.images must be greater"),
    ],
)
def test_a_state_with_other_values_is_damage(
    change: dict[str, Any], problem: str, trained: Training, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "last", trained)
    replace_state(tmp_path / "last", saved(trained.state_dict() | change))
    with pytest.raises(RunError, match=rf"state\.pt: the checkpoint is damaged: {problem}"):
        load_state(tmp_path / "last")


def test_a_manifest_of_another_step_is_damage(trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    replace_state(tmp_path / "last", saved(trained.state_dict() | {"step": 4}))
    with pytest.raises(RunError, match=r"manifest\.json: .*: it says epoch 1, step 3; state\.pt epoch 1, step 4"):
        load_state(tmp_path / "last")


def test_a_state_whose_optimizer_does_not_fit_is_refused(trained: Training, make_training: Make) -> None:
    state = trained.state_dict()
    state["optimizer"] = {"state": {}, "param_groups": []}
    with pytest.raises(RunError, match="the state of the optimizer does not fit"):
        make_training(ema=0.9).load_state_dict(state)


def test_states_of_the_optimizer_of_other_shapes_are_refused(trained: Training, make_training: Make) -> None:
    state = trained.state_dict()
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7)
    with pytest.raises(RunError, match=r"exp_avg has shape \[7\] instead of \[4, 1, 3, 3\]"):
        make_training(ema=0.9).load_state_dict(state)


def test_the_settings_of_the_optimizer_are_those_of_the_config(trained: Training, make_training: Make) -> None:
    state = trained.state_dict()
    state["optimizer"]["param_groups"][0] |= {"betas": 3, "lr": 0.125}
    other = make_training(ema=0.9)
    other.load_state_dict(state)
    assert other.optimizer.param_groups[0]["betas"] == trained.optimizer.defaults["betas"]
    assert other.optimizer.param_groups[0]["lr"] == 0.125, "that of the last step"


@pytest.mark.parametrize("state", [{}, {"cpu": torch.zeros(3, dtype=torch.uint8)}, {"cpu": torch.zeros(5056)}])
def test_random_numbers_that_cannot_be_restored_are_refused(
    state: dict[str, Any], trained: Training, make_training: Make
) -> None:
    with pytest.raises(RunError, match="it has no state of the random number generator"):
        make_training(ema=0.9).load_state_dict(trained.state_dict() | {"rng_state": state})


def test_weights_of_a_type_that_no_network_has_are_refused(trained: Training, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", trained)
    content = safetensors.torch.save({"conv1.weight": torch.zeros(4).to(torch.float8_e4m3fn)})
    (tmp_path / "last" / "weights.safetensors").write_bytes(content)
    manifest = json.loads((tmp_path / "last" / "manifest.json").read_text())
    manifest["files"]["weights.safetensors"] = hashlib.sha256(content).hexdigest()
    write_manifest(tmp_path / "last" / "manifest.json", manifest)
    with pytest.raises(RunError, match=r"weights\.safetensors: the checkpoint is damaged: it is no file of weights"):
        load_weights(tmp_path / "last", trained.model)


def test_weights_that_are_not_finite_are_refused(trained: Training, tmp_path: Path) -> None:
    with torch.no_grad():
        next(trained.inference_model.parameters()).view(-1)[3] = float("nan")
    save_checkpoint(tmp_path / "last", trained)
    with pytest.raises(RunError, match=r"weights\.safetensors: .*conv1\.weight has weights that are not finite"):
        load_weights(tmp_path / "last", trained.model)


@pytest.mark.parametrize("damage", ["empty", "flip", "removed"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    damage: str, trained: Training, make_training: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(tmp_path / "last", trained)
    shutil.copytree(tmp_path / "last", tmp_path / "last.old")
    if damage == "flip":
        file = tmp_path / "last" / "state.pt"
        file.write_bytes(file.read_bytes()[:-1])
    else:
        shutil.rmtree(tmp_path / "last")
        if damage == "empty":
            (tmp_path / "last").mkdir()
    assert load_state(tmp_path / "last")["step"] == 3
    assert f"using {tmp_path / 'last.old'} instead" in caplog.text
    if damage != "flip":
        load_weights(tmp_path / "last", make_training().model)


def test_a_damaged_checkpoint_is_not_deleted_before_another_takes_its_place(trained: Training, tmp_path: Path) -> None:
    """A second kill, before the next checkpoint, loses nothing."""
    save_checkpoint(tmp_path / "last", trained)
    shutil.copytree(tmp_path / "last", tmp_path / "last.old")
    (tmp_path / "last" / "state.pt").write_bytes(b"")
    remove_leftovers(tmp_path / "last")
    assert verify_checkpoint(tmp_path / "last")["step"] == 3
    assert [each.name for each in tmp_path.iterdir()] == ["last"]


def test_other_weights_are_used_for_damaged_ones(
    trained: Training, make_training: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best, last = tmp_path / "run" / "checkpoints" / "best", tmp_path / "run" / "checkpoints" / "last"
    best.parent.mkdir(parents=True)
    save_checkpoint(last, trained)
    model = make_training(seed=5).model
    with pytest.raises(RunError, match="no checkpoint in"):
        load_weights(best, model, otherwise=last)
    save_checkpoint(best, trained)
    (best / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"best/weights\.safetensors: the checkpoint is damaged"):
        load_weights(best, model)
    assert load_weights(best, model, otherwise=last)["epoch"] == 1
    assert trained.ema is not None
    assert torch.equal(model.state_dict()["conv1.weight"], trained.ema.model.state_dict()["conv1.weight"])
    assert f"using {last}, epoch 1, instead" in caplog.text


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
