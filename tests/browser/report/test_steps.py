"""Kernels and feature maps of every step: of its weights, or as they were logged."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.drawing.color import diverging
from cnncli.run import load_run

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


ExitCodeOf = Callable[..., int]
CONVOLUTIONS = {"conv1": (6, 1), "conv2": (16, 6)}
MAPPED = ("conv1", "avg_pool1", "conv2", "avg_pool2")
COLORS_OFF = 3
"""Levels that a color may be off: the page has 256 colors of a scale."""


@pytest.fixture(scope="module")
def older(lenet: Path, exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without weights of its steps."""
    run = Path(shutil.copytree(lenet, tmp_path_factory.mktemp("older") / lenet.name))
    shutil.rmtree(run / "weights")
    assert exit_code_of("report", run) == 0
    return run


def drawn(page: Page, layer: str, number: int) -> npt.NDArray[np.int64]:
    """The pixels of a picture of a layer, (H, W, 4); `number` 0 is that of kernels where it has some."""
    source = page.locator(f'#steps canvas[data-layer="{layer}"]').nth(number).evaluate("c => c.toDataURL()")
    with Image.open(BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))) as picture:
        return np.array(picture.convert("RGBA")).astype(np.int64)


def slices(picture: npt.NDArray[np.int64], height: int, width: int) -> list[npt.NDArray[np.int64]]:
    """The rectangles of this size in a picture, from left to right and down; gaps between them are transparent."""
    solid = picture[..., 3] > 0
    found = []
    for row, column in np.argwhere(solid):
        if solid[row, column]:
            assert solid[row : row + height, column : column + width].all()
            found.append(picture[row : row + height, column : column + width, :3])
            solid[row : row + height, column : column + width] = False
    return found


def choose_step(page: Page, number: int) -> None:
    slider = page.get_by_role("slider", name="Step")
    slider.focus()
    distance = number - int(slider.input_value())
    for _ in range(abs(distance)):
        page.keyboard.press("ArrowRight" if distance > 0 else "ArrowLeft")


def test_every_kernel_of_every_step(lenet: Path, open_page: Open) -> None:
    run = load_run(lenet, data_dir=Path("nowhere"))
    page = open_page(lenet)
    assert page.locator("#steps img").count() == 0
    for layer, (filters, depth) in CONVOLUTIONS.items():
        kept = {step: run.weights_at(step)[f"{layer}.conv.weight"].numpy() for step in run.weight_steps}
        limit = max(float(np.abs(each).max()) for each in kept.values())
        for number, step in enumerate(run.weight_steps):
            choose_step(page, number)
            found = slices(drawn(page, layer, 0), 5, 5)
            assert len(found) == filters * depth
            expected = diverging(kept[step].reshape(-1, 5, 5), limit).astype(int)
            assert np.abs(np.stack(found) - expected).max() <= COLORS_OFF
            label = page.locator(f'#steps canvas[data-layer="{layer}"]').first.get_attribute("aria-label") or ""
            assert label.startswith(f"kernels of {layer} at step {step}")
            lowest, highest = re.findall(r"-?[\d.]+(?:e-\d+)?", label.split("values from")[1])
            assert (float(lowest), float(highest)) == pytest.approx((kept[step].min(), kept[step].max()), rel=6e-3)
            limits = page.locator(f'.slices:has(canvas[data-layer="{layer}"]) .limits').first.inner_text()
            low, high = re.findall(r"-?[\d.]+", limits)
            assert (float(low), float(high)) == pytest.approx((-limit, limit), rel=6e-3)


def test_every_map_of_every_step(lenet: Path, open_page: Open) -> None:
    run = load_run(lenet, data_dir=Path("nowhere"))
    page = open_page(lenet)
    seven = run.test.labels.tolist().index(7)
    page.get_by_label("Test image", exact=True).select_option(label=f"7 (test image {seven})")
    for number, step in enumerate(run.weight_steps):
        choose_step(page, number)
        model = run.model
        model.load_state_dict(run.weights_at(step))
        outputs: dict[str, npt.NDArray[np.float32]] = {}
        for name in MAPPED:
            model.get_submodule(name).register_forward_hook(
                lambda _m, _i, output, name=name, to=outputs: to.__setitem__(name, output[0].numpy())
            )
        with torch.inference_mode():
            model(run.input_image(str(seven)).image[None])
        for name in MAPPED:
            maps = outputs[name]
            found = slices(drawn(page, name, int(name in CONVOLUTIONS)), *maps.shape[1:])
            assert len(found) == len(maps)
            assert maps.min() < 0, "of tanh"
            expected = diverging(maps.astype(np.float64), float(np.abs(maps).max())).astype(int)
            assert np.abs(np.stack(found) - expected).max() <= COLORS_OFF
        expect(page.locator("#steps .readout").last).to_contain_text(f"tep {step}")
        expect(page.locator("#steps .readout").last).to_contain_text(f"7 (test image {seven})")


