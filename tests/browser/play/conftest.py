"""Playgrounds of trained networks, and a browser that records requests, console messages and errors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.pages import LENET, BuildOnce, ExitCodeOf, Open, Tabs, only_run, recorded_pages, train

ODD = """\
name: odd
data: {name: digits, size: [20, 16]}
model:
  defaults: {conv: {kernel_size: 3, activation: relu}}
  layers:
    - conv: {out_channels: 4, dilation: 2, padding: 2}
    - residual: {main: [{conv: {out_channels: 4, padding: same, groups: 2}}, {conv: {out_channels: 4, padding: same}}]}
    - branch: {merge: concat, paths: [[{conv: {out_channels: 2, kernel_size: [1, 5], padding: same}}], [identity]]}
    - conv: {out_channels: 4, stride: 3, dilation: 2}
    - upsample: 2
    - adaptive_max_pool: 3
    - global_avg_pool
    - logits
train: {epochs: 1, batch_size: 512}
log: {images: 0}
"""


@pytest.fixture(scope="session")
def lenet(build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """A run with its `play.html`."""
    return only_run(build_once("play-lenet", lambda folder: train_and_play(folder, LENET, exit_code_of)))


@pytest.fixture(scope="session")
def odd(build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """A run of a network with dilation, groups, paths that join, and layers whose windows differ."""
    return only_run(build_once("play-odd", lambda folder: train_and_play(folder, ODD, exit_code_of)))


def train_and_play(folder: Path, config: str, exit_code_of: ExitCodeOf) -> None:
    assert exit_code_of("play", train(folder, config, exit_code_of)) == 0


@pytest.fixture(scope="session")
def pair(lenet: Path, build_once: BuildOnce, exit_code_of: ExitCodeOf) -> Path:
    """A folder with the `play.html` of two runs: the LeNet, and a smaller network."""
    smaller = LENET.replace("out_channels: 16", "out_channels: 4, bias: false").replace("lenet", "small")

    def fill(folder: Path) -> None:
        other = train(folder, smaller, exit_code_of)
        assert exit_code_of("play", lenet, other, "--out", folder / "play.html") == 0

    return build_once("play-pair", fill)


@pytest.fixture
def open_page(tabs: Tabs) -> Iterator[Open]:
    """Opens `play.html` in a folder; when the test ends, it must have made no request and logged nothing."""
    # The worker's script is a Blob of the page.
    with recorded_pages(
        tabs,
        "play.html",
        viewport={"width": 1400, "height": 950},
        schemes=("data:", "blob:"),
        ready="attached",
    ) as open_:
        yield open_
