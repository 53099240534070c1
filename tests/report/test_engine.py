"""The playground's engine in JavaScript against torch in double precision: bundled configs, random networks, edits."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnncli.config.config import read_config
from cnncli.config.network import Network
from cnncli.module import CnnModule, seeded_module
from cnncli.report.model_data import MAX_FLOAT32, module_with, weights_of
from tests.engine import EngineCase, EngineResult, data_of, relative_difference, run_engine
from tests.networks import network_of, randomize
from tests.random_networks import graph, size
from tests.random_networks import network_of as network_if_it_fits

CONFIGS = sorted(path.stem for path in Path("configs").glob("*.yaml"))
TOLERANCE = 1e-5


def images_for(network: Network, count: int, *, seed: int = 0) -> Tensor:
    return torch.randn(count, *network.input_shape, generator=torch.Generator().manual_seed(seed))


def random_module(network: Network, *, seed: int = 0) -> CnnModule:
    return randomize(CnnModule(network), torch.Generator().manual_seed(seed))


def in_double(module: CnnModule) -> CnnModule:
    """The module in double precision, with the positions that bilinear interpolation reads in single precision.

    The positions are part of the function that is computed: torch rounds them to the precision of the values, so that
    its results in double precision are those of slightly different positions. Interpolation is linear: applied to one
    pixel after another, it gives its matrix.
    """

    def interpolate(upsample: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (x,) = inputs  # (N, C, H, W)
        pixels = torch.eye(x[0, 0].numel(), dtype=torch.float32).view(-1, 1, *x.shape[2:])
        matrix: Tensor = upsample.forward(pixels).flatten(1).double()  # (H W, H' W')
        return (x.flatten(2) @ matrix).view_as(output)

    for each in module.double().modules():
        if isinstance(each, nn.Upsample):
            each.register_forward_hook(interpolate)
    return module


def expected_values(module: CnnModule, images: Tensor) -> dict[str, Tensor]:
    module = in_double(module)
    with torch.no_grad():
        return module.outputs(images.double(), [node.name for node in module.network.nodes])


def test_bundled_configs(tmp_path: Path) -> None:
    """Every value of every layer; weights that a page stores in half precision are rounded on both sides."""
    networks = [read_config(name, data_dir=Path("nowhere")).network for name in CONFIGS]
    cases = [EngineCase(data=data_of(seeded_module(each, 0).eval()), inputs=images_for(each, 2)) for each in networks]
    assert {case.data.precision for case in cases} == {"float32", "float16"}
    for network, case, result in zip(networks, cases, run_engine(cases, tmp_path), strict=True):
        expected = expected_values(module_with(network, case.data.weights), case.inputs)
        for name, values in expected.items():
            assert relative_difference(result.values[name], values) < TOLERANCE, name
        logits = [each[network.nodes[-1].name] for each in (result.values, expected)]
        assert torch.equal(*(each.argmax(1) for each in logits))


MORE = [
    "batch_norm", "{group_norm: 2}", "layer_norm", "{local_response_norm: 3}", "{scale: 0.5}",
    "instance_norm", "{instance_norm: true}", "rms_norm", "{self_attention: 2}", "glu", "{maxout: 2}",
    "prelu", "dropout", "{drop_path: 0.1}",
    "{channel_shuffle: 2}", "{pixel_shuffle: 1}", "identity", "softplus", "hardtanh", "relu6", "sigmoid",
]  # fmt: skip
ENDINGS = [
    "", "", "global_avg_pool, {linear: 6}, {logits: }", "global_max_pool, logits",
    "flatten, {linear: {out_features: 6, norm: layer, activation: mish}}, logits",
]  # fmt: skip
follower = st.tuples(
    st.sampled_from(["none", "batch", "{group: 2}", "layer"]),
    st.sampled_from(["none", "relu", "gelu", "silu", "elu", "hardswish", "{leaky_relu: 0.1}", "tanh", "prelu"]),
)


@st.composite
def network_text(draw: st.DrawFn) -> list[str]:
    """A random graph with norms, activations and further layers between those of `tests.random_networks`."""
    layers = []
    for each in draw(graph):
        norm, activation = draw(follower)
        layers.append(each.replace("activation: relu", f"norm: {norm}, activation: {activation}"))
        layers += draw(st.lists(st.sampled_from(MORE), max_size=1))
    ending = draw(st.sampled_from(ENDINGS))
    return [*layers, *([ending.replace("{logits: }", "logits")] if ending else [])]


def random_networks(count: int) -> list[Network]:
    """The same each time; none too large."""
    found: list[Network] = []

    @given(network_text(), size)
    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    def collect(layers: list[str], spatial: tuple[int, int]) -> None:
        network = network_if_it_fits(layers, (4, *spatial))
        assume(network is not None)
        assert network is not None
        assume(max(math.prod(node.shape) for node in network.nodes) <= 20_000)
        found.append(network)

    collect()
    return found


def seeds_for(network: Network) -> Tensor:
    return torch.randn(1, *network.nodes[-1].shape, generator=torch.Generator().manual_seed(1))


def values_and_gradient(module: CnnModule, images: Tensor, seeds: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The values of every layer, and the gradient of the sum of `seeds` times those of the last layer."""
    images = images.clone().requires_grad_()
    values = module.outputs(images, [node.name for node in module.network.nodes])
    (gradient,) = torch.autograd.grad((values[module.network.nodes[-1].name] * seeds).sum(), images)
    return {name: each.detach() for name, each in values.items()}, gradient


