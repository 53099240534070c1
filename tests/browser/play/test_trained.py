"""Trained networks in their pages: the logits of a thousand test images, and saliency maps, against torch.

Each bundled config is trained for some steps, with its own data set where that is present and with digits elsewhere.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from cnncli.config.config import read_config
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import build_step, fit_experiment
from cnncli.report import playground
from cnncli.report.model_data import module_with, rounded, weights_of
from cnncli.report.page import base64_text
from cnncli.report.playground import playground_page
from cnncli.run import Run
from cnncli.views.saliency import Saliency

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_log = logging.getLogger("cnncli.tests")  # shown by pytest -o log_cli=true

Open = Callable[..., Page]
CONFIGS = sorted(path.stem for path in Path("configs").glob("*.yaml"))
STEPS, IMAGES = 100, 1000
EXPLAINED = ("lenet5", "mnist-fast", "quickstart")
METHODS: tuple[Literal["gradient", "integrated", "occlusion"], ...] = ("gradient", "integrated", "occlusion")

ASK = """
async ([name, message]) => {
  const types = { u1: Uint8Array, f4: Float32Array };
  const read = (each) => {
    if (!each.base64) return each;
    return new types[each.type](Uint8Array.from(atob(each.base64), (letter) => letter.charCodeAt(0)).buffer);
  };
  const found = await cnncli.client.task(
    name,
    Object.fromEntries(Object.entries(message).map(([key, each]) => [key, read(each)])),
  );
  return { ...found, map: found.map && Array.from(found.map) };
}
"""


def typed(array: torch.Tensor) -> dict[str, str]:
    """An array for a message to the page's worker: uint8 or float32."""
    content = array.contiguous().numpy()
    return {"type": "u1" if content.dtype == np.uint8 else "f4", "base64": base64_text(content.tobytes())}


@pytest.fixture(scope="module")
def data_dir(request: pytest.FixtureRequest) -> Path | None:
    """The real data sets, or None."""
    try:
        found: Path = request.getfixturevalue("real_data_dir")
    except pytest.skip.Exception:
        return None
    return found


def train(config: str, data_dir: Path | None, folder: Path) -> Run:
    assignments = [] if data_dir else ["data.name=digits"]
    read = read_config(config, data_dir=data_dir or folder, assignments=assignments)
    experiment = prepare(read, data_dir=data_dir or folder, device=torch.device("cpu"))
    training = experiment.training
    for _ in fit_experiment(experiment, build_step(experiment), stop=lambda: training.step >= STEPS):
        pass
    assert training.step == STEPS
    return experiment.as_run(folder)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_page_of_a_trained_network(
    config: str,
    data_dir: Path | None,
    open_page: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = train(config, data_dir, tmp_path)
    monkeypatch.setattr(playground, "EVALUATED_MACS", 1e9)  # mistakes are sought among fewer images
    (tmp_path / "play.html").write_text(playground_page([run]), encoding="utf-8")
    page = open_page(tmp_path)
    parameters = sum(each.numel() for each in run.model.parameters())
    assert f"{parameters:,}" in page.locator(".model-head").inner_text().split()

    # The logits of the network with the weights of the page, which those of a large one are rounded to.
    few = run.test.subset(torch.arange(min(IMAGES, len(run.test))))
    precision = page.evaluate("cnncli.models[0].data.model.precision")
    in_page = module_with(run.network, rounded(weights_of(run.model), precision))
    with torch.inference_mode():
        inputs = torch.cat([images for images, _ in run.batches(few).epoch(1)])
        logits, exact = (torch.cat([each(part) for part in torch.split(inputs, 100)]) for each in (in_page, run.model))
    message = {"model": 0, "images": typed(few.images), "logits": typed(logits)}
    found: dict[str, Any] = page.evaluate(ASK, ["check", message])
    accuracy = float((exact.argmax(1) == few.labels).float().mean())
    changed = int((logits.argmax(1) != exact.argmax(1)).sum())
    _log.info(
        f"{config}: {len(few)} images of {run.config.data.name}, accuracy {accuracy:.1%}, largest difference "
        f"{found['largest']:.2g}, relative to the largest logit {found['relative']:.2g}, same answers {found['same']}; "
        f"{precision}, which changes {changed} answers"
    )
    assert accuracy > 0.3, "it has learned something"
    assert (found["count"], found["close"], found["same"]) == (len(few), len(few), len(few))

    for method in METHODS if config in EXPLAINED else ():
        target = int(logits[0].argmax())
        message = {"model": 0, "pixels": typed(few.images[0]), "target": target, "method": method}
        actual = np.array(page.evaluate(ASK, ["attribution", message])["map"])
        (picture,) = Saliency(images=("0",), method=method, target=str(target)).pictures(run)
        expected = picture.tiles[1].values
        limit = float(np.abs(expected).max())
        assert limit > 0
        difference = float(np.abs(actual.reshape(expected.shape) - expected).max())
        _log.info(f"{config}, {method}: difference {difference / limit:.2g} of the largest value")
        assert difference < 1e-4 * limit, method
