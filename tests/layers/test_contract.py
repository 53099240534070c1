"""The contract of a layer type: everything that its class claims is checked against torch.

Every type in `LAYERS`, and the joins of `residual` and `branch`, has examples here. Every norm and every activation is
checked as a layer, on maps and on vectors, and as `norm` or `activation` of every layer that takes one.
"""

import inspect
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cnncli.config.network import INPUT, Network, Node
from cnncli.export import FORMATS, FormatName
from cnncli.fields import OneOf
from cnncli.inspection.graph import graph_of
from cnncli.inspection.memory import memory_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.layers import LAYERS, Join, Layer
from cnncli.layers.unit import Combined, Unit
from cnncli.module import CnnModule
from tests.engine import EngineCase, EngineResult, data_of, relative_difference, run_engine
from tests.nan_probe import zero_weights_stop_nan
from tests.networks import network_of, randomize

SHAPE = (4, 11, 9)
SHAPES = {"pixel_unshuffle": (4, 12, 9)}
BATCH = 2

EXAMPLES: dict[str, list[str]] = {
    "conv": [
        "{out_channels: 6, kernel_size: 3}",
        "{out_channels: 6, kernel_size: [5, 2], stride: [2, 3], padding: [1, 0]}",
        "{out_channels: 6, kernel_size: [3, 5], stride: [1, 2], padding: [2, 1], dilation: [2, 1], norm: batch}",
        "{out_channels: 6, kernel_size: 3, dilation: [2, 3], padding: same}",
        "{out_channels: 6, kernel_size: [4, 2], padding: same}",
        "{out_channels: 6, kernel_size: [4, 3], stride: [1, 2], padding: same}",
        "{out_channels: 8, kernel_size: 4, padding: same, groups: 2, activation: gelu, norm: {group: 2}, bias: true}",
        "{out_channels: 6, kernel_size: 3, stride: 2, padding: same, groups: 2}",
        "{out_channels: 8, kernel_size: 3, padding: same, groups: 4, norm: layer, activation: {elu: 0.7}}",
        "{out_channels: 6, kernel_size: 2, padding: valid, norm: batch, activation: relu}",
        "{out_channels: 6, kernel_size: 3, bias: true, norm: {group: 3}, activation: {leaky_relu: 0.2}}",
        "{out_channels: 6, kernel_size: 1, norm: layer, activation: gelu}",
        "{out_channels: 5, kernel_size: 3, stride: [4, 3], padding: 1}",  # does not reach the last row and column
        "{out_channels: 6, kernel_size: 3, padding: 1, padding_mode: reflect, norm: batch, activation: relu}",
        "{out_channels: 6, kernel_size: [4, 5], padding: same, padding_mode: reflect, groups: 2}",
        "{out_channels: 5, kernel_size: 3, stride: 2, padding: [12, 2], padding_mode: replicate, dilation: [2, 1]}",
        "{out_channels: 6, kernel_size: [1, 3], padding: same, padding_mode: circular, bias: true}",
        "{out_channels: 2, kernel_size: 4, padding: [11, 9], padding_mode: circular}",
        "{out_channels: 2, kernel_size: [4, 3], padding: same, padding_mode: circular, stride: [1, 2]}",
        "{out_channels: 2, kernel_size: 3, padding_mode: reflect}",
    ],
    "conv_transpose": [
        "{out_channels: 6, kernel_size: 3}",
        "{out_channels: 6, kernel_size: 4, stride: 2, padding: 1, norm: batch, activation: silu}",
        "{out_channels: 6, kernel_size: [2, 3], stride: [3, 2], output_padding: [1, 1], groups: 2}",
        "{out_channels: 6, kernel_size: 3, stride: 2, padding: 1, output_padding: 1, groups: 2, activation: hardswish}",
        "{out_channels: 4, kernel_size: [4, 3], dilation: [1, 2], padding: [3, 0], norm: batch}",
        "{out_channels: 6, kernel_size: 3, dilation: 2, padding: 1}",
    ],
    "max_pool": [
        "2",
        "{kernel_size: 3, stride: 2, padding: 1}",
        "{kernel_size: 3, stride: 2, padding: 1, ceil_mode: true}",
        "{kernel_size: [2, 3], stride: [2, 4], ceil_mode: true}",
        "{kernel_size: 2, stride: 1, dilation: 3}",
        "{kernel_size: 3, stride: 2, dilation: 2, ceil_mode: true}",
        "{kernel_size: 3, stride: 1, padding: same}",
    ],
    "avg_pool": [
        "2",
        "{kernel_size: [3, 2], stride: 2, padding: [1, 0], count_include_pad: false}",
        "{kernel_size: [3, 2], stride: 2, padding: 1, ceil_mode: true, count_include_pad: false}",
        "{kernel_size: 3, stride: 2, padding: 1, ceil_mode: true}",
        "{kernel_size: 4, stride: 3, padding: 2, ceil_mode: true}",
    ],
    "lp_pool": [
        "{norm_type: 2, kernel_size: 2}",
        "{norm_type: 4, kernel_size: [2, 3], stride: [1, 2]}",
        "{norm_type: 2, kernel_size: [3, 4], stride: 2, ceil_mode: true}",
        "{norm_type: 1, kernel_size: 3}",
    ],
    "blur_pool": [
        "",
        "{kernel_size: [4, 1], stride: [1, 2]}",
        "{kernel_size: [5, 2], stride: 3, padding_mode: circular}",
        "{kernel_size: 7, stride: 1, padding_mode: replicate}",
        "{padding_mode: zeros}",
    ],
    "adaptive_avg_pool": ["1", "3", "[4, 9]", "[14, 2]"],
    "adaptive_max_pool": ["1", "3", "[5, 4]"],
    "global_avg_pool": [""],
    "global_max_pool": [""],
    "pad": [
        "2",
        "{padding: [[0, 1], [2, 3]], value: -0.5}",
        "{padding: [0, 2], channels: 3}",
        "{channels: [0, 2]}",
        "{padding: [[10, 3], [0, 8]], mode: reflect}",
        "{padding: [[12, 0], 1], mode: replicate}",
        "{padding: [[2, 11], 3], mode: circular}",
    ],
    "crop": ["1", "[[0, 10], [3, 4]]", "{size: [6, 9]}"],
    "upsample": [
        "2",
        "{scale_factor: [3, 2], mode: bilinear}",
        "{size: [15, 9]}",
        "{size: [7, 20], mode: bilinear}",
        "{size: [15, 111]}",  # unit 37 reads column 2 rather than 3, because torch rounds 9 / 111 to float32
    ],
    "channel_shuffle": ["2"],
    "pixel_shuffle": ["2"],
    "pixel_unshuffle": ["3"],
    "coordinates": [""],
    "batch_norm": ["", "{eps: 0.1, momentum: 0.5}"],
    "group_norm": ["1", "2", "4"],
    "layer_norm": [""],
    "instance_norm": ["", "{eps: 0.1}", "{affine: true}"],
    "rms_norm": ["", "0.1"],
    "local_response_norm": ["3", "{size: 2, alpha: 0.5, beta: 0.6, k: 2}", "{size: 5, alpha: 1.5}"],
    "scale": ["", "0.1"],
    "relu": [""],
    "relu6": [""],
    "leaky_relu": ["", "0.1", "0"],
    "prelu": ["", "channels", "{num_parameters: 4, init: 0.1}"],
    "elu": ["", "2"],
    "celu": ["", "0.7"],
    "selu": [""],
    "gelu": [""],
    "silu": [""],
    "mish": [""],
    "softplus": ["", "{beta: 2, threshold: 1}"],
    "softsign": [""],
    "softshrink": ["", "0.8"],
    "hardshrink": ["", "0.8"],
    "tanhshrink": [""],
    "threshold": ["{threshold: 0.1, value: 0}", "{threshold: 0.1, value: -2}"],
    "tanh": [""],
    "hardtanh": ["", "{min_val: 0, max_val: 0.5}", "{min_val: 0.1, max_val: 0.5}", "{min_val: -1, max_val: 0}"],
    "sigmoid": [""],
    "logsigmoid": [""],
    "hardsigmoid": [""],
    "hardswish": [""],
    "softmax": [""],
    "self_attention": ["1", "2", "{num_heads: 2, qkv_bias: false}", "{num_heads: 4, out_bias: false, qkv_bias: false}"],
    "glu": [""],
    "maxout": ["2", "4"],
    "dropout": ["0.3", "0"],
    "dropout2d": ["0.3", "0"],
    "drop_path": ["0.3", "0"],
    "identity": [""],
    "flatten": [""],
    "linear": [
        "5",
        "{out_features: 5, bias: false, norm: batch, activation: tanh}",
        "{out_features: 12, norm: {group: 3}, activation: tanh, bias: false}",
        "{out_features: 6, norm: {group: 2}}",
        "{out_features: 8, norm: layer}",
    ],
    "logits": ["", "{bias: false}"],
}
JOINS = {
    "add": [
        "{residual: {main: [{conv: {out_channels: 6, kernel_size: 3, stride: 2, padding: same}}]}}",
        "{branch: {merge: add, paths: [[identity], [{conv: {out_channels: 4, kernel_size: 3, padding: same}}]]}}",
        "{skip: {from: input, merge: add}}",
    ],
    "multiply": [
        "{branch: {merge: multiply, paths: [[identity], [global_avg_pool, {linear: {out_features: 4, activation: "
        "sigmoid}}]]}}",
        "{branch: {merge: multiply, paths: [[{conv: {out_channels: 1, kernel_size: 3, padding: same}}], [identity], "
        "[{adaptive_avg_pool: 1}]]}}",
        "{branch: {merge: multiply, paths: [[{adaptive_max_pool: [1, 9]}], [{adaptive_avg_pool: [11, 1]}]]}}",
    ],
    "max": [
        "{branch: {merge: max, paths: [[identity], [tanh]]}}",
        "{branch: {merge: max, paths: [[identity], [{conv: {out_channels: 4, kernel_size: 1}}], [{scale: -1}]]}}",
    ],
    "mean": [
        "{branch: {merge: mean, paths: [[identity], [{max_pool: {kernel_size: 3, stride: 1, padding: 1}}], [relu]]}}",
    ],
    "concat": [
        "{branch: {merge: concat, paths: [[{conv: {out_channels: 3, kernel_size: 1}}], [identity], "
        "[{avg_pool: {kernel_size: 3, stride: 1, padding: same}}]]}}",
        "{skip: {from: input, merge: concat}}",
    ],
}
HOSTS = {
    "conv": "{conv: {out_channels: 6, kernel_size: 3, %s}}",
    "conv_transpose": "{conv_transpose: {out_channels: 6, kernel_size: 3, stride: 2, %s}}",
    "linear": "{linear: {out_features: 6, %s}}",
    "add": "{residual: {main: [{conv: {out_channels: 4, kernel_size: 3, padding: same}}], %s}}",
}
"""Every layer that takes a norm or an activation."""


