"""The playground's engine in a worker made of the bundled script, in a browser."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser
from torch import Tensor

from cnncli.data.batches import Normalization
from cnncli.module import CnnModule, seeded_module
from cnncli.report.model_data import ModelData, model_data
from cnncli.report.page import base64_text, bundle
from tests.engine import EngineCase, EngineResult, relative_difference, run_engine_in_page
from tests.layers.test_contract import CASES, images_of, in_single
from tests.networks import network_of
from tests.report.test_engine import check_random_networks

pytestmark = pytest.mark.browser

ANSWERS = """
([script, messages, count]) => new Promise((resolve) => {
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const types = { u1: Uint8Array, f4: Float32Array };
  const read = (each) => {
    if (Array.isArray(each)) return each.map(read);
    if (!each?.base64 && each?.base64 !== "") return each;
    return new types[each.type](Uint8Array.from(atob(each.base64), (letter) => letter.charCodeAt(0)).buffer);
  };
  const answers = [];
  worker.onmessage = ({ data }) => {
    if (data.progress !== undefined) return;
    const { values, logits } = data;
    answers.push({
      ...data,
      logits: logits && [...logits],
      values: values && Object.fromEntries(Object.entries(values).map(([layer, each]) => [layer, [...each]])),
    });
    if (answers.length < count) return;
    worker.terminate();
    resolve(answers);
  };
  for (const message of messages)
    worker.postMessage(Object.fromEntries(Object.entries(message).map(([key, each]) => [key, read(each)])));
})
"""


def answers_of(browser: Browser, messages: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The answers of a worker by the `id` of the message, of those that have one."""
    page = browser.new_page()
    count = sum("id" in message for message in messages)
    answers = page.evaluate(ANSWERS, [bundle("engine/worker.js"), messages, count])
    page.close()
    return {answer["id"]: answer for answer in answers}


def typed(tensor: Tensor) -> dict[str, str]:
    """An array for a message: uint8 or float32."""
    content = tensor.detach().contiguous().numpy()
    return {"type": "u1" if tensor.dtype == torch.uint8 else "f4", "base64": base64_text(content.tobytes())}


def loading(*data: ModelData) -> dict[str, Any]:
    weights = [typed(torch.from_numpy(each.weights)) for each in data]
    return {"type": "load", "models": [each.model for each in data], "weights": weights}


def logits_of(module: CnnModule, images: Tensor, normalization: Normalization) -> Tensor:
    """The logits of uint8 images, normalized as in training."""
    factor, offset = normalization.factor_and_offset(255)
    with torch.no_grad():
        return torch.cat([module(part.float() * factor + offset) for part in torch.split(images, 100)])


def test_a_worker_answers_runs_and_tasks(browser: Browser) -> None:
    network = network_of(
        "[{conv: {out_channels: 4, kernel_size: 3, norm: batch, activation: gelu}}, {max_pool: 2}, flatten, logits]",
        (2, 10, 8),
        3,
    )
    module = seeded_module(network, 1).eval()
    normalization = Normalization(mean=(0.4, 0.5), std=(0.2, 0.3))
    data = model_data(module, classes=("cat", "dog", "owl"), normalization=normalization)
    images = torch.randint(256, (20, 2, 10, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    logits = logits_of(module, images, normalization)
    labels = logits.argmax(1).tolist()
    messages: list[dict[str, Any]] = [
        loading(data),
        {"type": "run", "id": 1, "pixels": typed(images[3])},
        {"type": "check", "id": 2, "images": typed(images), "logits": typed(logits)},
        {"type": "accuracy", "id": 3, "images": typed(images), "labels": labels},
        {"type": "run", "id": 4, "pixels": typed(images[0]), "edits": [{"kind": "identity", "layer": "conv7"}]},
    ]
    answers = answers_of(browser, messages)
    assert torch.allclose(torch.tensor(answers[1]["logits"]), logits[3], rtol=1e-5, atol=1e-5)
    assert set(answers[1]["values"]) == {node.name for node in network.nodes}
    check = answers[2]["result"]
    assert (check["count"], check["close"], check["same"]) == (20, 20, 20)
    assert answers[3]["result"]["correct"] == 20
    assert answers[4]["error"] == "no layer conv7"


@pytest.mark.slow  # the contract test of the layer types runs the same cases in node
def test_every_layer_type(browser: Browser) -> None:
    """All cases of the contract of layer types: the values of every layer."""
    modules = [in_single(case) for case in CASES]
    images = [images_of(case)[:1] for case in CASES]
    data = []
    for module in modules:
        channels = module.network.input_shape[0]
        unchanged = Normalization(mean=(0.0,) * channels, std=(1 / 255,) * channels)
        data.append(model_data(module, classes=("a", "b", "c", "d", "e"), normalization=unchanged))
    runs = [{"type": "run", "id": i, "model": i, "pixels": typed(each)} for i, each in enumerate(images)]
    answers = answers_of(browser, [loading(*data), *runs])
    for i, (case, module, image) in enumerate(zip(CASES, modules, images, strict=True)):
        with torch.no_grad():
            expected = module.double().outputs(image.double(), [node.name for node in case.network.nodes])
        for name, values in expected.items():
            actual = torch.tensor(answers[i]["values"][name], dtype=torch.float64).view(values.shape)
            assert relative_difference(actual, values) < 1e-5, (str(case), name)


@pytest.mark.slow
def test_200_random_networks(browser: Browser) -> None:
    page = browser.new_page()

    def engine(cases: Sequence[EngineCase]) -> list[EngineResult]:
        parts = (cases[start : start + 20] for start in range(0, len(cases), 20))
        return [result for part in parts for result in run_engine_in_page(part, page)]

    check_random_networks(200, engine)
    page.close()
