"""Maps of hand-set values, read back from the pictures, beside the image they came from."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.drawing.canvas import text_width
from cnncli.drawing.layout import CAPTION_SIZE, HEIGHT, MARGIN, WIDTH
from cnncli.views import feature_maps
from cnncli.views.feature_maps import feature_map_picture

Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]
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
    seen: list[str] = []

    def compose(*_: object, captions: list[str], **__: object) -> None:
        seen.extend(captions)

    monkeypatch.setattr(feature_maps, "compose", compose)
    feature_map_picture(maps, image=IMAGE, title="")
    return seen


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
