"""The arithmetic of one unit on the page, against `cnncli explain unit`."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from cnncli.layers.unit import Unit
from cnncli.lessons.notation import format_fixed
from cnncli.lessons.unit import compute_unit
from cnncli.run import Run, load_run
from tests.browser.pages import ExitCodeOf, Open

pytestmark = pytest.mark.browser

CONFIG = """\
name: unit
data: {name: digits}
model:
  layers:
    - conv: {out_channels: 12, kernel_size: 3, padding: same, norm: batch, activation: relu}
    - max_pool: 2
    - pad: {padding: [1, 0], value: 0.5}
    - lp_pool: {norm_type: 2, kernel_size: [3, 1], stride: 1}
    - conv: {out_channels: 6, kernel_size: 3, padding: 1, padding_mode: circular, activation: gelu}
    - residual: {main: [{conv: {out_channels: 6, kernel_size: 3, padding: same, norm: {group: 2}}}], activation: relu}
    - flatten
    - linear: {out_features: 16, norm: layer, activation: tanh}
    - logits
train: {epochs: 1}
log: {images: 0}
"""
UNITS = {
    "conv1": (3, 0, 7),  # a corner, where padding is
    "max_pool1": (5, 1, 2),
    "pad1": (5, 0, 1),  # reads nothing
    "lp_pool1": (2, 0, 0),
    "conv2": (4, 2, 0),
    "residual1.conv1": (1, 3, 3),
    "residual1.add": (2, 1, 1),
    "flatten1": (50,),
    "linear1": (9,),
    "logits1": (4,),
}


@pytest.fixture(scope="module")
def run(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with its playground."""
    folder = tmp_path_factory.mktemp("unit")
    config = folder / "unit.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    assert exit_code_of("train", config, "--out", folder / "runs", "--threads", 1, "--quiet") == 0
    (path,) = (folder / "runs").iterdir()
    assert exit_code_of("play", path) == 0
    return load_run(path, data_dir=Path("nowhere"))


@pytest.fixture
def opened(run: Run, open_page: Open) -> Open:
    """Open the playground at a link."""

    def open_(link: str = "", *, width: int = 1400, **options: Any) -> Page:
        return open_page(run.path, link=f"#{link}", viewport={"width": width, "height": 900}, **options)

    return open_


def link(layer: str, index: tuple[int, ...], image: int) -> str:
    at = f"&at={index[1]},{index[2]}" if len(index) > 1 else ""
    return f"layer={layer}&filter={index[0]}{at}&image={image}"


def title(page: Page) -> Locator:
    return page.locator("#unit .unit-title")


def text_of(locator: Locator) -> str:
    """Its text, also where the browser has not laid it out because it is out of sight."""
    return locator.text_content() or ""


def chosen(page: Page) -> Any:
    return page.evaluate("cnncli.state.get('unit')")


def embedded_image(page: Page) -> int:
    """The number of a test image that is in the page, not the one it opens with."""
    return int(page.evaluate("cnncli.data.images.numbers[3]"))


def test_every_number_is_that_of_explain(run: Run, opened: Open) -> None:
    page = opened()
    image = embedded_image(page)
    for layer, index in UNITS.items():
        computed = compute_unit(run, run.input_image(str(image)), run.node(layer), Unit(index))
        expected = [format_fixed(stage.value, computed.decimals) for stage in computed.trace.stages]
        page.evaluate("hash => { location.hash = hash; }", link(layer, index, image))
        expect(title(page)).to_contain_text(f"{layer}, ")
        expect(title(page)).to_contain_text(f": {expected[-1]}")
        assert page.locator("#unit .stage-value").all_text_contents() == expected, layer
        expect(page.locator("#unit .unit-value")).to_have_text(expected[-1])
        expect(page.locator("#unit .unit-result")).to_contain_text(f"The network computed the same: {expected[-1]}.")
        totals = [each.total for each in computed.trace.patches if each.kernel is not None]
        sums = sorted(totals, key=lambda total: -abs(total))[:8]
        shown = page.locator("#unit .unit-patches:not([hidden]) .card-sum b").all_text_contents()
        assert shown == [format_fixed(total, computed.decimals) for total in sums], layer


def test_the_value_is_that_of_the_tile(opened: Open) -> None:
    page = opened(link("conv2", (4, 2, 0), 0))
    value = float(text_of(page.locator("#unit .unit-value")))
    computed = page.evaluate("cnncli.run(cnncli.state.get('pixels')).layers.conv2.values[4 * 16 + 2 * 4]")
    assert value == pytest.approx(computed, abs=6e-5)
    line = page.locator("#network .unit-line").inner_text()
    on_tile = re.search(r"value (-?[\d.e-]+)", line)
    assert on_tile is not None
    assert float(on_tile[1]) == pytest.approx(value, rel=6e-3)


