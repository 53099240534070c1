"""`reuse` and `skip`: the module, and what is made of it."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, interpolate, linear, max_pool2d

from cnncli.capture.verify import verify_network
from cnncli.config.network import Network
from cnncli.experiment.initial_weights import scale_to_unit_variance
from cnncli.export import FORMATS, FormatName
from cnncli.inspection.graph import graph_of
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import inspect_network
from cnncli.module import CnnModule, seeded_module
from cnncli.report.network import arrangement
from cnncli.training.nonfinite import find_nonfinite_layer
from cnncli.views.dead_filters import dead_channels
from tests.engine import EngineCase, data_of, relative_difference, run_engine
from tests.layers.test_contract import Case, check_memory
from tests.networks import network_of, randomize

SHAPE = (2, 8, 8)
LAYERS = """[
  {conv: {out_channels: 3, kernel_size: 3, padding: same, norm: batch, activation: tanh}},
  {conv: {out_channels: 3, kernel_size: 3, padding: same, norm: batch, activation: relu}},
  {max_pool: 2},
  {reuse: conv2},
  {upsample: 2},
  {skip: {from: conv2, merge: concat}},
  {conv: {out_channels: 3, kernel_size: 1}},
  {reuse: conv2},
  flatten, logits]"""


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of(LAYERS, SHAPE)


@pytest.fixture
def model(network: Network) -> CnnModule:
    """In evaluation mode."""
    return randomize(CnnModule(network), torch.Generator().manual_seed(0))


def images(count: int = 4) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def by_hand(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network in evaluation mode, written with torch's functions."""

    def layer(name: str, x: Tensor) -> Tensor:
        x = conv2d(x, weights[f"{name}.conv.weight"], padding=1)
        statistics = (weights[f"{name}.norm.running_mean"], weights[f"{name}.norm.running_var"])
        return batch_norm(x, *statistics, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"])

    early = layer("conv2", layer("conv1", x).tanh()).relu()
    late = interpolate(layer("conv2", max_pool2d(early, 2)).relu(), scale_factor=2)
    x = conv2d(torch.cat([late, early], 1), weights["conv3.conv.weight"], weights["conv3.conv.bias"])
    x = layer("conv2", x).relu()
    return linear(x.flatten(1), weights["logits1.weight"], weights["logits1.bias"])


def test_outputs_and_gradients_equal_those_of_functions_of_the_same_weights(model: CnnModule) -> None:
    """The gradient of a weight that is used three times is the sum over its uses."""
    weights = {name: each.detach().clone() for name, each in model.state_dict().items()}
    for name in dict(model.named_parameters()):
        weights[name].requires_grad_()
    outputs, expected = model(images()), by_hand(weights, images())
    torch.testing.assert_close(outputs, expected)
    torch.autograd.backward([outputs.square().sum(), expected.square().sum()])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-4, atol=1e-4)


def test_weights_are_there_once(model: CnnModule, network: Network) -> None:
    keys = {name.split(".")[0] for name in model.state_dict()}
    assert keys == {"conv1", "conv2", "conv3", "logits1"}
    assert sum(each.numel() for each in model.parameters()) == sum(node.description.params for node in network.nodes)
    assert [*model.kernels()] == ["conv1", "conv2", "conv3"]
    clone = copy.deepcopy(model)
    clone.layer(network.nodes[1]).get_parameter("conv.weight").data.zero_()
    assert not clone.outputs(images(), ["reuse1"])["reuse1"].std((0, 2, 3)).any()  # the clone's own weights
    assert model.outputs(images(), ["reuse1"])["reuse1"].std((0, 2, 3)).any()


def test_a_batch_norm_sees_every_use(model: CnnModule) -> None:
    """Its running mean moves once for each of its three inputs, in their order."""
    norm = model.get_submodule("conv2.norm")
    assert isinstance(norm, nn.BatchNorm2d)
    model.train()(images())
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 3


def test_initial_weights_are_those_of_the_network_without_reused_layers() -> None:
    """A layer that is reused draws no random numbers again."""
    with_reuse, without = (
        seeded_module(network_of(f"[{{conv: {{out_channels: 2, kernel_size: 1}}}}{each}, flatten, logits]", SHAPE), 5)
        for each in (", {reuse: conv1}", "")
    )
    states = [each.state_dict() for each in (with_reuse, without)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_frozen_and_scaled_as_the_original() -> None:
    conv = "{conv: {out_channels: 2, kernel_size: 1, freeze: {epochs: 1}, lr_scale: 3}}"
    model = CnnModule(network_of(f"[{conv}, {{reuse: conv1}}, flatten, logits]", SHAPE))
    tuning = model.tunings()["conv1.conv.weight"]
    assert (tuning.frozen_epochs, tuning.lr_scale) == (1, 3)
    assert [*model.tunings()] == [name for name, _ in model.named_parameters()]
    model.freeze(0)
    assert [name for name, each in model.named_parameters() if each.requires_grad] == [
        "logits1.weight",
        "logits1.bias",
    ]
    assert model.freeze(1)


def test_lsuv_scales_shared_weights_once() -> None:
    """The first use has outputs of variance 1, and the second one has the weights that this takes."""
    conv = "{conv: {out_channels: 2, kernel_size: 3, padding: same, init: lsuv}}"
    model = seeded_module(network_of(f"[{conv}, {{reuse: conv1}}, {{reuse: conv1}}, flatten, logits]", SHAPE), 0)
    scale_to_unit_variance(model, images(16), {"conv1"})
    with torch.no_grad():
        outputs = model.outputs(images(16), ["conv1", "reuse1"])
    assert float(outputs["conv1"].std(correction=0)) == pytest.approx(1, abs=1e-5)
    weight = model.get_parameter("conv1.conv.weight")
    torch.testing.assert_close(outputs["reuse1"], conv2d(outputs["conv1"], weight.detach(), padding="same"))


def test_dead_filters_are_those_of_each_use() -> None:
    """Of a ReLU without a bias, the one filter sees a positive image first, and its own negative then."""
    model = CnnModule(network_of(
        "[{conv: {out_channels: 2, kernel_size: 1, bias: false, activation: relu}}, {scale: -1}, {reuse: conv1}, "
        "flatten, logits]",
        SHAPE,
    ))  # fmt: skip
    model.get_submodule("conv1.conv").get_parameter("weight").data.fill_(1)
    dead = dead_channels(model, [(images().abs(), None)])
    assert dead == {"conv1": (), "reuse1": (0, 1)}


def test_the_use_that_is_not_finite_is_named() -> None:
    """The outputs are about 1e25, and then 1e25 times as large, which is beyond the range of float32."""
    layers = "[{conv: {out_channels: 2, kernel_size: 1}}, {reuse: conv1}, flatten, logits]"
    model = CnnModule(network_of(layers, SHAPE))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1e25)
    assert find_nonfinite_layer(model, images().abs(), lambda batch: model(batch).sum()) == "the output of reuse1.conv"


