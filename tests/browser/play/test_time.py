"""The slider over the training, against torch with the weights of the same step."""

from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from cnncli.run import Run, load_run
from tests.browser.pages import ExitCodeOf, Open

pytestmark = pytest.mark.browser

SETTINGS = ("data.name=digits", "train.epochs=2", "data.validation=0.2")


@pytest.fixture(scope="module")
def run(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of LeNet-5 with its playground."""
    out = tmp_path_factory.mktemp("time")
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    assert exit_code_of("train", "lenet5", "--out", out, "--threads", 1, "--quiet", *sets) == 0
    (path,) = out.iterdir()
    assert exit_code_of("play", path) == 0
    return load_run(path, data_dir=Path("nowhere"))


@pytest.fixture
def page(run: Run, open_page: Open) -> Page:
    """The playground."""
    return open_page(run.path)


@torch.inference_mode()
def logits_at(run: Run, step: int, number: int) -> list[float]:
    """Torch's logits of a test image with the weights of a step."""
    model = load_run(run.path, data_dir=Path("nowhere")).model
    model.load_state_dict(run.weights_at(step))
    return [float(each) for each in model(run.as_input(run.test.images[number])[None])[0]]


def shown_logits(page: Page, expected: list[float]) -> None:
    """Wait until the page shows these logits."""
    page.wait_for_function(
        "expected => cnncli.state.get('result')[0].logits.every((each, i) => Math.abs(each - expected[i]) < 1e-4)",
        arg=expected,
        timeout=10_000,
    )


def test_the_slider_redraws_the_image_with_the_weights_of_a_step(run: Run, page: Page) -> None:
    slider = page.get_by_role("slider", name="Step of the training")
    slider.focus()
    page.keyboard.press("Home")
    for step in run.weight_steps:
        shown_logits(page, logits_at(run, step, 0))
        assert page.evaluate("cnncli.state.get('step')") == step
        expect(page.locator(".time-strip li[aria-current]")).to_have_count(1)
        expect(page.locator(".time-strip li[aria-current] .time-step")).to_have_text(str(step))
        page.keyboard.press("ArrowRight")
    assert page.evaluate("cnncli.state.get('step')") is None
    with torch.inference_mode():
        final = run.model(run.as_input(run.test.images[0])[None])[0]
    shown_logits(page, final.tolist())


def test_the_answers_of_all_steps(run: Run, page: Page) -> None:
    """Of another image than the one at the start."""
    page.evaluate("cnncli.state.set(cnncli.testImage(3))")
    expected = [logits_at(run, step, 3) for step in run.weight_steps]
    with torch.inference_mode():
        expected.append(run.model(run.as_input(run.test.images[3])[None])[0].tolist())
    answers = [int(np.argmax(logits)) for logits in expected]
    last = answers[-1]
    shares = [float(torch.tensor(logits).softmax(0)[last]) for logits in expected]
    expect(page.locator(".time-strip .time-answer")).to_have_text([run.classes[answer] for answer in answers])
    page.wait_for_function(
        """shares => [...document.querySelectorAll(".time-strip .time-share")]
          .every((each, i) => Math.abs(parseFloat(each.textContent) - 100 * shares[i]) <= 1)""",
        arg=shares,
        timeout=10_000,
    )
    from_there_on = next(i for i in range(len(answers)) if set(answers[i:]) == {last})
    sentence = page.locator(".time-since").text_content() or ""
    if 0 < from_there_on < len(run.weight_steps):
        assert f"is {run.classes[last]} from step {run.weight_steps[from_there_on]} on" in sentence
    else:
        assert run.classes[last] in sentence


def test_a_step_is_kept_in_the_address_and_in_another_language(run: Run, page: Page) -> None:
    page.locator(".time-strip li").nth(2).click()
    step = run.weight_steps[2]
    page.wait_for_function(f"() => location.hash.includes('step={step}')")
    page.get_by_role("button", name="中文").click()
    slider = page.get_by_role("slider", name="训练步数")
    expect(slider).to_have_value("2")
    shown_logits(page, logits_at(run, step, 0))
    page.locator("#time-final").click()
    expect(slider).to_have_value(str(len(run.weight_steps)))
    page.wait_for_function("() => !location.hash.includes('step=')")


def test_a_link_to_a_step(run: Run, page: Page) -> None:
    page.goto(f"{(run.path / 'play.html').resolve().as_uri()}#step=8&image=2")
    shown_logits(page, logits_at(run, 8, 2))
    expect(page.locator("#time output")).to_have_text("step 8, epoch 0.9")


def test_play_shows_every_step(run: Run, page: Page) -> None:
    page.evaluate("globalThis.seen = []; cnncli.state.on(['step'], () => seen.push(cnncli.state.get('step')))")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => seen.length && seen.at(-1) === null", timeout=20_000)
    assert page.evaluate("seen") == [*run.weight_steps, None]
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_the_part_fits_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_cells_of_the_strip_have_lines_of_their_own(page: Page) -> None:
    expect(page.locator(".time-share").last).to_contain_text("%")
    for width in (390, 1400, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        heights = "[...document.querySelectorAll('.time-share')].map((each) => each.getBoundingClientRect().height)"
        assert max(page.evaluate(heights)) < 20, "one line"
