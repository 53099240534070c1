"""Receptive fields as the page looks them up, against a NaN probe of the torch module, for every unit.

The probe knows of no windows: one row (or column) of the input or of a layer is NaN, and the units that become NaN are
those that depend on it. All rows are probed in one batch. The receptive field of a position is the union over the
channels of the layer, which differ where paths are concatenated.

Letters for shapes: U units of a layer (positions, or features), (h, w) a layer's maps, (H, W) those of its source.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cnncli.config.config import read_config
from cnncli.config.network import INPUT, Network
from cnncli.inspection.graph import graph_of
from cnncli.module import CnnModule
from cnncli.report.network import network_data
from tests.engine import data_of, find_node
from tests.nan_probe import zero_weights_stop_nan
from tests.networks import network_of

SCRIPT = Path(__file__).parents[1] / "js" / "receptive-field-masks.js"
CONFIGS = sorted(path.stem for path in Path("configs").glob("*.yaml"))
SMALL = {
    "gaps, even kernels, unread rows": (
        "[{conv: {out_channels: 2, kernel_size: [3, 4], dilation: [2, 1], stride: [1, 2], padding: [3, 0]}}, "
        "{max_pool: {kernel_size: 2, stride: 3}}, {conv: {out_channels: 2, kernel_size: 1, padding: 1}}, flatten, "
        "logits]"
    ),
    "branches and a residual block": (
        "[{branch: {merge: concat, paths: [[{conv: {out_channels: 2, kernel_size: [1, 5], padding: same}}], "
        "[{conv: {out_channels: 2, kernel_size: 3, dilation: 3, padding: same}}]]}}, "
        "{residual: {main: [{conv: {out_channels: 4, kernel_size: 3, stride: 2, padding: same}}]}}, "
        "{adaptive_avg_pool: [3, 2]}, flatten, {linear: 3}, logits]"
    ),
    "a vector that multiplies a path": (
        "[{conv: {out_channels: 2, kernel_size: 3}}, {branch: {merge: multiply, paths: ["
        "[{conv: {out_channels: 2, kernel_size: 3, padding: same}}], [global_avg_pool, {linear: 2}]]}}, "
        "flatten, logits]"
    ),
    "upsampled and transposed": (
        "[{max_pool: 2}, {upsample: {size: [7, 9], mode: bilinear}}, "
        "{conv_transpose: {out_channels: 2, kernel_size: 2, stride: 3}}, global_max_pool, logits]"
    ),
}
Masks = npt.NDArray[np.bool_]


def sources_of(network: Network) -> list[str]:
    return [INPUT, *(node.name for node in network.nodes if len(node.shape) == 3)]


def pairs_of(network: Network) -> list[tuple[str, str]]:
    """Every layer with each layer before it, also those of parallel paths, on which no unit depends."""
    order = [INPUT, *(node.name for node in network.nodes)]
    return [(layer, source) for source in sources_of(network) for layer in order[order.index(source) + 1 :]]


def shapes_of(network: Network) -> dict[str, tuple[int, ...]]:
    return {INPUT: network.input_shape, **{node.name: node.shape for node in network.nodes}}


def nan_outputs(model: CnnModule, source: str, axis: int) -> dict[str, Tensor]:
    """For each layer which units become NaN in any channel: (H or W, h, w), or (.., F) without positions."""
    shape = shapes_of(model.network)[source]
    poisoned = torch.zeros(shape[axis], *shape)
    for position in range(shape[axis]):
        poisoned[position].select(axis, position).fill_(float("nan"))
    names = [node.name for node in model.network.nodes]
    with zero_weights_stop_nan():
        if source == INPUT:
            outputs = model.outputs(poisoned, names)
        else:
            replace = model.get_submodule(source).register_forward_hook(lambda module, inputs, output: poisoned)
            outputs = model.outputs(torch.zeros(shape[axis], *model.network.input_shape), names)
            replace.remove()
    found = {}
    for node in model.network.nodes:
        wrong = outputs[node.name].isnan()
        if wrong.ndim == 4:
            found[node.name] = wrong.any(1)
        elif node.layer.type == "flatten":  # each feature is still the unit of a position
            by_position = wrong.view(len(wrong), *shapes_of(model.network)[node.inputs[0]]).any(1, keepdim=True)
            found[node.name] = by_position.expand(-1, wrong.shape[1] // by_position[0].numel(), -1, -1).flatten(1)
        else:
            found[node.name] = wrong.any(1, keepdim=True).expand_as(wrong)
    return found


@torch.no_grad()
def probe(model: CnnModule) -> Iterator[tuple[Masks, Masks]]:
    """For each pair: what each unit depends on, (U, H + W), and which units depend on each position, (H * W, h + w)."""
    for source in sources_of(model.network):
        (by_row, by_column) = (nan_outputs(model, source, axis) for axis in (1, 2))
        for layer, _ in (pair for pair in pairs_of(model.network) if pair[1] == source):
            both = (by_row[layer], by_column[layer])
            rows, columns = (each.flatten(1).T for each in both)  # (U, H) and (U, W)
            depends = rows.any(1, keepdim=True) & columns.any(1, keepdim=True)
            units = torch.cat([rows & depends, columns & depends], 1)
            if both[0].ndim == 3:
                down, across = both[0].any(2), both[1].any(1)  # (H, h) and (W, w)
            else:
                down, across = (each.any(1, keepdim=True) for each in both)  # (H, 1) and (W, 1)
            height, width = len(down), len(across)
            down = down[:, None].expand(height, width, -1)
            across = across[None].expand(height, width, -1)
            read = down.any(2, keepdim=True) & across.any(2, keepdim=True)
            dependents = torch.cat([down & read, across & read], 2).flatten(0, 1)
            yield units.numpy(), dependents.numpy()


def of_the_page(model: CnnModule, folder: Path) -> Iterator[tuple[Masks, Masks]]:
    """The same, as the page's JavaScript looks it up."""
    network, data = model.network, data_of(model)
    described = {
        "network": network_data(graph_of(network, "test")),
        "model": data.model,
        "weights": len(data.weights),
        "pairs": pairs_of(network),
    }
    (folder / "network.json").write_text(json.dumps(described))
    done = subprocess.run([find_node(), SCRIPT, folder], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    masks = np.fromfile(folder / "masks.u1", dtype=np.bool_)
    shapes = shapes_of(network)
    position = 0
    for layer, source in pairs_of(network):
        height, width = shapes[source][1:]
        rows, columns = shapes[layer][1:] if len(shapes[layer]) == 3 else (1, 1)
        count = rows * columns if len(shapes[layer]) == 3 else shapes[layer][0]
        taken = []
        for shape in ((count, height + width), (height * width, rows + columns)):
            taken.append(masks[position : position + shape[0] * shape[1]].reshape(shape))
            position += shape[0] * shape[1]
        yield taken[0], taken[1]
    assert position == len(masks)


def check(network: Network, folder: Path) -> int:
    """Compare all units; returns the number of pairs of a unit and a source that depend on each other."""
    model = CnnModule(network).eval()
    compared = 0
    for pair, expected, found in zip(pairs_of(network), probe(model), of_the_page(model, folder), strict=True):
        np.testing.assert_array_equal(found[0], expected[0], err_msg=f"units of {pair}")
        np.testing.assert_array_equal(found[1], expected[1], err_msg=f"dependents of {pair}")
        compared += int(expected[0].any(1).sum())
    return compared


@pytest.mark.parametrize("layers", SMALL.values(), ids=SMALL)
def test_every_unit_of_small_networks(layers: str, tmp_path: Path) -> None:
    network = network_of(layers, (1, 11, 12), 3)
    assert check(network, tmp_path) > 100


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_every_unit_of_bundled_configs(config: str, tmp_path: Path) -> None:
    network = read_config(config, data_dir=Path("nowhere")).network
    assert check(network, tmp_path) > 1000
