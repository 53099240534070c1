"""The playground as a whole: its overview, answer, links, themes and languages."""

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from cnncli.inspection.units import unit_receptive_field
from cnncli.library import inspect
from cnncli.run import load_run
from tests.browser.pages import violations

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
SIZES = [(390, 844), (1400, 950), (1920, 1080)]


def state(page: Page, key: str) -> Any:
    return page.evaluate("key => cnncli.state.get(key)", key)


def point_at(page: Page, layer: str, channel: int, row: int, column: int) -> None:
    """Move the mouse to the middle of a unit, as it is drawn."""
    sheet = page.locator(f'figure[data-layer="{layer}"] .sheet')
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box is not None
    layout = json.loads(sheet.get_attribute("data-layout") or "")
    slot_row, slot_column = divmod(channel, layout["columns"])
    across = layout["gap"] + slot_column * (layout["width"] + layout["gap"]) + column + 0.5
    down = layout["gap"] + slot_row * (layout["height"] + layout["gap"]) + row + 0.5
    page.mouse.move(box["x"] + across * layout["cell"], box["y"] + down * layout["cell"])


# For each tile of a layer, whether there is a colored border just outside each unit of a frame around the rectangle.
OUTLINED = """
([layer, channel, rows, columns]) => {
  const sheet = document.querySelector(`figure[data-layer="${layer}"] .sheet`);
  const overlay = sheet.querySelector("canvas.overlay");
  const { columns: across, width, height, gap, cell } = JSON.parse(sheet.dataset.layout);
  const scale = overlay.width / sheet.getBoundingClientRect().width;
  const left = gap + (channel % across) * (width + gap);
  const top = gap + Math.floor(channel / across) * (height + gap);
  const copy = new OffscreenCanvas(overlay.width, overlay.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(overlay, 0, 0);
  const at = (x, y) => copy.getImageData(Math.round(x * scale), Math.round(y * scale), 1, 1).data;
  const orange = ([red, , blue, alpha]) => alpha > 200 && red > blue + 80;
  const [[first, last], [start, end]] = [rows, columns];
  const x = [(left + start) * cell - 1, (left + end + 1) * cell];
  const y = [(top + first) * cell - 1, (top + last + 1) * cell];
  const middle = [((left + (start + end + 1) / 2) * cell), ((top + (first + last + 1) / 2) * cell)];
  const sides = [at(x[0], middle[1]), at(x[1], middle[1]), at(middle[0], y[0]), at(middle[0], y[1])];
  return { border: sides.map(orange), inside: at(middle[0], middle[1])[3] };
}
"""


def outlined(page: Page, layer: str, channel: int, rows: tuple[int, int], columns: tuple[int, int]) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(OUTLINED, [layer, channel, rows, columns])
    return found


