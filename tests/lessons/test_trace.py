"""Units worked out by themselves against torch's modules in double precision: every layer kind, random weights."""

import math
from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from cnncli.config.document import Problem, parse_document
from cnncli.config.model import read_blueprint
from cnncli.config.network import Network, Node, lay_out
from cnncli.layers import AnyLayer, BatchNorm, GroupNorm, Hardswish, LayerNorm, LeakyRelu, Relu, Tanh
from cnncli.layers.trace import Combined, Unit, activated, scaling_of, trace_unit
from cnncli.module import CnnModule

PLAIN = """
model:
  layers:
    - conv: {out_channels: 6, kernel_size: [3, 5], stride: [1, 2], padding: [2, 1], dilation: [2, 1], norm: batch}
    - leaky_relu: 0.2
    - conv: {out_channels: 8, kernel_size: 4, padding: same, groups: 2, activation: gelu, norm: {group: 2}, bias: true}
    - max_pool: {kernel_size: 3, stride: 2, padding: 1, ceil_mode: true}
    - conv: {out_channels: 8, kernel_size: 3, padding: same, groups: 8, norm: layer, activation: {elu: 0.7}}
    - group_norm: 4
    - silu
    - conv_transpose: {out_channels: 6, kernel_size: 3, stride: 2, padding: 1, output_padding: 1, groups: 2,
                       activation: hardswish}
    - layer_norm
    - avg_pool: {kernel_size: 3, stride: 2, padding: 1, ceil_mode: true}
    - batch_norm
    - tanh
    - upsample: {scale_factor: [2, 3]}
    - avg_pool: {kernel_size: [3, 2], stride: 2, padding: 1, ceil_mode: true, count_include_pad: false}
    - upsample: {size: [9, 7], mode: bilinear}
    - adaptive_max_pool: [4, 5]
    - dropout2d: 0.3
    - sigmoid
    - adaptive_avg_pool: [3, 2]
    - elu
    - identity
    - flatten
    - linear: {out_features: 12, norm: batch, activation: relu}
    - linear: {out_features: 12, norm: {group: 3}, activation: tanh, bias: false}
    - linear: {out_features: 8, norm: layer}
    - gelu
    - hardswish
    - relu
    - dropout: 0.5
    - batch_norm
    - logits
"""
BRANCHED = """
model:
  defaults: {conv: {kernel_size: 3, padding: same, norm: batch, activation: relu}}
  layers:
    - conv: 4
    - residual:
        main:
          - conv: {out_channels: 6, stride: 2}
          - conv: {out_channels: 6, activation: none}
        shortcut: auto
        activation: relu
    - branch:
        merge: concat
        paths:
          - [{conv: {out_channels: 3, kernel_size: 1}}]
          - [{conv: {out_channels: 2, dilation: 2}}, {max_pool: {kernel_size: 3, stride: 1, padding: 1}}]
          - [{avg_pool: {kernel_size: 3, stride: 1, padding: same}}]
    - branch: {merge: add, paths: [[identity], [{conv: 11}]]}
    - global_max_pool
    - logits
"""
AVERAGED = """
model:
  layers:
    - max_pool: {kernel_size: 2, dilation: 3, stride: 1}
    - conv_transpose: {out_channels: 4, kernel_size: [4, 3], dilation: [1, 2], padding: [3, 0], norm: batch}
    - global_avg_pool
    - logits: {bias: false}
"""


def network_of(text: str, shape: tuple[int, int, int] = (2, 13, 14)) -> Network:
    problems: list[Problem] = []
    network = lay_out(read_blueprint(parse_document(text, name="test"), problems), shape, 5, problems)
    assert not problems, problems
    return network


def random_module(network: Network, seed: int) -> CnnModule:
    """Weights and running statistics that have nothing special about them."""
    generator = torch.Generator().manual_seed(seed)
    module = CnnModule(network).double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) / 2)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.1)
    return module


