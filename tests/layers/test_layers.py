"""One contract for every layer kind: what it says of itself is what the torch module built from it does.

The receptive field is probed without knowing anything of windows: NaN is put into one row (or column) of the input, and
the units that become NaN are those that see it.
"""

from typing import get_args

import pytest
import torch
from torch import nn

from cnncli.config.document import Problem, parse_document
from cnncli.config.model import read_blueprint
from cnncli.config.network import RESERVED, Network, lay_out
from cnncli.inspection.graph import graph_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.inspection.table import inspect_graph
from cnncli.layers import LAYERS, AnyLayer, Join
from cnncli.module import CnnModule

IMAGE = (4, 11, 9)

CASES = {
    "conv": [
        "{out_channels: 6, kernel_size: 3}",
        "{out_channels: 6, kernel_size: [5, 2], stride: [2, 3], padding: [1, 0]}",
        "{out_channels: 6, kernel_size: 3, dilation: [2, 3], padding: same}",
        "{out_channels: 6, kernel_size: [4, 2], padding: same}",
        "{out_channels: 6, kernel_size: [4, 3], stride: [1, 2], padding: same}",
        "{out_channels: 6, kernel_size: 3, stride: 2, padding: same, groups: 2}",
        "{out_channels: 6, kernel_size: 2, padding: valid, norm: batch, activation: relu}",
        "{out_channels: 6, kernel_size: 3, bias: true, norm: {group: 3}, activation: {leaky_relu: 0.2}}",
        "{out_channels: 6, kernel_size: 1, norm: layer, activation: gelu}",
    ],
    "conv_transpose": [
        "{out_channels: 6, kernel_size: 3}",
        "{out_channels: 6, kernel_size: 4, stride: 2, padding: 1, norm: batch, activation: silu}",
        "{out_channels: 6, kernel_size: [2, 3], stride: [3, 2], output_padding: [1, 1], groups: 2}",
        "{out_channels: 6, kernel_size: 3, dilation: 2, padding: 1}",
    ],
    "max_pool": [
        "2",
        "{kernel_size: 3, stride: 2, padding: 1}",
        "{kernel_size: [2, 3], stride: [2, 4], ceil_mode: true}",
        "{kernel_size: 3, stride: 2, dilation: 2, ceil_mode: true}",
        "{kernel_size: 3, stride: 1, padding: same}",
    ],
    "avg_pool": [
        "2",
        "{kernel_size: [3, 2], stride: 2, padding: [1, 0], count_include_pad: false}",
        "{kernel_size: 4, stride: 3, padding: 2, ceil_mode: true}",
    ],
    "adaptive_avg_pool": ["1", "3", "[4, 9]", "[14, 2]"],
    "adaptive_max_pool": ["3", "[5, 4]"],
    "upsample": ["2", "{scale_factor: [3, 2], mode: bilinear}", "{size: [15, 9]}", "{size: [7, 20], mode: bilinear}"],
    "group_norm": ["2"],
    "linear": [
        "5",
        "{out_features: 5, bias: false, norm: batch, activation: tanh}",
        "{out_features: 6, norm: {group: 2}}",
    ],
    "dropout": ["0.3"],
    "dropout2d": ["0.3"],
    "leaky_relu": ["0.1"],
    "elu": ["2"],
}
ROWS = ("linear", "logits")


def network_of(layers: str, shape: tuple[int, ...] = IMAGE, classes: int = 10) -> Network:
    """The network of `layers`, whatever its last shape."""
    document = parse_document(f"model:\n  layers: {layers}\n", name="test")
    problems: list[Problem] = []
    network = lay_out(read_blueprint(document, problems), shape, classes, problems)
    assert not [each for each in problems if "the network ends" not in each.message]
    return network


def fields_of(network: Network, name: str) -> ReceptiveFields:
    """What the units of a layer see."""
    fields = receptive_fields(graph_of(network, "test"))[name]
    assert isinstance(fields, ReceptiveFields)
    return fields


def all_cases() -> list[tuple[str, str]]:
    """Every layer kind with its options, or as a bare word."""
    return [(word, options) for word in LAYERS for options in CASES.get(word, [""])]


def sequence(word: str, options: str) -> str:
    """A list of layers that ends with the layer in question."""
    before = "{conv: {out_channels: 3, kernel_size: 2}}, flatten, " if word in ROWS else ""
    return f"[{before}{{{word}: {options}}}]" if options else f"[{before}{word}]"


def probe(model: nn.Module, shape: tuple[int, ...], axis: int) -> list[set[int]]:
    """For every unit along `axis` of the output (or the one unit of a row): the input positions it sees."""
    seen: list[set[int]] = []
    for position in range(shape[axis]):
        image = torch.randn(1, *shape)
        image.select(axis + 1, position).fill_(float("nan"))
        with torch.no_grad():
            output = model(image)[0]
        # (C, H, W): a unit along the axis is NaN if any number of its row or column is; (F,) is one unit.
        wrong = output.isnan().movedim(axis, 0).flatten(1).any(1) if output.ndim == 3 else output.isnan().any()[None]
        seen = seen or [set() for _ in range(len(wrong))]
        for unit in wrong.nonzero().flatten().tolist():
            seen[unit].add(position)
    return seen


def bits(mask: int) -> set[int]:
    """The positions that a mask holds."""
    return {i for i in range(mask.bit_length()) if mask >> i & 1}


