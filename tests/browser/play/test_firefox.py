"""The playground in Firefox: its logits against torch, and its engine on random networks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cnncli.run import load_run
from tests.browser.firefox import Firefox, start_firefox
from tests.engine import EngineCase, EngineResult, run_engine_in_page
from tests.report.test_engine import check_random_networks

pytestmark = pytest.mark.slow

READY = """() => new Promise((done) => {
  const wait = () => {
    const text = document.querySelector(".badge")?.textContent ?? "";
    if (/[0-9]/.test(text)) done([text, document.querySelector(".unit-title").textContent]);
    else setTimeout(wait, 50);
  };
  wait();
})"""


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    with start_firefox(tmp_path) as started:
        yield started


def test_the_page_computes_what_torch_computes(lenet: Path, firefox: Firefox) -> None:
    run = load_run(lenet, data_dir=Path("nowhere"))
    firefox.goto((lenet / "play.html").as_uri() + "#layer=conv2&filter=3&at=5,7")
    badge, title = firefox.evaluate(READY)
    assert badge == "✓100 of 100 images: same logits as PyTorch to 1e-5"
    assert title.startswith("conv2, channel 3, row 5, column 7: ")
    images = torch.randint(256, (20, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    found = firefox.evaluate(
        "(all) => all.map((each) => Array.from(cnncli.run(each).logits))", images.flatten(1).tolist()
    )
    with torch.inference_mode():
        logits = run.model(torch.stack([run.as_input(each) for each in images]))
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-5)


def test_200_random_networks(firefox: Firefox) -> None:
    def engine(cases: Sequence[EngineCase]) -> list[EngineResult]:
        parts = (cases[start : start + 20] for start in range(0, len(cases), 20))
        return [result for part in parts for result in run_engine_in_page(part, firefox)]

    check_random_networks(200, engine)
