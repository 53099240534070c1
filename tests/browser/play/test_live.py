"""The page of a training: it follows the weights, pauses, takes single steps, and draws meanwhile."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from cnncli.config.config import read_config
from cnncli.experiment.setup import Experiment, prepare
from cnncli.experiment.train import build_step, fit_experiment
from cnncli.report.live import LiveTraining
from cnncli.run import load_run
from tests.forked import Forked, run_program

pytestmark = pytest.mark.browser

# Batches of 4 make an epoch of 288 steps.
SETTINGS = ("data.name=digits", "data.validation=0.2", "train.batch_size=4", "train.epochs=2")
SETS = [word for setting in SETTINGS for word in ("--set", setting)]


def train_slowly(*arguments: object) -> None:
    """Run `cnncli train ARGUMENTS`, whose steps take longer than the test needs until its page pauses it."""
    after_step, was_paused = LiveTraining.after_step, False

    def after_slow_step(live: LiveTraining, stop: Callable[[], bool]) -> bool:
        nonlocal was_paused
        was_paused = was_paused or live.state != "running"
        if not was_paused:
            time.sleep(0.05)
        return after_step(live, stop)

    pytest.MonkeyPatch().setattr(LiveTraining, "after_step", after_slow_step)
    run_program("train", *arguments)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[Forked, str]]:
    """A training of LeNet-5 and the address of its page."""
    words = ("lenet5", "--live", "--quiet", "--threads", "1", *SETS, "--out", tmp_path)
    with Forked(partial(train_slowly, *words)) as process:
        line = process.stderr.readline()
        assert line.startswith("live: "), line
        yield process, line.removeprefix("live: ").strip()


@pytest.fixture
def page(training: tuple[Forked, str], browser: Browser) -> Iterator[Page]:
    """Its page; it must have logged nothing and asked nobody else when the test ends."""
    _, address = training
    messages: list[str] = []
    others: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on(
        "request",
        lambda request: others.append(request.url) if not request.url.startswith((address, "data:", "blob:")) else None,
    )
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()
    assert (messages, others) == ([], [])


def newest(page: Page) -> int:
    return int(page.evaluate("cnncli.state.get('newest')"))


def logits_shown(page: Page, expected: list[float]) -> None:
    page.wait_for_function(
        "expected => cnncli.state.get('result')[0].logits.every((each, i) => Math.abs(each - expected[i]) < 1e-4)",
        arg=expected,
        timeout=10_000,
    )


def test_the_page_of_a_training(training: tuple[Forked, str], page: Page, tmp_path: Path) -> None:
    process, _ = training
    part = page.locator("#live")
    page.wait_for_function("() => cnncli.state.get('newest') > 3")
    page.wait_for_timeout(2500)
    requests = "performance.getEntriesByType('resource').filter(({ name }) => /weights/.test(name))"
    fetched, milliseconds = page.evaluate(f"[{requests}.length, performance.now()]")
    assert fetched <= 2 + milliseconds / 2000, "every two seconds"
    # Maps that take time from the training wait for a pause.
    page.locator("#attribution .attribution-maps").scroll_into_view_if_needed()
    notes = page.locator("#attribution .map-note")
    expect(notes.nth(2)).to_have_text("Follows when the training pauses.")
    part.get_by_role("button", name="Pause").click()
    expect(part.locator(".live-state")).to_have_text("paused")
    expect(notes.nth(2)).to_contain_text("sum off by")
    page.wait_for_function("() => cnncli.state.get('newest') === cnncli.state.get('training').step")
    at = newest(page)
    expect(part.locator(".live-facts div", has_text="weights shown")).to_contain_text(f"step {at:,}")
    expect(page.locator(".unit-command")).to_contain_text("the weights that the run saved last")
    expect(page.locator(".attribution-command")).to_be_empty()
    before = page.evaluate("Array.from(cnncli.arrays.get('weights/0'))")

    # Drawing works with the weights of this step.
    page.evaluate("cnncli.state.set({ pixels: new Uint8Array(784).fill(200), source: { kind: 'drawing' } })")
    page.wait_for_function("() => cnncli.state.get('result')[0].pixels[0] === 200")

    part.get_by_role("button", name="Single step").click()
    page.wait_for_function("at => cnncli.state.get('newest') === at + 1", arg=at)
    assert page.evaluate("Array.from(cnncli.arrays.get('weights/0'))") != before
    time.sleep(0.3)
    assert newest(page) == at + 1
    shown = page.evaluate("Array.from(cnncli.state.get('result')[0].logits)")

    page.get_by_role("button", name="中文").click()
    expect(page.locator(".live-state")).to_have_text("已暂停")
    page.get_by_role("button", name="继续").click()
    expect(page.locator(".live-state")).to_contain_text("训练完成", timeout=60_000)
    assert process.wait(30) == 0
    (path,) = tmp_path.iterdir()

    # The logits after the single step are those of a training that ends there, computed by torch.
    config = read_config("lenet5", data_dir=tmp_path, assignments=SETTINGS)
    experiment = prepare(config, data_dir=tmp_path, device=torch.device("cpu"))
    images = torch.full((1, 1, 28, 28), 200, dtype=torch.uint8)
    experiment.model.load_state_dict(weights_after(experiment, at + 1))
    run = load_run(path, data_dir=tmp_path)
    with torch.inference_mode():
        expected = experiment.model.eval()(run.as_input(images[0])[None])[0].tolist()
        best = run.model(run.as_input(images[0])[None])[0].tolist()
    assert shown == pytest.approx(expected, abs=1e-4)
    # At the end the page has the best weights.
    page.wait_for_function("() => cnncli.state.get('newest') === 'complete'")
    logits_shown(page, best)
    assert page.locator("#live path.curve-1").get_attribute("d")
    page.get_by_role("button", name="English").click()
    expect(part.locator(".live-facts div", has_text="weights shown")).to_contain_text("best epoch")
    expect(page.locator(".unit-command")).not_to_contain_text("saved last")
    expect(page.locator("#live-pause")).to_be_disabled()


def weights_after(experiment: Experiment, steps: int) -> dict[str, torch.Tensor]:
    """The weights after so many steps of a training of its own."""
    training = experiment.training
    for _ in fit_experiment(experiment, build_step(experiment), stop=lambda: training.step == steps):
        pass
    assert training.step == steps
    return {name: tensor.clone() for name, tensor in experiment.model.state_dict().items()}
