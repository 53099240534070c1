"""What the browser tests of several pages share: a small network to train, and pages whose requests are recorded."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

ExitCodeOf = Callable[..., int]
BuildOnce = Callable[[str, Callable[[Path], object]], Path]
Open = Callable[..., Page]
Scheme = Literal["light", "dark"]
Motion = Literal["no-preference", "reduce"]

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

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
READY = "html[data-ready]"
"""Matches when the first picture has been drawn."""


def train(folder: Path, config: str, exit_code_of: ExitCodeOf, *options: object) -> Path:
    """The directory of a run of a config, trained in a folder: `only_run`."""
    (folder / "net.yaml").write_text(config, encoding="utf-8")
    arguments = ("train", folder / "net.yaml", "--out", folder / "runs", "--threads", 1, "--quiet", *options)
    assert exit_code_of(*arguments) == 0
    return only_run(folder)


def only_run(folder: Path) -> Path:
    """The directory of the run in a folder of `train`."""
    (run,) = (folder / "runs").iterdir()
    return run


class Tabs:
    """Pages of a browser that tests use one after the other: a new one costs a second of CPU time.

    Args:
        browser: in which they are opened.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: list[Page] = []

    @contextmanager
    def open(
        self, viewport: ViewportSize, *, color_scheme: Scheme = "light", reduced_motion: Motion = "no-preference"
    ) -> Iterator[Page]:
        """An empty page for a test, without anything that the test before stored or emulated."""
        page = self._idle.pop() if self._idle else self._browser.new_page()
        page.set_viewport_size(viewport)
        page.emulate_media(media="null", color_scheme=color_scheme, reduced_motion=reduced_motion)
        yield page
        page.evaluate("localStorage.clear()")
        page.mouse.move(-1, -1)
        page.goto("about:blank")
        self._idle.append(page)

    def open_own(self, **options: Any) -> AbstractContextManager[Page]:
        """An empty page of a context with other options, such as those of a phone."""
        return closing(self._browser.new_page(**options))


@contextmanager
def recorded_pages(
    tabs: Tabs,
    file: str,
    *,
    viewport: ViewportSize,
    schemes: tuple[str, ...],
    ready: Literal["attached", "visible"],
) -> Iterator[Open]:
    """A function that opens a file of a folder; at the end, its pages must have requested and logged nothing.

    Args:
        tabs: the pages of the browser.
        file: the name of the file.
        viewport: of pages that are opened without another one.
        schemes: of the addresses that a page may use besides its own.
        ready: the state of the document that is waited for.
    """
    requests: list[str] = []
    messages: list[str] = []
    urls: list[str] = []
    listeners: dict[str, Callable[[Any], None]] = {
        "request": lambda request: requests.append(request.url),
        "console": lambda message: messages.append(message.text),
        "pageerror": lambda error: messages.append(str(error)),
    }

    with ExitStack() as opened:

        def open_(folder: Path, *, link: str = "", **options: Any) -> Page:
            options = {"viewport": viewport, **options}
            own = options.keys() - {"viewport", "color_scheme", "reduced_motion"}
            page = opened.enter_context(tabs.open_own(**options) if own else tabs.open(**options))
            page.set_default_timeout(30_000)
            for event, listener in listeners.items():
                page.on(event, listener)  # type: ignore[call-overload]  # one overload for each event
                opened.callback(page.remove_listener, event, listener)
            urls.append((folder / file).resolve().as_uri())
            page.goto(urls[-1] + link)
            page.wait_for_selector(READY, state=ready)
            return page

        yield open_
    assert {url.partition("#")[0] for url in requests if not url.startswith(schemes)} == set(urls)
    assert messages == [], messages


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it is now: the rule, and the elements that break it.

    The test is skipped where `npm ci` has not installed axe-core.
    """
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci")
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(
        """async () => {
          const { violations } = await axe.run(document, { resultTypes: ["violations"] });
          const found = ({ nodes }) => nodes.map((each) => each.html).join(" ");
          return violations.map((each) => `${each.id} (${each.help}): ${found(each)}`);
        }"""
    )
    return found
