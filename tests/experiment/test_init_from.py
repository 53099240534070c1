"""`train.init_from`: what a network gets from another one, and runs that start from it."""

import json
import logging
import os
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cnncli.config.config import read_config
from cnncli.errors import ConfigError, RunError
from cnncli.experiment.initial_weights import LoadedWeights, initial_model, load_by_name
from cnncli.experiment.setup import prepare
from cnncli.module import CnnModule, seeded_module
from cnncli.run import load_run
from cnncli.training.run_directory import RunDirectory
from cnncli.training.stored_weights import StoredWeights, read_stored_weights
from tests.networks import network_of

Train = Callable[..., RunDirectory]

LAYERS = "[{conv: {out_channels: 4, kernel_size: 3, norm: batch, activation: relu}}, flatten, {linear: 6}, logits]"
SHAPE = (1, 8, 8)
CONFIG = f"""\
name: fine
data: {{name: digits, size: 8}}
model: {{layers: {LAYERS}}}
train: {{epochs: 2, batch_size: 512}}
log: {{images: 2, graph: false, histograms: false, kernels: false, feature_maps: false}}
"""


@pytest.fixture(scope="module")
def source(train: Train, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of two epochs, for reading only."""
    return train(tmp_path_factory.mktemp("source"), CONFIG.replace("name: fine", "name: source"))


def model_of(layers: str = LAYERS, classes: int = 10, seed: int = 1) -> CnnModule:
    return seeded_module(network_of(layers, SHAPE, classes), seed)


def stored(tensors: Mapping[str, Tensor], classes: tuple[str, ...] | None = None) -> StoredWeights:
    return StoredWeights(path=Path("there"), sha256="0" * 64, epoch=None, classes=classes, tensors=tensors)


def load(model: CnnModule, weights: StoredWeights, *skip: str, classes: str = "0123456789") -> LoadedWeights:
    return load_by_name(model, weights, skip, [*classes])


def assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *layers: str) -> None:
    """That the state dicts are equal in these layers, and in no parameters of other layers."""
    same = {
        name.partition(".")[0] for name, each in found.items() if each.ndim > 1 and torch.equal(each, expected[name])
    }
    assert same == set(layers)


# Which layers


def test_everything_that_fits_is_loaded_as_torch_loads_it() -> None:
    other, model, expected = model_of(seed=5), model_of(), model_of()
    other.get_buffer("conv1.norm.running_mean").fill_(3)
    loaded = load(model, stored(other.state_dict()), classes="0123456789")
    expected.load_state_dict(other.state_dict())
    assert all(torch.equal(each, expected.state_dict()[name]) for name, each in model.state_dict().items())
    assert (loaded.loaded, dict(loaded.new), loaded.unused) == (("conv1", "linear1", "logits1"), {}, ())


def test_other_classes_get_a_new_head() -> None:
    """Also if there are as many; their order counts, and without names the shape decides."""
    other = model_of(seed=5)
    for names, reason in (("abcdefghij", "other classes"), ("1023456789", "other classes"), ("0123456789", "")):
        model = model_of()
        loaded = load(model, stored(other.state_dict(), tuple("0123456789")), classes=names)
        assert loaded.new.get("logits1", "") == reason
        assert_equal(model.state_dict(), other.state_dict(), "conv1", "linear1", *([] if reason else ["logits1"]))
    assert not load(model_of(), stored(other.state_dict()), classes="abcdefghij").new
    few = model_of(classes=3)
    loaded = load(few, stored(other.state_dict(), tuple("0123456789")), classes="abc")
    assert loaded.new == {"logits1": "the shape is 10 x 6 there and 3 x 6 here"}


def test_what_is_not_loaded_is_told_with_its_reason() -> None:
    other = model_of(LAYERS.replace("norm: batch, ", "").replace("linear: 6", "linear: 6}, {linear: 6"))
    layers = "[{conv: {out_channels: 4, kernel_size: 3, norm: batch}}, flatten, {linear: 7}, {linear: 6}, logits]"
    loaded = load(model_of(layers), stored(other.state_dict() | {"extra.weight": torch.zeros(2)}), "linear2")
    assert loaded.loaded == ("logits1",)
    assert dict(loaded.new) == {
        "conv1": "conv1.norm.weight, conv1.norm.bias, conv1.norm.running_mean, conv1.norm.running_var, "
        "conv1.norm.num_batches_tracked is not there",
        "linear1": "the shape is 6 x 144 there and 7 x 144 here",
        "linear2": "skipped",
    }
    assert loaded.unused == ("conv1.conv.bias", "extra.weight")
    assert str(loaded).splitlines()[:2] == ["weights of there:", "  loaded    logits1"]
    assert "  new       linear2: skipped" in str(loaded).splitlines()


def test_a_block_can_be_skipped() -> None:
    layers = "[{residual: {name: res, main: [{conv: {out_channels: 3, kernel_size: 1}}]}}, flatten, logits]"
    loaded = load(model_of(layers), stored(model_of(layers, seed=2).state_dict()), "res")
    assert dict(loaded.new) == {"res.conv1": "skipped", "res.shortcut": "skipped"}


def test_nothing_that_fits_is_an_error() -> None:
    with pytest.raises(RunError, match="no layer can get its weights from there: conv1: it is not there; linear1: "):
        load(model_of(), stored({"features.0.weight": torch.zeros(4, 1, 3, 3)}))


def test_only_new_layers_are_scaled_by_lsuv(source: RunDirectory, tmp_path: Path) -> None:
    text = CONFIG.replace("linear: 6", "linear: {out_features: 6, init: lsuv}").replace(
        "kernel_size: 3", "kernel_size: 3, init: lsuv"
    )
    config = tmp_path / "config.yaml"
    config.write_text(text)
    skip = f"train.init_from={{path: {source.path}, skip: [linear1]}}"
    read = read_config(str(config), data_dir=tmp_path, assignments=[skip])
    experiment = prepare(read, data_dir=tmp_path, device=torch.device("cpu"))
    model, _ = initial_model(read, experiment.train)
    assert_equal(model.state_dict(), load_file(source.best / "weights.safetensors"), "conv1", "logits1")
    images, _ = next(iter(experiment.train.epoch(1)))
    maps = torch.flatten(model.train().get_submodule("conv1")(images), 1)
    assert model.get_submodule("linear1.linear")(maps).std(correction=0).item() == pytest.approx(1, abs=1e-4)


# Which files


def torch_files(folder: Path) -> dict[str, Path]:
    """The state dict of `model_of(seed=5)` as programs save it."""
    state = model_of(seed=5).state_dict()
    plain = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6), nn.Linear(6, 10)
    )
    plain.load_state_dict(OrderedDict(zip(plain.state_dict(), state.values(), strict=True)))
    contents = {
        "plain": state,
        "parallel": {f"module.{name}": each for name, each in state.items()},
        "compiled and wrapped": {"epoch": 3, "state_dict": {f"_orig_mod.{name}": each for name, each in state.items()}},
        "half": {name: each.half() if each.is_floating_point() else each for name, each in state.items()},
        "other names": plain.state_dict(),
    }
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    return {path.stem: path for path in folder.glob("*.pt")}


def test_state_dicts_of_torch(tmp_path: Path) -> None:
    expected = model_of(seed=5).state_dict()
    for name, path in torch_files(tmp_path).items():
        model = model_of()
        assert len(load(model, read_stored_weights(path)).loaded) == 3, name
        tolerance = 1e-3 if name == "half" else 0
        for key, each in model.state_dict().items():
            torch.testing.assert_close(each, expected[key], rtol=tolerance, atol=tolerance)


def test_tensors_are_taken_in_order_only_if_no_layer_is_found_by_name(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = torch_files(tmp_path)["other names"]
    with caplog.at_level(logging.INFO):
        load(model_of(), read_stored_weights(path))
    assert "they are taken in their order" in caplog.text
    with pytest.raises(RunError, match="it is not there"):
        load(model_of(LAYERS.replace("linear: 6", "linear: 7")), read_stored_weights(path))


def test_tensors_are_taken_in_order_although_one_has_a_name_of_the_network() -> None:
    state, model = model_of(seed=5).state_dict(), model_of()
    renamed = {name if name == "conv1.conv.weight" else f"{name}_": each for name, each in state.items()}
    weights = replace(stored(renamed), ordered=True)
    assert load(model, weights).loaded == ("conv1", "linear1", "logits1")
    assert_equal(model.state_dict(), state, "conv1", "linear1", "logits1")
    del renamed["conv1.norm.bias_"]
    with pytest.raises(RunError, match=r"conv1\.norm\.bias"):
        load(model_of(), replace(weights, tensors=renamed))


def test_tensors_in_order_may_be_those_of_other_classes(tmp_path: Path) -> None:
    path = torch_files(tmp_path)["other names"]
    model, before = model_of(classes=3), model_of(classes=3).state_dict()
    found = load(model, read_stored_weights(path), classes="abc")
    assert found.loaded == ("conv1", "linear1")
    assert found.new == {"logits1": "the shape is 10 x 6 there and 3 x 6 here"}
    state = model.state_dict()
    assert_equal(state, model_of(seed=5).state_dict(), "conv1", "linear1")
    assert torch.equal(state["logits1.weight"], before["logits1.weight"])


def test_safetensors_with_and_without_classes(source: RunDirectory, tmp_path: Path) -> None:
    file = source.best / "weights.safetensors"
    found = read_stored_weights(file)
    assert found.classes == tuple("0123456789")
    assert found.tensors.keys() == load_file(file).keys()
    save_file({"a": torch.ones(2)}, tmp_path / "plain.safetensors", {"preprocessing": "of another program"})
    assert read_stored_weights(tmp_path / "plain.safetensors").classes is None


def test_a_run_and_its_checkpoints(source: RunDirectory) -> None:
    best = read_stored_weights(source.path)
    assert (best.epoch, best.classes) == (source.results()["epoch"], tuple("0123456789"))
    last = read_stored_weights(source.last)
    assert last.epoch == 2
    assert str(last) == f"{source.last} (epoch 2)"


class Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (eval, ("1 / 0",))


def test_what_holds_no_weights(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    save_file({"a": torch.ones(2000)}, damaged)
    damaged.write_bytes(damaged.read_bytes()[:100])
    torch.save({"model": Code()}, tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": torch.tensor([float("nan")])}, tmp_path / "nan.pt")
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "empty").mkdir()
    for name, problem in {
        "nothing.pt": "does not exist",
        "damaged.safetensors": "damaged safetensors file",
        "code.pt": "reading it would run code",
        "list.pt": "holds no state dict",
        "nan.pt": "a has weights that are not finite",
        "text.pt": "is a text file, not a file of weights",
        "pickle.pt": "is a Python pickle, not a file of weights",
        "empty": "not a run directory|no run",
    }.items():
        with pytest.raises(RunError, match=problem):
            read_stored_weights(tmp_path / name)


def test_unknown_layers_to_skip(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    assignment = "train.init_from={path: there, skip: [conv1, logit1]}"
    with pytest.raises(ConfigError, match=r"unknown layer: logit1\. Did you mean logits1"):
        read_config(str(tmp_path / "config.yaml"), data_dir=tmp_path, assignments=[assignment])


# Runs


def weights_of(run: RunDirectory) -> dict[str, Tensor]:
    return load_file(run.last / "weights.safetensors")


def test_a_run_that_starts_from_another_one(
    source: RunDirectory, train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Frozen layers keep the weights of the other run; resumed without it, the run ends with the same weights."""
    text = CONFIG.replace("kernel_size: 3", "kernel_size: 3, freeze: true")
    text = text.replace("linear: 6", "linear: {out_features: 6, freeze: {epochs: 1}}")
    copied = shutil.copytree(source.path, tmp_path / "source")
    (tmp_path / "whole").mkdir()
    messages: list[str] = []
    with caplog.at_level(logging.INFO):
        whole = train(tmp_path / "whole", text, f"train.init_from={copied}", log=messages.append)
    assert f"weights of {copied} (epoch 2):\n  loaded    conv1, linear1, logits1" in caplog.text
    run = train(tmp_path, text, f"train.init_from={copied}", stop_at=2)
    shutil.rmtree(copied)
    train(tmp_path, text, f"train.init_from={copied}", run=run, log=messages.append)
    assert messages == ["epoch 2 unfreezes linear1"] * 2
    assert_equal(weights_of(run), load_file(source.best / "weights.safetensors"), "conv1")
    for name in ("checkpoints/last/weights.safetensors", "results.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    record = whole.metadata()["init_from"]
    assert record["path"] == str(copied)
    assert record["loaded"] == ["conv1", "linear1", "logits1"]
    assert record["sha256"] == read_stored_weights(source.path).sha256
    untrained = load_run(run.path, data_dir=tmp_path).untrained().state_dict()
    expected = load_file(source.best / "weights.safetensors")
    for name, each in untrained.items():  # kept in half precision
        torch.testing.assert_close(each, expected[name], rtol=1e-3, atol=1e-4)


def test_a_run_without_checkpoint_begins_again_only_from_the_same_weights(
    source: RunDirectory, train: Train, tmp_path: Path
) -> None:
    file, text = tmp_path / "weights.safetensors", CONFIG
    shutil.copy(source.best / "weights.safetensors", file)
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, text, f"train.init_from={file}", crash_at=1, log=lambda message: None)
    run = RunDirectory.open(next((tmp_path / "runs").iterdir()))
    same = file.read_bytes()
    save_file({name: each + 1 for name, each in load_file(file).items()}, file)
    with pytest.raises(RunError, match="have changed since"):
        train(tmp_path, text, f"train.init_from={file}", run=run, log=lambda message: None)
    file.write_bytes(same)
    train(tmp_path, text, f"train.init_from={file}", run=run, log=lambda message: None)
    assert run.status().state == "complete"


EMPTY_SPARSE = torch.sparse_coo_tensor(
    torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), (10**9, 10**9), check_invariants=True
)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.zeros(2, device="meta"), "device meta"),
        (EMPTY_SPARSE, "sparse"),
        (torch.zeros(1).expand(2**40), "repeats its numbers"),
        (torch.tensor([float("nan")]).to(torch.float8_e4m3fn), "not finite"),
    ],
)
def test_tensors_that_are_no_weights(tensor: Tensor, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"conv.weight": tensor}, path)
    with pytest.raises(RunError, match=f"weights.pt: conv.weight .*{reason}"):
        read_stored_weights(path)


def test_numbers_of_eight_bits_are_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"conv.weight": torch.ones(3).to(torch.float8_e4m3fn)}, path)
    assert read_stored_weights(path).tensors["conv.weight"].float().tolist() == [1, 1, 1]


def test_a_tensor_of_too_many_axes(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(RunError, match="64 dims"):
        read_stored_weights(path)


def test_only_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe would be waited for, and a device may never end."""
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "empty.pt").touch()
    torch.save({"a": torch.zeros(1000)}, tmp_path / "large.pt")
    monkeypatch.setattr("cnncli.training.stored_weights.machine_memory", lambda: 2000)
    for name, reason in (("pipe.pt", "is a pipe or a device"), ("empty.pt", "is empty"), ("large.pt", "of memory")):
        with pytest.raises(RunError, match=f"{name} .*{reason}"):
            read_stored_weights(tmp_path / name)
    with pytest.raises(RunError, match="is a pipe or a device"):
        read_stored_weights(Path("/dev/zero"))
