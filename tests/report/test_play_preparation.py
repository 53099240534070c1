"""The preparation of images in the playground's JavaScript, against that of `cnncli predict`."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFilter

from cnncli.config.data import DataSpec, input_shape
from cnncli.data.batches import Normalization
from cnncli.data.preparation import Preparation

PROGRAM = Path(__file__).parents[1] / "js" / "prepare-images.js"


def preparation_for(name: str, *, mean: float = 0.13, **fields: object) -> Preparation:
    spec = DataSpec.model_validate({"name": name, **fields})
    shape = input_shape(spec)
    return Preparation.of(spec, shape, Normalization(mean=(mean,) * shape[0], std=(0.3,) * shape[0]))


PREPARATIONS = {
    "mnist": preparation_for("mnist"),
    "mnist in color": preparation_for("mnist", channels=3, size=32),
    "fashion-mnist": preparation_for("fashion-mnist"),
    "emnist": preparation_for("emnist"),
    "digits": preparation_for("digits", size=[20, 16]),
    "cifar10": preparation_for("cifar10"),
    "gray cifar10": preparation_for("cifar10", channels=1),
    "dark folder": preparation_for("image-folder", path="photos", size=[20, 30], mean=0.1),
    "bright folder": preparation_for("image-folder", path="photos", size=24, channels=1, mean=0.9),
}


def stroke(size: tuple[int, int], points: list[tuple[int, int]], width: int) -> Image.Image:
    """White on black, antialiased."""
    large = Image.new("L", (4 * size[0], 4 * size[1]))
    ImageDraw.Draw(large).line([(4 * x, 4 * y) for x, y in points], fill=255, width=4 * width, joint="curve")
    return large.reduce(4)


def negative(image: Image.Image) -> Image.Image:
    return image.point(lambda level: 255 - level)


def photo(*, noise: float) -> Image.Image:
    """Ink on gray paper, lit from the left."""
    numbers = np.random.default_rng(0)
    ink = np.asarray(stroke((330, 410), [(90, 80), (250, 90), (150, 330)], 18)) / 255
    light = np.linspace(210, 130, 330)[None, :] + np.linspace(0, 15, 410)[:, None]
    pixels = light * (1 - 0.7 * ink) + numbers.normal(0, noise, ink.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))


def colors(height: int, width: int) -> Image.Image:
    """A scene: smooth colors with sharp edges and a pale border."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([200 * rows / height, 255 * columns / width, 90 + 80 * np.sin(rows / 5)], axis=2)
    pixels[height // 4 : height // 2, width // 3 : width // 2] = (250, 30, 60)
    pixels[0], pixels[-1] = (240, 250, 235), (240, 250, 235)
    return Image.fromarray(pixels.astype(np.uint8))


def transparent(color: int, alpha: Image.Image) -> Image.Image:
    image = Image.new("RGBA", alpha.size, (color, color, color, 0))
    image.putalpha(alpha)
    return image


LARGE = "a large photo"


def tinted(image: Image.Image, color: tuple[int, int, int]) -> Image.Image:
    """The white parts of an image in a color."""
    return Image.composite(Image.new("RGB", image.size, color), Image.new("RGB", image.size), image)


SEVEN = [(60, 40), (150, 40), (95, 190)]
IMAGES = {
    "a thick stroke": stroke((200, 220), SEVEN, 20),
    "a thin stroke on white paper": negative(stroke((280, 280), SEVEN, 2)),
    "a tall sheet": negative(stroke((120, 390), [(30, 60), (80, 60), (50, 160)], 9)),
    "a wide sheet": stroke((400, 90), [(220, 20), (260, 20), (240, 75)], 6),
    "a stroke that leaves the sheet": stroke((140, 140), [(-10, 70), (150, 75)], 14),
    "a stroke in the size of the data set": stroke((28, 28), [(7, 5), (19, 5), (13, 23)], 3),
    "an enlarged image of the data set": stroke((28, 28), [(8, 5), (19, 5), (13, 23)], 3).resize((140, 140), 0),
    "a small image": stroke((17, 12), [(4, 2), (12, 2), (8, 10)], 2),
    "a photo with a shadow": photo(noise=0),
    "a photo with noise": photo(noise=4),
    "white paper": Image.new("L", (90, 60), 252),
    "black": Image.new("L", (50, 50)),
    "one row": Image.new("L", (40, 1), 90),
    "one pixel": Image.new("L", (1, 1), 200),
    "pale color": tinted(stroke((200, 220), SEVEN, 20), (250, 240, 225)),
    "gray that is slightly colored": tinted(stroke((200, 220), SEVEN, 20), (250, 250, 235)),
    "colors": colors(70, 110),
    "colors in the size of the data set": colors(32, 32),
    "colors on a narrow sheet": colors(130, 31),
    "white ink on nothing": transparent(255, stroke((200, 220), SEVEN, 20)),
    "black ink on nothing": transparent(0, stroke((200, 220), SEVEN, 20)),
    "a sheet with a transparent corner": transparent(230, stroke((100, 100), [(0, 50), (99, 50)], 150)),
    LARGE: negative(stroke((280, 280), SEVEN, 12)).resize((1500, 1400), Image.Resampling.BILINEAR),
}
OPTIONS = [{}, {"fit": "none"}, {"invert": "yes"}, {"invert": "no", "fit": "none"}]
ROUNDING = 1
"""Gray levels by which a pixel may differ: Python computes in single precision, or in whole numbers."""


def prepared_in_javascript(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    done = subprocess.run([node, PROGRAM], input=json.dumps(cases), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def case(image: Image.Image, preparation: Preparation, options: dict[str, str]) -> dict[str, Any]:
    data = base64.b64encode(np.asarray(image.convert("RGBA")).tobytes()).decode()
    size = {"width": image.width, "height": image.height}
    return {"preparation": preparation.description(), "options": options, "data": data, **size}


def differences(pixels: list[int], expected: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    levels: npt.NDArray[np.int64] = np.array(pixels).reshape(expected.shape)
    return np.abs(levels - expected.astype(np.int64))


@pytest.mark.parametrize("name", PREPARATIONS)
def test_images_are_prepared_as_predict_prepares_them(name: str) -> None:
    preparation = PREPARATIONS[name]
    chosen = [(title, options) for title in IMAGES for options in OPTIONS if title != LARGE or not options]
    results = prepared_in_javascript([case(IMAGES[title], preparation, options) for title, options in chosen])
    for (title, options), result in zip(chosen, results, strict=True):
        expected = preparation.prepare(IMAGES[title], **options)  # type: ignore[arg-type]  # as in the list
        assert result["steps"] == list(expected.steps), (title, options)
        assert differences(result["pixels"], expected.pixels).max() <= ROUNDING, (title, options)
