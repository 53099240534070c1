"""Memory against what torch saves for the backward pass, what a state dict holds, and a count by hand."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from cnncli.config.network import Network
from cnncli.config.train import AdamW, TrainSpec
from cnncli.inspection.graph import graph_of
from cnncli.inspection.memory import Memory, memory_of
from cnncli.inspection.training_memory import training_memory
from cnncli.module import CnnModule
from cnncli.training.optimizer import build_optimizer
from tests.networks import network_of

SHAPE = (3, 16, 12)
NETWORKS = {
    "stack": "[{conv: {out_channels: 8, kernel_size: 3, activation: relu}}, {max_pool: 2}, "
    "{conv: {out_channels: 4, kernel_size: 3, norm: batch, activation: tanh}}, flatten, {linear: 7}, relu, logits]",
    "residual": "[{conv: {out_channels: 6, kernel_size: 3, padding: same, norm: batch, activation: relu}}, "
    "{residual: {main: [{conv: {out_channels: 6, kernel_size: 3, padding: same, norm: batch, activation: relu}}, "
    "{conv: {out_channels: 6, kernel_size: 3, padding: same}}]}}, {avg_pool: 2}, global_avg_pool, logits]",
    "even": "[{conv: {out_channels: 4, kernel_size: 3}}, {conv: {out_channels: 6, kernel_size: [4, 3], padding: same, "
    "activation: tanh}}, {conv: {out_channels: 2, kernel_size: 1}}, flatten, logits]",
    "frozen first": "[{conv: {out_channels: 8, kernel_size: 3, norm: batch, activation: relu, freeze: true}}, "
    "{max_pool: 2}, {conv: {out_channels: 4, kernel_size: 3, norm: layer, activation: tanh, freeze: true}}, flatten, "
    "{linear: {out_features: 7, activation: relu}}, logits]",
    "frozen later": "[{conv: {out_channels: 8, kernel_size: 3, norm: batch, activation: relu}}, {max_pool: 2}, "
    "{residual: {freeze: true, activation: prelu, main: [{conv: {out_channels: 6, kernel_size: 3, padding: same, "
    "norm: batch}}]}}, {scale: {freeze: true}}, flatten, {linear: {out_features: 7, freeze: true, norm: {group: 1}}}, "
    "logits]",
    "frozen path": "[{branch: {merge: concat, paths: [[{conv: {out_channels: 5, kernel_size: 1, activation: sigmoid, "
    "freeze: true}}], [{conv: {out_channels: 3, kernel_size: 3, padding: same, norm: {batch: {freeze: true}}}}]]}}, "
    "flatten, {linear: {out_features: 4, freeze: true}}, {dropout: 0}, logits]",
    "branches": "[{branch: {merge: concat, paths: [[{conv: {out_channels: 5, kernel_size: 1, activation: sigmoid}}], "
    "[{conv: {out_channels: 3, kernel_size: 5, padding: same, activation: gelu}}], [identity]]}}, "
    "{conv: {out_channels: 2, kernel_size: 3, stride: 2}}, flatten, logits]",
}


def built(layers: str) -> tuple[Network, CnnModule]:
    network = network_of(layers, SHAPE)
    model = CnnModule(network)
    model.freeze(0)
    return network, model


def memory(network: Network) -> Memory:
    return memory_of(graph_of(network, "test"), batch=2)


@contextmanager
def saved() -> Iterator[dict[int, int]]:
    """Bytes of every storage that autograd saves, by its address."""
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_training_keeps_what_autograd_saves(layers: str) -> None:
    network, model = built(layers)
    weights = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    images = torch.randn(2, *SHAPE, requires_grad=False)
    with saved() as found:
        output = model.train()(images)
    assert output.requires_grad
    statistics = 0
    for each in model.modules():
        match each:
            case torch.nn.BatchNorm2d():
                statistics += 2 * 4 * each.num_features * each.training
            case torch.nn.GroupNorm():
                statistics += 2 * 4 * 2 * each.num_groups
    kept = sum(size for address, size in found.items() if address not in weights) - statistics
    assert memory(network).training == kept


def test_a_norm_needs_room_beside_what_it_reads() -> None:
    """The input, the convolution's output, and the norm's."""
    network, _ = built("[{conv: {out_channels: 8, kernel_size: 1, norm: batch}}, global_avg_pool, logits]")
    assert memory(network).inference == 2 * (3 + 8 + 8) * 16 * 12 * 4


def test_inference_by_hand() -> None:
    """Residual: the input, the block's input, and of its first convolution what the norm reads and what it makes."""
    network, _ = built(NETWORKS["residual"])
    image, maps = 2 * 3 * 16 * 12 * 4, 2 * 6 * 16 * 12 * 4
    assert memory(network).inference == image + 3 * maps


@pytest.mark.parametrize("layers", [each for name, each in NETWORKS.items() if name.startswith("frozen")])
def test_gradients_and_the_optimizer_keep_only_what_is_trained(layers: str) -> None:
    network, model = built(layers)
    spec = TrainSpec(optimizer=AdamW())
    optimizer = build_optimizer(spec.optimizer, model)
    torch.autograd.backward(model.train()(torch.randn(2, *SHAPE)).sum())
    optimizer.step()
    needed = training_memory(network, spec, images=2)
    assert needed.gradients == sum(each.grad.nbytes for each in model.parameters() if each.grad is not None)
    moments = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    assert needed.optimizer == sum(each.nbytes for each in moments)


def test_weights_are_what_is_saved() -> None:
    network, model = built(NETWORKS["residual"])
    assert memory(network).weights == sum(each.nbytes for each in model.state_dict().values())
