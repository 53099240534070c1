"""Images of every mode, size and color, prepared, against the drawing that they were made from."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from cnncli.config.data import DataSpec, input_shape
from cnncli.data.batches import Normalization
from cnncli.data.decode import decode
from cnncli.data.digits import load_digits
from cnncli.data.load import load_dataset
from cnncli.data.preparation import Preparation
from cnncli.errors import DataError

Gray = npt.NDArray[np.uint8]


def preparation_for(name: str, *, mean: float = 0.13, **fields: object) -> Preparation:
    spec = DataSpec.model_validate({"name": name, **fields})
    shape = input_shape(spec)
    return Preparation.of(spec, shape, Normalization(mean=(mean,) * shape[0], std=(0.3,) * shape[0]))


MNIST = preparation_for("mnist")


def large_seven(unit: int) -> Gray:
    """White on black, 28 units a side, placed as in MNIST: 20 units high, its center of mass near the middle."""
    image = Image.new("L", (28 * unit, 28 * unit))
    corners = [(8, 5), (19, 5), (13, 23)]
    ImageDraw.Draw(image).line([(x * unit, y * unit) for x, y in corners], fill=255, width=2 * unit)
    cropped = image.crop(image.getbbox())
    resized = cropped.resize((cropped.width, 20 * unit), Image.Resampling.NEAREST)
    pixels = on_sheet(np.asarray(resized), 28 * unit, 28 * unit, 4 * unit, 7 * unit)
    down, across = (round((14.5 * unit - 0.5 - mass) / unit) for mass in center_of_mass(pixels))
    return np.roll(pixels, (down * unit, across * unit), axis=(0, 1))


def center_of_mass(image: Gray) -> tuple[float, float]:
    rows, columns = np.indices(image.shape)
    return float((rows * image).sum() / image.sum()), float((columns * image).sum() / image.sum())


def on_sheet(image: Gray, height: int, width: int, top: int, left: int, background: int = 0) -> Gray:
    sheet = np.full((height, width), background, dtype=np.uint8)
    sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


SEVEN, SEVEN_56 = (np.asarray(Image.fromarray(large_seven(8)).reduce(factor)) for factor in (8, 4))
"""Antialiased, of 28 and 56 pixels a side."""


def prepared(image: object, preparation: Preparation = MNIST, **options: str) -> tuple[Gray, list[str]]:
    """Pixels (H, W) and steps."""
    result = preparation.prepare(image, **options)  # type: ignore[arg-type]  # whatever a test gives
    assert result.pixels.dtype == np.uint8
    assert result.pixels.flags.writeable, "torch warns about others"
    assert result.pixels.shape == preparation.input_shape
    return result.pixels[0], list(result.steps)


def difference(first: Gray, second: Gray) -> float:
    """The mean over the pixels, in gray levels."""
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


# Modes


def through_file(image: Image.Image, suffix: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def as_palette(image: Gray) -> Image.Image:
    """With indices that are not the gray levels."""
    indexed = Image.fromarray(255 - image).copy()
    indexed.putpalette([255 - index // 3 for index in range(768)])
    assert indexed.mode == "P"
    return indexed


MODES: dict[str, tuple[Callable[[Gray], bytes], list[str]]] = {
    "L": (lambda image: through_file(Image.fromarray(image), "PNG"), []),
    "RGB": (lambda image: through_file(Image.fromarray(image).convert("RGB"), "PNG"), []),
    "RGBA": (lambda image: through_file(Image.fromarray(image).convert("RGBA"), "PNG"), []),
    "LA": (lambda image: through_file(Image.fromarray(image).convert("LA"), "PNG"), []),
    "P": (lambda image: through_file(as_palette(image), "PNG"), []),
    "CMYK": (lambda image: through_file(Image.fromarray(image).convert("RGB").convert("CMYK"), "TIFF"), []),
    "BMP": (lambda image: through_file(Image.fromarray(image), "BMP"), []),
    "WebP": (lambda image: through_file(Image.fromarray(image).convert("RGB"), "WEBP", lossless=True), []),
    "16 bits": (
        lambda image: through_file(Image.fromarray(image.astype(np.uint16) * 257), "PNG"),
        ["scaled from 0..65535"],
    ),
    "12 bits in 16": (
        lambda image: through_file(Image.fromarray(np.rint(image / 255 * 4095).astype(np.uint16)), "PNG"),
        ["scaled from 0..4095"],
    ),
    "8 bits in 16": (lambda image: through_file(Image.fromarray(image.astype(np.uint16)), "PNG"), []),
    "32 bits": (
        lambda image: through_file(Image.fromarray(image.astype(np.int32) * 1000 - 5), "TIFF"),
        ["scaled from -5..254995"],
    ),
    "floating point to 1": (
        lambda image: through_file(Image.fromarray(image.astype(np.float32) / 255), "TIFF"),
        ["scaled from 0..1"],
    ),
    "floating point to 255": (lambda image: through_file(Image.fromarray(image.astype(np.float32)), "TIFF"), []),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("negative", [False, True])
def test_the_mode_of_an_image_of_the_right_size_changes_nothing(mode: str, negative: bool) -> None:
    write, steps = MODES[mode]
    pixels, done = prepared(write(255 - SEVEN if negative else SEVEN))
    np.testing.assert_array_equal(pixels, SEVEN)
    assert done == steps + ["inverted"] * negative


def test_sixteen_bits_keep_every_gray_level() -> None:
    """The high byte alone would make 128 of each 0x80ff and 0x8000."""
    values = np.arange(28 * 28, dtype=np.uint16).reshape(28, 28) * 83
    pixels, _ = prepared(Image.fromarray(values), invert="no")
    np.testing.assert_array_equal(pixels, np.rint(values / 65535 * 255))


def test_pixels_that_are_not_finite_are_an_error() -> None:
    values = np.zeros((28, 28), dtype=np.float32)
    values[3, 3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        prepared(Image.fromarray(values))


def test_an_image_without_pixels_is_an_error() -> None:
    for preparation in (MNIST, preparation_for("image-folder", path="photos", size=12)):
        with pytest.raises(DataError, match="no pixels"):
            preparation.prepare(Image.new("L", (0, 9)))


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr", "RGBX", "PA", "1"])
def test_rare_modes_are_converted(mode: str) -> None:
    for preparation in (MNIST, preparation_for("image-folder", path="photos", size=28, channels=1)):
        assert preparation.prepare(Image.new(mode, (40, 28))).pixels.shape == preparation.input_shape


def layer(color: int, alpha: Gray) -> Image.Image:
    image = Image.new("RGBA", alpha.shape[::-1], (color, color, color, 0))
    image.putalpha(Image.fromarray(alpha))
    return image


def test_ink_on_a_transparent_background_becomes_white_on_black() -> None:
    """Whether it is white or black; a drawing program saves either."""
    for color, filling, rest in ((255, "black", []), (0, "white", ["inverted"])):
        pixels, done = prepared(layer(color, SEVEN))
        assert difference(pixels, SEVEN) < 1
        assert done == [f"transparent pixels filled with {filling}", *rest]


def test_a_sheet_with_transparent_corners_remains_a_sheet() -> None:
    sheet = on_sheet(255 - SEVEN_56, 200, 120, 50, 20, background=255)
    alpha = np.full_like(sheet, 255)
    alpha[:5, :5] = alpha[-5:, -5:] = 0
    image = Image.fromarray(sheet).convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    pixels, done = prepared(image)
    assert difference(pixels, SEVEN) < 3
    assert done[:2] == ["transparent pixels filled with white", "inverted"]


def test_a_transparent_color_of_a_palette() -> None:
    indexed = Image.fromarray((SEVEN > 127).astype(np.uint8))
    indexed.putpalette([9, 9, 9, 0, 0, 0])
    content = through_file(indexed, "PNG", transparency=0)
    pixels, done = prepared(content)
    np.testing.assert_array_equal(pixels, np.where(SEVEN > 127, 255, 0))
    assert done == ["transparent pixels filled with white", "inverted"]


def test_color_becomes_gray() -> None:
    image = np.zeros((28, 28, 3), dtype=np.uint8)
    image[10:20, 10:20] = (200, 100, 50)
    pixels, done = prepared(image)
    assert pixels[15, 15] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert done == ["converted to gray"]


ORIENTATIONS: dict[int, Callable[[Gray], Gray]] = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.T,
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright.T, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""How an upright image is stored; 6 is a camera held upright, whose rows are the columns of the scene."""


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_orientation_of_exif_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(ORIENTATIONS[orientation](SEVEN))
    pixels, done = prepared(through_file(Image.fromarray(stored), "PNG", exif=exif))
    np.testing.assert_array_equal(pixels, SEVEN)
    assert done == ["rotated as EXIF says"] * (orientation != 1)


