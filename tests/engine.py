"""The engine in JavaScript (`cnncli/report/assets/engine`), run by node or in a page on any number of networks."""

import base64
import json
import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cnncli.data.batches import Normalization
from cnncli.module import CnnModule
from cnncli.report.model_data import ModelData, model_data
from cnncli.report.page import base64_text, bundle

JAVASCRIPT = Path(__file__).parent / "js"
Numbers = npt.NDArray[np.float64]

RUN_IN_PAGE = """
async ([engine, runner, cases, text]) => {
  const { Network } = new Function(engine)();
  const runCases = new Function(`${runner}; return runCases;`)();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const results = runCases(Network, cases, new Float64Array(bytes.buffer));
  const reader = new FileReader();
  await new Promise((resolve) => {
    reader.onload = resolve;
    reader.readAsDataURL(new Blob([results]));
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}
"""


class Evaluates(Protocol):
    """A page of a browser."""

    def evaluate(self, function: str, argument: Any = None, /) -> Any:
        """What a JavaScript function returns for an argument."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineCase:
    """A network, float32 inputs (N, C, H, W), and factors of the outputs (N, ...) whose gradient is wanted."""

    data: ModelData
    inputs: Tensor
    seeds: Tensor | None = None
    edits: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineResult:
    """What the engine computes of one case.

    Attributes:
        values: layer -> (N, ...).
        steps: after each operation of the last layer, (N, ...).
        gradients: with respect to the inputs, (N, C, H, W).
    """

    values: dict[str, Tensor]
    steps: list[Tensor]
    gradients: Tensor | None


def data_of(module: CnnModule) -> ModelData:
    """A module's network for the engine, without a normalization."""
    classes = [str(number) for number in range(module.network.classes)]
    channels = module.network.input_shape[0]
    return model_data(module, classes=classes, normalization=Normalization.none(channels))


def find_node() -> str:
    """Node, or the test is skipped."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    return node


def run_engine(cases: Sequence[EngineCase], folder: Path) -> list[EngineResult]:
    """Run all cases in one process of node, which reads and writes files in `folder`."""
    described, numbers = _packed(cases)
    (folder / "cases.json").write_text(json.dumps(described))
    numbers.tofile(folder / "numbers.f64")
    done = subprocess.run(
        [find_node(), JAVASCRIPT / "run-networks.js", folder], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return _unpacked(cases, np.fromfile(folder / "results.f64"))


def run_engine_in_page(cases: Sequence[EngineCase], page: Evaluates) -> list[EngineResult]:
    """Run all cases in a page of a browser."""
    described, numbers = _packed(cases)
    runner = (JAVASCRIPT / "run-cases.js").read_text(encoding="utf-8").replace("export ", "")
    # The modules of a bundle are known only in its block, which ends it.
    engine = bundle("engine/network.js").rstrip().removesuffix("}") + 'return modules["engine/network.js"]; }'
    sent = [engine, runner, described, base64_text(numbers.tobytes())]
    return _unpacked(cases, np.frombuffer(base64.b64decode(page.evaluate(RUN_IN_PAGE, sent))))


def _packed(cases: Sequence[EngineCase]) -> tuple[list[dict[str, Any]], Numbers]:
    """The cases as JSON, and all their numbers one after another."""
    numbers: list[Numbers] = []
    position = 0

    def place(array: npt.ArrayLike) -> tuple[int, int]:
        nonlocal position
        numbers.append(np.asarray(array, np.float64).ravel())
        position += numbers[-1].size
        return position - numbers[-1].size, numbers[-1].size

    described = [
        {
            "model": case.data.model,
            "weights": place(case.data.weights),
            "inputs": [place(each.numpy()) for each in case.inputs],
            "seeds": [] if case.seeds is None else [place(each.numpy()) for each in case.seeds],
            "edits": list(case.edits),
        }
        for case in cases
    ]
    return described, np.concatenate(numbers)


def _unpacked(cases: Sequence[EngineCase], numbers: Numbers) -> list[EngineResult]:
    """The results, which `runCases` returns one after another."""
    results = torch.from_numpy(numbers.copy())
    position = 0

    def take(shape: Sequence[int]) -> Tensor:
        nonlocal position
        position += math.prod(shape)
        return results[position - math.prod(shape) : position].view(*shape)

    found = []
    for case in cases:
        layers = case.data.model["layers"]
        by_input = [
            (
                [take(layer["shape"]) for layer in layers],
                [take(op["shape"]) for op in layers[-1]["operations"]],
                [] if case.seeds is None else [take(case.inputs.shape[1:])],
            )
            for _ in case.inputs
        ]
        values, steps, gradients = (
            [torch.stack(each) for each in zip(*group, strict=True)] for group in zip(*by_input, strict=True)
        )
        names = [layer["name"] for layer in layers]
        found.append(
            EngineResult(
                values=dict(zip(names, values, strict=True)),
                steps=steps,
                gradients=gradients[0] if gradients else None,
            )
        )
    assert position == len(results), "the edits changed the number of operations of the last layer"
    return found


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, divided by the largest expected number."""
    assert actual.shape == expected.shape
    if not actual.numel() or torch.equal(actual, expected):
        return 0.0
    return float((actual - expected).abs().max() / expected.abs().max())