TORCH_CLASSES = {
    "conv": nn.Conv2d,
    "conv_transpose": nn.ConvTranspose2d,
    "max_pool": nn.MaxPool2d,
    "avg_pool": nn.AvgPool2d,
    "blur_pool": None,
    "pad": None,
    "crop": None,
    "coordinates": None,
    "global_avg_pool": nn.AdaptiveAvgPool2d,
    "global_max_pool": nn.AdaptiveMaxPool2d,
    "upsample": nn.Upsample,
    "batch_norm": nn.BatchNorm2d,
    "group_norm": nn.GroupNorm,
    "layer_norm": nn.LayerNorm,
    "instance_norm": nn.InstanceNorm2d,
    "rms_norm": nn.RMSNorm,
    "scale": None,
    "drop_path": None,
    "self_attention": None,  # nn.MultiheadAttention, but over positions: see test_modules
    "glu": None,  # nn.GLU, but over channels
    "maxout": None,
    "prelu": nn.PReLU,
    "softmax": None,
    "logsigmoid": nn.LogSigmoid,
    "linear": nn.Linear,
    "logits": nn.Linear,
} | {type_: getattr(nn, each.torch_class) for type_, each in LAYERS.items() if each.torch_class}
"""The torch module of each type: named by the class, or here where `build` makes it."""