def before_norm(module: nn.Module, inputs: list[Tensor]) -> Tensor | None:
    """The output of the convolution or linear part of a layer, if it is followed by others."""
    x: Tensor | None = inputs[0]
    for name, part in module.named_children():
        x = part(x)
        if name in ("conv", "linear"):
            return x
    return None


def some_units(node: Node, generator: torch.Generator) -> Iterator[Unit]:
    """Both ends, where padding is, and a few in between."""
    count = math.prod(node.shape)
    drawn = torch.randint(count, (6,), generator=generator).tolist()
    for flat in {0, count - 1, *drawn}:
        yield Unit(tuple(int(each) for each in torch.unravel_index(torch.tensor(flat), node.shape)))


@pytest.mark.parametrize("text", [PLAIN, BRANCHED, AVERAGED])
@pytest.mark.parametrize("seed", range(4))
def test_every_layer_equals_torch(text: str, seed: int) -> None:
    network = network_of(text)
    module = random_module(network, seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(1, *network.input_shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        values = module.outputs(images, ["input", *(node.name for node in network.nodes)])
        for node in network.nodes:
            inputs = [values[name] for name in node.inputs]
            part = module.layer(node)
            sums = before_norm(part, inputs)
            for unit in some_units(node, generator):
                trace = trace_unit(
                    node.layer,
                    [each[0] for each in inputs],
                    part.state_dict(),
                    unit,
                    sums=None if sums is None else sums[0],
                )
                expected = values[node.name][0][unit.index].item()
                assert trace.value == pytest.approx(expected, rel=1e-9, abs=1e-9), (node.name, unit)


def test_every_kind_of_layer_is_among_them() -> None:
    found = {type(node.layer) for text in (PLAIN, BRANCHED, AVERAGED) for node in network_of(text).nodes}
    assert found == set(get_args(AnyLayer))


@pytest.mark.parametrize("text", [PLAIN, BRANCHED, AVERAGED])
def test_terms_add_up_and_name_their_inputs(text: str) -> None:
    network = network_of(text)
    module = random_module(network, 7)
    images = torch.randn(1, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        values = module.outputs(images, ["input", *(node.name for node in network.nodes)])
        for node in network.nodes:
            inputs = [values[name] for name in node.inputs]
            sums = before_norm(module.layer(node), inputs)
            (unit, *_) = some_units(node, torch.Generator().manual_seed(1))
            trace = trace_unit(
                node.layer,
                [each[0] for each in inputs],
                module.layer(node).state_dict(),
                unit,
                sums=None if sums is None else sums[0],
            )
            for term in trace.terms:
                assert inputs[term.source][0][term.unit.index].item() == term.value, node.name
            first = trace.stages[0]
            if isinstance(first, Combined):
                assert sum(term.amount for term in trace.terms) == pytest.approx(first.value), node.name


def test_activations_by_hand() -> None:
    assert activated(Relu(), -2) == 0
    assert activated(LeakyRelu(negative_slope=0.5), -2) == -1
    assert activated(Hardswish(), 1) == pytest.approx(4 / 6)
    assert activated(Tanh(), 0) == 0


def test_norms_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3]], [[5.0, 7]]], dtype=torch.float64)  # (2, 1, 2)
    ones = {"weight": torch.ones(2), "bias": torch.zeros(2)}
    running = {"running_mean": torch.tensor([1.0, 2]), "running_var": torch.tensor([4.0, 9])}
    assert scaling_of(GroupNorm(num_groups=1), maps, ones, (0, 0, 0)).mean == 4
    assert scaling_of(GroupNorm(num_groups=1), maps, ones, (0, 0, 0)).variance == 5
    assert scaling_of(GroupNorm(num_groups=2), maps, ones, (1, 0, 0)).mean == 6
    assert scaling_of(LayerNorm(), maps, ones, (0, 0, 1)).mean == 5
    batch = scaling_of(BatchNorm(), maps, ones | running, (1, 0, 0))
    assert batch(5.0) == pytest.approx(1, abs=1e-5)
