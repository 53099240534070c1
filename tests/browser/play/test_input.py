"""The input of the playground: drawn, chosen and changed in Chromium, against the images that Python prepares."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import FilePayload, Locator, Page, expect

from cnncli.data.digits import load_digits
from cnncli.run import Run, load_run

pytestmark = pytest.mark.browser

ExitCodeOf = Callable[..., int]
Open = Callable[..., Page]
Pixels = npt.NDArray[np.uint8]

NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# Reads a copy: reading a canvas often makes Chromium log a performance warning.
PAD_LEVELS = """() => {
  const pad = document.querySelector("#pad canvas");
  const copy = new OffscreenCanvas(pad.width, pad.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(pad, 0, 0);
  const { data } = copy.getImageData(0, 0, pad.width, pad.height);
  return [pad.height, pad.width, btoa(Array.from(data, (level) => String.fromCharCode(level)).join(""))];
}"""
# Lines [row, first column, last column] of a fine pen, in pixels of the pad -> what the network sees.
DRAW_LINES = """async (lines) => {
  const pad = document.getElementById("pad");
  const { left, top, width, height } = pad.querySelector("canvas").getBoundingClientRect();
  const canvas = pad.querySelector("canvas");
  const send = (type, row, column) => pad.dispatchEvent(new PointerEvent(type, {
    pointerId: 7, pointerType: "pen", pressure: 0.001, buttons: 1, bubbles: true, cancelable: true,
    clientX: left + ((column + 0.5) * width) / canvas.width, clientY: top + ((row + 0.5) * height) / canvas.height,
  }));
  document.getElementById("clear").click();
  for (const [row, first, last] of lines) {
    send("pointerdown", row, first);
    send("pointermove", row, last);
    send("pointerup", row, last);
  }
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return Array.from(globalThis.cnncli.state.get("pixels"));
}"""


@pytest.fixture(scope="session")
def lenet_run(lenet: Path) -> Run:
    return load_run(lenet, data_dir=Path("nowhere")).offline()


@pytest.fixture
def page(lenet: Path, open_page: Open) -> Page:
    return open_page(lenet)


def seen(page: Page, shape: tuple[int, int, int] = (1, 28, 28)) -> Pixels:
    """What the networks see, in the next frame."""
    page.evaluate(NEXT_FRAME)
    levels = page.evaluate("() => Array.from(globalThis.cnncli.state.get('pixels'))")
    return np.array(levels, dtype=np.uint8).reshape(shape)


def pad_levels(page: Page) -> Pixels:
    """The pad as it is shown, (H, W, 3)."""
    page.evaluate(NEXT_FRAME)
    height, width, text = page.evaluate(PAD_LEVELS)
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(height, width, 4)[:, :, :3]


def draw(page: Page, *points: tuple[float, float]) -> None:
    """A stroke of the mouse through points (x, y), as fractions of the pad."""
    box = page.locator("#pad canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


SEVEN = [(0.2, 0.15), (0.5, 0.15), (0.3, 0.6)]


def steps(page: Page) -> str:
    page.evaluate(NEXT_FRAME)
    return page.locator(".input-steps").inner_text()


def test_a_drawing_is_prepared_as_predict_prepares_it(page: Page, lenet_run: Run) -> None:
    expect(page.locator("#given")).to_contain_text("Test image 0")
    draw(page, *SEVEN)
    expect(page.locator("#given")).to_have_text("What you draw")
    drawn = pad_levels(page)
    assert drawn.max() == 255
    expected = lenet_run.preparation.prepare(Image.fromarray(drawn[:, :, 0]), invert="no")
    assert np.abs(seen(page).astype(int) - expected.pixels).max() <= 1
    assert steps(page) == ", ".join(expected.steps) == "cropped, centered, resized from 280x280"
    page.locator("#center").uncheck()
    expected = lenet_run.preparation.prepare(Image.fromarray(drawn[:, :, 0]), invert="no", fit="none")
    assert np.abs(seen(page).astype(int) - expected.pixels).max() <= 1
    assert steps(page) == "resized from 280x280"


def test_every_layer_follows_the_pen_before_it_is_lifted(page: Page) -> None:
    draw(page, (0.3, 0.2), (0.3, 0.8))
    before = page.evaluate("() => Array.from(globalThis.cnncli.state.get('result')[0].logits)")
    box = page.locator("#pad canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 40, steps=5)
    page.wait_for_function(
        "(before) => before.some((logit, k) => logit !== globalThis.cnncli.state.get('result')[0].logits[k])",
        arg=before,
    )
    page.mouse.up()


def test_undo_eraser_and_clear(page: Page) -> None:
    draw(page, *SEVEN)
    first = pad_levels(page)
    draw(page, (0.8, 0.1), (0.8, 0.9))
    assert pad_levels(page)[:, 210:, 0].max() == 255
    page.locator("#undo").click()
    np.testing.assert_array_equal(pad_levels(page), first)
    page.locator("#tool-eraser").click()
    page.locator("#pen-thick").click()
    draw(page, *SEVEN)
    assert pad_levels(page).max() == 0
    page.locator("#undo").click()
    page.locator("#clear").click()
    assert pad_levels(page).max() == 0
    assert seen(page).max() == 0
    page.keyboard.press("Control+z")  # the button has the focus, not the pad
    page.locator("#pad").press("Control+z")
    np.testing.assert_array_equal(pad_levels(page), first)


def test_drawing_by_keyboard(page: Page) -> None:
    page.locator("#center").uncheck()
    page.locator("#pad").focus()
    for key in ["Delete", "ArrowUp", "Shift+ArrowLeft", "Space", "Shift+ArrowRight", "ArrowDown", "Space", "ArrowUp"]:
        page.keyboard.press(key)
    expect(page.locator("[role=status]")).to_contain_text("pen up")  # soon, the new answer is announced instead
    # In pixels of the image, the cursor begins at (14, 14): a line from (13, 10) to (13, 14), then down to (14, 14).
    inked = pad_levels(page)[:, :, 0] > 127
    assert inked[130, 100:141].all()
    assert inked[130:141, 140].all()
    rows, columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
    radius = 11
    for positions, (first, last) in ((rows, (130, 140)), (columns, (100, 140))):
        assert abs(positions[0] - (first - radius)) <= 2
        assert abs(positions[-1] - (last + radius)) <= 2
    page.keyboard.press("z")
    assert seen(page).max() == 0


def test_tools_are_one_tab_stop(page: Page) -> None:
    page.locator("#pad").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tool-pen"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#pen-medium")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "center"


def test_a_finger_draws_and_does_not_scroll(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    page.locator("#pad").evaluate("(pad) => pad.scrollIntoView({ block: 'center' })")
    scrolled = page.evaluate("window.scrollY")
    box = page.locator("#pad").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (280, 280)
    session = page.context.new_cdp_session(page)
    places = [(box["x"] + 140, box["y"] + y) for y in range(200, 40, -20)]
    for i, (x, y) in enumerate(places):
        kind = "touchMove" if i else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    levels = pad_levels(page)[:, :, 0]
    assert levels[60:200, 140].min() == 255
    assert levels[:, :110].max() == 0
    assert page.evaluate("window.scrollY") == scrolled
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


COLORS = """\
name: colors
data: {{name: image-folder, path: {path}, size: 16, channels: 3}}
model: {{layers: [{{conv: {{out_channels: 2, kernel_size: 3}}}}, flatten, logits]}}
train: {{epochs: 1, batch_size: 8}}
log: {{images: 0}}
"""


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory, exit_code_of: ExitCodeOf) -> Path:
    """A run on a folder of images in color, with its `play.html`."""
    folder = tmp_path_factory.mktemp("colors")
    numbers = np.random.default_rng(0)
    for part, name, number in product(("train", "test"), ("one", "two"), range(8)):
        path = folder / "photos" / part / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    (folder / "net.yaml").write_text(COLORS.format(path=(folder / "photos").as_posix()), encoding="utf-8")
    assert exit_code_of("train", folder / "net.yaml", "--out", folder / "runs", "--threads", 1, "--quiet") == 0
    (run,) = (folder / "runs").iterdir()
    assert exit_code_of("play", run) == 0
    return run


def test_a_pen_has_colors_where_images_have(colors: Path, open_page: Open) -> None:
    page = open_page(colors)
    expect(page.locator("#center")).to_have_count(0)
    draw(page, (0.2, 0.3), (0.8, 0.3))
    page.locator("#swatch-2").click()
    draw(page, (0.2, 0.7), (0.8, 0.7))
    expect(page.locator("#pen-color")).to_have_value("#d62728")
    drawn = pad_levels(page)
    side = len(drawn)
    assert drawn[0, 0].tolist() == [255, 255, 255]
    assert drawn[round(0.3 * side), side // 2].tolist() == [0, 0, 0]
    assert drawn[round(0.7 * side), side // 2].tolist() == [0xD6, 0x27, 0x28]
    run = load_run(colors, data_dir=Path("nowhere")).offline()
    expected = run.preparation.prepare(Image.fromarray(drawn), invert="no")
    assert np.abs(seen(page, (3, 16, 16)).astype(int) - expected.pixels).max() <= 1


# Pictures


def as_file(image: Image.Image, name: str, **options: Any) -> FilePayload:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if name.endswith("jpg") else "PNG", **options)
    kind = "image/jpeg" if name.endswith("jpg") else "image/png"
    return {"name": name, "mimeType": kind, "buffer": buffer.getvalue()}


def sheet(width: int, height: int, line: int) -> Image.Image:
    """A seven in dark blue on paper."""
    image = Image.new("RGB", (width, height), (245, 243, 238))
    corners = [(0.5, 0.2), (0.8, 0.2), (0.6, 0.55)]
    ImageDraw.Draw(image).line([(x * width, y * height) for x, y in corners], fill=(20, 30, 110), width=line)
    return image


def rotated() -> FilePayload:
    exif = Image.Exif()
    exif[0x0112] = 6
    return as_file(sheet(300, 400, 20).rotate(90, expand=True), "rotated.jpg", exif=exif, quality=95)


def of_16_bits() -> FilePayload:
    """A PNG with 16 bits per color, which Pillow cannot write."""
    pixels = np.asarray(sheet(90, 120, 9)).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each after the number of its filter
    header = struct.pack(">IIBBBBB", 90, 120, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return {"name": "16-bits.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + content}


PICTURES: dict[str, Callable[[], FilePayload]] = {
    "png": lambda: as_file(sheet(640, 480, 25), "seven.png"),
    "rotated": rotated,
    "16 bits": of_16_bits,
    "large": lambda: as_file(sheet(3100, 2050, 100), "large.png"),
    "transparent": lambda: as_file(
        Image.merge("LA", [Image.new("L", (90, 120)), sheet(90, 120, 9).convert("L")]), "t.png"
    ),
    "stored size": lambda: as_file(sheet(8, 8, 1), "tiny.png"),
}


def test_a_picture_is_prepared_as_predict_prepares_it(page: Page, lenet_run: Run) -> None:
    for name, make in PICTURES.items():
        file = make()
        page.locator("#picture-file").set_input_files(file)
        expect(page.locator("#given")).to_contain_text(file["name"])
        expected = lenet_run.preparation.prepare(file["buffer"])
        assert np.abs(seen(page).astype(int) - expected.pixels).max() <= 2, name
        assert steps(page) == (", ".join(expected.steps) or "28x28, as stored"), name


# Files that a script puts into the clipboard or drops.
TRANSFER = """([kind, base64, name]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: name.endsWith("txt") ? "text/plain" : "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, ...options })
    : new DragEvent("drop", { dataTransfer: transfer, ...options });
  document.querySelector("#network").dispatchEvent(event);
  return event.defaultPrevented;
}"""


def test_a_picture_may_be_pasted_and_dropped(page: Page, lenet_run: Run) -> None:
    for kind in ("paste", "drop"):
        name = f"seven-{kind}.png"
        file = as_file(sheet(200, 150, 10 if kind == "paste" else 20), name)
        assert page.evaluate(TRANSFER, [kind, base64.b64encode(file["buffer"]).decode(), name])
        expect(page.locator("#given")).to_have_text(f"{name}, 200x150")
        expected = lenet_run.preparation.prepare(file["buffer"])
        assert np.abs(seen(page).astype(int) - expected.pixels).max() <= 2, kind


def test_a_file_that_is_no_picture(page: Page) -> None:
    before = seen(page)
    assert page.evaluate(TRANSFER, ["drop", base64.b64encode(b"hello").decode(), "a.txt"])
    expect(page.locator(".input-problem")).to_contain_text("a.txt cannot be read")
    np.testing.assert_array_equal(seen(page), before)
    assert not page.evaluate(TRANSFER, ["paste", base64.b64encode(b"hello").decode(), "a.txt"]), "left to the browser"


def test_what_the_network_sees_can_be_saved(page: Page, lenet_run: Run) -> None:
    draw(page, *SEVEN)
    pixels = seen(page)
    with page.expect_download() as download:
        page.locator("#save-input").click()
    prepared = lenet_run.preparation.prepare(download.value.path().read_bytes(), invert="no")
    np.testing.assert_array_equal(prepared.pixels, pixels)
    assert prepared.steps == ()


# Test images and sliders


def thumbnails(page: Page) -> Locator:
    return page.locator(".thumbnail")


def number_of(thumbnail: Locator) -> int:
    """The number of a test image, from `test image 12, class 3`."""
    return int((thumbnail.get_attribute("title") or "").split()[2].rstrip(","))


def test_test_images_by_class_and_the_mistakes(page: Page, lenet_run: Run) -> None:
    test = lenet_run.test
    labels = test.labels.numpy()
    page.locator("#gallery-choice").select_option(label="class 3")
    numbers = [
        int(label.split()[2].rstrip(",")) for label in thumbnails(page).evaluate_all("all => all.map(e => e.title)")
    ]
    assert numbers == sorted(numbers)
    assert set(labels[numbers]) == {3}
    thumbnails(page).nth(1).click()
    np.testing.assert_array_equal(seen(page), test.images[numbers[1]].numpy())
    expect(page.locator("#given")).to_contain_text(f"Test image {numbers[1]}")
    np.testing.assert_array_equal(pad_levels(page)[5::10, 5::10, 0], test.images[numbers[1], 0].numpy())
    page.locator("#gallery-choice").select_option(label="most confident mistakes")
    thumbnails(page).first.click()
    wrong = np.flatnonzero(~lenet_run.predictions.correct)
    worst = wrong[np.argmax(lenet_run.predictions.confidence[wrong])]
    np.testing.assert_array_equal(seen(page), test.images[worst].numpy())
    page.locator("#random-image").click()
    expect(page.locator(".thumbnail[aria-selected=true]")).to_have_count(1)


def test_test_images_by_keyboard(page: Page) -> None:
    page.locator("#random-image").focus()
    page.keyboard.press("Tab")
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert thumbnails(page).nth(1).get_attribute("aria-selected") == "true"
    stops = page.locator(".thumbnail[tabindex='0']")
    expect(stops).to_have_count(1)


def test_a_link_to_a_test_image_shows_it_unchanged(page: Page, lenet_run: Run) -> None:
    page.locator("#sliders-summary").click()
    page.locator("#slider-noise").press("End")
    page.evaluate("location.hash = '#image=7'")
    expect(page.locator("#given")).to_contain_text("Test image 7")
    np.testing.assert_array_equal(seen(page), lenet_run.test.images[7].numpy())
    expect(page.locator("#slider-noise")).to_have_value("0")


def test_sliders_change_whatever_is_shown(page: Page, lenet_run: Run) -> None:
    page.locator("#sliders-summary").click()
    image = lenet_run.test.images[0].numpy()
    for _ in range(2):
        page.locator("#slider-right").press("ArrowRight")
    np.testing.assert_array_equal(seen(page)[0, :, 2:], image[0, :, :-2])
    page.locator("#slider-square").press("ArrowRight")
    assert seen(page)[0, 14, 14] == 0
    page.locator("#gallery-choice").select_option(label="class 4")
    thumbnails(page).first.click()
    other = number_of(thumbnails(page).first)
    np.testing.assert_array_equal(seen(page)[0, :10, 2:], lenet_run.test.images[other, 0, :10, :-2].numpy())
    draw(page, *SEVEN)
    shifted = seen(page)
    page.locator("#reset-sliders").click()
    np.testing.assert_array_equal(seen(page)[0, :10, :-2], shifted[0, :10, 2:])


def test_the_language_changes_and_the_drawing_stays(page: Page) -> None:
    draw(page, *SEVEN)
    page.locator("#tool-eraser").click()
    page.locator("#sliders-summary").click()
    page.locator("#slider-down").press("ArrowRight")
    before, drawn = seen(page), pad_levels(page)
    page.locator("#language").click()
    expect(page.locator("#given")).to_have_text("你画的图形")
    np.testing.assert_array_equal(seen(page), before)
    np.testing.assert_array_equal(pad_levels(page), drawn)
    expect(page.locator("#tool-eraser")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#slider-down")).to_have_value("1")
    assert steps(page) == "裁剪、居中、由 280x280 缩放"
    page.locator("#undo").click()
    assert pad_levels(page).max() == 0


def test_controls_are_large_enough_for_a_finger(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, viewport={"width": 390, "height": 800})
    page.locator("#sliders-summary").click()
    controls = (
        "#input button, #input input:not([hidden]), #input summary, #input label, #test-images button, .thumbnail"
    )
    sizes = page.locator(controls).evaluate_all(
        "all => all.map(e => [e.id || e.className, e.getBoundingClientRect()])"
        ".map(([name, box]) => [name, box.width, box.height, box.right])"
    )
    assert len(sizes) > 25
    for name, width, height, right in sizes:
        if name != "center":  # its label is the target
            assert min(width, height) >= 24, name
        assert right <= 390, name


# Digits that are drawn


Lines = list[list[int]]
"""[row, first column, last column] in pixels of the pad."""


def runs_of(inked: npt.NDArray[np.bool_]) -> Lines:
    """The pixels of a pad (H, W) that are true, as lines."""
    lines = []
    for row, levels in enumerate(inked):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], levels, [False]]).astype(np.int8)))
        lines += [[row, int(first), int(end) - 1] for first, end in zip(edges[::2], edges[1::2], strict=True)]
    return lines


def outline(image: Pixels, side: int, corner: npt.NDArray[np.int64], pad: int) -> Lines:
    """An image enlarged to `side` pixels of the pad, where it is brighter than a half."""
    enlarged = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    inked = np.zeros((pad, pad), dtype=np.bool_)
    inked[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = enlarged > 127
    return runs_of(inked)


def hatched(image: Pixels, cell: int) -> Lines:
    """Each pixel of an image as a square of `cell` pixels, of which as many rows are inked as it is bright."""
    enlarged = image.repeat(cell, axis=0).repeat(cell, axis=1)
    rows = np.arange(len(enlarged)) % cell
    return runs_of(enlarged > (rows[:, None] + 0.5) * (255 / cell))


def answer(page: Page, lines: Lines) -> int:
    """The answer of the page's network to a drawing."""
    pixels = page.evaluate(DRAW_LINES, lines)
    logits = page.evaluate("(pixels) => globalThis.cnncli.run(pixels).logits", pixels)
    return int(np.argmax(logits))


def test_digits_that_are_drawn_get_the_answers_of_the_test_images(page: Page, lenet_run: Run) -> None:
    """Images of 8x8 pixels: their gray levels matter, and become hatching."""
    count = 20
    stored = load_digits().test.images[:count, 0].numpy()
    drawn = np.array([answer(page, hatched(image, 35)) for image in stored])
    assert (drawn == lenet_run.predictions.predicted[:count]).sum() >= count - 1


@pytest.mark.slow
@pytest.mark.real_data
def test_five_hundred_digits_that_are_drawn_are_classified_as_well_as_the_test_images(
    real_data_dir: Path, tmp_path: Path, open_page: Open, exit_code_of: ExitCodeOf
) -> None:
    arguments = ("--set", "train.epochs=1", "--set", "log.images=0", "--data-dir", real_data_dir, "--quiet")
    assert exit_code_of("train", "lenet5", "--out", tmp_path / "runs", *arguments) == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert exit_code_of("play", path, "--data-dir", real_data_dir) == 0
    run = load_run(path, data_dir=real_data_dir).offline()
    images, labels = run.test.images[:500, 0].numpy(), run.test.labels[:500].numpy()
    page, corners = open_page(path), np.random.default_rng(0).integers(0, 71, (500, 2))
    drawn = np.array(
        [answer(page, outline(image, 210, corner, 280)) for image, corner in zip(images, corners, strict=True)]
    )
    accuracy, raw = (drawn == labels).mean(), (run.predictions.predicted[:500] == labels).mean()
    assert raw > 0.95
    assert abs(accuracy - raw) <= 0.005, f"{accuracy:.3f} drawn, {raw:.3f} as stored"