OWN_DEFAULTS: dict[tuple[str, str], object] = {
    ("conv", "bias"): None,  # torch's True, unless a norm follows
    ("conv_transpose", "bias"): None,
    ("scale", "init"): 1.0,  # torch has no such module; 1 changes nothing
    ("pad", "padding"): (0, 0),  # torch's function pads any axes
    ("pad", "channels"): 0,
    ("pad", "mode"): "constant",
    ("pad", "value"): 0.0,
    ("blur_pool", "kernel_size"): 3,
    ("blur_pool", "stride"): 2,
    ("blur_pool", "padding_mode"): "reflect",
    ("crop", "cropping"): None,
    ("crop", "size"): None,
    ("drop_path", "p"): 0.5,  # as of the other dropouts
    ("maxout", "pieces"): inspect.Parameter.empty,
    ("self_attention", "num_heads"): inspect.Parameter.empty,
    ("self_attention", "qkv_bias"): True,  # torch has one field for both
    ("self_attention", "out_bias"): True,
    ("rms_norm", "eps"): 1e-6,  # torch's None is the precision of the numbers, which differs with their type
}
"""Defaults that are not torch's."""

VECTORS_TOO = (
    *("batch_norm", "group_norm", "layer_norm", "rms_norm"),
    *("scale", "softmax", "glu", "maxout", "dropout", "drop_path", "identity"),
)
"""Types that take vectors as well as maps, besides activations."""


def as_config(type_: str, options: str) -> str:
    """A layer with its options, as in a config."""
    return f"{{{type_}: {options}}}" if options else type_


