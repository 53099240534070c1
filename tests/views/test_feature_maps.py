"""Feature maps against the definitions of the layers, read back from the pictures, beside the image they came from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnncli.cli.messages import show_log
from cnncli.data.digits import load_digits
from cnncli.data.images import resize, stratified_split
from cnncli.drawing.layout import CAPTION_SIZE, HEIGHT, MARGIN, WIDTH
from cnncli.drawing.text import text_width
from cnncli.errors import UsageError
from cnncli.lessons.reference import corr2d_multi_in_out, pool2d
from cnncli.run import Run, load_run
from cnncli.views import feature_maps
from cnncli.views.feature_maps import FeatureMaps, feature_map_picture

Pixels = npt.NDArray[np.uint8]


Read = Callable[[Path, str], Pixels]


Tiles = Callable[..., list[Pixels]]
Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]


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
    undiverging: Decode,
    unsequential: Decode,
) -> None:
    assert show("feature-maps", run, "5") == 0
    for name, expected in worked_out(opened, 5).items():
        values = expected.numpy()
        high = np.abs(values).max()
        for read in (png, card):
            pixels = read(run, f"feature_maps/{name}/test-5")
            shown = tiles(pixels, values.shape[1:])
            shown = [tile for tile in shown if not (tile[..., :1] == tile).all()]  # without the gray input
            assert len(shown) == len(values)
            for tile, map_ in zip(shown, values, strict=True):
                decoded = (undiverging if (values < 0).any() else unsequential)(tile, 1.0)
                np.testing.assert_allclose(decoded * high, map_, atol=QUANTIZATION * high)


def test_the_numbers_behind_the_colors_are_those_of_the_definitions(opened: Run) -> None:
    pictures = list(FeatureMaps(images=["11"]).pictures(opened))
    for picture, expected in zip(pictures, worked_out(opened, 11).values(), strict=True):
        maps = np.stack([tile.values for tile in picture.tiles[1:]])
        np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_input_stands_beside(opened: Run, tiles: Tiles) -> None:
    (picture,) = FeatureMaps(images=["2"], layers=["conv1"]).pictures(opened)
    image = opened.test.images[2, 0].numpy()
    assert picture.tiles[0].label == "input"
    assert np.array_equal(picture.tiles[0].pixels, image[..., None].repeat(3, axis=-1))
    gray = [tile for tile in tiles(picture.pixels, (8, 8)) if (tile[..., :1] == tile).all()]
    assert any(np.array_equal(tile[..., 0], image) for tile in gray)


def test_titles_say_what_was_predicted_and_how_surely(opened: Run) -> None:
    (picture,) = FeatureMaps(images=["7"], layers=["conv1"]).pictures(opened)
    logits = opened.model(normalized(7).float()[None])[0].double()
    shares = logits.exp() / logits.exp().sum()
    label, predicted = int(load_digits().test.labels[7]), int(shares.argmax())
    answer = f"true {label}, predicted {predicted} ({100 * shares.max().item():.1f}%)"
    assert picture.title == f"feature maps of conv1 for test image 7 (class {label}), {answer}"


def test_any_layer_with_maps_may_be_asked_for(opened: Run) -> None:
    shown = [each.tag for each in FeatureMaps(images=["0", "1", "0"], layers=["conv2", "conv1"]).pictures(opened)]
    assert shown == [f"feature_maps/{layer}/test-{image}" for image in (0, 1) for layer in ("03_conv2", "01_conv1")]
    with pytest.raises(UsageError, match="the output of this layer is 24 values, not feature maps"):
        list(FeatureMaps(layers=["flatten1"]).pictures(opened))
    with pytest.raises(UsageError, match=r"no layer conv9"):
        list(FeatureMaps(layers=["conv9"]).pictures(opened))
    with pytest.raises(UsageError, match="there are 359 test images, 0 to 358"):
        list(FeatureMaps(images=["359"]).pictures(opened))


def test_a_picture_of_the_right_size_is_taken_as_it_is(
    opened: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = picture_file(tmp_path / "seven.png", opened.test.images[7, 0].numpy())
    own, given = (
        next(FeatureMaps(images=[image], layers=["conv1"]).pictures(opened)) for image in (file, "7")
    )  # fmt: skip  # one line for both
    assert own.tag == "feature_maps/01_conv1/seven"
    assert caplog.messages == []
    for mine, its in zip(own.tiles, given.tiles, strict=True):
        np.testing.assert_array_equal(mine.values, its.values)


def test_changes_of_an_image_file_are_logged(opened: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dark = np.zeros((16, 24, 3), dtype=np.uint8)
    dark[4:8, 4:8] = (255, 0, 0)
    file = picture_file(tmp_path / "square.png", dark)
    list(FeatureMaps(images=[file], layers=["conv1"]).pictures(opened))
    assert caplog.messages == [f"{file}: converted to gray, contrast stretched, cropped, centered, resized from 24x16"]
    caplog.clear()
    list(FeatureMaps(images=[file], layers=["conv1"], fit="none").pictures(opened))
    assert caplog.messages == [f"{file}: converted to gray, resized from 24x16, stretched"]


def test_ink_on_paper_is_inverted(opened: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = opened.test.images[7, 0].numpy()
    file = picture_file(tmp_path / "ink.png", 255 - image)
    (inverted,) = FeatureMaps(images=[file], layers=["conv1"]).pictures(opened)
    assert caplog.messages == [f"{file}: inverted"]
    assert np.array_equal(inverted.tiles[0].pixels[..., 0], image)
    caplog.clear()
    (paper,) = FeatureMaps(images=[file], layers=["conv1"], invert="no").pictures(opened)
    assert caplog.messages == []
    assert np.array_equal(paper.tiles[0].pixels[..., 0], 255 - image)
    with pytest.raises(UsageError, match="--invert yes applies only to image files"):
        list(FeatureMaps(images=["0"], invert="yes").pictures(opened))


def test_files_of_one_name_are_not_put_over_each_other(opened: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [picture_file(tmp_path / name, np.zeros((8, 8), dtype=np.uint8)) for name in ("a.png", "other/a.png")]
    with pytest.raises(UsageError, match="several images have the name a"):
        list(FeatureMaps(images=files).pictures(opened))


def test_a_small_picture_is_brought_to_size_as_those_of_the_data_set(opened: Run, tmp_path: Path) -> None:
    gray = opened.test.images[3]
    large = resize(gray[None], (16, 16))[0, 0].numpy()
    (picture,) = FeatureMaps(images=[picture_file(tmp_path / "large.png", large)], layers=["conv1"]).pictures(opened)
    difference = picture.tiles[0].pixels[..., 0].astype(int) - gray[0].numpy()
    assert np.abs(difference).mean() < 24


def test_logits_that_are_no_numbers_predict_nothing(opened: Run) -> None:
    with torch.no_grad():
        opened.model.get_parameter("logits1.bias")[3] = torch.nan
    (picture,) = FeatureMaps(layers=["conv1", "conv1"]).pictures(opened)
    assert picture.title.endswith("no prediction: not all logits are finite")


WHITE, BLUE, RED, MAGENTA = [247, 247, 247], [18, 58, 128], [138, 16, 36], [255, 0, 255]


DARK, BRIGHT = [18, 16, 40], [253, 242, 160]


IMAGE = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_without_negative_values_the_scale_starts_at_zero() -> None:
    picture = feature_map_picture(torch.tensor([[[0.0, 2.0]], [[4.0, 0.0]]]), image=IMAGE, title="after ReLU")
    assert picture.colors(picture.boxes[0,]).tolist() == [[DARK, [26, 132, 148]]]
    assert picture.colors(picture.boxes[1,]).tolist() == [[BRIGHT, DARK]]


def test_with_negative_values_zero_is_neutral() -> None:
    picture = feature_map_picture(torch.tensor([[[0.0, -4.0]], [[4.0, 0.0]]]), image=IMAGE, title="before")
    assert picture.colors(picture.boxes[0,]).tolist() == [[WHITE, BLUE]]
    assert picture.colors(picture.boxes[1,]).tolist() == [[RED, WHITE]]


def test_constant_and_lost_values() -> None:
    zero = feature_map_picture(torch.zeros(2, 3, 3), image=IMAGE, title="dead")
    assert zero.colors(zero.boxes[1,]).tolist() == [[DARK] * 3] * 3
    lost = feature_map_picture(torch.tensor([[[float("nan"), 1.0, float("inf")]]]), image=IMAGE, title="lost")
    assert lost.colors(lost.boxes[0,]).tolist() == [[MAGENTA, BRIGHT, MAGENTA]]


@pytest.mark.parametrize(
    "shape",
    [(6, 28, 28), (16, 5, 5), (128, 3, 3), (32, 28, 28), (64, 14, 14), (16, 8, 8), (512, 1, 1), (10, 1, 1),
     (256, 7, 7), (512, 7, 7), (1, 32, 32), (3, 4, 9), (2, 1, 40)],
)  # fmt: skip  # a table
def test_the_pixels_can_be_read_back_into_the_maps(
    shape: tuple[int, ...], undiverging: Decode, unsequential: Decode
) -> None:
    before = normal(*shape)
    for maps, decode in ((before, undiverging), (before.relu(), unsequential)):
        picture = feature_map_picture(maps, image=IMAGE, title="layer")
        limit = float(maps.abs().max())
        assert list(picture.boxes) == [(channel,) for channel in range(len(picture.boxes))]
        for (channel,), box in picture.boxes.items():
            decoded = decode(picture.colors(box), limit)
            assert decoded == pytest.approx(maps[channel].numpy(), abs=0.003 * limit)
            assert min(box.height, box.width) * box.scale >= 5
        assert picture.pixels.shape == (HEIGHT, WIDTH, 3)


def test_channels_stand_in_reading_order() -> None:
    for count in (6, 128):
        boxes = feature_map_picture(normal(count, 5, 5), image=IMAGE, title="").boxes
        places = [(box.y, box.x) for box in boxes.values()]
        assert places == sorted(places)
        assert len(boxes) == count


def test_many_small_maps_are_shown_whole() -> None:
    shapes = [(32, 28, 28), (64, 14, 14), (128, 3, 3), (512, 1, 1)]
    assert [len(feature_map_picture(normal(*shape), image=IMAGE, title="").boxes) for shape in shapes] == [
        32, 64, 128, 512,
    ]  # fmt: skip  # as the shapes above


def test_the_image_is_shown_as_it_is() -> None:
    maps = normal(2, 4, 4)
    gray = feature_map_picture(maps, image=IMAGE, title="")
    assert gray.inset is not None
    assert gray.inset.scale == 7
    assert np.array_equal(gray.colors(gray.inset), IMAGE[0, :, :, None].expand(-1, -1, 3).numpy())
    same = feature_map_picture(maps, image=IMAGE / 255, title="")
    assert np.array_equal(gray.pixels, same.pixels)
    colored = torch.arange(3 * 4 * 6, dtype=torch.uint8).reshape(3, 4, 6)
    picture = feature_map_picture(maps, image=colored, title="")
    assert picture.inset is not None
    assert np.array_equal(picture.colors(picture.inset), colored.permute(1, 2, 0).numpy())


def captions_of(maps: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The captions handed to the drawing, since letters cannot be read back from pixels."""
    captured: list[str] = []

    def draw_tiles(*_: object, captions: list[str], **__: object) -> None:
        captured.extend(captions)

    monkeypatch.setattr(feature_maps, "draw_tiles", draw_tiles)
    feature_map_picture(maps, image=IMAGE, title="")
    return captured