# Size and place


def test_the_images_of_a_data_set_are_those_that_the_network_was_trained_on() -> None:
    """In the size as stored and in that of the input, with the channels of either."""
    spec = DataSpec.model_validate({"name": "digits", "size": 16, "channels": 3})
    preparation = Preparation.of(spec, (3, 16, 16), Normalization.none(3))
    stored, used = load_digits().test.images, load_dataset(spec, data_dir=Path("nowhere")).test.images
    for small, large in zip(stored[:30].numpy(), used[:30].numpy(), strict=True):
        for image, steps in ((small[0], ["resized from 8x8"]), (large.transpose(1, 2, 0), [])):
            result = preparation.prepare(image)
            np.testing.assert_array_equal(result.pixels, large)
            assert list(result.steps) == steps
            inverted = preparation.prepare(255 - image)
            assert inverted.steps == ("inverted", *steps)
            assert np.abs(inverted.pixels.astype(int) - large).max() <= 1, "rounding"


@pytest.mark.parametrize("background", [0, 255])
@pytest.mark.parametrize("place", [(0, 0), (150, 3), (90, 61)])
def test_a_digit_on_a_tall_sheet_is_placed_as_in_mnist(place: tuple[int, int], background: int) -> None:
    digit = SEVEN_56 if background == 0 else 255 - SEVEN_56
    pixels, done = prepared(on_sheet(digit, 206, 117, *place, background=background))
    assert difference(pixels, SEVEN) < 3
    assert done == ["inverted"] * (background == 255) + ["cropped", "centered", "resized from 117x206"]
    rows = np.flatnonzero((pixels > 76).any(axis=1))
    assert len(rows) == 20
    assert center_of_mass(pixels) == pytest.approx((14, 14), abs=0.51)


