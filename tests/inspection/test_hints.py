"""Hints against figures computed by hand and against Richter et al."""

from collections.abc import Callable
from pathlib import Path

import pytest

import cnncli
from cnncli.inspection.graph import Graph
from cnncli.inspection.hints import HINTS, Hint
from cnncli.inspection.table import inspect_graph

GraphOf = Callable[..., Graph]

VGG16 = ", ".join(
    f"{{vgg: {{out_channels: {channels}, convs: {convs}}}}}"
    for channels, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
)


def vgg16(tmp_path: Path, size: int) -> dict[str, list[str]]:
    """Name of a hint -> the layers of VGG-16 that have it, with the names of the paper: `conv3_2`."""
    config = tmp_path / "vgg16.yaml"
    config.write_text(
        "version: 1\n"
        f"data: {{name: image-folder, path: x, size: {size}, channels: 3, classes: 10}}\n"
        "model:\n"
        "  defaults: {conv: {kernel_size: 3, padding: 1, activation: relu}}\n"
        "  blocks:\n"
        "    vgg:\n"
        "      params: {out_channels: required, convs: required}\n"
        "      layers: [{repeat: {times: $convs, layers: [{conv: $out_channels}]}}, {max_pool: {kernel_size: 2, "
        "ceil_mode: true}}]\n"
        f"  layers: [{VGG16}, global_avg_pool, logits]\n",
        encoding="utf-8",
    )
    found: dict[str, list[str]] = {}
    for hint in cnncli.inspect(config).hints:
        found.setdefault(hint.name, []).append(hint.layer.replace("vgg", "conv").replace(".conv", "_"))
    return found


def hints(graph: Graph, name: str) -> list[Hint]:
    return [hint for hint in inspect_graph(graph).hints if hint.name == name]


def test_critical_and_border_layers_of_vgg16(tmp_path: Path) -> None:
    at_28 = vgg16(tmp_path, 28)
    assert at_28["critical"] == ["conv3_2"]
    assert at_28["border"][0] == "conv3_3"
    at_224 = vgg16(tmp_path, 224)
    assert "critical" not in at_224
    assert "border" not in at_224


def test_a_size_as_large_as_the_input_does_not_span_it(tmp_path: Path) -> None:
    """VGG-16 on 32x32 has size 32 at conv3_2, yet no unit there spans all of it."""
    assert vgg16(tmp_path, 32)["whole-input"] != ["conv3_2"]


@pytest.mark.parametrize(("layers", "everyone"), [(26, False), (27, True)])
def test_every_unit_of_a_stack_spans_28_from_size_55(graph: GraphOf, layers: int, everyone: bool) -> None:
    """3x3 with padding 1 on 28: 1 + 2 n pixels after n layers, 55 after 27."""
    stack = ", ".join(["{conv: {out_channels: 1, kernel_size: 3, padding: 1}}"] * layers)
    (hint,) = hints(graph(f"[{stack}]"), "whole-input")
    assert hint.says.startswith("from conv27 on, every unit" if everyone else "some units")
    assert "from conv14 on" in hint.says


def test_the_span_may_have_holes(graph: GraphOf) -> None:
    """Two taps 27 apart: the one unit reads pixels 0 and 27."""
    (hint,) = hints(graph("[{conv: {out_channels: 1, kernel_size: 2, dilation: 27}}]"), "whole-input")
    assert hint.says == "from conv1 on, every unit spans the whole input"


def test_column_27_is_never_read(graph: GraphOf) -> None:
    network = graph("[{conv: {out_channels: 1, kernel_size: 3, stride: 2}}]")
    assert [hint.says for hint in hints(network, "unread")] == [
        "the network never reads row 27 of the input",
        "the network never reads column 27 of the input",
    ]
    assert len(hints(network, "dropped")) == 2
    assert not hints(graph("[{conv: {out_channels: 1, kernel_size: 3, stride: 2, padding: 1}}]"), "unread")


def test_positions_that_another_path_reads_are_not_skipped(graph: GraphOf) -> None:
    """The 1x1 shortcut of a ResNet block skips positions that the main path reads."""
    main = "{conv: {out_channels: 4, kernel_size: 3, stride: 2, padding: 1}}"
    assert not hints(graph(f"[{{residual: {{main: [{main}]}}}}]"), "skipped")
    assert hints(graph("[{conv: {out_channels: 4, kernel_size: 1, stride: 2}}]"), "skipped")


def test_holes_of_dilation(graph: GraphOf) -> None:
    layer = "{conv: {out_channels: 1, kernel_size: 3, dilation: 2}}"
    found = hints(graph(f"[{layer}, {layer}, {layer}]"), "holes")
    assert [hint.layer for hint in found] == ["conv1", "conv2", "conv3"]
    assert "7 of 13 positions" in found[-1].says
    plain = "{conv: {out_channels: 1, kernel_size: 3, dilation: 1}}"
    assert not hints(graph(f"[{plain}, {layer}]"), "holes")


def test_even_kernels_shift_only_with_unequal_padding(graph: GraphOf) -> None:
    (hint,) = hints(graph("[{max_pool: 2}, {conv: {out_channels: 1, kernel_size: 2, padding: same}}]"), "even-kernel")
    assert (hint.layer, "by 1.0 pixels" in hint.says) == ("conv1", True)
    assert not hints(graph("[{conv: {out_channels: 1, kernel_size: 4, padding: 1, stride: 2}}]"), "even-kernel")


@pytest.mark.parametrize(("kernel", "risky"), [(2, False), (3, True), (4, False), (5, True)])
def test_checkerboards(graph: GraphOf, kernel: int, risky: bool) -> None:
    network = graph(f"[{{conv_transpose: {{out_channels: 1, kernel_size: {kernel}, stride: 2}}}}]")
    assert bool(hints(network, "checkerboard")) is risky


def test_most_parameters() -> None:
    (hint,) = [hint for hint in cnncli.inspect("lenet5").hints if hint.name == "most-parameters"]
    assert (hint.layer, hint.says) == ("linear1", "holds 78% of all parameters")  # 48,120 of 61,706


def test_hints_can_be_ignored() -> None:
    assert {hint.name for hint in cnncli.inspect("lenet5", ignore=["most-parameters"]).hints} == {"whole-input"}


@pytest.mark.parametrize("name", HINTS)
def test_every_hint_has_a_page(name: str) -> None:
    page = Path(cnncli.__file__).parents[1] / "docs" / "hints" / f"{name}.md"
    assert page.read_text(encoding="utf-8").startswith(f"# {name}\n")