def check_random_networks(count: int, engine: Callable[[Sequence[EngineCase]], list[EngineResult]]) -> None:
    networks = random_networks(count)
    assert len(networks) >= count
    modules = [random_module(each, seed=number) for number, each in enumerate(networks)]
    cases = [
        EngineCase(data=data_of(module), inputs=images_for(network, 1), seeds=seeds_for(network))
        for module, network in zip(modules, networks, strict=True)
    ]
    types = {node.layer.type for network in networks for node in network.nodes}
    for module, case, result in zip(modules, cases, engine(cases), strict=True):
        assert case.seeds is not None
        single, single_gradient = values_and_gradient(module, case.inputs, case.seeds)
        exact, gradient = values_and_gradient(in_double(module), case.inputs.double(), case.seeds.double())
        for name, values in exact.items():
            # A norm of almost equal numbers magnifies the rounding before it, in torch's single precision as well.
            tolerance = max(TOLERANCE, relative_difference(single[name].double(), values))
            assert relative_difference(result.values[name], values) < tolerance, (name, module.network)
        # Which of equal numbers is the largest, as where a tanh is 1, is decided by rounding: hence the 1e-6.
        assert result.gradients is not None
        allowed = TOLERANCE * gradient.abs().max() + (single_gradient - gradient).abs().max() + 1e-6
        assert (result.gradients - gradient).abs().max() < allowed, module.network
    assert types >= {"conv", "conv_transpose", "max_pool", "avg_pool", "add", "concat", "upsample"}


def test_random_networks(tmp_path: Path) -> None:
    check_random_networks(30, partial(run_engine, folder=tmp_path))


@pytest.mark.slow
def test_200_random_networks(tmp_path: Path) -> None:
    check_random_networks(200, partial(run_engine, folder=tmp_path))


NETWORK = (
    "[{conv: {out_channels: 5, kernel_size: 3, norm: batch, activation: elu}}, relu, "
    "{conv_transpose: {out_channels: 4, kernel_size: [2, 3], stride: 2, groups: 1, activation: gelu}}, "
    "{conv: {out_channels: 6, kernel_size: 3, groups: 2, activation: tanh}}, flatten, {linear: 7}, logits]"
)


