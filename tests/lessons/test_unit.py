"""`explain unit` prints what the network computes, digit by digit, for every type of layer."""

import math
import re
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from cnncli.config.network import Node
from cnncli.errors import DataError, UsageError
from cnncli.layers.unit import Combined, Trace, Unit
from cnncli.lessons.page import Page
from cnncli.lessons.unit import ComputedUnit, choose_unit, path_page, unit_page
from cnncli.run import Run

Plain = Callable[[Page], str]
MakeRun = Callable[..., Run]
Snapshot = Callable[[str, str], None]

NETWORK = """
model:
  layers:
    - conv: {out_channels: 4, kernel_size: 3, padding: 2, stride: 2, norm: batch, activation: relu}
    - conv: {out_channels: 6, kernel_size: 4, padding: same, dilation: 2, groups: 2, activation: tanh}
    - conv: {out_channels: 6, kernel_size: [1, 3], groups: 6, norm: {group: 2}, activation: gelu}
    - conv: {out_channels: 4, kernel_size: 3, padding: 1, norm: layer}
    - conv_transpose: {out_channels: 4, kernel_size: 3, stride: 2, padding: 1, groups: 2, activation: silu}
    - max_pool: {kernel_size: 3, stride: 2, padding: 1}
    - avg_pool: {kernel_size: 2, stride: 1, padding: 1, count_include_pad: false}
    - residual: {main: [{conv: {out_channels: 4, kernel_size: 3, padding: 1}}], activation: relu}
    - branch: {merge: concat, paths: [[identity], [{upsample: {scale_factor: 1, mode: bilinear}}]]}
    - group_norm: 2
    - layer_norm
    - batch_norm
    - adaptive_avg_pool: 3
    - adaptive_max_pool: 2
    - dropout: 0.5
    - upsample: 2
    - sigmoid
    - pad: {padding: [[1, 0], 2], mode: reflect}
    - pad: {channels: [0, 1], value: 0.5}
    - blur_pool
    - coordinates
    - lp_pool: {norm_type: 2, kernel_size: [1, 2]}
    - crop: {size: [2, 1]}
    - softmax
    - flatten
    - linear: {out_features: 9, norm: layer, activation: elu}
    - linear: {out_features: 6, norm: {group: 3}}
    - logits
"""
REPEATED = """
model:
  layers:
    - conv: {out_channels: 2, kernel_size: 3, padding: 1, padding_mode: circular}
    - flatten
    - logits
"""
SMALL = """
model:
  layers:
    - conv: {out_channels: 2, kernel_size: 3, padding: same, activation: relu, norm: batch}
    - max_pool: 2
    - conv: {out_channels: 2, kernel_size: 2, activation: tanh}
    - flatten
    - logits
"""


