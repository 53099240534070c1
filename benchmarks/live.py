"""The cost of `cnncli train --live`: the training time of lenet5 (or another config) with a page that follows it.

A round trains the network in three ways from the same seed, in one process: with its page open in a headless Chromium,
which computes and draws on the same machine; with a process that only reads what the page reads, which leaves the cost
of the server; and without `--live`. The training starts when the page has been drawn, as one does that was opened
before: opening it takes about two seconds of one core, once. The weights at the end are compared bit by bit.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks import ours
from benchmarks.measure import Comparison, Contender, Missing, Numbers, Settings, compare
from cnncli.experiment.train import build_step, fit_experiment
from cnncli.report.live import LiveServer, LiveTraining, serve
from cnncli.report.model_data import Weights, weights_of
from cnncli.report.playground import training_page
from cnncli.training.progress import Progress

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Follow = Callable[[LiveServer], AbstractContextManager[None]]
"""Follows a training from before its first step until it has shown the final weights."""

EPOCHS = 6  # as in the config of lenet5
PAGE, READER, ALONE = "--live, with the page open", "--live, only read", "without --live"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def run(settings: Settings) -> list[Comparison]:
    """Training with a page, with a process that reads the same, and without either."""
    weights: dict[str, list[Weights]] = {name: [] for name in (PAGE, READER, ALONE)}
    with _browser() as browser:
        follow: dict[str, Follow | None] = {PAGE: partial(_open_page, browser), READER: _read, ALONE: None}
        contenders = {name: _training(settings, each, weights[name]) for name, each in follow.items()}
        (whole,) = compare("training", contenders, rounds=settings.rounds_or(5), warmup=settings.warmup)
    server = {name: whole.values[name] for name in (READER, ALONE)}
    differing = [
        max(int((followed != alone).sum()) for followed in both)
        for *both, alone in zip(weights[PAGE], weights[READER], weights[ALONE], strict=True)
    ]
    return [
        whole,
        Comparison(title="training, only read", unit="s", values=server),
        Comparison(
            title="weights that differ from those without --live",
            unit="of " + f"{weights[ALONE][0].size:,}",
            values={"--live": differing[-len(whole.values[ALONE]) :]},
        ),
    ]


def _training(settings: Settings, follow: Follow | None, weights: list[Weights]) -> Contender:
    """Seconds of all steps; the weights at the end are appended to `weights`, as bits."""
    epochs = f"train.epochs={1 if settings.quick else EPOCHS}"

    def training(_: int) -> Numbers:
        experiment = ours.prepared(settings, settings.config or "lenet5", "data.validation=0", epochs)
        progress = Progress()
        stop: Callable[[], bool] = _never
        with ExitStack() as following:
            if follow is not None:
                # As `cnncli train --live` does it.
                with torch.random.fork_rng(devices=[]):
                    page = training_page(experiment.as_run(Path("benchmark"))).encode()
                live = LiveTraining(lambda: weights_of(experiment.model), lambda: experiment.training.step, progress)
                following.enter_context(follow(following.enter_context(serve(live, page))))
                following.callback(live.end, "complete")
                stop = partial(live.after_step, _never)
            began = time.perf_counter()
            for _epoch in fit_experiment(experiment, build_step(experiment), stop=stop, progress=progress):
                pass
            seconds = time.perf_counter() - began
        weights.append(weights_of(experiment.model).view(np.uint32))
        return {"wall time, s": seconds}

    return training


def _never() -> bool:
    return False


@contextmanager
def _browser() -> Iterator["Browser"]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Missing("playwright") from None
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        raise Missing("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def _open_page(browser: "Browser", server: LiveServer) -> Iterator[None]:
    page = browser.new_page()
    page.goto(server.address)
    page.wait_for_function("() => globalThis.cnncli?.state.get('training')")
    page.wait_for_function("() => cnncli.state.get('checks').every(Boolean)")
    yield
    page.wait_for_function("() => cnncli.state.get('newest') === 'complete'")
    copies = page.evaluate("performance.getEntriesByType('resource').filter(({ name }) => /weights/.test(name)).length")
    print(f"  the page fetched {copies} copies of the weights", file=sys.stderr)
    page.close()


@contextmanager
def _read(server: LiveServer) -> Iterator[None]:
    reader = Path(__file__).with_name("live_reader.py")
    command = [sys.executable, str(reader), server.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        yield
    assert process.returncode == 0