def test_products_and_kernels(run: Run, opened: Open) -> None:
    """The cells of the strongest channel: the kernel is the run's, and the products are those of the cells."""
    page = opened(link("conv2", (4, 2, 1), 0))
    card = page.locator("#unit .patch-card").first
    tables = [
        [float(text) for text in card.locator("table").nth(i).locator("tbody td").all_text_contents()] for i in range(3)
    ]
    patch, kernel, products = tables
    channel = int(text_of(card.locator("h4 span").first).rpartition(" ")[2])
    weights = run.model.state_dict()["conv2.conv.weight"][4, channel].flatten().tolist()
    assert kernel == pytest.approx(weights, abs=6e-5)
    assert products == pytest.approx([a * b for a, b in zip(patch, kernel, strict=True)], abs=1e-3)
    total = float(text_of(card.locator(".card-sum b")))
    assert sum(products) == pytest.approx(total, abs=1e-3)


def test_all_channels(opened: Open) -> None:
    page = opened(link("conv2", (4, 2, 1), 0))
    cards = page.locator("#unit .patch-card")
    expect(cards).to_have_count(8)
    expect(page.locator("#unit .patch-footer")).to_contain_text("4 more channels add")
    page.get_by_role("button", name="Show all 12 channels").click()
    expect(cards).to_have_count(12)
    sums = [abs(float(text)) for text in page.locator("#unit .card-sum b").all_text_contents()]
    assert sums == sorted(sums, reverse=True)
    page.get_by_role("button", name="Show the strongest 8").click()
    expect(cards).to_have_count(8)


def test_the_command_prints_the_same_numbers(
    opened: Open, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    page = opened(link("conv1", (3, 2, 4), 0))
    program, *words = shlex.split(page.locator("#unit .command-line code").inner_text())
    assert program == "cnncli"
    capsys.readouterr()
    assert exit_code_of(*words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for value in page.locator("#unit .stage-value").all_text_contents():
        assert f"= {value}" in printed


def test_a_drawing_is_saved_for_the_command(
    opened: Open,
    exit_code_of: ExitCodeOf,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = opened(link("conv1", (3, 2, 4), 0))
    page.evaluate(
        "cnncli.state.set({ pixels: Uint8Array.from({ length: 64 }, (_, i) => (i * 37) % 256),"
        " source: { kind: 'drawing' } })"
    )
    expect(page.locator("#unit .command-line code")).to_contain_text("--image drawing.png")
    with page.expect_download() as download:
        page.locator("#unit").get_by_role("button", name="Save the picture").click()
    assert download.value.suggested_filename == "drawing.png"
    download.value.save_as(tmp_path / "drawing.png")
    monkeypatch.chdir(tmp_path)
    _, *words = shlex.split(page.locator("#unit .command-line code").inner_text())
    capsys.readouterr()
    assert exit_code_of(*words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for value in page.locator("#unit .stage-value").all_text_contents():
        assert f"= {value}" in printed


def test_contributions_lead_back_to_the_pixels(opened: Open) -> None:
    page = opened(link("logits1", (4,), 0))
    unit = page.locator("#unit")
    links = unit.locator(".terms .to-unit:visible")
    expect(links).to_have_count(10)
    links.first.click()
    expect(title(page)).to_contain_text("linear1, unit")
    text = links.nth(1).inner_text()
    assert re.fullmatch(r"residual1\.add, channel \d, row \d, column \d", text), "behind flatten"
    links.nth(1).click()
    expect(title(page)).to_contain_text(text)
    links.first.focus()
    page.keyboard.press("ArrowDown")
    text = page.evaluate("document.activeElement.innerText")
    page.keyboard.press("Enter")
    expect(title(page)).to_contain_text(text)
    page.locator("#unit-layer").select_option("max_pool1")
    winner = unit.locator(".patch-footer .to-unit")
    text = winner.inner_text()
    assert text.startswith("conv1, channel 0, row")
    expect(unit.locator(".cells .winner")).to_have_count(1)
    winner.click()
    expect(title(page)).to_contain_text(text)
    unit.locator(".cells.headed tbody td:not(.padding)").first.click()
    assert chosen(page)["layer"] == "input"
    expect(unit.locator(".unit-pixel .formula")).to_contain_text("/ 255 - ")


def test_maps_of_products_lead_to_their_unit(opened: Open) -> None:
    page = opened(link("linear1", (9,), 0))
    maps = page.locator("#unit .product-maps .sheet")
    expect(maps).to_have_count(3)
    maps.last.click(position={"x": 22, "y": 22})
    assert chosen(page)["layer"] == "residual1.add"


def test_choosing_by_form_and_keyboard(opened: Open) -> None:
    page = opened()
    page.locator("#unit-layer").select_option("conv2")
    assert chosen(page) == {"layer": "conv2", "channel": 0, "row": 2, "column": 2}
    page.locator("#unit-channel").fill("5")
    page.locator("#unit-row").fill("9")  # there is no such row
    page.locator("#unit-column").fill("1")
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 2, "column": 2}
    page.locator("#unit-row").fill("3")
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 3, "column": 1}
    page.locator("#unit [role=application]").focus()
    for key in ("ArrowDown", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 2, "column": 2}
    expect(page.locator("#unit-column")).to_have_value("2")
    page.locator("#unit-layer").select_option("logits1")
    expect(page.locator("#unit-row")).to_be_hidden()


# What the part says, and for each unit of a map of 4x4 whether it is drawn; its canvas has a pixel for each of them.
DRAWN = """(unit) => {
  const canvas = [...unit.querySelectorAll(".slide-map canvas.values")].at(-1);
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const [left, top] = [(canvas.width - 4) / 2, (canvas.height - 4) / 2];
  const { data } = copy.getImageData(left, top, 4, 4);
  return [unit.querySelector(".slide-formula").textContent, Array.from({ length: 16 }, (_, i) => data[4 * i + 3] > 0)];
}"""


def test_the_window_slides(opened: Open) -> None:
    page = opened(link("conv2", (5, 1, 3), 0))
    unit = page.locator("#unit")
    unit.get_by_label("Speed").select_option("2")
    unit.get_by_role("button", name="Slide").click()
    expect(unit.locator(".slide-formula")).to_contain_text("row 2, column")
    text, drawn = unit.evaluate(DRAWN)
    row, column = map(int, re.findall(r"\d+", text)[:2])
    assert drawn == [place <= 4 * row + column for place in range(16)], "only what the window has reached is drawn"
    assert chosen(page)["row"] == 1, "the selected unit stays while the window slides"
    unit.get_by_label("Speed").select_option("32")
    expect(unit.get_by_role("button", name="Slide")).to_be_visible()  # at the end of the map
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 3, "column": 3}
    unit.get_by_role("button", name="Next position").click()
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 0, "column": 0}
    unit.get_by_role("button", name="Previous position").click()
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 3, "column": 3}
    unit.get_by_role("button", name="First position").click()
    unit.get_by_role("button", name="Slide").click()
    page.locator("#unit-layer").select_option("conv1")
    expect(title(page)).to_contain_text("conv1, ")
    expect(unit.get_by_role("button", name="Slide")).to_be_visible()


