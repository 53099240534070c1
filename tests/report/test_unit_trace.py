"""The arithmetic of one unit in JavaScript against that of the layer's class, for every layer type and join."""

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cnncli.capture.mode import keep_outputs
from cnncli.config.network import INPUT
from cnncli.data.batches import Normalization
from cnncli.layers.unit import Activated, Biased, Combined, Constant, Normalized, Patch, Stage, Term, Trace, Unit
from cnncli.report.model_data import model_data
from tests.layers.test_contract import CASES, Case

SCRIPT = Path(__file__).parents[1] / "js" / "trace-units.js"
RELATIVE = 1e-5
"""Largest difference of two numbers, by the largest number of the unit: what it is computed from is float32."""

Json = dict[str, Any]


def units(shape: tuple[int, ...]) -> Iterator[Unit]:
    """The corners, where padding is, and two in between."""
    count = math.prod(shape)
    for flat in sorted({0, count // 3, count // 2, count - 1}):
        yield Unit(tuple(int(each) for each in torch.unravel_index(torch.tensor(flat), shape)))


@torch.no_grad()
def expected_and_request(case: Case) -> tuple[list[Trace], Json]:
    """The traces of Python, and what JavaScript needs to make the same."""
    module, node = case.build().float(), case.node
    image = torch.randn(1, *case.shape, generator=torch.Generator().manual_seed(1))
    values = {name: each[0] for name, each in module.outputs(image, [INPUT, *node.inputs]).items()}
    layer = module.layer(node)
    with keep_outputs(dict(layer.named_children())) as outputs:
        layer(*(values[name][None] for name in node.inputs))
    sums: Tensor | None = outputs.get("conv", outputs.get("linear"))
    chosen = list(units(node.shape))
    inputs = [values[name] for name in node.inputs]
    before_norm = None if sums is None else sums[0]
    traces = [node.layer.trace(inputs, layer.state_dict(), unit, before_norm=before_norm) for unit in chosen]
    channels = case.shape[0]
    data = model_data(
        module, classes=tuple("abcde"), normalization=Normalization(mean=(0.5,) * channels, std=(0.25,) * channels)
    )
    request = {
        "model": data.model,
        "weights": data.weights.tolist(),
        "layer": node.name,
        "units": [unit.index for unit in chosen],
        "values": {name: each.flatten().tolist() for name, each in values.items() if name != INPUT},
        "input": image.flatten().tolist(),
    }
    return traces, request


@pytest.fixture(scope="module")
def traced() -> list[tuple[Case, list[Trace], list[Json]]]:
    """Every case with the traces of Python and of JavaScript."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    both = [expected_and_request(case) for case in CASES]
    text = json.dumps([request for _, request in both])
    done = subprocess.run([node, SCRIPT], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return list(zip(CASES, [traces for traces, _ in both], json.loads(done.stdout), strict=True))


def near(value: float, scale: float) -> object:
    return pytest.approx(value, abs=RELATIVE * scale)


def test_every_number_of_a_trace(traced: list[tuple[Case, list[Trace], list[Json]]]) -> None:
    assert {case.type for case, _, _ in traced} >= {case.type for case in CASES}
    for case, traces, answers in traced:
        for trace, answer in zip(traces, answers, strict=True):
            largest = max([1e-3, *(abs(each.value) for each in trace.stages), *(abs(t.amount) for t in trace.terms)])
            compare_patches(trace.patches, answer["patches"], str(case))
            compare_terms(trace.terms, answer["terms"], str(case))
            assert len(trace.stages) == len(answer["stages"]), case
            for stage, each in zip(trace.stages, answer["stages"], strict=True):
                assert each["value"] == near(stage.value, largest), (case, each)
                compare_stage(stage, each, largest, str(case))
            assert answer["engine"] == near(answer["stages"][-1]["value"], largest), case


def compare_patches(patches: tuple[Patch, ...], answers: list[Json], case: str) -> None:
    assert len(patches) == len(answers), case
    for patch, answer in zip(patches, answers, strict=True):
        assert (patch.channel, list(patch.rows), list(patch.columns)) == (
            answer["channel"],
            answer["rows"],
            answer["columns"],
        ), case
        assert answer["values"] == pytest.approx(patch.values.flatten().tolist()), case
        if patch.kernel is None:
            assert answer["kernel"] is None
        else:
            assert answer["kernel"] == pytest.approx(patch.kernel.flatten().tolist()), case
            assert answer["total"] == pytest.approx(patch.total, rel=RELATIVE, abs=1e-9), case


def compare_terms(terms: tuple[Term, ...], answers: list[Json], case: str) -> None:
    def key(each: Term) -> tuple[int, tuple[int, ...]]:
        return each.source, each.unit.index

    assert [key(each) for each in terms] == [(each["source"], tuple(each["index"])) for each in answers], case
    numbers = [[each.value, each.weight, each.amount] for each in terms]
    answered = [[each["value"], each["weight"], each["product"]] for each in answers]
    assert torch.allclose(torch.tensor(answered), torch.tensor(numbers), rtol=RELATIVE, atol=1e-9), case


def compare_stage(stage: Stage, answer: Json, largest: float, case: str) -> None:
    match stage:
        case Combined(how=how):
            kinds = {
                "sum of the channels": "sum",
                "sum of the products": "sum",
                "sum of the paths": "sum",
                "sum of the powers": "sum",
                "largest": "largest",
                "passed on": "passed",
                "weighted mean": "weighted",
                "times the factor of its channel": "scaled",
                "times the other paths": "scaled",
                "times the sigmoid of its gate": "scaled",
            }
            starts = {"sum / ": "mean", "divided by ": "divided", "to the power of 1 / ": "root"}
            expected = kinds.get(how) or next(kind for start, kind in starts.items() if how.startswith(start))
            assert answer["kind"] == expected, case
            if expected == "mean":
                assert f"sum / {answer['divisor']}" == how, case
            if expected == "divided":
                assert f"divided by {answer['divisor']:.6g}" == how, case
            if expected == "root":
                assert f"to the power of 1 / {answer['power']:g}" == how, case
        case Constant():
            assert answer["kind"] == "constant", case
        case Biased():
            assert (answer["kind"], answer["bias"]) == ("bias", near(stage.bias, 1)), case
        case Normalized(scaling=s):
            assert answer["kind"] == "norm", case
            assert answer["before"] == near(stage.before, largest), case
            for name in ("mean", "variance", "weight", "bias"):
                value = getattr(s, name)
                near_value = None if value is None else pytest.approx(value, rel=RELATIVE, abs=1e-6)
                assert answer[name] == near_value, (case, name)
        case Activated():
            assert (answer["kind"], answer["type"]) == ("activation", stage.type), case
            assert answer["before"] == near(stage.before, largest), case