def units(node: Node) -> Iterator[Unit]:
    """The corners, where padding is, and the middle."""
    count = math.prod(node.shape)
    for flat in {0, count // 2, count - 1}:
        yield Unit(tuple(int(each) for each in torch.unravel_index(torch.tensor(flat), node.shape)))


def network_numbers(run: Run, node: Node, image: str, unit: Unit) -> list[float]:
    """The outputs of the parts of a layer during a forward pass of the whole network."""
    seen: list[Tensor] = []
    layer = run.model.layer(node)
    parts = [part for name, part in layer.named_children() if name in ("conv", "linear", "norm", "activation")]
    handles = [
        part.register_forward_hook(lambda _part, _inputs, output: seen.append(output)) for part in parts or [layer]
    ]
    with torch.no_grad():
        run.model(run.input_image(image).image[None])
    for handle in handles:
        handle.remove()
    return [each[0][unit.index].item() for each in seen]


@pytest.mark.parametrize("seed", range(3))
def test_the_printed_numbers_equal_those_of_the_network(make_run: MakeRun, plain: Plain, seed: int) -> None:
    run = make_run(NETWORK, (2, 11, 12), seed=seed)
    for node in run.model.network.nodes:
        for unit in units(node):
            at = None if len(unit.index) == 1 else f"{unit.index[1]},{unit.index[2]}"
            assert choose_unit(node, unit.channel, at) == unit
            text = plain(unit_page(run, node, unit, run.input_image("1")))
            table = text[text.index("by hand") :].split("\n\n")[0].splitlines()[1:]
            printed = [line.split()[-2:] for line in table]
            assert printed, (node.name, text)
            assert all(by_hand == network for by_hand, network in printed), (node.name, unit, text)
            expected = network_numbers(run, node, "1", unit)
            decimals = len(printed[-1][1].partition(".")[2])
            # The page shows "-0.0000" as 0.0000.
            shown = [f"{value:.{decimals}f}" for value in expected]
            shown = [each.lstrip("-") if float(each) == 0 else each for each in shown]
            assert [network for _, network in printed] == shown, (node.name, unit, text)


def test_the_printed_patches_and_kernels_give_the_printed_sums(make_run: MakeRun, plain: Plain) -> None:
    """The sums of each channel, computed from the digits on the page."""
    run = make_run(SMALL, (1, 6, 6))
    text = plain(unit_page(run, run.node("conv2"), Unit((1, 0, 1)), run.input_image("0")))
    sums = []
    for step in re.split(r"max_pool1, channel \d", text)[1:]:
        rows = [line.replace("*", " ").split() for line in step.splitlines()[2:4]]
        patch, kernel = ([[float(cell) for cell in row[side]] for row in rows] for side in (slice(0, 2), slice(2, 4)))
        by_hand = sum(a * b for p, k in zip(patch, kernel, strict=True) for a, b in zip(p, k, strict=True))
        printed = float(re.search(r"sum of products = (\S+)", step)[1])  # type: ignore[index]  # it is there
        assert by_hand == pytest.approx(printed, abs=5e-4)
        sums.append(printed)
    total = float(re.search(r"sum of the channels: .* = (\S+)", text)[1])  # type: ignore[index]  # likewise
    assert sum(sums) == pytest.approx(total, abs=2e-4)


def test_wide_patches_stay_within_80_columns(make_run: MakeRun, plain: Plain) -> None:
    text = "model: {layers: [{conv: {out_channels: 1, kernel_size: 11, padding: same}}, flatten, logits]}"
    run = make_run(text, (1, 12, 12))
    page = plain(unit_page(run, run.node("conv1"), Unit((0, 5, 5)), run.input_image("0")))
    assert max(map(len, page.splitlines())) <= 80


def test_padding_that_repeats_pixels_is_named(make_run: MakeRun, plain: Plain) -> None:
    run = make_run(REPEATED, (1, 6, 6))
    at_the_corner, inside = (
        " ".join(plain(unit_page(run, run.node("conv1"), Unit((0, i, i)), run.input_image("0"))).split())
        for i in (0, 2)
    )
    assert "input, channel 0, rows 5, 0, 1, columns 5, 0, 1" in at_the_corner
    assert "numbers of the input are repeated" in at_the_corner
    assert "input, channel 0, rows 1 to 3, columns 1 to 3" in inside
    assert "repeated" not in inside


def test_pages_of_units(make_run: MakeRun, plain: Plain, snapshot: Snapshot) -> None:
    run = make_run(SMALL, (1, 6, 6))
    snapshot(plain(unit_page(run, run.node("conv1"), Unit((1, 0, 3)), run.input_image("2"))), "unit_conv")
    snapshot(plain(unit_page(run, run.node("max_pool1"), Unit((0, 1, 1)), run.input_image("2"))), "unit_pool")
    snapshot(plain(unit_page(run, run.node("logits1"), Unit((2,)), run.input_image("2"))), "unit_logits")


def test_page_of_the_strongest_path(make_run: MakeRun, plain: Plain, snapshot: Snapshot) -> None:
    run = make_run(SMALL, (1, 6, 6))
    snapshot(plain(path_page(run, run.node("logits1"), Unit((2,)), run.input_image("2"))), "why")


def test_the_path_follows_the_largest_product(make_run: MakeRun, plain: Plain) -> None:
    """One weight of each layer is far larger than the others, so the path is known."""
    run = make_run(SMALL, (1, 6, 6))
    with torch.no_grad():
        state = run.model.state_dict()
        for name in ("conv1.conv.weight", "conv2.conv.weight", "logits1.weight"):
            state[name].fill_(0.001)
        state["conv1.conv.weight"][1, 0, 2, 0] = 5  # one row down, one column to the left
        state["conv1.norm.weight"].fill_(1)
        state["conv1.norm.bias"].zero_()
        state["conv1.norm.running_mean"].zero_()
        state["conv2.conv.weight"][0, 1, 1, 1] = 5  # filter 1, one row down, one column to the right
        state["logits1.weight"][2, 3] = 5  # filter 0 of conv2 at row 1, column 1
    picture = run.test.images[0]
    picture.fill_(200)
    text = plain(path_page(run, run.node("logits1"), Unit((2,)), run.input_image("0")))
    assert "conv2, filter 0 at row 1, column 1" in text
    assert "max_pool1, filter 1 at row 2, column 2" in text
    # The four units under that window are equal except at the border; torch takes the first: row 4, column 4.
    assert "conv1, filter 1 at row 4, column 4" in text
    assert "the pixel in row 5, column 3: gray level 200 of 255" in text


def test_a_path_on_which_nothing_contributes(make_run: MakeRun, plain: Plain) -> None:
    run = make_run(SMALL, (1, 6, 6))
    with torch.no_grad():
        for module in run.model.modules():
            if isinstance(module, nn.Linear):
                module.weight.zero_()
    text = plain(path_page(run, run.node("logits1"), Unit((0,)), run.input_image("0")))
    assert "nothing contributes" in text


@pytest.mark.parametrize(
    ("ours", "network", "decimals"),
    [
        (0.5, 0.5, 4),
        (1234.5, 1234.5, 1),
        (0.123450001, 0.123449999, 3),  # 0.1235 and 0.1234, but both 0.123
        (0.1250001, 0.1249999, 4),
        (0.12450001, 0.12449999, 4),  # 0.1245 both
        (0.5, 0.6, 4),  # a real difference is not hidden
    ],
)
def test_the_decimals_hide_rounding_but_no_real_difference(
    make_run: MakeRun, ours: float, network: float, decimals: int
) -> None:
    node = make_run(SMALL, (1, 6, 6)).node("logits1")
    trace = Trace((), (), (Combined("sum", ours),))
    assert ComputedUnit(node, Unit((0,)), trace, (network,)).decimals == decimals


@pytest.mark.parametrize(
    ("layer", "filter_", "at", "message"),
    [
        ("conv1", 2, "0,0", "--filter: conv1 has 2 feature maps, 0 to 1"),
        ("conv1", 0, "6,0", "--at: conv1 has 6x6 units, so there is none at 6,0"),
        ("conv1", 0, None, "--at is missing"),
        ("logits1", 0, "0,0", "--at: the units of logits1 have no position"),
        ("logits1", 3, None, "--filter: logits1 has 3 units, 0 to 2"),
    ],
)
def test_units_that_do_not_exist(make_run: MakeRun, layer: str, filter_: int, at: str | None, message: str) -> None:
    run = make_run(SMALL, (1, 6, 6))
    with pytest.raises(UsageError, match=message):
        choose_unit(run.node(layer), filter_, at)


def test_layers_and_images_that_do_not_exist(make_run: MakeRun) -> None:
    run = make_run(SMALL, (1, 6, 6))
    with pytest.raises(UsageError, match=r"has no layer conv3\. Did you mean conv"):
        run.node("conv3")
    with pytest.raises(UsageError, match="there are 4 test images, 0 to 3"):
        run.input_image("4")
    with pytest.raises(DataError, match=r"my.png: No such file"):
        run.input_image("my.png")
