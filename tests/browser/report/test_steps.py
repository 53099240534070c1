"""The slider shows every picture as it was logged at that step."""

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


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


def test_the_slider_moves_every_picture(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    pictures = logged(lenet)
    steps = sorted(pictures["kernels/01_conv1"])
    assert len(steps) >= 4  # before training, within the first epoch, and at the end
    lines = (lenet / "metrics.jsonl").read_text().splitlines()
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


def test_feature_maps_of_another_probe(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    pictures = logged(lenet)
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
