"""Test images of MNIST, written to files of every kind, are predicted like the raw pixels.

`pytest -m slow -s tests/test_own_images.py` prints the agreement for each kind of file.
"""

import io
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import cnncli
from cnncli.config.data import DataSpec
from cnncli.data.load import load_dataset

Gray = npt.NDArray[np.uint8]
Encode = Callable[[Gray], bytes]

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

COUNT = 200
SIDES = (28, 56, 100, 300)
PLACES = ("alone", "wide", "tall")


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def as_ink(gray: Gray) -> bytes:
    """On a transparent background: the lesser half of the image is ink, black or white."""
    color = 0 if np.median(gray) > 127 else 255
    image = Image.new("RGBA", gray.shape[::-1], (color, color, color, 0))
    image.putalpha(Image.fromarray(255 - gray if color == 0 else gray))
    return encoded(image, "PNG")


LOSSLESS: dict[str, Encode] = {
    "PNG L": lambda gray: encoded(Image.fromarray(gray), "PNG"),
    "PNG RGB": lambda gray: encoded(Image.fromarray(gray).convert("RGB"), "PNG"),
    "PNG RGBA, transparent": as_ink,
    "PNG P": lambda gray: encoded(Image.fromarray(gray).convert("P"), "PNG"),
    "PNG I;16": lambda gray: encoded(Image.fromarray(gray.astype(np.uint16) * 257), "PNG"),
    "BMP L": lambda gray: encoded(Image.fromarray(gray), "BMP"),
    "BMP RGB": lambda gray: encoded(Image.fromarray(gray).convert("RGB"), "BMP"),
    "WebP, lossless": lambda gray: encoded(Image.fromarray(gray).convert("RGB"), "WEBP", lossless=True),
}
LOSSY: dict[str, Encode] = {
    "JPEG L": lambda gray: encoded(Image.fromarray(gray), "JPEG"),
    "JPEG RGB": lambda gray: encoded(Image.fromarray(gray).convert("RGB"), "JPEG"),
    "JPEG CMYK": lambda gray: encoded(Image.fromarray(gray).convert("RGB").convert("CMYK"), "JPEG"),
    "WebP": lambda gray: encoded(Image.fromarray(gray).convert("RGB"), "WEBP"),
}
"""In the quality that Pillow has by default."""
ENCODINGS = LOSSLESS | LOSSY


def enlarged(image: Gray, side: int) -> Gray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def on_sheet(image: Gray, numbers: np.random.Generator, place: str) -> Gray:
    """Anywhere on a black sheet that is up to three times as long as it is broad."""
    side = len(image)
    short, long = round(side * numbers.uniform(1.1, 1.6)), round(side * numbers.uniform(2, 3))
    height, width = (short, long) if place == "wide" else (long, short)
    top, left = numbers.integers(0, height - side + 1), numbers.integers(0, width - side + 1)
    sheet = np.zeros((height, width), dtype=np.uint8)
    sheet[top : top + side, left : left + side] = image
    return sheet


def test_files_of_every_kind_are_predicted_like_the_raw_pixels(real_data_dir: Path, tmp_path: Path) -> None:
    run = cnncli.train("lenet5", epochs=3, out=tmp_path, data_dir=real_data_dir, overrides={"log.images": 0})
    dataset = load_dataset(DataSpec(name="mnist"), data_dir=real_data_dir)
    raw: list[Gray] = list(dataset.test.images[:COUNT, 0].numpy())
    expected = [each.prediction for each in run.predict(raw)]
    kinds, agree = [], []
    for (name, encode), side in product(ENCODINGS.items(), SIDES):
        for number, image in enumerate(raw):
            negative, place = number % 2 == 1, PLACES[number // 2 % 3]
            drawn = enlarged(image, side)
            if place != "alone":
                drawn = on_sheet(drawn, np.random.default_rng(number), place)
            (prediction,) = run.predict(encode(255 - drawn if negative else drawn))
            kinds.append((name, side, "negative" if negative else "positive", place))
            agree.append(prediction.prediction == expected[number])
            if (side, place) == (28, "alone") and name in LOSSLESS:
                assert agree[-1], f"test image {number} as {name}"
    for column in zip(*kinds, strict=True):
        for kind in dict.fromkeys(column):
            found = [each for other, each in zip(column, agree, strict=True) if other == kind]
            sys.stdout.write(f"{kind}: {np.mean(found):.2%} of {len(found):,}\n")
            assert np.mean(found) >= 0.99, kind
