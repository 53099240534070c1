"""What `cnncli tensorboard` serves for a run written by hand: over HTTP, and in a browser."""

import http.client
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.tensorboard.event_file import EventFile
from tests.browser.pages import Tabs

STEPS = 15
"""More than the ten pictures that TensorBoard keeps by default."""
TRAINED = ("kernels/01_conv1", "feature_maps/01_conv1/7")
SHOWN = ("kernels/01_conv1", "patches/01_conv1")
SNAPSHOTS = "snapshots/01_conv1"
WAIT = 30_000.0  # ms


def animation() -> bytes:
    frames = [Image.new("RGB", (304, 215), color) for color in ("red", "green", "blue")]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return gif.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 15 steps, to which two pictures were added later."""
    folder = tmp_path_factory.mktemp("runs")
    pixels = np.random.default_rng(0).integers(0, 256, (STEPS, 215, 304, 3), dtype=np.uint8)
    with EventFile(folder / "lenet5") as events:
        for step in range(STEPS):
            events.scalars(step, {f"{name}/{part}": 0.5 for name in ("accuracy", "loss") for part in ("train", "val")})
            events.scalars(step, {"training/learning_rate": 1e-3, "test/loss": 0.1})
            events.pictures(step, {tag: pixels[step] + i for i, tag in enumerate(TRAINED)})
            events.pictures(step, {SNAPSHOTS: animation()})
    with EventFile(folder / "lenet5" / "show") as events:
        events.pictures(STEPS, {tag: pixels[0] + 10 + i for i, tag in enumerate(SHOWN)})
    return folder


@pytest.fixture(scope="module")
def addresses(runs: Path) -> Iterator[dict[str, str]]:
    """What `cnncli tensorboard` prints: name of a view -> its address. Ctrl-C must end the process without an error."""
    command = [sys.executable, "-m", "cnncli", "tensorboard", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "Ctrl-C stops TensorBoard\n", "printed after the last address"
            printed = [process.stdout.readline().rpartition("  ") for _ in range(6)]
            yield {name.strip(): address.strip() for name, _, address in printed}
        finally:
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")


def get(address: str) -> tuple[str, bytes]:
    """Content type and content of an address."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content
    connection.close()
    return answer.headers["Content-Type"], content


@pytest.mark.parametrize(
    ("run", "tag", "content_type", "count"),
    [
        *(("lenet5", tag, "image/png", STEPS) for tag in TRAINED),
        ("lenet5", SNAPSHOTS, "image/gif", STEPS),
        *(("lenet5/show", tag, "image/png", 1) for tag in SHOWN),
    ],
)
def test_every_picture_is_served_byte_for_byte(
    run: str, tag: str, content_type: str, count: int, runs: Path, addresses: dict[str, str]
) -> None:
    logged = EventAccumulator(str(runs / run), size_guidance={"images": 0}).Reload().Images(tag)
    assert len(logged) == count
    images = f"{addresses['everything']}data/plugin/images/"
    _, listing = get(f"{images}images?run={quote(run)}&tag={quote(tag)}&sample=0")
    listed = json.loads(listing)
    assert [each["step"] for each in listed] == [each.step for each in logged]
    for served, image in zip(listed, logged, strict=True):
        assert get(f"{images}individualImage?{served['query']}") == (content_type, image.encoded_image_string)


def matches(query: Mapping[str, Sequence[str]], run: str) -> bool:
    return re.search(query["runFilter"][0], run) is not None


def test_all_addresses_are_of_one_server(addresses: dict[str, str]) -> None:
    assert list(addresses) == ["everything", "curves", "kernels", "snapshots", "feature maps", "show"]
    for name, address in addresses.items():
        assert address.startswith(addresses["everything"])
        assert urlsplit(address).fragment == ("" if name == "everything" else "timeseries")
    kernels = parse_qs(urlsplit(addresses["kernels"]).query)
    assert kernels["tagFilter"] == ["^kernels/"]
    shown = [run for run in ("a", "runs/a", "show", "a/show", "runs/a/show", "a/show2") if matches(kernels, run)]
    assert shown == ["a", "runs/a", "a/show2"]
    assert get(addresses["everything"])[0].startswith("text/html")


