"""Take the screenshots of TensorBoard in docs/images, from a run of lenet5 on MNIST.

    cnncli train lenet5 --threads 1
    python scripts/take_screenshots.py runs/lenet5-...

Needs Chromium and playwright. Every file is smaller than 200 KB.
"""

import argparse
import io
import shutil
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from cnncli.tensorboard.server import Server

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
MAX_BYTES = 200_000
WITHOUT_SHOW = "^[^/]*$"
SHOTS = {
    "tensorboard-kernels.png": ("^kernels/", 2),
    "tensorboard-feature-maps.png": ("^feature_maps/.*/7$", 4),
}
"""File name -> regular expression for the tags, and the expected number of cards."""


def take(page: Page, address: str, tags: str, cards: int) -> bytes:
    """The Time Series tab with the cards of some tags and without the settings pane, as PNG."""
    page.goto(f"{address}?tagFilter={quote(tags, safe='')}&runFilter={quote(WITHOUT_SHOW, safe='')}#timeseries")
    page.get_by_label("Close side pane").click()
    pictures = page.locator("image-card img")  # cards outside of the window are not loaded yet
    pictures.nth(cards - 1).wait_for()
    assert pictures.count() == cards, f"{tags}: {pictures.count()} pictures"
    page.wait_for_timeout(1000)  # until the cards have moved
    bottom = page.locator("image-card").last.bounding_box()
    assert bottom is not None
    width = page.evaluate("innerWidth")
    return page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": bottom["y"] + bottom["height"] + 16})


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    browsers = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    IMAGES.mkdir(exist_ok=True)
    with Server(run) as server, sync_playwright() as playwright:
        address = server.wait_for_answer(lambda: False, runs=True)
        assert address is not None
        browser = playwright.chromium.launch(executable_path=next(filter(None, browsers)), args=["--no-sandbox"])
        for name, (tags, cards) in SHOTS.items():
            page = browser.new_page(viewport={"width": 1010, "height": 1400})
            pixels = Image.open(io.BytesIO(take(page, address, tags, cards))).convert("RGB")
            pixels.save(IMAGES / name, optimize=True)
            assert (IMAGES / name).stat().st_size < MAX_BYTES, name
        browser.close()


if __name__ == "__main__":
    main()
