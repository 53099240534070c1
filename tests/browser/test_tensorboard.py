"""TensorBoard over a run, in a browser."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect
from playwright.sync_api import Error as PlaywrightError

from cnncli.cli.app import main
from cnncli.tensorboard.server import links
from tests.browser.pages import Tabs

pytestmark = pytest.mark.browser

CONFIG = """\
name: shown
data: {name: digits, size: 12, validation: 0.2}
model:
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
  layers: [{conv: 8}, {max_pool: 2}, {conv: 6}, {avg_pool: 2}, flatten, logits]
train: {epochs: 4, batch_size: 128, optimizer: {adamw: {lr: 1e-2}}}
"""
LAYERS = ["01_conv1", "02_max_pool1", "03_conv2", "04_avg_pool1"]
WAIT = 30.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of four epochs; `cnncli show` has drawn one of its pictures again."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "shown.yaml").write_text(CONFIG, encoding="utf-8")
    out = folder / "runs"
    run_cnncli("train", str(folder / "shown.yaml"), "--out", str(out), "--threads", "1", "--quiet")
    run_cnncli("show", "kernels", *map(str, out.iterdir()), "--layer", "conv2")
    return out


def run_cnncli(*words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cnncli", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code in (None, 0)


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """Where `tensorboard --logdir runs` answers."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), "--host", "127.0.0.1", "--port", "0"]
    output_file = runs.parent / "tensorboard.txt"
    with output_file.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            yield wait_for_address(server, output_file)
        finally:
            server.terminate()


def wait_for_address(server: subprocess.Popen[bytes], output_file: Path) -> str:
    deadline = time.monotonic() + WAIT
    while not (address := re.search(r"http://127\.0\.0\.1:\d+/", output_file.read_text())):
        assert server.poll() is None, output_file.read_text()
        assert time.monotonic() < deadline, output_file.read_text()
        time.sleep(0.1)
    return address.group()


@pytest.fixture
def page(tabs: Tabs) -> Iterator[Page]:
    """A page; an error in it fails the test."""
    errors: list[str] = []

    def note_error(error: PlaywrightError) -> None:
        errors.append(str(error))

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    with tabs.open({"width": 1280, "height": 900}) as page:
        page.set_default_timeout(1000 * WAIT)
        page.on("pageerror", note_error)
        page.on("console", note_message)
        yield page
        page.remove_listener("pageerror", note_error)
        page.remove_listener("console", note_message)
    assert errors == []


def wait_for_pictures(page: Page, selector: str, count: int) -> None:
    """Wait for `count` pictures, each with its own size."""
    arrived = "images => images.filter(image => image.complete && image.naturalWidth > 0).length"
    deadline = time.monotonic() + WAIT
    while (loaded := page.locator(selector).evaluate_all(arrived)) < count:
        assert time.monotonic() < deadline, f"{loaded} of {count} pictures"
        page.wait_for_timeout(100)
    sizes = page.locator(selector).evaluate_all("images => images.map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes[:count] == [[304, 215]] * count


def test_the_groups_and_curves(page: Page, address: str) -> None:
    page.goto(f"{address}#timeseries")
    titles = page.locator(".group-title")
    expect(titles.get_by_text("weights", exact=True)).to_be_visible(timeout=1000 * WAIT)
    groups = [
        "accuracy",
        "dead_fraction",
        "feature_maps",
        "gradients",
        "kernels",
        "loss",
        "snapshots",
        "test",
        "training",
        "val",
    ]
    assert titles.all_inner_texts() == ["Pinned", *groups, "weights"]
    for part in ("train", "val"):
        card = page.locator("scalar-card").filter(has=page.get_by_title(f"accuracy/{part}"))
        expect(card.locator("line-chart")).to_be_visible()


@pytest.mark.parametrize(
    ("group", "tags"),
    [
        ("kernels", ["kernels/01_conv1", "kernels/03_conv2", "kernels/03_conv2"]),  # the last one is of `cnncli show`
        ("feature_maps/.*/7", [f"feature_maps/{layer}/7" for layer in LAYERS]),
        ("loss", ["loss/train", "loss/val"]),
    ],
)
@pytest.mark.slow
def test_a_tag_filter_shows_its_cards(group: str, tags: list[str], page: Page, address: str) -> None:
    page.goto(f"{address}?tagFilter={group}#timeseries")
    titles = page.locator("card-view tb-truncated-path")
    expect(titles).to_have_count(len(tags), timeout=1000 * WAIT)
    assert titles.evaluate_all("paths => paths.map(path => path.title)") == tags
    if group != "loss":
        wait_for_pictures(page, "image-card img", len(tags))
        # In their own size, pixel for pixel; otherwise labels are illegible.
        widths = page.locator("image-card img").evaluate_all("images => images.map(i => i.clientWidth)")
        assert widths == [304] * len(tags)


@pytest.mark.slow
def test_the_link_to_the_kernels_shows_each_once(page: Page, address: str) -> None:
    """`cnncli show` has drawn conv2 again, in a run of its own."""
    page.goto(links(address)["kernels"])
    titles = page.locator("card-view tb-truncated-path")
    expect(titles).to_have_count(2, timeout=1000 * WAIT)
    assert titles.evaluate_all("paths => paths.map(path => path.title)") == ["kernels/01_conv1", "kernels/03_conv2"]
    wait_for_pictures(page, "image-card img", 2)


@pytest.mark.slow
def test_the_link_to_show_has_pictures_only(page: Page, address: str) -> None:
    page.goto(links(address)["show"])
    expect(page.locator("image-card")).to_have_count(1, timeout=1000 * WAIT)
    wait_for_pictures(page, "image-card img", 1)
    expect(page.locator("scalar-card")).to_have_count(0)


@pytest.mark.slow
def test_the_images_dashboard(page: Page, address: str) -> None:
    page.goto(f"{address}#images&tagFilter=kernels")
    cards = page.locator("tf-category-paginated-view").first.locator("tf-image-loader")
    expect(cards).to_have_count(3, timeout=1000 * WAIT)
    wait_for_pictures(page, "tf-image-loader img", 3)
    tags_and_runs = sorted(
        cards.evaluate_all("cards => cards.map(card => [card.tag, card.run.split('/').slice(1).join()])")
    )
    assert tags_and_runs == [["kernels/01_conv1", ""], ["kernels/03_conv2", ""], ["kernels/03_conv2", "show"]]


@pytest.mark.slow
def test_the_tabs_are_documented(page: Page, address: str) -> None:
    page.goto(address)
    tabs = page.locator("[role=tab]:visible")
    expect(tabs.get_by_text("HParams")).to_be_visible(timeout=1000 * WAIT)
    text = (Path(__file__).parents[2] / "docs/tensorboard.md").read_text(encoding="utf-8")
    table = text.split("| tab |")[1].split("\n\n")[0]
    documented = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert [name for name in tabs.all_inner_texts() if name] == [name.upper() for name in documented]


@pytest.mark.slow
def test_the_graph_shows_all_layers(page: Page, address: str) -> None:
    page.goto(f"{address}#graphs")
    nodes = page.locator("tf-graph-scene g.node")
    expect(nodes).to_have_count(len(LAYERS) + 3, timeout=1000 * WAIT)
    names = nodes.evaluate_all("nodes => nodes.map(node => node.dataset.name)")
    assert sorted(names) == sorted(["input", *(layer[3:] for layer in LAYERS), "flatten1", "logits1"])
