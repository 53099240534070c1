"""The weights with which a training begins: `init: lsuv` against the method of its paper."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cnncli.config.config import Config, read_config
from cnncli.experiment.initial_weights import scale_to_unit_variance
from cnncli.experiment.setup import Experiment, prepare
from cnncli.module import CnnModule, seeded_module
from cnncli.training.run_directory import RunDirectory

Train = Callable[..., RunDirectory]

LSUV = """\
name: lsuv
data: {name: digits, size: 8, augment: {shift: 1}}
model:
  defaults: {conv: {init: lsuv}}
  layers:
    - conv: {out_channels: 4, kernel_size: 3, activation: relu}
    - conv: {out_channels: 4, kernel_size: 3, norm: batch, activation: tanh, freeze: {epochs: 2}}
    - dropout: 0.5
    - flatten
    - linear: {out_features: 6, init: lsuv, lr_scale: 0.5}
    - logits
train: {epochs: 3, batch_size: 512, ema: 0.9, optimizer: adamw}
log: {images: 0, graph: false}
"""
SCALED = ("conv1.conv", "conv2.conv", "linear1.linear")


def config_of(text: str, folder: Path) -> Config:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(str(path), data_dir=folder)


def prepared(text: str, folder: Path) -> Experiment:
    return prepare(config_of(text, folder), data_dir=folder, device=torch.device("cpu"))


def deviations(model: CnnModule, images: Tensor) -> list[float]:
    """Of the outputs of the scaled parts, with the statistics of this batch in batch norms and without dropout."""
    found = []
    handles = [
        model.get_submodule(name).register_forward_hook(lambda *each: found.append(each[2].std(correction=0).item()))
        for name in SCALED
    ]
    model.train()
    model.get_submodule("dropout1").eval()
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return found


def test_lsuv_gives_unit_variance_on_the_first_batch(tmp_path: Path) -> None:
    """Layer after layer, the weights are divided by the deviation until it is 1, as the paper does it."""
    text = LSUV.replace(", freeze: {epochs: 2}", "")
    experiment = prepared(text, tmp_path)
    model = experiment.training.model
    assert isinstance(model, CnnModule)
    images, _ = next(iter(experiment.train.epoch(1)))
    expected = seeded_module(model.network, 0)
    for number, name in enumerate(SCALED):
        while abs((deviation := deviations(expected, images)[number]) - 1) > 1e-5:
            with torch.no_grad():
                expected.get_submodule(name).get_parameter("weight").div_(deviation)
    weights = dict(model.named_parameters())
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(weights[name], parameter, rtol=1e-4, atol=1e-6)
    assert experiment.training.ema is not None
    averaged = experiment.training.ema.model.state_dict()
    assert all(torch.equal(each, averaged[name]) for name, each in model.state_dict().items())
    untouched = seeded_module(model.network, 0)
    assert all(torch.equal(each, dict(untouched.named_buffers())[name]) for name, each in model.named_buffers())


def test_a_layer_with_constant_outputs_is_not_scaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = seeded_module(config_of(LSUV, tmp_path).network, 0)
    before = model.get_parameter("conv1.conv.weight").clone()
    with caplog.at_level(logging.WARNING):
        scale_to_unit_variance(model, torch.zeros(3, 1, 8, 8), ["conv1"])
    assert "conv1: its outputs for the first batch are all equal" in caplog.text
    assert torch.equal(model.get_parameter("conv1.conv.weight"), before)


@pytest.mark.parametrize("stop_at", [4, 6])  # within an epoch with a frozen layer, and before it is trained
def test_a_run_is_resumed_bit_for_bit(stop_at: int, train: Train, tmp_path: Path) -> None:
    """Three steps an epoch."""
    (tmp_path / "whole").mkdir()
    messages: list[str] = []
    whole = train(tmp_path / "whole", LSUV, log=messages.append)
    run = train(tmp_path, LSUV, stop_at=stop_at)
    train(tmp_path, LSUV, run=run, log=messages.append)
    assert messages == 2 * ["epoch 3 unfreezes conv2"]
    for name in ("checkpoints/last/weights.safetensors", "results.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