def test_the_pictures_on_a_phone_and_on_paper(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, viewport={"width": 390, "height": 800})
    edges = "canvases => canvases.map(c => c.getBoundingClientRect()).map(b => [b.left, b.right, b.width])"
    for left, right, width in page.locator("#steps canvas").evaluate_all(edges):
        assert left >= 0
        assert right <= 390
        assert width >= 60
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(media="print")
    expect(page.locator("#step")).to_be_hidden()
    expect(page.locator("#steps .readout").first).to_be_visible()
    expect(page.locator("#steps .limits").first).to_be_visible()


def pixels(content: bytes) -> bytes:
    """Of a PNG or a WebP."""
    with Image.open(BytesIO(content)) as picture:
        return picture.convert("RGB").tobytes()


def logged(run: Path) -> dict[str, dict[int, bytes]]:
    """Every picture that the training logged, as TensorBoard reads it: tag -> step -> pixels."""
    reader = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    tags = [tag for tag in reader.Tags()["images"] if not tag.startswith("snapshots/")]
    return {tag: {each.step: pixels(each.encoded_image_string) for each in reader.Images(tag)} for tag in tags}


def shown(page: Page) -> dict[str, bytes]:
    """The pixels of every picture of the section."""
    sources = page.locator("#steps img").evaluate_all(
        "images => images.map(i => [i.dataset.tag, i.src, i.naturalWidth])"
    )
    assert all(width > 0 for _, _, width in sources)
    encoded = {tag: source.removeprefix("data:image/webp;base64,") for tag, source, _ in sources}
    return {tag: pixels(base64.b64decode(content)) for tag, content in encoded.items()}


def test_the_slider_moves_every_picture(older: Path, open_page: Open) -> None:
    page = open_page(older)
    pictures = logged(older)
    steps = sorted(pictures["kernels/01_conv1"])
    assert len(steps) >= 4  # before training, within the first epoch, and at the end
    lines = (older / "metrics.jsonl").read_text().splitlines()
    ends = {record["step"]: record["epoch"] for record in map(json.loads, lines)}
    epochs = {step: f", after epoch {ends[step]}" if step in ends else "" for step in steps} | {0: ", before training"}
    slider = page.get_by_role("slider", name="Step")
    slider.focus()
    page.keyboard.press("Home")
    earlier: list[dict[str, bytes]] = []
    for step in steps:
        page.wait_for_function("[...document.querySelectorAll('#steps img')].every(i => i.complete)")
        now = shown(page)
        assert now == {tag: pictures[tag][step] for tag in now}
        assert len(now) == 2 + 4  # kernels, and the maps of one class
        expect(page.locator("#steps output")).to_have_text(f"step {step:,}{epochs[step]}")
        assert all(now[tag] != before[tag] for before in earlier for tag in now)
        earlier.append(now)
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", f"step {steps[-1]:,}, after epoch 3")


def test_feature_maps_of_another_probe(older: Path, open_page: Open) -> None:
    page = open_page(older)
    pictures = logged(older)
    last = max(pictures["kernels/01_conv1"])
    for probe in ("2", "0"):
        page.get_by_label("Test image", exact=True).select_option(probe)
        page.wait_for_function("[...document.querySelectorAll('#steps img')].every(i => i.complete)")
        tags = {tag for tag in pictures if tag.endswith(f"/{probe}") or tag.startswith("kernels/")}
        assert shown(page) == {tag: pictures[tag][last] for tag in tags}


def test_play(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#steps output")).to_contain_text("before training")
    expect(page.locator("#steps output")).to_contain_text("after epoch 3")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