def test_an_enlarged_image_of_the_data_set_is_only_reduced() -> None:
    pixels, done = prepared(np.repeat(np.repeat(SEVEN, 5, axis=0), 5, axis=1))
    np.testing.assert_array_equal(pixels, SEVEN)
    assert done == ["resized from 140x140"]


def test_thin_strokes_are_not_pale() -> None:
    """A line of two pixels, ten times as long as MNIST is high; every image of MNIST has white pixels."""
    image = Image.new("L", (300, 300), "white")
    ImageDraw.Draw(image).line([(60, 50), (180, 50), (100, 250)], fill="black", width=2)
    pixels, done = prepared(image)
    assert pixels.max() == 255
    assert done == ["inverted", "contrast stretched", "cropped", "centered", "resized from 300x300"]


def test_dim_parts_of_clothes_are_not_cropped() -> None:
    """Ink of that gray would be the ringing of JPEG."""
    shirt = np.zeros((56, 40), dtype=np.uint8)
    shirt[4:52, 10:30], shirt[4:52, 6:10] = 250, 50
    for name, columns in (("fashion-mnist", 14), ("mnist", 8)):
        pixels, _ = prepared(shirt, preparation_for(name))
        assert np.count_nonzero(pixels.any(axis=0)) == columns


def test_an_enlarged_image_off_center_is_centered() -> None:
    shifted = np.roll(SEVEN, (-6, -3), axis=(0, 1))
    pixels, done = prepared(np.repeat(np.repeat(shifted, 5, axis=0), 5, axis=1))
    assert difference(pixels, SEVEN) < 1
    assert done == ["cropped", "centered", "resized from 140x140"]


@pytest.mark.parametrize("name", ["emnist", "fashion-mnist", "kmnist"])
def test_other_sets_have_other_boxes(name: str) -> None:
    """Fashion-MNIST and KMNIST fill the image; EMNIST leaves two pixels on each side."""
    pixels, _ = prepared(on_sheet(large_seven(3), 300, 200, 20, 100), preparation_for(name))
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    margin = 2 if name == "emnist" else 0
    assert (rows[0], rows[-1]) == (margin, 27 - margin)
    assert abs((columns[0] + columns[-1]) / 2 - 13.5) <= 0.5


def test_a_photo_loses_its_paper_and_its_shadow() -> None:
    """Gray paper, lit from the left, with noise, and ink that is not black."""
    numbers = np.random.default_rng(0)
    ink = on_sheet(large_seven(8), 500, 400, 200, 100).astype(float) / 255
    light = np.linspace(210, 120, 400)[None, :] + np.linspace(0, 15, 500)[:, None]
    photo = light * (1 - 0.7 * ink) + numbers.normal(0, 3, ink.shape)
    pixels, done = prepared(photo.clip(0, 255).astype(np.uint8))
    assert done == ["inverted", "contrast stretched", "cropped", "centered", "resized from 400x500"]
    assert difference(pixels, SEVEN) < 12
    assert np.median(pixels[SEVEN == 0]) == 0
    assert np.median(pixels[SEVEN == 255]) > 170