def test_the_receptive_field_is_outlined_where_inspect_says(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    for unit in ((0, 0), (2, 3), (4, 4)):
        point_at(page, "avg_pool2", 7, *unit)
        expect(page.locator(".unit-line")).to_contain_text(f"avg_pool2, channel 7, row {unit[0]}, column {unit[1]}")
        clipped = unit_receptive_field(inspect(lenet), "avg_pool2", unit).clipped
        assert clipped is not None
        (top, bottom), (left, right) = clipped
        text = f"sees rows {top} to {bottom}, columns {left} to {right} of the input"
        expect(page.locator(".unit-line")).to_contain_text(text)
        found = outlined(page, "input", 0, *clipped)
        assert found == {"border": [True] * 4, "inside": 0}, unit
        inner = outlined(page, "input", 0, (top + 3, bottom - 3), (left + 3, right - 3))
        assert not any(inner["border"]), unit


def test_only_the_channels_that_a_unit_reads_are_outlined(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    point_at(page, "avg_pool2", 7, 2, 3)
    rows, columns = (4, 5), (6, 7)  # of a pool of 2x2
    assert [all(outlined(page, "conv2", k, rows, columns)["border"]) for k in range(16)] == [k == 7 for k in range(16)]
    assert all(all(outlined(page, "avg_pool1", k, (4, 9), (6, 11))["border"]) for k in range(6))


def test_a_feature_after_flatten_is_one_unit(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, link="#layer=flatten1&filter=58")
    channel, position = divmod(58, 25)
    row, column = divmod(position, 5)
    clipped = unit_receptive_field(inspect(lenet), "avg_pool2", (row, column)).clipped
    assert clipped is not None
    expect(page.locator(".unit-line")).to_contain_text(
        "sees rows {} to {}, columns {} to {}".format(*np.ravel(clipped))
    )
    assert outlined(page, "input", 0, *clipped)["border"] == [True] * 4
    assert all(outlined(page, "avg_pool2", channel, (row, row), (column, column))["border"])


def test_pointing_moves_nothing(odd: Path, open_page: Open) -> None:
    page = open_page(odd)
    places = "() => [...document.querySelectorAll('figure, section, .logits tr')].map(e => e.getBoundingClientRect().y)"
    page.locator("#network").scroll_into_view_if_needed()
    before: list[float] = []
    while before != (before := page.evaluate(places)):  # panels out of sight are filled later
        page.wait_for_timeout(600)
    for layer, size in (("input", (20, 16)), ("conv1", (20, 16)), ("conv2", (6, 4))):
        for row, column in ((0, 0), (size[0] - 1, size[1] - 1)):
            sheet = page.locator(f'figure[data-layer="{layer}"] .sheet')
            layout = json.loads(sheet.get_attribute("data-layout") or "")
            cell, gap = layout["cell"], layout["gap"]
            sheet.hover(position={"x": (gap + column + 0.5) * cell, "y": (gap + row + 0.5) * cell})
            assert state(page, "hover")["layer"] == layer
            assert page.evaluate(places) == before


def test_a_pixel_shows_the_units_that_see_it(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    point_at(page, "input", 0, 0, 0)
    expect(page.locator(".unit-line")).to_contain_text("input, row 0, column 0")
    blue = page.evaluate(OUTLINED.replace("red > blue + 80", "blue > red + 80"), ["conv1", 3, (0, 2), (0, 2)])
    assert blue["border"][1] is True  # the right side of the 3x3 units whose 5x5 window, padded by 2, has the corner
    assert blue["border"][3] is True


def test_the_page_computes_what_torch_computes(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    run = load_run(lenet, data_dir=Path("nowhere"))
    badge = page.locator(".badge")
    expect(badge).to_have_text(re.compile("100 of 100 images: same logits as PyTorch to 1e-5"))
    pixels = torch.randint(256, (1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    found = page.evaluate("pixels => cnncli.run(pixels)", pixels.flatten().tolist())
    names = [node.name for node in run.network.nodes]
    with torch.inference_mode():
        outputs = run.model.outputs(run.as_input(pixels)[None], names)
    assert list(found["layers"]) == names
    for name in names:
        layer = found["layers"][name]
        assert layer["shape"] == list(outputs[name].shape[1:])
        np.testing.assert_allclose(layer["values"], outputs[name][0].flatten().numpy(), atol=1e-5)
    np.testing.assert_allclose(found["logits"], outputs["logits1"][0].numpy(), atol=1e-5)


def test_other_pixels_are_refused(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    for pixels in ("undefined", "[]", "new Array(783).fill(0)", "new Array(784).fill(NaN)"):
        with pytest.raises(PlaywrightError, match="1 x 28 x 28 = 784 numbers from 0 to 255"):
            page.evaluate(f"cnncli.run({pixels}).logits")


def test_another_normalization_makes_the_badge_red(lenet: Path, tmp_path: Path, open_page: Open) -> None:
    text = (lenet / "play.html").read_text("utf-8")
    mean = re.search(r'"normalization":\{"mean":\[([\d.]+)', text)
    assert mean is not None
    changed = text.replace(mean[0], f'"normalization":{{"mean":[{float(mean[1]) + 0.01}')
    (tmp_path / "play.html").write_text(changed, "utf-8")
    page = open_page(tmp_path)
    badge = page.locator(".badge")
    expect(badge).to_have_attribute("data-kind", "bad")
    expect(badge).to_contain_text("largest difference")


def test_the_answer(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    run = load_run(lenet, data_dir=Path("nowhere"))
    image = run.input_image("0")
    with torch.inference_mode():
        logits = run.model(image.image[None])[0].double()
    shares = logits.softmax(dim=0)
    rows = page.locator(".logits tbody tr")
    expect(rows).to_have_count(10)
    for k, (logit, share) in enumerate(zip(logits.tolist(), shares.tolist(), strict=True)):
        cells = rows.nth(k).locator("th, td").all_inner_texts()
        assert cells == [run.classes[k], "", f"{logit:.2f}", f"{100 * share:.2f} %"]
    expect(page.locator(".answer")).to_contain_text(run.classes[int(logits.argmax())])
    expect(page.locator(".truth")).to_contain_text(f"true class: {run.classes[image.label or 0]}")


def test_a_link_opens_a_unit_and_an_image(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, link="#layer=conv2&filter=3&at=5,7&image=12")
    assert state(page, "unit") == {"layer": "conv2", "channel": 3, "row": 5, "column": 7}
    assert state(page, "source")["number"] == 12
    values = load_run(lenet, data_dir=Path("nowhere"))
    image = values.input_image("12")
    with torch.inference_mode():
        conv2 = values.model.outputs(image.image[None], ["conv2"])["conv2"][0]
    shown = page.locator(".unit-line").inner_text()
    value = float(re.search(r"value (-?[\d.e-]+)", shown)[1])  # type: ignore[index]
    assert value == pytest.approx(float(conv2[3, 5, 7]), rel=5e-3)
    page.evaluate("location.hash = '#layer=avg_pool1&filter=99&at=3,99'")
    expect(page.locator(".unit-line")).to_contain_text("avg_pool1, channel 5, row 3, column 13")
    page.locator('figure[data-layer="conv1"] .sheet').click(position={"x": 30, "y": 30})
    page.wait_for_url(re.compile("layer=conv1"))


def test_units_by_keyboard(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    sheet = page.locator('figure[data-layer="input"] [role="application"]')
    expect(sheet).to_have_attribute("aria-label", re.compile("^input, 1 x 28 x 28. "))
    page.locator('#network [role="application"][tabindex="0"]').focus()
    focused = "() => document.activeElement.closest('figure')?.dataset.layer"
    assert page.evaluate(focused) == "conv1"
    stops = page.locator('#network [role="application"][tabindex="0"]')
    expect(stops).to_have_count(1)
    for _ in range(2):
        page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate(focused) == "conv2"
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "PageDown"):
        page.keyboard.press(key)
    line = page.locator(".unit-line")
    expect(line).to_contain_text("conv2, channel 1, row 4, column 3")
    page.keyboard.press("Enter")
    assert state(page, "unit") == {"layer": "conv2", "channel": 1, "row": 4, "column": 3}
    page.keyboard.press("Escape")
    assert state(page, "unit") is None


def test_strongest_channels_first(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    page.get_by_label("strongest channels first").check()
    values = page.evaluate("() => Array.from(cnncli.state.get('result')[0].values.get('conv2'))")
    strength = np.abs(np.array(values).reshape(16, -1)).mean(axis=1)
    line = page.locator(".unit-line")
    for slot, channel in enumerate(np.argsort(-strength, kind="stable")[:3]):
        point_at(page, "conv2", slot, 1, 1)
        expect(line).to_contain_text(f"conv2, channel {channel}, row 1, column 1")


def test_blocks_are_folded_and_unfolded(odd: Path, open_page: Open) -> None:
    page = open_page(odd)
    inside = page.locator('figure[data-layer="residual1.conv1"]')
    expect(inside).to_be_visible()
    page.get_by_role("button", name="fold residual1").click()
    expect(inside).to_have_count(0)
    expect(page.locator('figure[data-layer="residual1.add"]')).to_be_visible()
    page.get_by_role("button", name="unfold residual1: 3 layers").click()
    expect(inside).to_be_visible()


def test_two_runs(pair: Path, open_page: Open) -> None:
    page = open_page(pair)
    expect(page.locator(".logit-table h3")).to_have_text(["lenet", "small"])
    expect(page.locator(".badge")).to_have_count(2)
    for badge in page.locator(".badge").all():
        expect(badge).to_have_attribute("data-kind", "good")
    expect(page.locator('figure[data-layer="conv2"] .type')).to_have_text("16x10x10")
    page.locator("#what-if-layer").select_option("conv2")
    page.locator("#what-if-channel").fill("15")
    page.locator("#what-if-channel").press("Enter")
    page.get_by_role("radio", name="small").check()
    # The smaller network has four channels there, and no bias.
    expect(page.locator("#what-if-channel")).to_have_value("3")
    expect(page.locator("#what-if-layer")).to_have_value("conv2")
    expect(page.locator('figure[data-layer="conv2"] .type')).to_have_text("4x10x10")
    expect(page.get_by_role("radio", name="small")).to_be_focused()
    logits = page.evaluate("() => cnncli.state.get('result').map(({logits}) => Array.from(logits))")
    second = page.locator(".logit-table").nth(1).locator("tbody tr td:nth-child(3)").all_inner_texts()
    assert second == [f"{each:.2f}" for each in logits[1]]


def luminance(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2.2 defines it."""
    levels = [int(level) / 255 for level in re.findall(r"\d+", color)[:3]]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_themes(scheme: str, lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, color_scheme=scheme, link="#layer=conv2&filter=3&at=5,7")
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert (luminance(page.evaluate(background)) < 0.1) == (scheme == "dark")
    theme = page.locator("#theme")
    theme.click()
    expect(theme).to_have_text("Theme: light")
    expect(theme).to_be_focused()
    assert luminance(page.evaluate(background)) > 0.8
    theme.click()
    expect(theme).to_have_text("Theme: dark")
    assert luminance(page.evaluate(background)) < 0.1
    expect(page.locator(".unit-line")).to_contain_text("conv2, channel 3")  # the state survives
    page.reload()
    expect(theme).to_have_text("Theme: dark")


def test_languages(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, link="#layer=conv2&filter=3&at=5,7")
    page.locator("#language").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("heading", name="网络")).to_be_visible()
    expect(page.locator(".unit-line")).to_contain_text("感受野")
    page.locator("#language").click()
    expect(page.get_by_role("heading", name="Network", exact=True)).to_be_visible()


@pytest.mark.parametrize("size", [(390, 800), (1400, 900), (1920, 1080)])
def test_pad_and_answer_are_on_the_first_screen(size: tuple[int, int], lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, viewport={"width": size[0], "height": size[1]})
    for selector in (".answer", ".truth", "#pad"):
        box = page.locator(selector).bounding_box()
        assert box is not None
        assert box["height"] > 15
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1]


def test_the_answer_never_moves_the_pad(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, viewport={"width": 390, "height": 800})
    place = "() => document.querySelector('#pad').getBoundingClientRect().y + window.scrollY"
    before = page.evaluate(place)
    name = "a very long name of a class that no line of a phone holds"
    page.evaluate("name => { cnncli.models[0].data.model.classes.fill(name); }", name)
    page.locator(".thumbnail").first.click()
    expect(page.locator(".answer .cut")).to_have_attribute("title", name)
    assert page.evaluate(place) == before
    assert page.locator(".answer span").nth(1).bounding_box()["x"] < 340  # type: ignore[index]
    page.evaluate("() => cnncli.state.set({ result: [{ ...cnncli.state.get('result')[0], logits: [NaN, 1] }] })")
    expect(page.locator(".answer")).to_contain_text("not all logits are finite")
    assert page.evaluate(place) == before


@pytest.mark.parametrize("name", ["lenet", "odd", "pair"])
def test_no_horizontal_scrolling(name: str, open_page: Open, request: pytest.FixtureRequest) -> None:
    """On a wide screen whose window becomes narrower."""
    page = open_page(request.getfixturevalue(name), viewport={"width": 1920, "height": 1080})
    for width, height in reversed(SIZES):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.evaluate(
            "() => [...document.querySelectorAll('button, input, select')].filter(e => e.offsetParent)"
            ".map(e => [e.id, (e.closest('label') ?? e).getBoundingClientRect().height])"
        )
        assert [box for box in boxes if box[1] < 24] == []


def test_print(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, color_scheme="dark", link="#layer=conv2&filter=3&at=5,7")
    expect(page.locator(".patch").first).to_be_attached()
    page.emulate_media(media="print")
    style = page.evaluate("() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color] }")
    assert luminance(style[0]) == 1, "the white of the paper, also in the dark theme"
    assert luminance(style[1]) < 0.1
    assert page.locator("#network canvas.values").first.evaluate("e => getComputedStyle(e).printColorAdjust") == "exact"
    printed = "() => [...document.querySelectorAll('button, input, select')].filter(e => e.checkVisibility())"
    controls = page.evaluate(f"({printed})().map(e => [e.localName, e.className, getComputedStyle(e).appearance])")
    assert {name for name, _, _ in controls} == {"button", "select", "input"}
    for name, kind, appearance in controls:
        assert (kind if name == "button" else appearance) == ("patch" if name == "button" else "none")
    for empty in ("#tour", "#test-images", "#what-if"):
        expect(page.locator(empty)).to_be_hidden()
    edit = "{ kind: 'scale', layer: 'conv1', channel: 0, factor: 0 }"
    page.evaluate(f"cnncli.state.set({{ edits: [{edit}] }})")
    expect(page.locator("#what-if .what-if-list")).to_be_visible()
    for whole in ("#answer", "#network .layer-card", "#patches .patch", ".stages li", ".pixel-map"):
        expect(page.locator(whole).first).to_have_css("break-inside", "avoid")  # the edit may draw it again


def test_printed_maps_are_crisp_and_not_cleared_by_borders(lenet: Path, open_page: Open) -> None:
    """Chromium prints what is drawn in `beforeprint` as commands on the page."""
    page = open_page(lenet, viewport={"width": 390, "height": 400}, link="#layer=linear1&filter=3")
    drawn = page.evaluate(
        """() => {
          const cleared = [];
          for (const name of ["clearRect", "reset"]) {
            const original = CanvasRenderingContext2D.prototype[name];
            CanvasRenderingContext2D.prototype[name] = function (...box) {
              if (this.canvas.className === "overlay") cleared.push(this.canvas);
              original.apply(this, box);
            };
          }
          window.dispatchEvent(new Event("beforeprint"));
          const isDrawn = (canvas) => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
            copy.drawImage(canvas, 0, 0);
            return copy.getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
          };
          const overlays = [...document.querySelectorAll("#network figure[data-layer] canvas.overlay")];
          return [cleared.length, overlays.map(isDrawn)];
        }"""
    )
    assert drawn == [0, [True] * 7 + [False]], "borders in all layers up to the unit's, and none in the logits"
    # Viewers of PDF smooth what they enlarge: there is a pixel for each px of the page, until it has been printed.
    pixels = """
      () => [...document.querySelectorAll("#network figure[data-layer] canvas.values")].map((canvas) => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.clientWidth, new Uint32Array(data.buffer).reduce((sum, each) => sum + each, 0)];
      })
    """
    printed = page.evaluate(pixels)
    assert all(width >= shown for width, shown, _ in printed)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    after = page.evaluate(pixels)
    factors = [before[0] / now[0] for before, now in zip(printed, after, strict=True)]
    assert max(factors) > 2
    for factor, (_, _, enlarged), (_, _, original) in zip(factors, printed, after, strict=True):
        assert enlarged == factor**2 * original


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, width: int, lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, color_scheme=scheme, viewport={"width": width, "height": 900})
    assert violations(page) == []
    page.evaluate("location.hash = '#layer=conv2&filter=3&at=5,7'")
    expect(page.locator(".patch-card").first).to_be_visible()
    assert violations(page) == []


def test_touch(lenet: Path, open_page: Open) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 3}
    page = open_page(lenet, **phone)
    sheet = page.locator('figure[data-layer="conv2"] .sheet')
    sheet.scroll_into_view_if_needed()
    sheet.tap()
    assert state(page, "unit")["layer"] == "conv2"


def test_without_javascript(lenet: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((lenet / "play.html").resolve().as_uri())
    run = load_run(lenet, data_dir=Path("nowhere"))
    image = run.input_image("0")
    with torch.inference_mode():
        logits = run.model(image.image[None])[0]
    cells = page.locator("noscript table tbody tr td:nth-child(2)").all_inner_texts()
    np.testing.assert_allclose([float(cell) for cell in cells], logits.numpy(), rtol=1e-3)
    sizes = page.locator("noscript img").evaluate_all("images => images.map(each => each.naturalWidth)")
    assert len(sizes) == 2
    assert all(size > 100 for size in sizes)
    context.close()


def test_gaps_of_a_dilated_window_are_outlined_one_by_one(odd: Path, open_page: Open) -> None:
    page = open_page(odd)
    point_at(page, "conv1", 0, 10, 8)
    for row, column in product((8, 10, 12), (6, 8, 10)):
        assert outlined(page, "input", 0, (row, row), (column, column))["border"] == [True] * 4


@pytest.mark.slow
def test_the_first_picture_takes_less_than_300_ms(lenet: Path, open_page: Open) -> None:
    mark = "() => performance.getEntriesByName('cnncli-first-picture')[0].startTime"
    assert min(open_page(lenet).evaluate(mark) for _ in range(8)) < 300  # the others wait for other programs


def test_a_link_to_a_part_scrolls_to_it(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, link="#part=patches")
    expect(page.locator("#patches-heading")).to_be_in_viewport()
