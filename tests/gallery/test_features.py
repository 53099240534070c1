"""Feature maps as `show` draws them, against the definitions; images of one's own; what is said of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnncli.cli.notices import show_log
from cnncli.data.digits import load_digits
from cnncli.data.images import resize
from cnncli.data.splits import stratified_split
from cnncli.errors import UsageError
from cnncli.lessons.reference import corr2d_multi_in_out, pool2d
from cnncli.run import Run, load_run
from cnncli.views.feature_maps import features

Pixels = npt.NDArray[np.uint8]
Read = Callable[[Path, str], Pixels]
Tiles = Callable[..., list[Pixels]]

# By how much the colors of 256 levels may be off, as a share of the scale's end.
QUANTIZATION = 1 / 160


@pytest.fixture
def opened(run: Path) -> Run:
    with show_log(pytest.fail):
        return load_run(run, data_dir=run)


def picture_file(path: Path, pixels: Pixels) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


def normalized(number: int) -> Tensor:
    """A test image as the network gets it, in double precision, by the numbers of the images learned from."""
    dataset = load_digits()
    kept, _ = stratified_split(dataset.train.labels, 0.2, seed=3)
    levels = dataset.train.images[kept].double() / 255
    return (dataset.test.images[number].double() / 255 - levels.mean()) / levels.std(correction=0)


def worked_out(run: Run, number: int) -> dict[str, Tensor]:
    """The outputs of the layers by their definitions, (C, H, W) each."""
    weights = {name: tensor.double() for name, tensor in run.model.state_dict().items()}
    x = normalized(number)
    found = {}
    x = corr2d_multi_in_out(x, weights["conv1.conv.weight"], padding=1) + weights["conv1.conv.bias"][:, None, None]
    found["01_conv1"] = x = x.clamp(min=0)
    found["02_max_pool1"] = x = pool2d(x, 2, mode="max")
    x = corr2d_multi_in_out(x, weights["conv2.conv.weight"], padding=1) + weights["conv2.conv.bias"][:, None, None]
    found["03_conv2"] = x
    found["04_avg_pool1"] = pool2d(x, 2, mode="average")
    return found


def test_the_maps_are_those_of_the_definitions(
    opened: Run,
    run: Path,
    show: Callable[..., int],
    png: Read,
    card: Read,
    tiles: Tiles,
) -> None:
    assert show("features", run, "5") == 0
    for name, expected in worked_out(opened, 5).items():
        values = expected.numpy()
        high = np.abs(values).max()
        for read in (png, card):
            pixels = read(run, f"features/{name}/test-5")
            shown = tiles(pixels, values.shape[1:])
            shown = [tile for tile in shown if not (tile[..., :1] == tile).all()]  # without the gray input
            assert len(shown) == len(values)
            for tile, map_ in zip(shown, values, strict=True):
                decoded = signed(tile) if (values < 0).any() else rising(tile)
                np.testing.assert_allclose(decoded * high, map_, atol=QUANTIZATION * high)


def test_the_numbers_behind_the_colors_are_those_of_the_definitions(opened: Run) -> None:
    exhibits = list(features(opened, ["11"]))
    for exhibit, expected in zip(exhibits, worked_out(opened, 11).values(), strict=True):
        maps = np.stack([tile.values for tile in exhibit.tiles[1:]])
        np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-4, atol=1e-5)


def signed(tile: Pixels) -> npt.NDArray[np.float64]:
    """Colors as shares of the end of a signed scale."""
    red, green, blue = (tile[..., channel].astype(float) for channel in range(3))
    plus, minus = np.interp(green, (16, 128, 247), (1, 0.5, 0)), np.interp(green, (58, 158, 247), (-1, -0.5, 0))
    return np.asarray(np.where(red >= blue, plus, minus))


def rising(tile: Pixels) -> npt.NDArray[np.float64]:
    """Colors as shares of the end of a scale from zero."""
    return np.asarray(np.interp(tile[..., 1].astype(float), (16, 66, 132, 192, 242), (0, 0.25, 0.5, 0.75, 1)))


def test_the_input_stands_beside(opened: Run, tiles: Tiles) -> None:
    (exhibit,) = features(opened, ["2"], layers=["conv1"])
    image = opened.test.images[2, 0].numpy()
    assert exhibit.tiles[0].label == "input"
    assert np.array_equal(exhibit.tiles[0].pixels, image[..., None].repeat(3, axis=-1))
    gray = [tile for tile in tiles(exhibit.pixels, (8, 8)) if (tile[..., :1] == tile).all()]
    assert any(np.array_equal(tile[..., 0], image) for tile in gray)


def test_titles_say_what_was_predicted_and_how_surely(opened: Run) -> None:
    (exhibit,) = features(opened, ["7"], layers=["conv1"])
    logits = opened.model(normalized(7).float()[None])[0].double()
    shares = logits.exp() / logits.exp().sum()
    label, predicted = int(load_digits().test.labels[7]), int(shares.argmax())
    said = f"true {label}, predicted {predicted} ({100 * shares.max().item():.1f}%)"
    assert exhibit.title == f"feature maps of conv1 for test image 7 (class {label}), {said}"


def test_any_layer_with_maps_may_be_asked_for(opened: Run) -> None:
    shown = [each.tag for each in features(opened, ["0", "1", "0"], layers=["conv2", "conv1"])]
    assert shown == [f"features/{layer}/test-{image}" for image in (0, 1) for layer in ("03_conv2", "01_conv1")]
    with pytest.raises(UsageError, match="it gives 24 numbers and no maps"):
        list(features(opened, layers=["flatten1"]))
    with pytest.raises(UsageError, match=r"no layer conv9"):
        list(features(opened, layers=["conv9"]))
    with pytest.raises(UsageError, match="there are 359 test images, 0 to 358"):
        list(features(opened, ["359"]))


def test_a_picture_of_the_right_size_is_taken_as_it_is(
    opened: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = picture_file(tmp_path / "seven.png", opened.test.images[7, 0].numpy())
    own, given = (
        next(features(opened, [image], layers=["conv1"])) for image in (file, "7")
    )  # fmt: skip  # one line for both
    assert own.tag == "features/01_conv1/seven"
    assert caplog.messages == []
    for mine, its in zip(own.tiles, given.tiles, strict=True):
        np.testing.assert_array_equal(mine.values, its.values)


def test_what_was_done_to_a_picture_is_said(opened: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dark = np.zeros((16, 24, 3), dtype=np.uint8)
    dark[4:8, 4:8] = (255, 0, 0)
    file = picture_file(tmp_path / "square.png", dark)
    list(features(opened, [file], layers=["conv1"]))
    assert caplog.messages == [
        f"{file}: resized from 24x16 to 8x8, without keeping proportions",
        f"{file}: converted from color to gray",
    ]


def test_ink_on_paper_is_noticed_and_can_be_inverted(
    opened: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = opened.test.images[7, 0].numpy()
    file = picture_file(tmp_path / "ink.png", 255 - image)
    (paper,) = features(opened, [file], layers=["conv1"])
    assert caplog.messages == [f"{file}: bright, but the images of the data set are dark; try with --invert"]
    caplog.clear()
    (inverted,) = features(opened, [file], layers=["conv1"], invert=True)
    assert caplog.messages == []
    assert np.array_equal(inverted.tiles[0].pixels[..., 0], image)
    assert not np.array_equal(paper.tiles[0].pixels[..., 0], image)
    with pytest.raises(UsageError, match="--invert is for picture files"):
        list(features(opened, ["0"], invert=True))


def test_files_of_one_name_are_not_put_over_each_other(opened: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [picture_file(tmp_path / name, np.zeros((8, 8), dtype=np.uint8)) for name in ("a.png", "other/a.png")]
    with pytest.raises(UsageError, match="several images are called a"):
        list(features(opened, files))


def test_a_small_picture_is_brought_to_size_as_those_of_the_data_set(opened: Run, tmp_path: Path) -> None:
    gray = opened.test.images[3]
    large = resize(gray[None], (16, 16))[0, 0].numpy()
    (exhibit,) = features(opened, [picture_file(tmp_path / "large.png", large)], layers=["conv1"])
    difference = exhibit.tiles[0].pixels[..., 0].astype(int) - gray[0].numpy()
    assert np.abs(difference).mean() < 24


def test_logits_that_are_no_numbers_predict_nothing(opened: Run) -> None:
    with torch.no_grad():
        opened.model.get_parameter("logits1.bias")[3] = torch.nan
    (exhibit,) = features(opened, layers=["conv1", "conv1"])
    assert exhibit.title.endswith("predicted nothing: not all logits are finite")