@pytest.mark.parametrize(("word", "options"), all_cases())
def test_description_equals_module(word: str, options: str) -> None:
    """Shape, parameters and field, each against the built module."""
    network = network_of(sequence(word, options))
    model = CnnModule(network).eval()
    node = network.nodes[-1]
    assert node.layer.type == word
    assert tuple(model(torch.randn(2, *IMAGE)).shape[1:]) == node.shape
    assert sum(p.numel() for p in model.layer(node).parameters()) == node.description.params
    fields = fields_of(network, node.name)
    for axis in (1, 2):
        assert [bits(mask) for mask in fields.axes[axis - 1].masks] == probe(model, IMAGE, axis)


@pytest.mark.parametrize(("word", "options"), [case for case in all_cases() if "conv" in case[0] or case[0] in ROWS])
def test_macs_equal_counted_products(word: str, options: str) -> None:
    """MACs against torch's own operation counter, which counts two FLOPs each."""
    from torch.utils.flop_counter import FlopCounterMode

    network = network_of(sequence(word, options))
    model = CnnModule(network).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(1, *IMAGE))
    assert counter.get_total_flops() == 2 * inspect_graph(graph_of(network, "test")).macs


def test_every_layer_has_a_case_or_needs_none() -> None:
    """A layer that joins the union is probed without anyone remembering to add it."""
    assert {word for word, _ in all_cases()} == set(LAYERS)
    assert {each.type_name() for each in get_args(AnyLayer)} - set(LAYERS) == {
        each.type_name() for each in get_args(Join)
    }


@pytest.mark.parametrize(
    "layers",
    [
        "[{residual: {main: [{conv: {out_channels: 6, kernel_size: 3, stride: 2, padding: same}}], activation: relu}}]",
        "[{residual: {main: [{conv: {out_channels: 4, kernel_size: 5, padding: same}}]}}]",
        "[{residual: {main: [{max_pool: 2}], shortcut: [{avg_pool: {kernel_size: 3, stride: 2, padding: 1}}]}}]",
        "[{branch: {merge: concat, paths: [[{conv: {out_channels: 2, kernel_size: 1}}], "
        "[{conv: {out_channels: 3, kernel_size: 5, padding: same}}], "
        "[{max_pool: {kernel_size: 3, stride: 1, padding: 1}}]]}}, "
        "{conv: {out_channels: 2, kernel_size: 2, stride: 2}}]",
        "[{branch: {merge: add, paths: [[{adaptive_avg_pool: 3}], [{adaptive_max_pool: 3}]]}}]",
        "[{max_pool: 2}, {upsample: 2}, {conv: {out_channels: 3, kernel_size: 3}}]",
        "[{adaptive_avg_pool: 4}, {conv: {out_channels: 3, kernel_size: 2, padding: 1}}]",
        "[{conv_transpose: {out_channels: 3, kernel_size: 3, stride: 2}}, "
        "{conv: {out_channels: 3, kernel_size: 3, stride: 2}}]",
    ],
)
def test_field_of_compositions(layers: str) -> None:
    """Fields through several layers and branches, unit by unit, against the probe."""
    shape = (4, 12, 12)
    network = network_of(layers, shape)
    model = CnnModule(network).eval()
    fields = fields_of(network, network.nodes[-1].name)
    for axis in (1, 2):
        assert [bits(mask) for mask in fields.axes[axis - 1].masks] == probe(model, shape, axis)


def test_closed_form_agrees_with_the_units() -> None:
    """Where a closed form exists, clipping it to the image gives what each unit sees, for windows without holes."""
    network = network_of(
        "[{conv: {out_channels: 2, kernel_size: 5, stride: 2, padding: 2}}, "
        "{max_pool: {kernel_size: 3, stride: 2, padding: 1}}]"
    )
    for axis, size in zip(fields_of(network, "max_pool1").axes, IMAGE[1:], strict=True):
        assert axis.closed_form is not None
        for unit in range(len(axis.masks)):
            pattern = axis.closed_form.pattern(unit)
            assert axis.interval(unit) == (max(0, pattern.start), min(size - 1, pattern.end))


def test_no_layer_can_take_a_name_of_torch_modules() -> None:
    """Every public attribute of a network's module is refused as a name, before torch would fail on it."""
    module = CnnModule(network_of("[relu]"))
    public = {name for name in dir(module) if not name.startswith("_")} - {"relu1"}
    assert public - RESERVED == set()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's own, about a copy
def test_same_padding_is_torchs() -> None:
    """An even kernel is padded as torch's own `padding="same"` pads it."""
    network = network_of("[{conv: {out_channels: 2, kernel_size: [4, 2], dilation: [1, 3], padding: same}}]")
    model = CnnModule(network).eval()
    ours = model.get_submodule("conv1.conv")
    assert isinstance(ours, nn.Conv2d)
    theirs = nn.Conv2d(4, 2, (4, 2), dilation=(1, 3), padding="same")
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(1, *IMAGE)
    assert torch.equal(model(image), theirs(image))


def test_bias_is_off_where_a_norm_follows() -> None:
    """A norm of its own, or a norm layer behind, makes the bias useless; asked for, it stays."""
    network = network_of(
        "[{conv: {out_channels: 2, kernel_size: 1, norm: batch}}, {conv: {out_channels: 3, kernel_size: 1}}, "
        "batch_norm, "
        "{conv: {out_channels: 4, kernel_size: 1, bias: true, norm: batch}}, {conv: {out_channels: 5, kernel_size: 1}}]"
    )
    names = set(CnnModule(network).state_dict())
    assert {name for name in names if name.endswith("conv.bias")} == {"conv3.conv.bias", "conv4.conv.bias"}
