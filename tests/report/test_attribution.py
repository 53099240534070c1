"""Maps, edits and accuracy of the playground against `show saliency` and torch, for networks of many kinds."""

import copy
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from cnncli.module import CnnModule
from cnncli.report.model_data import model_data
from cnncli.run import Run
from cnncli.views.saliency import Saliency
from tests.engine import find_node
from tests.networks import network_of, randomize, run_of_model

SCRIPT = Path(__file__).parents[1] / "js" / "attribution-maps.js"
CLASSES = ("cat", "dog", "owl")
METHODS: tuple[Literal["gradient", "integrated", "occlusion"], ...] = ("gradient", "integrated", "occlusion")

Edit: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Case:
    layers: str
    shape: tuple[int, int, int] = (1, 14, 15)
    edits: tuple[Edit, ...] = ()


CONV = "conv: {out_channels: 4, kernel_size: 3"
CASES = {
    "tanh and mean pools": Case(f"[{{{CONV}, activation: tanh}}}}, {{avg_pool: 2}}, flatten, logits]"),
    "relu and max pools": Case(f"[{{{CONV}, padding: same, activation: relu}}}}, {{max_pool: 2}}, flatten, logits]"),
    "colors, stride and dilation": Case(
        f"[{{{CONV}, stride: 2}}}}, gelu, {{{CONV}, dilation: 2, padding: same}}}}, silu, flatten, logits]", (3, 12, 12)
    ),
    "batch norm": Case(f"[{{{CONV}, norm: batch_norm, activation: relu}}}}, global_avg_pool, logits]"),
    "other norms": Case(
        f"[{{{CONV}, norm: {{group_norm: 2}}, activation: elu}}}}, {{{CONV}, norm: layer_norm}}}}, flatten, logits]"
    ),
    "residual": Case(
        f"[{{{CONV}, padding: same}}}}, {{residual: {{main: [{{{CONV}, padding: same}}}}, tanh]}}}}, flatten, logits]"
    ),
    "branches": Case(
        f"[{{branch: {{merge: concat, paths: [[{{{CONV}, padding: same}}}}], [identity]]}}}}, hardswish, "
        "{adaptive_avg_pool: 3}, flatten, logits]"
    ),
    "depthwise and shuffled": Case(
        f"[{{{CONV}}}}}, {{conv: {{out_channels: 8, kernel_size: 3, groups: 4, activation: mish}}}}, "
        "{channel_shuffle: 2}, global_max_pool, logits]"
    ),
    "transposed": Case(
        f"[{{{CONV}, stride: 3}}}}, {{conv_transpose: {{out_channels: 2, kernel_size: 2, stride: 2}}}}, sigmoid, "
        "{upsample: 2}, flatten, logits]"
    ),
    "only linear": Case("[flatten, {linear: {out_features: 9, activation: softplus}}, logits]", (2, 25, 26)),
    "attention": Case(
        f"[{{{CONV}, norm: rms, stride: 2}}}}, {{residual: [{{self_attention: 2}}]}}, {{instance_norm: true}}, glu, "
        "flatten, {linear: 6}, {maxout: 2}, logits]"
    ),
    "local response norm": Case(
        f"[{{{CONV}, activation: relu}}}}, {{local_response_norm: 3}}, {{max_pool: {{kernel_size: 3, stride: 2}}}}, "
        "flatten, {linear: 6}, relu, logits]"
    ),
    "a filter switched off": Case(
        f"[{{{CONV}, activation: relu}}}}, {{max_pool: 2}}, flatten, logits]",
        edits=(
            {"kind": "scale", "layer": "conv1", "channel": 2, "factor": 0},
            {"kind": "scale", "layer": "conv1", "channel": 0, "factor": -1.5},
            {"kind": "scale", "layer": "logits1", "channel": 1, "factor": 0.5},
        ),
    ),
    "weights and kernels by hand": Case(
        f"[{{{CONV}, norm: batch_norm, activation: relu}}}}, {{{CONV}}}}}, flatten, {{linear: 5}}, logits]",
        edits=(
            {"kind": "weight", "tensor": "conv1.norm.bias", "index": 3, "value": 2.5},
            {"kind": "kernel", "tensor": "conv2.conv.weight", "channel": 1, "values": [0.25] * 36},
            {"kind": "weight", "tensor": "conv2.conv.weight", "index": 40, "value": -3},
            {"kind": "weight", "tensor": "linear1.linear.weight", "index": 7, "value": 1},
        ),
    ),
    "a transposed kernel by hand": Case(
        f"[{{{CONV}}}}}, {{conv_transpose: {{out_channels: 2, kernel_size: 2}}}}, flatten, logits]",
        edits=({"kind": "kernel", "tensor": "conv_transpose1.conv.weight", "channel": 1, "values": list(range(16))},),
    ),
    "activations removed": Case(
        f"[{{{CONV}, activation: tanh}}}}, {{avg_pool: 2}}, {{{CONV}}}}}, relu, "
        f"{{residual: {{main: [{{{CONV}, padding: same}}}}], activation: relu}}}}, flatten, logits]",
        edits=tuple({"kind": "identity", "layer": layer} for layer in ("conv1", "relu1", "residual1.add")),
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of every case, without its edits."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: _run(case, seed, folder) for seed, (name, case) in enumerate(CASES.items())}


def _run(case: Case, seed: int, folder: Path) -> Run:
    generator = torch.Generator().manual_seed(seed)
    model = randomize(CnnModule(network_of(case.layers, case.shape, 3)), generator)
    images = torch.randint(256, (24, *case.shape), generator=generator, dtype=torch.uint8)
    images[:, :, :, : case.shape[2] // 2] = 0  # the equal values of a background, which pools meet in digits
    labels = torch.randint(3, (len(images),), generator=generator)
    return run_of_model(model, images, labels, path=folder, classes=CLASSES)


@pytest.fixture(scope="module")
def found(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's JavaScript computes of every case."""
    cases = []
    for number, (name, case) in enumerate(CASES.items()):
        run = runs[name]
        data = model_data(run.model, classes=run.classes, normalization=run.normalization)
        cases.append(
            {
                "model": data.model,
                "weights": data.weights.tolist(),
                "edits": case.edits,
                "images": run.test.images.flatten(1).tolist(),
                "labels": run.test.labels.tolist(),
                "target": number % 3,
            }
        )
    path = tmp_path_factory.mktemp("cases") / "cases.json"
    path.write_text(json.dumps(cases))
    done = subprocess.run([find_node(), SCRIPT, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


def edited(model: CnnModule, edits: Sequence[Edit]) -> CnnModule:
    """A module with the same edits, made in torch."""
    copied = copy.deepcopy(model)
    state = copied.state_dict()
    for edit in edits:
        match edit["kind"]:
            case "weight":
                state[edit["tensor"]].view(-1)[edit["index"]] = edit["value"]
            case "kernel":
                (layer, _, _) = edit["tensor"].rsplit(".", 2)
                weight = state[edit["tensor"]]
                transposed = isinstance(copied.get_submodule(f"{layer}.conv"), nn.ConvTranspose2d)
                kernel = weight[:, edit["channel"]] if transposed else weight[edit["channel"]]
                kernel.copy_(torch.tensor(edit["values"]).view(kernel.shape))
            case "scale":
                copied.get_submodule(edit["layer"]).register_forward_hook(_scaling(edit["channel"], edit["factor"]))
            case "identity":
                layer_module = copied.get_submodule(edit["layer"])
                if "activation" in dict(layer_module.named_children()):
                    layer_module.activation = nn.Identity()
                else:
                    layer_module.register_forward_hook(lambda module, inputs, output: inputs[0])
    return copied


def _scaling(channel: int, factor: float) -> Any:
    def scale(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        factors = torch.ones(output.shape[1])
        factors[channel] = factor
        return output * factors.view(-1, *[1] * (output.ndim - 2))

    return scale


def edited_run(run: Run, case: Case) -> Run:
    model = edited(run.model, case.edits)
    return run_of_model(model, run.test.images, run.test.labels, path=run.path, classes=CLASSES)


@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_show_saliency(name: str, runs: dict[str, Run], found: dict[str, Any]) -> None:
    run = edited_run(runs[name], CASES[name])
    target = CLASSES[list(CASES).index(name) % 3]
    for method in METHODS:
        (picture,) = Saliency(images=("0",), method=method, target=target).pictures(run)
        expected: npt.NDArray[np.float64] = picture.tiles[1].values
        limit = float(np.abs(expected).max())
        actual = np.array(found[name]["maps"][method]["map"]).reshape(expected.shape)
        assert limit > 0
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * limit, err_msg=method)


@pytest.mark.parametrize("name", CASES)
def test_logits_and_accuracy_are_those_of_torch(name: str, runs: dict[str, Run], found: dict[str, Any]) -> None:
    run = edited_run(runs[name], CASES[name])
    inputs = torch.stack([run.as_input(image) for image in run.test.images])
    with torch.inference_mode():
        logits = run.model(inputs)  # (N, classes)
        original = runs[name].model(inputs)
    actual = torch.tensor(found[name]["logits"])
    assert torch.equal(actual[0], torch.tensor(found[name]["logitsTask"]))
    torch.testing.assert_close(actual, logits, rtol=1e-4, atol=1e-5 * float(logits.abs().max()))
    if CASES[name].edits:
        assert (logits - original).abs().max() > 0.01 * original.abs().max(), "the edits matter"
    accuracy = found[name]["accuracy"]
    assert accuracy["count"] == len(inputs)
    assert accuracy["correct"] == int((logits.argmax(1) == run.test.labels).sum())
    assert accuracy["predictions"] == logits.argmax(1).tolist()


@pytest.mark.parametrize("name", CASES)
def test_multiply_accumulates_are_those_of_inspect(name: str, runs: dict[str, Run], found: dict[str, Any]) -> None:
    assert found[name]["macs"] == runs[name].table.macs


def test_the_notes_are_those_of_show_saliency(runs: dict[str, Run], found: dict[str, Any]) -> None:
    from cnncli.views import attribution

    run = runs["relu and max pools"]
    image = run.as_input(run.test.images[0])
    black = run.as_input(torch.zeros_like(run.test.images[0]))
    complete = attribution.complete_gradients(
        run.model, image, list(CASES).index("relu and max pools") % 3, baseline=black
    )
    maps = found["relu and max pools"]["maps"]
    assert maps["integrated"]["steps"] == complete.steps
    assert maps["integrated"]["error"] == pytest.approx(complete.error, rel=0.02, abs=1e-5)
    assert (maps["occlusion"]["size"], maps["occlusion"]["stride"]) == ([2, 2], [1, 1])