def test_nothing_moves_where_reduced_motion_is_asked_for(opened: Open) -> None:
    page = opened(link("conv2", (5, 1, 3), 0), reduced_motion="reduce")
    unit = page.locator("#unit")
    expect(unit.get_by_role("button", name="Slide")).to_have_count(0)
    expect(unit).to_contain_text("The system asks for reduced motion")
    unit.get_by_role("button", name="Next position").click()
    assert chosen(page) == {"layer": "conv2", "channel": 5, "row": 2, "column": 0}


def test_in_chinese_on_a_phone(opened: Open) -> None:
    page = opened(link("conv1", (3, 0, 7), 0), width=390)
    for layer in UNITS:
        page.locator("#unit-layer").select_option(layer)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, layer
    page.locator("#unit-layer").select_option("conv1")
    page.locator("#language").click()
    unit = page.locator("#unit")
    expect(unit).to_contain_text("卷积核")
    expect(unit).to_contain_text("结果")
    expect(title(page)).to_contain_text("conv1\uff0c通道 0")
    assert not re.search(r"\{\w+\}", unit.inner_text())


def test_edits_are_part_of_the_arithmetic(opened: Open) -> None:
    page = opened(link("conv2", (4, 2, 1), 0))
    page.evaluate(
        "cnncli.state.set({ edits: [{ kind: 'identity', layer: 'conv2' },"
        " { kind: 'scale', layer: 'conv2', channel: 4, factor: -2 }] })"
    )
    unit = page.locator("#unit")
    expect(unit.locator(".stages [data-kind=edit]")).to_contain_text("(-2)")
    expect(unit.locator(".stages [data-kind=activation]")).to_have_count(0)
    expect(unit.locator(".unit-result")).to_contain_text("The network computed the same")
    expect(unit.locator(".unit-command")).to_contain_text("knows nothing of the edits")
