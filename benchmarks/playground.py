"""Size, start and frame of the playground of every bundled config, in headless Chromium without a GPU.

    pip install playwright  # and the Chromium of the system

Nothing is trained: the networks have their initial weights, and their pages the first test images. A page has no
weights of earlier steps, which `log.weights` adds. The window has 1400x950 pixels.

- **first picture**: from the navigation until input, answer and all layers have been painted, in a running browser.
- **frame**: all that one movement of the pen changes, from the pad to the last layer: CPU time of the main thread.
- **engine**: the network computed for one image. A worker does so while the main thread draws.
"""

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from benchmarks import ours
from benchmarks.measure import Comparison, Missing, Settings
from cnncli.config.config import bundled_configs
from cnncli.report.playground import playground_page

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run")
IMAGES, COMPUTED = 15, 4
"""Images of a round that are drawn, and that are only computed."""
TEST_IMAGES = 200
"""Test images in which mistakes and patches are searched: more take longer, and change the page little."""

# Moves a pen over the pad, to the next point when everything has followed.
DRAW = """async (count) => {
  const pad = document.getElementById("pad");
  const { left, top, width, height } = pad.getBoundingClientRect();
  const send = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
    pointerId: 7, pointerType: "mouse", pressure: 0.5, buttons: 1, bubbles: true, cancelable: true,
    clientX: left + x * width, clientY: top + y * height,
  }));
  const { state } = globalThis.cnncli;
  const computed = () => new Promise((done) => {
    const listener = ({ detail }) => {
      if (!detail.keys.has("result")) return;
      state.removeEventListener("change", listener);
      done();
    };
    state.addEventListener("change", listener);
  });
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const follow = async (act) => {
    const done = computed();
    act();
    await done;
    await painted();
  };
  await follow(() => send("pointerdown", 0.5, 0.15));
  for (let i = 1; i < count; i += 1) {
    await follow(() => send("pointermove", 0.5 + 0.3 * Math.sin(0.35 * i), 0.5 - 0.35 * Math.cos(0.27 * i)));
  }
  send("pointerup", 0.5, 0.5);
}"""
COMPUTE = """(count) => {
  const [{ network }] = globalThis.cnncli.models;
  const pixels = globalThis.cnncli.state.get("pixels");
  network.run(pixels);
  const began = performance.now();
  for (let i = 0; i < count; i += 1) network.run(pixels);
  return (performance.now() - began) / count;
}"""
FIRST_PICTURE = "() => performance.getEntriesByName('cnncli-first-picture')[0].startTime"


def run(settings: Settings) -> list[Comparison]:
    """The goals: 1 MB, 300 ms and a frame of 16 ms for lenet5, and one of 33 ms for most other configs."""
    browser = next(filter(None, map(which, BROWSERS)), None)
    if browser is None:
        raise Missing("Chromium")
    if settings.config or settings.quick:
        names = [settings.config or "lenet5"]
    else:
        names = sorted(bundled_configs(), key=lambda name: name != "lenet5")
    rounds = settings.rounds_or(3)
    with TemporaryDirectory() as folder:
        pages = {name: _page(settings, name, Path(folder)) for name in names}
        sizes = {name: [page.stat().st_size / 1e6] * rounds for name, page in pages.items()}
        # Playwright needs an event loop of its own, and this process may have one.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            found = process.submit(_measure, browser, pages, rounds, settings.warmup).result()
    measured = {"size": ("MB", sizes), **found}
    return [Comparison(title=title, unit=unit, values=values) for title, (unit, values) in measured.items()]


def _page(settings: Settings, name: str, folder: Path) -> Path:
    """The playground of a config with its initial weights, as a file."""
    run = ours.prepared(settings, name).as_run(folder / name)
    few = run.test.subset(torch.arange(min(TEST_IMAGES, len(run.test))))
    page = folder / f"{name}.html"
    page.write_text(playground_page([replace(run, load_splits=lambda _: {"test": (few, None)})]), encoding="utf-8")
    return page


def _measure(
    browser: str, pages: Mapping[str, Path], rounds: int, warmup: int
) -> dict[str, tuple[str, dict[str, list[float]]]]:
    """Quantity -> its unit, and the numbers of each page, which take turns."""
    from playwright.sync_api import sync_playwright

    starts: dict[str, list[float]] = {name: [] for name in pages}
    frames: dict[str, list[float]] = {name: [] for name in pages}
    engines: dict[str, list[float]] = {name: [] for name in pages}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for turn in range(warmup + rounds):
            for name, path in pages.items():
                page = chromium.new_page(viewport={"width": 1400, "height": 950})
                page.goto(path.as_uri())
                page.wait_for_selector("html[data-ready]", state="attached")
                session = page.context.new_cdp_session(page)
                session.send("Performance.enable", {"timeDomain": "threadTicks"})
                page.evaluate(DRAW, IMAGES)  # functions are compiled when they have been called for a while
                before = _task_seconds(session)
                page.evaluate(DRAW, IMAGES)
                spent = _task_seconds(session) - before
                if turn >= warmup:
                    starts[name].append(page.evaluate(FIRST_PICTURE))
                    frames[name].append(1000 * spent / IMAGES)
                    engines[name].append(page.evaluate(COMPUTE, COMPUTED))
                page.close()
        chromium.close()
    return {"first picture": ("ms", starts), "frame": ("ms", frames), "engine": ("ms", engines)}


def _task_seconds(session: "CDPSession") -> float:
    """CPU seconds of the page's main thread so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))