@dataclass(frozen=True)
class Case:
    """A network whose last layer is the one in question, behind a convolution of 1x1 that computes what it reads."""

    type: str
    layer: str
    shape: tuple[int, ...] = SHAPE
    flat: bool = False
    after: str = ""
    activation_before: str = "none"

    def __str__(self) -> str:
        return self.layer.replace(" ", "") + (" on a vector" if self.flat else "")

    @cached_property
    def network(self) -> Network:
        on_maps, on_vectors = ("none", self.activation_before) if self.flat else (self.activation_before, "none")
        before = f"{{conv: {{out_channels: 4, kernel_size: 1, activation: {on_maps}}}}}"
        if self.flat:
            before += f", flatten, {{linear: {{out_features: 12, activation: {on_vectors}}}}}"
        network = network_of(f"[{before}, {self.layer}{self.after}]", self.shape, 5)
        assert self.after or network.nodes[-1].layer.type == self.type
        return network

    @property
    def node(self) -> Node:
        return self.network.nodes[-1]

    def build(self, *, random: bool = True) -> CnnModule:
        """The module in evaluation mode and double precision, with weights and statistics that are not special."""
        module = CnnModule(self.network).double().eval()
        return randomize(module, torch.Generator().manual_seed(0)) if random else module

    def inputs(self, module: CnnModule) -> list[Tensor]:
        """What the layer reads for random images."""
        images = torch.randn(BATCH, *self.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            values = module.outputs(images, [INPUT, *self.node.inputs])
        return [values[name] for name in self.node.inputs]


def takes(field: str, type_: str) -> bool:
    """Whether a host has the field `norm` or `activation`."""
    return (type_ in LAYERS and field in LAYERS[type_].model_fields) or (type_, field) == ("add", "activation")


def followers(field: str) -> dict[str, str]:
    """Type -> field and value, of everything that may stand as `norm` or `activation`."""
    is_one: Callable[[type[Layer]], bool] = lambda each: each.is_norm if field == "norm" else each.is_activation  # noqa: E731
    options = {type_: EXAMPLES[type_][-1] for type_, each in LAYERS.items() if is_one(each)}
    options |= {type_: "channels" for type_ in options if type_ == "prelu"}
    return {type_: f"{field}: {as_config(type_, each.replace('4', '2'))}" for type_, each in options.items()}


def cases() -> Iterator[Case]:
    for type_, examples in EXAMPLES.items():
        for options in examples:
            flat = type_ in ("linear", "logits")
            yield Case(type_, as_config(type_, options), SHAPES.get(type_, SHAPE), flat)
            if (type_ in VECTORS_TOO or LAYERS[type_].is_activation) and "num_parameters" not in options:
                yield Case(type_, as_config(type_, options), flat=True)
    for type_, joins in JOINS.items():
        for join in joins:
            yield Case(type_, join)
    for host, template in HOSTS.items():
        for field in ("norm", "activation"):
            for type_, follower in followers(field).items() if takes(field, host) else ():
                if (host, type_) != ("linear", "instance_norm"):  # it needs maps
                    yield Case(host, template % follower, flat=host == "linear")


CASES = list(cases())
every_case = pytest.mark.parametrize("case", CASES, ids=str)
SINGLE = [case for case in CASES if case.type in LAYERS]


def test_every_type_has_an_example() -> None:
    assert set(EXAMPLES) == set(LAYERS)
    assert set(JOINS) == {each.type_name() for each in Join.__subclasses__()}
    has_followers = {
        each.type_name()
        for each in (*LAYERS.values(), *Join.__subclasses__())
        if {"norm", "activation"} & set(each.model_fields)
    }
    assert set(HOSTS) == has_followers
    assert set(TORCH_CLASSES) == set(LAYERS)


@pytest.mark.parametrize("type_", [*EXAMPLES, *JOINS])
def test_defaults_of_fields(type_: str) -> None:
    """A field has the default of the torch argument of the same name, and is required where that is."""
    layer = (
        LAYERS[type_] if type_ in LAYERS else next(each for each in Join.__subclasses__() if each.type_name() == type_)
    )
    expected = defaults_of(TORCH_CLASSES.get(type_)) | {
        name: each for (own, name), each in OWN_DEFAULTS.items() if own == type_
    }
    expected |= {"type": type_, "name": None, "norm": None, "activation": None}
    expected |= dict.fromkeys(("freeze", "lr_scale", "weight_decay", *(["init"] if "init" not in expected else [])))
    for name, field in layer.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        assert one_number(default) == expected[name], name


def defaults_of(torch_class: type[nn.Module] | None) -> dict[str, object]:
    """Argument -> default of a torch module; `Parameter.empty` where it is required."""
    parameters = [] if torch_class is None else inspect.signature(torch_class).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD}