def test_captions_say_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert captions_of(normal(6, 28, 28), monkeypatch) == ["28x28, 6 channels"]
    assert captions_of(normal(256, 7, 7), monkeypatch) == ["7x7, first 154 of 256 channels"]
    (caption,) = captions_of(normal(64, 112, 112), monkeypatch)
    assert caption == "112x112, first 6 of 64 channels, one pixel in 2 per axis"
    assert text_width(caption, CAPTION_SIZE) <= WIDTH - 2 * MARGIN
    assert captions_of(torch.zeros(2, 3, 3), monkeypatch)[1] == "every value is 0"
    assert captions_of(torch.full((2, 3, 3), float("nan")), monkeypatch)[1] == (
        "18 of 18 values are not finite: magenta"
    )


def test_large_maps_are_thinned_out(undiverging: Decode) -> None:
    maps = normal(3, 112, 100)
    picture = feature_map_picture(maps, image=torch.rand(3, 224, 224), title="")
    decoded = undiverging(picture.colors(picture.boxes[2,]), float(maps.abs().max()))
    assert decoded == pytest.approx(maps[2, ::2, ::2].numpy(), abs=0.003 * float(maps.abs().max()))
    assert picture.inset is not None
    assert (picture.inset.height, picture.inset.width, picture.inset.scale) == (56, 56, 1)
