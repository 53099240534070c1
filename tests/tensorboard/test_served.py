"""What `cnncli board` serves, over a run written by hand: asked over HTTP, and looked at in a browser."""

import http.client
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.tensorboard.event_file import EventFile

STEPS = 15
"""More than the ten pictures that TensorBoard keeps unless it is told otherwise."""
TRAINED = ("kernels/01_conv1", "feature_maps/01_conv1/7")
SHOWN = ("kernels/01_conv1", "patches/01_conv1")
EVOLUTION = "evolution/01_conv1"
WAIT = 30_000.0  # ms


def animation() -> bytes:
    frames = [Image.new("RGB", (304, 215), color) for color in ("red", "green", "blue")]
    written = io.BytesIO()
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return written.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 15 steps in it, to which two pictures were added later."""
    folder = tmp_path_factory.mktemp("runs")
    pixels = np.random.default_rng(0).integers(0, 256, (STEPS, 215, 304, 3), dtype=np.uint8)
    with EventFile(folder / "lenet5") as board:
        for step in range(STEPS):
            board.scalars(step, {f"{name}/{part}": 0.5 for name in ("accuracy", "loss") for part in ("train", "val")})
            board.scalars(step, {"training/learning_rate": 1e-3, "test/loss": 0.1})
            board.pictures(step, {tag: pixels[step] + i for i, tag in enumerate(TRAINED)})
            board.animations(step, {EVOLUTION: animation()})
    with EventFile(folder / "lenet5" / "show") as board:
        board.pictures(STEPS, {tag: pixels[0] + 10 + i for i, tag in enumerate(SHOWN)})
    return folder


@pytest.fixture(scope="module")
def places(runs: Path) -> Iterator[dict[str, str]]:
    """What `cnncli board` prints: name of a view -> its address. The process must end in peace after Ctrl-C."""
    command = [sys.executable, "-m", "cnncli", "board", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "Ctrl-C stops TensorBoard\n", "printed after the last address"
            printed = [process.stdout.readline().rpartition("  ") for _ in range(6)]
            yield {name.strip(): place.strip() for name, _, place in printed}
        finally:
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")


def get(place: str) -> tuple[str, bytes]:
    """Content type and content of an address."""
    parts = urlsplit(place)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content
    connection.close()
    return answer.headers["Content-Type"], content


@pytest.mark.parametrize(
    ("run", "tag", "kind", "count"),
    [
        *(("lenet5", tag, "image/png", STEPS) for tag in TRAINED),
        ("lenet5", EVOLUTION, "image/gif", STEPS),
        *(("lenet5/show", tag, "image/png", 1) for tag in SHOWN),
    ],
)
def test_every_picture_is_served_byte_for_byte(
    run: str, tag: str, kind: str, count: int, runs: Path, places: dict[str, str]
) -> None:
    written = EventAccumulator(str(runs / run), size_guidance={"images": 0}).Reload().Images(tag)
    assert len(written) == count
    images = f"{places['everything']}data/plugin/images/"
    _, listing = get(f"{images}images?run={quote(run)}&tag={quote(tag)}&sample=0")
    found = json.loads(listing)
    assert [each["step"] for each in found] == [each.step for each in written]
    for served, image in zip(found, written, strict=True):
        assert get(f"{images}individualImage?{served['query']}") == (kind, image.encoded_image_string)


def test_the_addresses_are_those_of_one_server(places: dict[str, str]) -> None:
    assert list(places) == ["everything", "curves", "kernels", "evolution", "feature maps", "show"]
    for name, place in places.items():
        assert place.startswith(places["everything"])
        assert urlsplit(place).fragment == ("" if name == "everything" else "timeseries")
    assert parse_qs(urlsplit(places["kernels"]).query) == {"tagFilter": ["^kernels/"]}
    assert get(places["everything"])[0].startswith("text/html")


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 1600})
    page.set_default_timeout(WAIT)
    yield page
    page.close()


def sizes_of(images: Locator, count: int) -> list[list[int]]:
    """Own width and shown width of so many pictures, once all of them have arrived."""
    expect(images).to_have_count(count, timeout=WAIT)
    deadline = time.monotonic() + WAIT / 1000
    while not images.evaluate_all("all => all.every(each => each.complete && each.naturalWidth)"):
        assert time.monotonic() < deadline, "pictures are missing"
        images.page.wait_for_timeout(50)
    found: list[list[int]] = images.evaluate_all("all => all.map(each => [each.naturalWidth, each.clientWidth])")
    return found


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "tags", "last"),
    [
        ("curves", ["accuracy/train", "accuracy/val", "loss/train", "loss/val"], []),
        ("kernels", ["kernels/01_conv1"] * 2, ["0", "14"]),  # of show, and of the training
        ("evolution", [EVOLUTION], ["14"]),
        ("feature maps", ["feature_maps/01_conv1/7"], ["14"]),
        ("show", list(SHOWN), ["0", "0"]),
    ],
)
def test_an_address_shows_its_cards_and_no_others(
    name: str, tags: list[str], last: list[str], page: Page, places: dict[str, str]
) -> None:
    page.goto(places[name])
    titles = page.locator("card-view tb-truncated-path")
    expect(titles).to_have_count(len(tags), timeout=WAIT)
    assert titles.evaluate_all("paths => paths.map(path => path.title)") == tags
    if name == "curves":
        expect(page.locator("scalar-card line-chart")).to_have_count(4)
        assert page.locator(".scalars-smoothing input[type=number]").input_value() == "0"
    else:
        assert sizes_of(page.locator("image-card img"), len(tags)) == [[304, 304]] * len(tags)
        sliders = page.locator("image-card input[type=range]").evaluate_all("all => all.map(each => each.max)")
        assert sorted(sliders) == last, "a place on the slider for every step"


@pytest.mark.browser
def test_the_images_tab_shows_the_pictures_of_training_and_show(page: Page, places: dict[str, str]) -> None:
    page.goto(f"{places['everything']}#images")
    page.locator("tf-tag-filterer input").fill("kernels|feature_maps|patches")
    cards = page.locator("tf-category-paginated-view").first.locator("tf-image-loader")
    sizes_of(cards.locator("img"), 4)
    found = cards.evaluate_all("all => all.map(card => [card.tag, card.run])")
    assert sorted(found) == sorted([[tag, "lenet5"] for tag in TRAINED] + [[tag, "lenet5/show"] for tag in SHOWN])