def test_a_website_cannot_read_the_runs_under_its_own_name(addresses: dict[str, str]) -> None:
    """As after DNS rebinding: the request of a browser reaches this machine, but names the website as its host."""
    parts = urlsplit(addresses["everything"])
    for host, status in ((f"attacker.example:{parts.port}", 403), (f"127.0.0.1:{parts.port}", 200)):
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        connection.request("GET", "/data/runs", headers={"Host": host})
        answer = connection.getresponse()
        assert answer.status == status
        assert (b"lenet5" in answer.read()) == (status == 200)
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists sockets in /proc")
def test_only_this_machine_can_connect(addresses: dict[str, str]) -> None:
    """Linux lists the sockets that listen; 0100007F is 127.0.0.1."""
    port = urlsplit(addresses["everything"]).port
    assert port is not None
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


@pytest.fixture
def page(tabs: Tabs) -> Iterator[Page]:
    with tabs.open({"width": 1280, "height": 1600}) as page:
        page.set_default_timeout(WAIT)
        yield page


def sizes_of(images: Locator, count: int) -> list[list[int]]:
    """Natural width and displayed width of `count` pictures, after all have loaded."""
    expect(images).to_have_count(count, timeout=WAIT)
    deadline = time.monotonic() + WAIT / 1000
    while not images.evaluate_all("all => all.every(each => each.complete && each.naturalWidth)"):
        assert time.monotonic() < deadline, "pictures are missing"
        images.page.wait_for_timeout(50)
    sizes: list[list[int]] = images.evaluate_all("all => all.map(each => [each.naturalWidth, each.clientWidth])")
    return sizes


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "tags", "last"),
    [
        ("curves", ["accuracy/train", "accuracy/val", "loss/train", "loss/val"], []),
        ("kernels", ["kernels/01_conv1"], ["14"]),  # of the training, not that of show
        ("snapshots", [SNAPSHOTS], ["14"]),
        ("feature maps", ["feature_maps/01_conv1/7"], ["14"]),
        ("show", list(SHOWN), ["0", "0"]),
    ],
)
def test_an_address_shows_its_cards_and_no_others(
    name: str, tags: list[str], last: list[str], page: Page, addresses: dict[str, str]
) -> None:
    page.goto(addresses[name])
    titles = page.locator("card-view tb-truncated-path")
    expect(titles).to_have_count(len(tags), timeout=WAIT)
    assert titles.evaluate_all("paths => paths.map(path => path.title)") == tags
    if name == "curves":
        expect(page.locator("scalar-card line-chart")).to_have_count(4)
        assert page.locator(".scalars-smoothing input[type=number]").input_value() == "0"
    else:
        assert sizes_of(page.locator("image-card img"), len(tags)) == [[304, 304]] * len(tags)
        sliders = page.locator("image-card input[type=range]").evaluate_all("all => all.map(each => each.max)")
        assert sorted(sliders) == last, "a position on the slider for every step"


@pytest.mark.browser
def test_the_images_tab_shows_the_pictures_of_training_and_show(page: Page, addresses: dict[str, str]) -> None:
    page.goto(f"{addresses['everything']}#images")
    page.locator("tf-tag-filterer input").fill("kernels|feature_maps|patches")
    cards = page.locator("tf-category-paginated-view").first.locator("tf-image-loader")
    sizes_of(cards.locator("img"), 4)
    shown = cards.evaluate_all("all => all.map(card => [card.tag, card.run])")
    assert sorted(shown) == sorted([[tag, "lenet5"] for tag in TRAINED] + [[tag, "lenet5/show"] for tag in SHOWN])
