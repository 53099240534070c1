"""Runs with their reports, and a browser that records requests, console messages and errors."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.browser.pages import LENET, BuildOnce, ExitCodeOf, Open, Tabs, only_run, recorded_pages, train

ODD = """\
name: odd
data: {name: digits, size: [20, 16]}
model:
  defaults: {conv: {kernel_size: 3, activation: relu}}
  layers:
    - conv: {out_channels: 3, dilation: 2, padding: 2}
    - residual: {main: [{conv: {out_channels: 3, padding: same}}, {conv: {out_channels: 3, padding: same}}]}
    - branch: {merge: concat, paths: [[{conv: {out_channels: 2, kernel_size: [1, 5], padding: same}}], [identity]]}
    - conv: {out_channels: 4, stride: 3, dilation: 2}
    - upsample: 2
    - adaptive_max_pool: 3
    - global_avg_pool
    - logits
train: {epochs: 1, batch_size: 512}
log: {images: 0}
"""
BIRDS = """\
name: birds
data: {name: image-folder, path: birds, size: 12, augment: {shift: 1, flip: horizontal}}
model:
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
  layers: [{conv: 4}, {max_pool: 2}, {conv: 6}, flatten, logits]
train: {epochs: 1, batch_size: 100}
log: {probes: 2}
"""
KINDS = ("yellow-bellied flycatcher", "long-tailed nightjar", "white-throated sparrow", "red-cockaded woodpecker",
         "black-footed albatross")  # fmt: skip
REGIONS = ("northern", "southern", "eastern", "western", "greater", "lesser", "spotted", "striped", "golden", "common")
FIFTY = tuple(sorted(f"{region} {kind}" for region in REGIONS for kind in KINDS))
"""The names of 50 classes, up to 33 characters long."""

PointAt = Callable[..., None]


@pytest.fixture(scope="session")
def point_at() -> PointAt:
    """Move the mouse to the middle of a unit of the network, as it is drawn: page, layer, channel, row and column."""

    def move(page: Page, layer: str, channel: int, row: int, column: int) -> None:
        sheet = page.locator(f'figure[data-layer="{layer}"] .sheet')
        layout = json.loads(sheet.get_attribute("data-layout") or "")
        slot_row, slot_column = divmod(channel, layout["columns"])
        across = layout["gap"] + slot_column * (layout["width"] + layout["gap"]) + column + 0.5
        down = layout["gap"] + slot_row * (layout["height"] + layout["gap"]) + row + 0.5
        sheet.hover(position={"x": across * layout["cell"], "y": down * layout["cell"]})

    return move


def train_and_report(folder: Path, config: str, exit_code_of: ExitCodeOf, data_dir: Path = Path("nowhere")) -> None:
    data = ("--data-dir", data_dir)
    run = train(folder, config, exit_code_of, *data)
    assert exit_code_of("report", run, *data) == 0


@pytest.fixture(scope="session")
def lenet(build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """A run with its `report.html`."""
    return only_run(build_once("report-lenet", lambda folder: train_and_report(folder, LENET, exit_code_of)))


@pytest.fixture(scope="session")
def odd(build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """A run of a network with dilation, paths that join, and layers whose windows differ."""
    return only_run(build_once("report-odd", lambda folder: train_and_report(folder, ODD, exit_code_of)))


@pytest.fixture(scope="session")
def fifty(build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """A run with 50 classes of long names, most of whose few images are misclassified."""

    def fill(folder: Path) -> None:
        draw_birds(folder)
        train_and_report(folder, BIRDS, exit_code_of, data_dir=folder)

    return only_run(build_once("report-fifty", fill))


def draw_birds(folder: Path) -> None:
    noise = np.random.default_rng(0)
    for part, name in product(("train", "test"), FIFTY):
        place = folder / "birds" / part / name
        place.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(noise.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(place / f"{number}.png")


@pytest.fixture(scope="session")
def interrupted(lenet: Path, exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted before its first checkpoint."""
    run = Path(shutil.copytree(lenet, tmp_path_factory.mktemp("interrupted") / "run"))
    (run / "status.json").write_text('{"state": "interrupted"}')
    for name in ("results.json", "metrics.jsonl"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoints")
    for path in run.glob("events.*"):
        path.unlink()
    assert exit_code_of("report", run) == 0
    return run


@pytest.fixture
def open_page(tabs: Tabs) -> Iterator[Open]:
    """Opens the report of a run; when the test ends, it must have made no request and logged nothing."""
    with recorded_pages(
        tabs, "report.html", viewport={"width": 1280, "height": 900}, schemes=("data:",), ready="visible"
    ) as open_:
        yield open_