def test_the_table(network: Network, model: CnnModule) -> None:
    """Every row against the module: shape, parameters, MACs, and the receptive field of every unit by a NaN probe."""
    assert verify_network(network, CnnModule(network)) == []
    table = inspect_network(network, "test")
    rows = {row["name"]: row for row in as_json(table)["layers"]}
    assert [row["shares_weights"] for row in rows.values()] == [name.startswith("reuse") for name in rows]
    assert rows["skip1"]["inputs"] == ["upsample1", "conv2"]
    text = str(table)
    assert "reuse1, reuse2: has the weights of conv2, which are counted there" in text
    assert "skip1: joins upsample1 and conv2" in text
    lines = [line.split() for line in text.splitlines() if line.startswith("reuse")][:2]
    assert [line[4] for line in lines] == ["shared", "shared"]


@pytest.mark.parametrize("layer", ["{reuse: conv1}", "relu, {skip: {from: conv1, merge: concat}}, {reuse: conv1}"])
def test_memory_that_training_keeps(layer: str) -> None:
    """The same as of layers with their own weights."""
    before = "{conv: {out_channels: 4, kernel_size: 3, padding: same, norm: batch, activation: relu}}"
    if "skip" in layer:
        before += ", {conv: {out_channels: 4, kernel_size: 1}}"
        layer = "{skip: {from: conv1, merge: add}}, {reuse: conv1}"
    check_memory(Case("conv", f"{before}, {layer}, {before}, {{reuse: conv2}}"))


def test_the_playground(model: CnnModule, tmp_path: Path) -> None:
    """The JavaScript engine against torch: values, the gradient of the input, and an edit that both uses see."""
    data = data_of(model)
    assert len(data.weights) == sum(
        each.numel() for name, each in model.state_dict().items() if "num_batches" not in name
    )
    seeds = torch.randn(4, 10, generator=torch.Generator().manual_seed(2))
    edit = {"kind": "weight", "tensor": "conv2.conv.weight", "index": 4, "value": 2.5}
    plain, edited = run_engine(
        [
            EngineCase(data=data, inputs=images(), seeds=seeds),
            EngineCase(data=data, inputs=images(), edits=[edit]),
        ],
        tmp_path,
    )
    inputs = images().requires_grad_()
    expected = model.outputs(inputs, [node.name for node in model.network.nodes])
    for name, values in expected.items():
        assert relative_difference(plain.values[name], values.detach()) < 1e-5, name
    (gradient,) = torch.autograd.grad((expected["logits1"] * seeds).sum(), inputs)
    assert plain.gradients is not None
    assert relative_difference(plain.gradients, gradient) < 1e-4
    model.get_parameter("conv2.conv.weight").data.view(-1)[4] = 2.5
    with torch.no_grad():
        assert relative_difference(edited.values["logits1"], model(images())) < 1e-5


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_exported_files(name: FormatName, model: CnnModule, network: Network, tmp_path: Path) -> None:
    format, path = FORMATS[name], tmp_path / "file"
    exported = CnnModule(network, portable=format.portable).eval().requires_grad_(False)
    exported.load_state_dict(model.state_dict())
    path.write_bytes(format.content(exported, torch.zeros(2, *SHAPE), {}))
    with torch.no_grad():
        torch.testing.assert_close(format.load(path)(images(3)), model(images(3)), rtol=1e-4, atol=1e-4)


def test_skips_are_no_paths_of_the_drawing() -> None:
    """Also those that cross each other: every layer has one place, a skip the one after the layer before it."""
    conv = "{conv: {out_channels: 2, kernel_size: 1}}"
    layers = (
        f"[{conv}, {conv}, {conv}, {{skip: {{from: conv1, merge: add}}}}, "
        f"{{residual: [{conv}, {{skip: {{from: conv2, merge: add}}}}]}}, "
        "{skip: {from: residual1.conv1, merge: add}}, {skip: {from: input, merge: add}}]"
    )
    graph = graph_of(network_of(layers, SHAPE), "test")
    assert arrangement(graph) == [
        "conv1",
        "conv2",
        "conv3",
        "skip1",
        {"paths": [["residual1.conv1", "residual1.skip1"], []], "join": "residual1.add"},
        "skip2",
        "skip3",
    ]
    assert json.dumps(arrangement(graph))
