"""The panels that change the network by hand, show what an answer depends on, and what excites a filter."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from torch import Tensor, nn

from cnncli.run import Run, load_run
from cnncli.views.saliency import Saliency
from tests.browser.pages import ExitCodeOf, Open

pytestmark = pytest.mark.browser

METHODS: dict[str, Literal["gradient", "integrated", "occlusion"]] = {
    "gradient": "gradient",
    "integrated gradients": "integrated",
    "occlusion": "occlusion",
}
CONFIG = """\
name: small
data: {name: digits}
model:
  layers:
    - conv: {out_channels: 4, kernel_size: 3, padding: same, activation: relu}
    - max_pool: 2
    - conv: {out_channels: 6, kernel_size: 3, activation: tanh}
    - flatten
    - logits
train: {epochs: 2, optimizer: {adamw: {lr: 3e-3}}}
log: {images: 0}
"""


@pytest.fixture(scope="session")
def what_if_run(tmp_path_factory: pytest.TempPathFactory, exit_code_of: ExitCodeOf) -> Path:
    folder = tmp_path_factory.mktemp("what-if")
    (folder / "small.yaml").write_text(CONFIG)
    assert exit_code_of("train", folder / "small.yaml", "--out", folder / "runs", "--threads", 1, "--quiet") == 0
    (made,) = (folder / "runs").iterdir()
    assert exit_code_of("play", made) == 0
    return made


@pytest.fixture(scope="session")
def loaded(what_if_run: Path) -> Run:
    return load_run(what_if_run, data_dir=Path("nowhere"))


@pytest.fixture
def page(what_if_run: Path, open_page: Open) -> Page:
    return open_page(what_if_run)


def shown_logits(page: Page, column: int) -> list[float]:
    """The logits before (1) or after (2) the edits."""
    cells = page.locator(f".edited-logits tbody td:nth-child({column + 1})").all_inner_texts()
    return [float(text) for text in cells]


def expect_logits(page: Page, column: int, expected: Tensor) -> None:
    """Wait until the page shows these logits, with three digits after the point."""
    rows = page.locator(".edited-logits tbody tr")
    text = f"{float(expected[0]):.3f}"
    expect(rows.first.locator("td").nth(column - 1)).to_have_text(text)
    np.testing.assert_allclose(shown_logits(page, column), expected.numpy(), atol=6e-4)


def logits_of(model: nn.Module, run: Run, numbers: list[int]) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(torch.stack([run.as_input(run.test.images[number]) for number in numbers]))
    return logits


def page_images(page: Page) -> list[int]:
    numbers: list[int] = page.evaluate("cnncli.data.images.numbers")
    return numbers


def test_edits_are_made_listed_and_undone(page: Page, loaded: Run) -> None:
    first = page_images(page)[0]
    original = logits_of(loaded.model, loaded, [first])[0]
    expect_logits(page, 1, original)
    expect_logits(page, 2, original)
    expect(page.locator("#what-if-measure")).to_be_disabled()

    page.locator("#what-if-layer").select_option("conv1")
    page.locator("#what-if-channel").fill("2")
    page.locator("#what-if-channel").press("Enter")
    page.locator("#what-if-off").click()
    state = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    state["conv1.conv.weight"][2] = 0
    state["conv1.conv.bias"][2] = 0  # the relu of 0 is 0
    edited = type(loaded.model)(loaded.network).eval()
    edited.load_state_dict(state)
    expect_logits(page, 1, original)
    expect_logits(page, 2, logits_of(edited, loaded, [first])[0])

    numbers = page_images(page)
    labels = loaded.test.labels[numbers]
    before, after = (
        int((logits_of(model, loaded, numbers).argmax(1) == labels).sum()) for model in (loaded.model, edited)
    )
    counts = rf"before .* \({before} of {len(numbers)}\), after .* \({after} of {len(numbers)}\)"
    expect(page.locator(".what-if .accuracy")).to_have_text(re.compile(counts), timeout=10_000)

    page.locator("#what-if-cell-0").fill("2,5")
    page.locator("#what-if-cell-0").press("Enter")
    page.locator("#what-if-identity").check()
    items = page.locator(".what-if-list li span")
    expect(items).to_have_text(
        ["conv1, filter 2: switched off", "conv1, filter 2: 1 of 9 weights changed", "conv1: relu becomes the identity"]
    )
    kernel: list[float] = page.evaluate("Array.from(cnncli.edited(0).kernel('conv1.conv.weight', 2))")
    np.testing.assert_allclose(kernel, [2.5, *loaded.model.state_dict()["conv1.conv.weight"][2].flatten()[1:]])

    page.locator(".what-if-list button").first.click()
    expect(items).to_have_count(2)
    expect(page.locator("#what-if-changes")).to_be_focused()
    state = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    state["conv1.conv.weight"][2, 0, 0, 0] = 2.5
    edited.load_state_dict(state)
    edited.get_submodule("conv1").activation = nn.Identity()
    expect_logits(page, 2, logits_of(edited, loaded, [first])[0])

    undo, clear = (page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Remove all"))
    undo.click()
    expect(items).to_have_count(3)
    clear.click()
    expect(page.locator(".what-if-list li")).to_have_text(["none yet"])
    expect_logits(page, 2, original)
    for count in (3, 2, 1):
        undo.click()
        expect(items).to_have_count(count)
    undo.click()
    expect(page.locator(".what-if-list li")).to_have_text(["none yet"])
    expect(undo).to_be_disabled()


def test_the_slider_is_one_step_of_undo_and_a_single_number_can_be_changed(page: Page, loaded: Run) -> None:
    slider = page.locator("#what-if-factor")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.locator("#what-if-layer").select_option("logits1")
    page.locator("#what-if-tensor").select_option("logits1.weight")
    page.locator("#what-if-axis-0").fill("4")
    page.locator("#what-if-axis-0").press("Enter")
    page.locator("#what-if-axis-1").fill("7")
    page.locator("#what-if-axis-1").press("Enter")
    weight = float(loaded.model.state_dict()["logits1.weight"][4, 7])
    assert float(page.locator("#what-if-value").input_value()) == pytest.approx(weight, rel=1e-4)
    page.locator("#what-if-value").fill("1.5")
    page.locator("#what-if-value").press("Enter")
    items = page.locator(".what-if-list li span")
    expect(items).to_have_count(2)
    expect(items.nth(1)).to_contain_text("logits1.weight[4, 7]")
    assert (
        page.evaluate(
            "cnncli.edited(0).tensor('logits1.weight')[4 * cnncli.models[0].network.shapeOf('flatten1')[0] + 7]"
        )
        == 1.5
    )
    undo = page.get_by_role("button", name="Undo", exact=True)
    undo.click()
    expect(items).to_have_count(1)
    undo.click()
    expect(page.locator(".what-if-list li")).to_have_text(["none yet"])


def test_a_kernel_is_edited_by_keyboard(page: Page) -> None:
    page.locator("#what-if-layer").select_option("conv1")
    page.locator("#what-if-cell-0").focus()
    page.locator("#what-if-cell-0").select_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#what-if-cell-1")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#what-if-cell-4")).to_be_focused()
    page.keyboard.type("-1")
    page.keyboard.press("Enter")
    expect(page.locator(".what-if-list li span")).to_have_text(["conv1, filter 0: 1 of 9 weights changed"])
    assert page.evaluate("cnncli.edited(0).tensor('conv1.conv.weight')[4]") == -1
    assert page.locator(".kernel-grid input[tabindex='0']").count() == 1
    page.locator("#what-if-restore").click()
    expect(page.locator(".what-if-list li")).to_have_text(["none yet"])


def test_what_is_not_a_weight_is_marked_and_changes_nothing(page: Page) -> None:
    for field in ("value", "cell-4"):
        number = page.locator(f"#what-if-{field}")
        before = number.input_value()
        for text in ("much", "", "1e39", "Infinity"):  # single precision ends at 3.4e38
            number.fill(text)
            number.press("Tab")
            expect(number).to_have_attribute("aria-invalid", "true")
            expect(number).to_have_value(text)
            problem = page.locator(f"#{number.get_attribute('aria-describedby')}")
            expect(problem).to_be_visible()
            expect(problem).to_have_role("alert")
            expect(problem).to_have_text(f"“{text}” is not a number that a weight can have; it stays {before}.")
        expect(page.locator(".what-if-list li")).to_have_text(["none yet"])
        assert page.evaluate("cnncli.state.get('editHistory')") == []
        number.fill("0.25")
        number.press("Enter")
        assert number.get_attribute("aria-invalid") is None
        expect(problem).to_be_hidden()
        expect(page.locator(".what-if-list li span")).to_have_count(1)
        page.get_by_role("button", name="Undo", exact=True).click()


def test_numbers_of_nothing_are_marked_and_change_nothing(page: Page) -> None:
    shown = "[cnncli.state.get('whatIf'), cnncli.state.get('patches'), cnncli.state.get('unit')]"
    lasts = {"what-if-channel": 3, "what-if-slice": 0, "what-if-axis-0": 3, "unit-row": 7, "patches-filter": 3}
    for field, last in lasts.items():
        number = page.locator(f"#{field}")
        before, chosen = number.input_value(), page.evaluate(shown)
        for text in ("-1", "1.5", "99", ""):
            number.fill(text)
            number.press("Tab")
            expect(number).to_have_attribute("aria-invalid", "true")
            problem = page.locator(f"#{number.get_attribute('aria-describedby')}")
            expect(problem).to_contain_text(f"Only a whole number from 0 to {last} is possible")
            assert page.evaluate(shown) == chosen
        number.fill(before)
        number.press("Tab")
        assert number.get_attribute("aria-invalid") is None
        expect(problem).to_be_hidden()


def test_a_change_that_is_none_cannot_be_undone(page: Page) -> None:
    undo = page.get_by_role("button", name="Undo", exact=True)
    page.locator("#what-if-restore").click()
    expect(undo).to_be_disabled()
    slider = page.locator("#what-if-factor")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(undo).to_be_enabled()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".what-if-list li")).to_have_text(["none yet"])
    expect(undo).to_be_disabled()


def test_maps_have_the_numbers_of_show_saliency(page: Page, loaded: Run) -> None:
    number = page_images(page)[0]
    page.locator("#attribution-class").select_option(label="3")
    for name in METHODS:
        figure = page.locator(".pixel-map", has=page.get_by_text(name, exact=True))
        expect(figure.locator(".map-legend .bar")).to_have_count(1)
    expect(page.locator(".pixel-map.outdated")).to_have_count(0)
    maps = {}
    for name, method in METHODS.items():
        (picture,) = Saliency(images=(str(number),), method=method, target="3").pictures(loaded)
        maps[name] = picture.tiles[1].values
    page.locator(".attribution-maps").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    text = page.locator(".attribution-readout").inner_text()
    found = re.match(r"row (\d+), column (\d+)", text)
    assert found is not None, text
    at = int(found[1]), int(found[2])
    for name, values in maps.items():
        shown = re.search(rf"· {name} (\S+)", text)
        assert shown is not None, text
        assert float(shown[1]) == pytest.approx(values[at], rel=6e-3, abs=1e-4 * np.abs(values).max())
    legend = page.locator(".pixel-map .map-legend").nth(1).inner_text()
    limits = [float(each) for each in re.findall(r"-?[\d.]+(?:e-?\d+)?", legend)]
    assert limits == pytest.approx([-np.abs(maps["gradient"]).max(), np.abs(maps["gradient"]).max()], rel=6e-3)
    expect(page.locator(".attribution-command code")).to_contain_text(
        f"show saliency {loaded.path} {number} --target 3"
    )


def test_a_patch_loads_its_image_and_selects_its_unit(page: Page, loaded: Run) -> None:
    page.locator("#patches-layer").select_option("conv2")
    page.locator("#patches-filter").fill("5")
    page.locator("#patches-filter").press("Enter")
    expect(page.locator(".patch")).to_have_count(9)
    inputs = torch.stack([loaded.as_input(image) for image in loaded.test.images])
    with torch.inference_mode():
        maps = loaded.model.outputs(inputs, ["conv2"])["conv2"][:, 5]  # (N, H, W)
    order = maps.flatten(1).amax(1).argsort(descending=True, stable=True)
    for rank in range(9):
        page.locator(".patch").nth(rank).click()
        expect(page.locator(".patch[aria-pressed='true']")).to_have_count(1)
        image = int(order[rank])
        assert page.evaluate("cnncli.state.get('source').number") == image
        pixels = page.evaluate("Array.from(cnncli.state.get('pixels'))")
        assert pixels == loaded.test.images[image].flatten().tolist()
        unit = page.evaluate("cnncli.state.get('unit')")
        assert (unit["layer"], unit["channel"]) == ("conv2", 5)
        assert maps[image, unit["row"], unit["column"]] == maps[image].max()
    page.locator(".patch").nth(8).focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".patch").nth(7)).to_be_focused()
    assert page.locator(".patch[tabindex='0']").count() == 1


def test_edits_outlast_a_change_of_language_and_nothing_is_wider_than_a_phone(page: Page) -> None:
    page.locator("#what-if-off").click()
    expect(page.locator(".what-if-list li")).to_have_count(1)
    page.set_viewport_size({"width": 390, "height": 800})
    page.evaluate("cnncli.state.set({language: 'zh'})")
    # A rule, as the table is made anew in the other language.
    page.evaluate("document.styleSheets[0].insertRule('.edited-logits { width: 500px !important; }')")
    expect(page.locator("#what-if .scroll-hint")).to_have_text("左右滚动可查看所有列 →")
    expect(page.locator(".what-if-list li span")).to_have_text(re.compile("卷积核 0"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # Pictures of a row begin at one height, although only one has a long caption.
    heights = "(boxes) => boxes.slice(0, 2).map((each) => each.getBoundingClientRect().top)"
    image, gradient = page.locator("#attribution .pixel-box").evaluate_all(heights)
    assert image == gradient
    for part in ("what-if", "attribution", "patches"):
        assert "{" not in page.locator(f"#{part}").inner_text()
        small = page.evaluate(
            """(part) => [...document.querySelectorAll(`#${part} :is(button, input, select)`)]
              .filter((each) => each.checkVisibility() && each.type !== "checkbox")
              .map((each) => [each.id, each.getBoundingClientRect().height, each.getBoundingClientRect().width])
              .filter(([, height, width]) => Math.min(height, width) < 24)""",
            part,
        )
        assert small == []
