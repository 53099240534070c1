"""Playgrounds of trained networks, and a browser that records requests, console messages and errors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

LENET = """\
name: lenet
data: {name: digits, size: 28, validation: 0.2}
model:
  defaults: {conv: {activation: tanh}, linear: {activation: tanh}}
  layers:
    - conv: {out_channels: 6, kernel_size: 5, padding: same}
    - avg_pool: 2
    - conv: {out_channels: 16, kernel_size: 5}
    - avg_pool: 2
    - flatten
    - linear: 24
    - logits
train: {epochs: 3, batch_size: 128, optimizer: {adamw: {lr: 1e-2}}}
log: {probes: 3}
"""
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
ExitCodeOf = Callable[..., int]
Open = Callable[..., Page]

READY = "html[data-ready]"
"""Matches when the first picture has been drawn."""


def train(folder: Path, config: str, exit_code_of: ExitCodeOf) -> Path:
    """The directory of a run of a config on the embedded digits."""
    (folder / "net.yaml").write_text(config, encoding="utf-8")
    assert exit_code_of("train", folder / "net.yaml", "--out", folder / "runs", "--threads", 1, "--quiet") == 0
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.fixture(scope="session")
def lenet(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its `play.html`."""
    run = train(tmp_path_factory.mktemp("lenet"), LENET, exit_code_of)
    assert exit_code_of("play", run) == 0
    return run


@pytest.fixture(scope="session")
def odd(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a network with dilation, groups, paths that join, and layers whose windows differ."""
    run = train(tmp_path_factory.mktemp("odd"), ODD, exit_code_of)
    assert exit_code_of("play", run) == 0
    return run


@pytest.fixture(scope="session")
def pair(lenet: Path, exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `play.html` of two runs: the LeNet, and a smaller network."""
    folder = tmp_path_factory.mktemp("pair")
    smaller = LENET.replace("out_channels: 16", "out_channels: 4, bias: false").replace("lenet", "small")
    other = train(folder, smaller, exit_code_of)
    assert exit_code_of("play", lenet, other, "--out", folder / "play.html") == 0
    return folder


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens `play.html` in a folder; when the test ends, it must have made no request and logged nothing."""
    requests: list[str] = []
    messages: list[str] = []
    urls: list[str] = []
    contexts = []

    def open_(folder: Path, *, link: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 950}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        urls.append((folder / "play.html").resolve().as_uri())
        page.goto(urls[-1] + link)
        page.wait_for_selector(READY, state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    # The worker's script is a Blob of the page.
    assert {url.partition("#")[0] for url in requests if not url.startswith(("data:", "blob:"))} == set(urls)
    assert messages == []