def test_an_empty_sheet_is_black() -> None:
    for paper in (np.full((90, 60), 250, dtype=np.uint8), np.full((28, 28), 255, dtype=np.uint8)):
        pixels, done = prepared(paper)
        assert pixels.max() <= 5
        fitted = ["no ink found", "padded", "resized from 60x90"]
        assert done == ["inverted", *(fitted if paper.shape == (90, 60) else [])]


def test_a_huge_image_is_reduced_first() -> None:
    pixels, _ = prepared(Image.fromarray(255 - large_seven(8)).resize((3000, 3000)))
    assert difference(pixels, SEVEN) < 2


def test_without_a_fit_an_image_is_stretched() -> None:
    tall = on_sheet(large_seven(2), 112, 56, 0, 0)
    pixels, done = prepared(tall, fit="none")
    stretched = functional.interpolate(torch.from_numpy(tall)[None, None].float(), (28, 28), mode="area")[0, 0]
    assert difference(pixels, stretched.numpy().astype(np.uint8)) < 4
    assert done == ["resized from 56x112", "stretched"]


def test_a_stretched_image_has_no_more_detail_than_those_of_the_data_set() -> None:
    """A network for enlarged images has seen only what was left of them in their size as stored."""
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (32, 16))
    small, _ = prepared(stripes, preparation_for("digits"), fit="none", invert="no")
    expected, _ = prepared(small, preparation_for("digits", size=16), invert="no")
    pixels, _ = prepared(stripes, preparation_for("digits", size=16), fit="none", invert="no")
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(("invert", "expected"), [("yes", 255 - SEVEN), ("no", SEVEN)])
def test_whether_to_invert_may_be_said(invert: str, expected: Gray) -> None:
    pixels, done = prepared(SEVEN, invert=invert)
    np.testing.assert_array_equal(pixels, expected)
    assert done == ["inverted"] * (invert == "yes")


# Data sets without a common background, and image folders


def test_a_photo_keeps_its_proportions_and_colors() -> None:
    photo = np.full((32, 64, 3), (250, 10, 90), dtype=np.uint8)
    photo[8:24, 16:48] = (0, 200, 0)
    photo[0, :30] = 0  # a shadow along less than half of the border: the padding has the color of the rest
    result = preparation_for("cifar10").prepare(photo)
    assert result.steps == ("padded", "resized from 64x32")
    inside = result.pixels[:, 8:24]
    np.testing.assert_array_equal(inside[:, 8, 16], (0, 200, 0))
    np.testing.assert_array_equal(
        inside[:, 4:12, 8:24][:, 1:-1, 1:-1], np.broadcast_to(np.array([[[0]], [[200]], [[0]]]), (3, 6, 14))
    )
    assert (result.pixels[:, :8] == np.array([[[250]], [[10]], [[90]]])).all()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    numbers = np.random.default_rng(0)
    Image.fromarray(numbers.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("fit", ["auto", "none"])
@pytest.mark.parametrize("mean", [0.1, 0.5, 0.9])
def test_images_for_a_folder_are_decoded_like_those_in_it(photo: Path, mean: float, fit: str) -> None:
    preparation = preparation_for("image-folder", path="photos", size=12, mean=mean)
    result = preparation.prepare(photo, fit=fit)  # type: ignore[arg-type]  # one of the two
    assert result.pixels.flags.writeable
    np.testing.assert_array_equal(result.pixels, decode(photo, channels=3, size=(12, 12)).pixels)
    assert result.steps == ("resized from 30x20", "stretched")


@pytest.mark.parametrize(
    ("mean", "normalize", "inverted"), [(0.1, True, (255,)), (0.5, True, ()), (0.9, True, (0,)), (0.1, False, ())]
)
def test_a_folder_has_the_background_that_its_mean_tells(
    mean: float, normalize: bool, inverted: tuple[int, ...]
) -> None:
    preparation = preparation_for("image-folder", path="letters", size=28, channels=1, normalize=normalize, mean=mean)
    for background, image in ((0, SEVEN), (255, 255 - SEVEN)):
        pixels, done = prepared(image, preparation)
        assert done == ["inverted"] * (background in inverted)
        np.testing.assert_array_equal(pixels, 255 - image if background in inverted else image)


def test_a_bright_edge_is_no_background() -> None:
    """In a folder of dark photos, one with a bright sky."""
    image = np.zeros((28, 28), dtype=np.uint8)
    image[:9] = 255
    assert prepared(image, preparation_for("image-folder", path="nights", size=28, channels=1, mean=0.1))[1] == []


def test_a_file_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read to the limit, which is lowered here."""
    monkeypatch.setattr("cnncli.data.decode.MAX_IMAGE_BYTES", 1000)
    with pytest.raises(DataError, match="/dev/zero: more than 1,000 bytes"):
        MNIST.prepare("/dev/zero")