def apply_edit(edit: dict[str, Any], module: CnnModule) -> None:
    """The same edit of a torch module."""
    state = module.state_dict()
    layers = {node.name: (node, module.layer(node)) for node in module.network.nodes}
    match edit:
        case {"kind": "scale", "layer": name, "channel": channel, "factor": factor}:

            def scale(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
                factors = torch.ones(output.shape[1], dtype=output.dtype)
                factors[channel] = factor
                return output * factors.view(-1, *[1] * (output.ndim - 2))

            layers[name][1].register_forward_hook(scale)
        case {"kind": "weight", "tensor": name, "index": index, "value": value}:
            state[name].view(-1)[index] = value
        case {"kind": "kernel", "tensor": name, "channel": channel, "values": values}:
            node, layer = layers[name.split(".")[0]]
            if node.layer.type == "conv_transpose":
                state[name][:, channel] = torch.tensor(values).view_as(state[name][:, channel])
            else:
                state[name][channel] = torch.tensor(values).view_as(state[name][channel])
        case {"kind": "identity", "layer": name}:
            node, layer = layers[name]
            if node.layer.is_activation:
                module.add_module(name, nn.Identity())
                module._steps = [
                    (each, inputs, nn.Identity() if each == name else step) for each, inputs, step in module._steps
                ]
            else:
                layer.add_module("activation", nn.Identity())


def numbers(count: int) -> list[float]:
    return torch.randn(count, generator=torch.Generator().manual_seed(5)).tolist()


EDITS: list[list[dict[str, Any]]] = [
    [{"kind": "scale", "layer": "conv1", "channel": 2, "factor": 0}],
    [
        {"kind": "scale", "layer": "relu1", "channel": 0, "factor": 3},
        {"kind": "scale", "layer": "linear1", "channel": 6, "factor": -1},
    ],
    [{"kind": "weight", "tensor": "conv1.norm.running_var", "index": 4, "value": 2.5}],
    [{"kind": "kernel", "tensor": "conv1.conv.weight", "channel": 3, "values": numbers(4 * 9)}],
    [{"kind": "kernel", "tensor": "conv_transpose1.conv.weight", "channel": 1, "values": numbers(5 * 6)}],
    [{"kind": "kernel", "tensor": "conv2.conv.weight", "channel": 5, "values": numbers(2 * 9)}],
    [{"kind": "kernel", "tensor": "linear1.linear.weight", "channel": 6, "values": numbers(792)}],
    [{"kind": "identity", "layer": "conv2"}, {"kind": "identity", "layer": "relu1"}],
]


def test_edits(tmp_path: Path) -> None:
    """Logits, all values and the gradient of an edited network are those of a torch module with the same edits."""
    network = network_of(NETWORK, (4, 9, 8), 5)
    original = data_of(random_module(network))
    images, seeds = images_for(network, 1), torch.ones(1, 5)
    cases = [EngineCase(data=original, inputs=images, seeds=seeds, edits=edits) for edits in ([], *EDITS)]
    plain, *results = run_engine(cases, tmp_path)
    for edits, result in zip(EDITS, results, strict=True):
        module = random_module(network)
        for edit in edits:
            apply_edit(edit, module)
        expected = expected_values(module, images)
        for name, values in expected.items():
            assert relative_difference(result.values[name], values) < TOLERANCE, (edits, name)
        assert not torch.equal(result.values["logits1"], plain.values["logits1"]), edits
        inputs = images.double().requires_grad_()
        (gradient,) = torch.autograd.grad(module(inputs).sum(), inputs)
        assert result.gradients is not None
        assert relative_difference(result.gradients, gradient) < TOLERANCE, edits


def test_large_networks_are_stored_in_half_precision() -> None:
    network = network_of("[flatten, {linear: 1400}, logits]", (1, 19, 19), 3)
    module = CnnModule(network).eval()
    assert sum(each.numel() for each in module.parameters()) > MAX_FLOAT32
    data = data_of(module)
    assert data.precision == "float16"
    assert data.weights.dtype == np.float32
    exact = weights_of(module)
    assert np.array_equal(data.weights, exact.astype(np.float16).astype(np.float32))
    assert not np.array_equal(data.weights, exact)
    with torch.no_grad():
        module.get_parameter("linear1.linear.weight")[0, 0] = 70_000  # beyond the range of float16
    assert data_of(module).precision == "float32"


def test_weights_make_the_module_again() -> None:
    """Also where the module has numbers that no operation uses: the count of batches."""
    network = network_of("[{conv: {out_channels: 3, kernel_size: 3, norm: batch}}, flatten, logits]", (2, 6, 5), 3)
    module = random_module(network)
    data = data_of(module)
    again = module_with(network, data.weights)
    images = images_for(network, 2)
    with torch.no_grad():
        assert torch.equal(module(images), again(images))
    names = [each["name"] for each in data.model["tensors"]]
    assert set(module.state_dict()) - set(names) == {"conv1.norm.num_batches_tracked"}
    for each in data.model["tensors"]:
        values = data.weights[each["offset"] :][: math.prod(each["shape"])]
        assert np.array_equal(values, module.state_dict()[each["name"]].numpy().ravel())
    with pytest.raises(AssertionError, match="weights for a network of"):
        module_with(network, data.weights[:-1])