def one_number(value: object) -> object:
    """A pair of equal numbers as torch's signatures have it: one number for both axes."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


@pytest.mark.parametrize("type_", [type_ for type_, torch_class in TORCH_CLASSES.items() if torch_class is not None])
def test_module_of_a_layer_without_options(type_: str) -> None:
    """It is the module that torch makes of the required arguments, also in what the config has no fields for."""
    case = next(case for case in SINGLE if case.type == type_)
    node, torch_class = case.node, TORCH_CLASSES[type_]
    assert torch_class is not None
    required = {name for name, field in type(node.layer).model_fields.items() if field.is_required()}
    if type_ == "upsample":
        required = {"scale_factor"}  # it needs this or size
    fields = {name: getattr(node.layer, name) for name in required}
    (shape,) = node.input_shapes
    module = type(node.layer)(**fields).for_classes(case.network.classes).build(shape)
    (built,) = (each for each in module.modules() if isinstance(each, torch_class))
    inputs = dict.fromkeys(("in_channels", "num_features", "num_channels", "normalized_shape", "in_features"), shape[0])
    available = inputs | {"output_size": 1, "out_features": case.network.classes} | fields
    needed = required | {
        name for name, default in defaults_of(torch_class).items() if default is inspect.Parameter.empty
    }
    reference = torch_class(**{name: available[name] for name in needed})
    own: dict[str, dict[str, object]] = {
        "upsample": {"size": node.shape[1:], "scale_factor": None},  # the size is computed
        "rms_norm": {"eps": 1e-6},  # see `OWN_DEFAULTS`
    }
    assert attributes(built) == attributes(reference) | own.get(type_, {})


def attributes(module: nn.Module) -> dict[str, object]:
    """The options that a module was made with, and the shapes of its weights."""
    options = {name: one_number(each) for name, each in vars(module).items() if not name.startswith("_")}
    return options | {name: tuple(each.shape) for name, each in module.state_dict().items()}


@pytest.mark.parametrize("type_", ["scale", "prelu"])
def test_initial_values(type_: str) -> None:
    """All parameters of a new module equal the field `init`, in an example whose `init` is not the default."""
    given = set()
    for case in SINGLE:
        if case.type == type_:
            init = getattr(case.node.layer, "init")  # noqa: B009  no field of the base class
            given.add(init)
            for each in CnnModule(case.network).layer(case.node).parameters():
                assert torch.equal(each, torch.full_like(each, init))
    assert given - {LAYERS[type_].model_fields["init"].default}


@every_case
def test_shape_and_parameters(case: Case) -> None:
    node, module = case.node, case.build()
    for mode in (True, False):
        output = module.train(mode)(torch.randn(BATCH, *case.shape, dtype=torch.float64))
        assert tuple(output.shape[1:]) == node.shape
    layer = module.layer(node)
    for name in ("norm", "activation"):
        given, built = getattr(node.layer, name, None), dict(layer.named_children()).get(name)
        assert type(built) is (type(None) if given is None else type(given.build(node.shape)))
    assert sum(each.numel() for each in layer.parameters()) == node.description.params
    floats = [each for each in layer.buffers() if each.is_floating_point()]
    counts = [each for each in layer.buffers() if not each.is_floating_point()]
    in_single = sum(4 * each.numel() for each in floats) + sum(each.nbytes for each in counts)
    assert in_single == node.description.buffer_bytes


@every_case
def test_macs(case: Case) -> None:
    """Torch's own counter counts two operations for each."""
    # It does not know the attention of a CPU as one operation, but its products.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        case.build()(torch.randn(1, *case.shape, dtype=torch.float64))
    assert counter.get_total_flops() == 2 * sum(node.description.macs for node in case.network.nodes)


@every_case
def test_receptive_field_of_every_unit(case: Case) -> None:
    fields = receptive_fields(graph_of(case.network, "test"))[case.node.name]
    assert isinstance(fields, ReceptiveFields)
    module = case.build()
    for axis in (1, 2):
        masks = [{i for i in range(case.shape[axis]) if mask >> i & 1} for mask in fields.axes[axis - 1].masks]
        assert masks == probe(module, case.shape, axis)


def probe(module: nn.Module, shape: tuple[int, ...], axis: int) -> list[set[int]]:
    """For every unit along an axis of the output (or the one unit of a vector), the input positions that it depends on.

    NaN is put into one row (or column) of the image; the units that become NaN are those that depend on it.
    """
    seen: list[set[int]] = []
    for position in range(shape[axis]):
        image = torch.randn(1, *shape, dtype=torch.float64)
        image.select(axis + 1, position).fill_(float("nan"))
        with torch.no_grad(), zero_weights_stop_nan():
            output = module(image)[0]
        wrong = output.isnan().movedim(axis, 0).flatten(1).any(1) if output.ndim == 3 else output.isnan().any()[None]
        seen = seen or [set() for _ in range(len(wrong))]
        for unit in wrong.nonzero().flatten().tolist():
            seen[unit].add(position)
    return seen


@every_case
def test_memory_that_training_keeps(case: Case) -> None:
    """Also where the layers around save what is between: then a layer that saves that, too, adds nothing."""
    check_memory(case)
    after = "{conv: {out_channels: 2, kernel_size: 1}}" if len(case.node.shape) == 3 else "{linear: 3}"
    check_memory(replace(case, after=f", {after}"))
    check_memory(replace(case, after=f", {after}", activation_before="relu"))


def check_memory(case: Case) -> None:
    """What autograd saves in single precision, less what is documented as not counted."""
    module = CnnModule(case.network).train()
    weights = {each.untyped_storage().data_ptr() for each in (*module.parameters(), *module.buffers())}
    kept: list[Tensor] = []  # so that no address is used twice
    uncounted = 0

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    def count(part: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal uncounted
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            uncounted += 2 * 4 * part.num_features
        elif isinstance(part, nn.InstanceNorm2d):
            uncounted += 2 * 4 * BATCH * part.num_features
        elif isinstance(part, nn.RMSNorm):
            # One number for each position, and on a CPU the output before the weight.
            uncounted += 4 * output.numel() // part.normalized_shape[0] + 4 * output.numel()
        elif isinstance(part, nn.GroupNorm):
            uncounted += 2 * 4 * BATCH * part.num_groups
        elif isinstance(part, nn.LayerNorm):
            uncounted += 2 * 4 * output.numel() // part.normalized_shape[0]
        elif isinstance(part, nn.Dropout) and part.p:
            uncounted += 3 * output.numel()  # of four bytes of the mask, on a CPU

    for part in module.modules():
        part.register_forward_hook(count)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(torch.randn(BATCH, *case.shape))
    assert output.requires_grad
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in kept}
    saved = sum(size for address, size in storages.items() if address not in weights)
    assert memory_of(graph_of(case.network, "test"), BATCH).training == saved - uncounted
    indices = sum(each.nbytes for each in kept if each.dtype == torch.int64)
    assert BATCH * sum(part.index_bytes for node in case.network.nodes for part in node.description.parts) == indices


