"""The bytes of a GIF, decoded by Pillow, against the values that were drawn."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from cnncli.drawing.color import NEUTRAL, NOT_FINITE, Pixels, Scale
from cnncli.drawing.image import LEVELS, animation
from cnncli.drawing.sheet import Drawing
from cnncli.views.feature_maps import feature_map_picture
from cnncli.views.kernels import kernel_picture

Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]
ONE_LEVEL = 2 / (LEVELS - 1)
"""From one color of a signed scale in the palette to the next, as a share of its end."""


def decoded(gif: bytes) -> list[Pixels]:
    """Every frame as people see it."""
    frames = []
    with Image.open(io.BytesIO(gif)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(np.array(image.convert("RGB")))
    return frames


def in_frame(frame: Pixels, picture: Drawing, key: tuple[int, ...]) -> Pixels:
    """The colors of a tile (h, w, 3)."""
    box = picture.boxes[key]
    tile = frame[box.y : box.bottom, box.x : box.right]
    values = tile[:: box.scale, :: box.scale]
    assert np.array_equal(values.repeat(box.scale, axis=0).repeat(box.scale, axis=1), tile)
    return values


def test_kernels_keep_their_colors_on_one_scale(undiverging: Decode) -> None:
    steps = [torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(i)) * 10.0**-i for i in range(4)]
    steps[1][2, 0, 1, 1] = 0.0
    steps[2][0, 0, 0, 0] = torch.nan
    limit = float(steps[0].abs().max())
    scale = Scale(low=-limit, high=limit, signed=True)
    pictures = [kernel_picture(weight, title=f"step {i}", scale=scale) for i, weight in enumerate(steps)]
    frames = decoded(animation([picture.pixels for picture in pictures], scale))
    assert len(frames) == 4
    for frame, picture, weight in zip(frames, pictures, steps, strict=True):
        for output, input_ in picture.boxes:
            expected = weight[output, input_].double().numpy()
            known = np.isfinite(expected)
            found = undiverging(in_frame(frame, picture, (output, input_)), limit)
            np.testing.assert_allclose(found[known], expected[known], atol=limit * (ONE_LEVEL / 2 + 1 / 320))
    assert tuple(in_frame(frames[1], pictures[1], (2, 0))[1, 1]) == NEUTRAL
    assert tuple(in_frame(frames[2], pictures[2], (0, 0))[0, 0]) == NOT_FINITE
    faint = in_frame(frames[3], pictures[3], (0, 0))
    assert np.abs(faint.astype(int) - NEUTRAL).max() <= 8, "a thousandth of the scale is next to no color"


def test_small_values_do_not_become_gray(undiverging: Decode) -> None:
    """The gray of text is as pale as small weights are; in the palette it must not stand between them."""
    values = torch.linspace(-0.2, 0.2, 150).view(6, 1, 5, 5)
    scale = Scale(low=-1.0, high=1.0, signed=True)
    picture = kernel_picture(values, title="small", scale=scale)
    (frame,) = decoded(animation([picture.pixels], scale))
    found = np.stack([undiverging(in_frame(frame, picture, (i, 0)), 1.0) for i in range(6)])
    np.testing.assert_allclose(found, values[:, 0].numpy(), atol=ONE_LEVEL / 2 + 1 / 320)
    shades = in_frame(frame, picture, (0, 0)).reshape(-1, 3).tolist()
    assert not [shade for shade in shades if len(set(shade)) == 1 and tuple(shade) != NEUTRAL]


def test_maps_begin_at_exactly_zero(unsequential: Decode) -> None:
    maps = torch.rand(4, 7, 7, generator=torch.Generator().manual_seed(1)) * 3
    maps[1] = 0
    scale = Scale(low=0.0, high=4.0, signed=False)
    picture = feature_map_picture(maps, image=torch.rand(1, 8, 8), title="pool", scale=scale)
    (frame,) = decoded(animation([picture.pixels], scale))
    for channel in range(4):
        found = unsequential(in_frame(frame, picture, (channel,)), 4.0)
        np.testing.assert_allclose(found, maps[channel].numpy(), atol=4.0 * (1 / (LEVELS - 1) / 2 + 1 / 64))
    assert (in_frame(frame, picture, (1,)) == (18, 16, 40)).all()


def test_it_loops_and_holds_the_last_frame() -> None:
    scale = Scale(low=-1.0, high=1.0, signed=True)
    frames = [kernel_picture(torch.ones(2, 1, 3, 3), title=f"step {i}", scale=scale).pixels for i in range(3)]
    with Image.open(io.BytesIO(animation(frames, scale))) as image:
        assert (image.format, image.info["loop"]) == ("GIF", 0)
        durations = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            durations.append(image.info["duration"])
    assert len(durations) == 3
    assert durations[0] == durations[1] < durations[2]


@pytest.mark.parametrize("signed", [True, False])
def test_text_is_as_legible_as_in_the_picture(signed: bool) -> None:
    scale = Scale(low=-1.0 if signed else 0.0, high=1.0, signed=signed)
    picture = kernel_picture(torch.zeros(2, 1, 3, 3), title="conv1, step 1,024", scale=scale)
    (frame,) = decoded(animation([picture.pixels], scale))
    title = (slice(0, 16), slice(0, 120))
    assert np.abs(frame[title].astype(int) - picture.pixels[title]).max() <= 8
