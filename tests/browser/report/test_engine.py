"""The playground's engine in a worker made of the bundled script, in a browser."""

import pytest
import torch
from playwright.sync_api import Browser

from cnncli.data.batches import Normalization
from cnncli.module import seeded_module
from cnncli.report.model_data import model_data
from cnncli.report.page import bundle
from tests.networks import network_of

pytestmark = pytest.mark.browser

ANSWERS = """
([script, messages, count]) => new Promise((resolve) => {
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const answers = [];
  worker.onmessage = ({ data }) => {
    const { values, logits } = data;
    answers.push({
      ...data,
      logits: logits && [...logits],
      values: values && Object.fromEntries(Object.entries(values).map(([layer, each]) => [layer, [...each]])),
    });
    if (answers.filter((each) => each.progress === undefined).length === count) resolve(answers);
  };
  for (const message of messages) {
    for (const key of ["pixels", "images"]) if (message[key]) message[key] = Uint8Array.from(message[key]);
    if (message.logits) message.logits = Float32Array.from(message.logits);
    if (message.weights) message.weights = message.weights.map((each) => Float32Array.from(each));
    worker.postMessage(message);
  }
})
"""


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
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (normalization.mean, normalization.std))
    with torch.no_grad():
        values = module.outputs((images / 255 - mean) / std, [node.name for node in network.nodes])
    logits = values["logits1"]
    messages = [
        {"type": "load", "models": [data.model], "weights": [data.weights.tolist()]},
        {"type": "run", "id": 1, "pixels": images[3].flatten().tolist()},
        {"type": "check", "id": 2, "images": images.flatten().tolist(), "logits": logits.flatten().tolist()},
        {"type": "accuracy", "id": 3, "images": images.flatten().tolist(), "labels": logits.argmax(1).tolist()},
        {"type": "run", "id": 4, "pixels": [], "edits": [{"kind": "identity", "layer": "conv7"}]},
    ]
    page = browser.new_page()
    answers = page.evaluate(ANSWERS, [bundle("engine/worker.js"), messages, 4])
    page.close()
    by_id = {answer["id"]: answer for answer in answers if "progress" not in answer}
    assert torch.allclose(torch.tensor(by_id[1]["logits"]), logits[3], rtol=1e-5, atol=1e-5)
    for name, each in values.items():
        assert torch.allclose(torch.tensor(by_id[1]["values"][name]), each[3].flatten(), rtol=1e-5, atol=1e-5), name
    check = by_id[2]["result"]
    assert (check["count"], check["close"], check["same"]) == (20, 20, 20)
    assert by_id[3]["result"]["correct"] == 20
    assert by_id[4]["error"] == "no layer conv7"