@every_case
def test_arithmetic_of_one_unit(case: Case) -> None:
    node, module = case.node, case.build()
    inputs = case.inputs(module)
    layer = module.layer(node)
    with torch.no_grad():
        output, before_norm = layer(*inputs), outputs_of_core(layer, inputs)
    for unit in some_units(node):
        trace = node.layer.trace(
            [each[0] for each in inputs],
            layer.state_dict(),
            unit,
            before_norm=None if before_norm is None else before_norm[0],
        )
        assert trace.value == pytest.approx(output[0][unit.index].item(), rel=1e-9, abs=1e-9), unit
        for term in trace.terms:
            assert inputs[term.source][0][term.unit.index].item() == term.value
        first = trace.stages[0]
        if isinstance(first, Combined):
            assert sum(term.amount for term in trace.terms) == pytest.approx(first.value)


def outputs_of_core(module: nn.Module, inputs: list[Tensor]) -> Tensor | None:
    """The output of the convolution or linear part of a layer, if it is followed by others."""
    x: Tensor | None = inputs[0]
    for name, part in module.named_children() if isinstance(module, nn.Sequential) else ():
        x = part(x)
        if name in ("conv", "linear"):
            return x
    return None


def some_units(node: Node) -> Iterator[Unit]:
    """Both ends, where padding is, and a few in between."""
    count = math.prod(node.shape)
    drawn = torch.randint(count, (12,), generator=torch.Generator().manual_seed(2)).tolist()
    for flat in {0, count - 1, *drawn}:
        yield Unit(tuple(int(each) for each in torch.unravel_index(torch.tensor(flat), node.shape)))


@every_case
def test_config_of_a_layer_gives_the_same_layer(case: Case) -> None:
    for node in case.network.nodes:
        dumped = yaml.safe_load(yaml.safe_dump(node.layer.model_dump(mode="json")))
        type_, fields = (dumped, {}) if isinstance(dumped, str) else next(iter(dumped.items()))
        assert type_ == node.layer.type
        again = type(node.layer).model_validate_json(json.dumps(fields)).for_classes(case.network.classes)
        assert again == node.layer


@every_case
def test_portable_module(case: Case) -> None:
    """It takes the weights of the other module, and computes the same; also with the largest number negative."""
    module = case.build()
    portable = CnnModule(case.network, portable=True).double().eval()
    portable.load_state_dict(module.state_dict())
    images = torch.randn(BATCH, *case.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(portable(images), module(images), rtol=1e-6, atol=1e-6)
        below_zero = [each - 99 for each in case.inputs(module)]
        outputs = [each.layer(case.node)(*below_zero) for each in (portable, module)]
        torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def engine_results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, EngineResult]:
    """What the engine of the playground computes for every case, by its number."""
    cases = [EngineCase(data=data_of(in_single(case)), inputs=images_of(case), seeds=seeds_of(case)) for case in CASES]
    return dict(enumerate(run_engine(cases, tmp_path_factory.mktemp("engine"))))


def in_single(case: Case) -> CnnModule:
    """The module with weights that float32 has."""
    return case.build().float()


def images_of(case: Case) -> Tensor:
    return torch.randn(BATCH, *case.shape, generator=torch.Generator().manual_seed(3))


def seeds_of(case: Case) -> Tensor:
    return torch.randn(BATCH, *case.node.shape, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[str(case) for case in CASES])
def test_javascript(number: int, engine_results: dict[int, EngineResult]) -> None:
    """The playground's engine against torch in double precision: all values, and the gradient of the input."""
    case, result = CASES[number], engine_results[number]
    module, images = in_single(case).double(), images_of(case).double().requires_grad_()
    expected = module.outputs(images, [node.name for node in case.network.nodes])
    for name, values in expected.items():
        assert relative_difference(result.values[name], values.detach()) < 1e-5, name
    if result.steps:
        assert torch.equal(result.steps[-1], result.values[case.node.name])
    (gradient,) = torch.autograd.grad((expected[case.node.name] * seeds_of(case)).sum(), images)
    assert result.gradients is not None
    assert relative_difference(result.gradients, gradient) < 1e-5


class SideBySide(nn.Module):
    """Networks that read the same images; their outputs one after another, (N, sum of their numbers)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([network(images).flatten(1) for network in self.networks], dim=1)


EXPORTED_BY_DEFAULT = {
    "{conv: {out_channels: 8, kernel_size: 3, padding: same, groups: 4, norm: layer, activation: {elu: 0.7}}}",
    "{conv: {out_channels: 2, kernel_size: [4, 3], padding: same, padding_mode: circular, stride: [1, 2]}}",
    "{max_pool: {kernel_size: [2, 3], stride: [2, 4], ceil_mode: true}}",
    "{avg_pool: {kernel_size: [3, 2], stride: 2, padding: 1, ceil_mode: true, count_include_pad: false}}",
    "{adaptive_avg_pool: [4, 9]}",
    "{adaptive_max_pool: [5, 4]}",
    "{upsample: {size: [7, 20], mode: bilinear}}",
    "{lp_pool: {norm_type: 2, kernel_size: [3, 4], stride: 2, ceil_mode: true}}",
    "{blur_pool: {kernel_size: [5, 2], stride: 3, padding_mode: circular}}",
    "coordinates",
    "{linear: {out_features: 6, activation: logsigmoid}}",  # of numbers below -88
}
"""Layers that need several operators of ONNX, or that it pads in its own way; the slow test exports all cases."""


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_exported_files(name: FormatName, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.layer in EXPORTED_BY_DEFAULT]
    assert len(cases) == len(EXPORTED_BY_DEFAULT)
    check_exported(cases, name, tmp_path / "file")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_exported_files_of_every_case(name: FormatName, tmp_path: Path) -> None:
    for shape in {case.shape for case in CASES}:
        check_exported([case for case in CASES if case.shape == shape], name, tmp_path / "file")


def check_exported(cases: Sequence[Case], name: FormatName, path: Path) -> None:
    """Compare a file with the modules in double precision, for a batch of another size than that of the example."""
    format = FORMATS[name]
    networks = []
    for case in cases:
        network = CnnModule(case.network, portable=format.portable).eval().requires_grad_(False)
        network.load_state_dict(case.build().state_dict())
        networks.append(network)
    example = torch.zeros(2, *cases[0].shape)
    path.write_bytes(format.content(SideBySide(networks), example, {}))
    images = torch.randn(3, *cases[0].shape, generator=torch.Generator().manual_seed(1))
    outputs = format.load(path)(images)
    expected = [case.build()(images.double()).detach().flatten(1) for case in cases]
    actual = torch.split(outputs, [each.shape[1] for each in expected], dim=1)
    wrong = {
        str(case): float((one - other).abs().max() / other.abs().max())
        for case, one, other in zip(cases, actual, expected, strict=True)
        if not (one - other).abs().max() <= 1e-5 * other.abs().max()
    }
    assert wrong == {}


@every_case
def test_facts_about_channels(case: Case) -> None:
    """Kernels, groups, views of memory, statistics of the batch, and outputs that can be 0 for good."""
    node, module = case.node, case.build()
    layer, inputs = module.layer(node), case.inputs(module)
    convolutions = [each for each in layer.modules() if isinstance(each, nn.Conv2d | nn.ConvTranspose2d)]
    kernels = node.description.kernels
    assert node.layer.has_kernels == bool(convolutions) == (kernels is not None)
    for each in convolutions:
        assert kernels is not None
        values = node.layer.kernels_of(layer).detach()
        assert values.shape == (kernels.count, kernels.depth, kernels.height, kernels.width)
        assert torch.allclose(values.sum((2, 3)), sums_of_kernels(each, inputs[0]))
        assert kernels.transposed == isinstance(each, nn.ConvTranspose2d)
        assert (kernels.count, kernels.biases) == (each.out_channels, 0 if each.bias is None else len(each.bias))
        assert node.description.groups == each.groups
    if not convolutions:
        assert node.description.groups == 1
    with torch.no_grad():
        same = layer(*inputs).untyped_storage().data_ptr() in [each.untyped_storage().data_ptr() for each in inputs]
    assert node.description.view == same
    assert node.layer.takes_batch_statistics == depends_on_other_images(layer, inputs)
    assert node.layer.is_pool == any("Pool" in type(each).__name__ for each in layer.modules())
    assert node.layer.gives_logits == (node.layer.type == "logits")
    assert node.layer.can_die == is_zero_on_a_half_line(layer if node.layer.is_activation else layer_activation(layer))


def sums_of_kernels(convolution: nn.Conv2d | nn.ConvTranspose2d, maps: Tensor) -> Tensor:
    """The sum of each kernel, (O, C / groups): how much one output reacts to all of its window in one channel.

    A transposed convolution adds the whole kernel to its output for each number of its input.
    """
    x = maps[:1].clone().requires_grad_()
    sums, depth = [], convolution.in_channels // convolution.groups
    for channel, output in enumerate(convolution(x)[0]):
        first = channel * convolution.groups // convolution.out_channels * depth
        middle = (slice(first, first + depth), x.shape[2] // 2, x.shape[3] // 2)
        if isinstance(convolution, nn.ConvTranspose2d):
            sums.append(torch.autograd.grad(output.sum(), x, retain_graph=True)[0][0][middle])
        else:
            unit = output[output.shape[0] // 2, output.shape[1] // 2]
            sums.append(torch.autograd.grad(unit, x, retain_graph=True)[0][0, first : first + depth].sum((1, 2)))
    return torch.stack(sums)


def layer_activation(layer: nn.Module) -> nn.Module | None:
    return dict(layer.named_children()).get("activation")


def is_zero_on_a_half_line(activation: nn.Module | None) -> bool:
    if activation is None:
        return False
    weights = [each.numel() for each in activation.parameters()]
    ends = torch.tensor([[-9.0, -8], [9, 8]], dtype=torch.float64)[:, None].expand(-1, max([1, *weights]), -1)
    with torch.no_grad():
        return bool((activation(ends[..., None]) == 0).flatten(1).all(1).any())


def depends_on_other_images(layer: nn.Module, inputs: list[Tensor]) -> bool:
    """Whether the output for the first image of a batch changes with the second, in training mode."""
    outputs = []
    for factor in (1, 2):
        torch.manual_seed(0)  # of dropout
        batch = [torch.cat([each[:1], factor * each[1:]]) for each in inputs]
        outputs.append(layer.train()(*batch)[0].detach())
        layer.eval()
    return not torch.equal(*outputs)


@pytest.mark.parametrize("type_", EXAMPLES)
def test_facts_of_a_type(type_: str) -> None:
    """What holds whatever the fields are: true in every example, or false in at least one."""
    observed: dict[str, set[bool]] = defaultdict(set)
    for case in SINGLE:
        if case.type == type_ and not case.node.layer.followers():
            fresh, module = case.build(random=False), case.build()
            (x,) = case.inputs(module)
            layer, same = module.layer(case.node), case.node.shape[0] == x.shape[1]
            with torch.no_grad():
                keeps = same and keeps_channels(fresh.layer(case.node), x)
                observed["keeps_channels"].add(keeps)
                observed["keeps_zero"].add(keeps and keeps_zero(layer, x))
                is_norm = same and normalizes(layer, x)
                observed["is_norm"].add(is_norm)
                observed["replaces_bias"].add(is_norm and replaces_bias(layer, x))
    assert {name: getattr(LAYERS[type_], name) for name in observed} == {
        name: values == {True} for name, values in observed.items()
    }


def keeps_channels(layer: nn.Module, x: Tensor) -> bool:
    """Whether each output channel depends on the input channel of the same number, and no matrix mixes them."""
    if any(each.ndim > 1 for each in layer.parameters()):
        return False
    output = layer(x)
    for channel in range(x.shape[1]):
        changed = x.clone()
        changed[:, channel] = 3 * changed[:, channel].roll(1, -1) if x.ndim == 4 else -changed[:, channel] - 2
        if torch.equal(layer(changed)[:, channel], output[:, channel]):
            return False
    return True


def keeps_zero(layer: nn.Module, x: Tensor) -> bool:
    zeroed = x.clone()
    zeroed[:, 1] = 0
    return not layer(zeroed)[:, 1].any()


def normalizes(layer: nn.Module, x: Tensor) -> bool:
    """Whether all its parameters are per channel, and its output does not change with the scale of its input."""
    names = {name for name, _ in layer.named_parameters()}
    if not names <= {"weight", "bias"} or any(each.shape != (x.shape[1],) for each in layer.parameters()):
        return False
    one, other = (layer.train()(factor * x) for factor in (100, 200))
    layer.eval()
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3)


def replaces_bias(layer: nn.Module, x: Tensor) -> bool:
    """Whether it has a bias, or subtracts a number that is added to a channel."""
    added = x + torch.arange(x.shape[1]).view(-1, *[1] * (x.ndim - 2))
    return "bias" in dict(layer.named_parameters()) or torch.allclose(layer(added), layer(x))


def choices(field: str) -> set[str]:
    """The types that a convolution takes as its `norm` or `activation`."""
    (choice,) = (mark for mark in LAYERS["conv"].model_fields[field].metadata if isinstance(mark, OneOf))
    return {each.type_name() for each in choice.types.values()}


def test_norms_and_activations_are_those_that_a_convolution_takes() -> None:
    assert {type_ for type_, each in LAYERS.items() if each.is_norm} == choices("norm")
    assert {type_ for type_, each in LAYERS.items() if each.is_activation} == choices("activation")


def test_a_type_that_does_not_say_what_is_saved_makes_the_memory_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAYERS["relu"], "saved", None)
    case = Case("conv", "{conv: {out_channels: 2, kernel_size: 3, activation: relu}}")
    assert memory_of(graph_of(case.network, "test"), BATCH).training is None


def test_settings_of_batch_norm_are_torchs() -> None:
    for shape, kind in (((4, 3, 3), nn.BatchNorm2d), ((4,), nn.BatchNorm1d)):
        module = LAYERS["batch_norm"].model_validate({"momentum": 0.5, "eps": 0.1}).build(shape)
        assert isinstance(module, kind)
        assert (module.momentum, module.eps) == (0.5, 0.1)
