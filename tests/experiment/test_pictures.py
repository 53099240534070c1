"""The pixels of a run's pictures and animations, against its checkpoint and against the definitions.

Only the positions of the tiles are taken from `cnncli.drawing`; their pixels come from the event file.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import Tensor

from cnncli.data.digits import load_digits
from cnncli.data.images import stratified_split
from cnncli.drawing.canvas import Box
from cnncli.lessons.reference import corr2d_multi_in_out, pool2d
from cnncli.training.run_directory import RunDirectory
from cnncli.views.feature_maps import feature_map_picture
from cnncli.views.kernels import kernel_picture

Train = Callable[..., RunDirectory]
ReadEvents = Callable[[RunDirectory], EventAccumulator]
Pixels = npt.NDArray[np.uint8]
Dead = Mapping[str, tuple[int, ...]]
Values = npt.NDArray[np.float64]

LAST_STEP = 14 * 9

# Green gives the position of a color on its scale; red and blue give the sign. One level of green is at most 1/160 of a
# scale, so that rounding changes a value by at most 1/320 of the scale's end.
GREEN_OF_POSITIVE = ((16, 128, 247), (1.0, 0.5, 0.0))
GREEN_OF_NEGATIVE = ((58, 158, 247), (-1.0, -0.5, 0.0))
GREEN_FROM_ZERO = ((16, 66, 132, 192, 242), (0.0, 0.25, 0.5, 0.75, 1.0))
QUANTIZATION = 1 / 320


def signed_values(pixels: Pixels, limit: float) -> Values:
    """Colors (..., 3) on the scale from -limit to limit -> values (...)."""
    red, green, blue = (pixels[..., channel].astype(float) for channel in range(3))
    ratio = np.where(red >= blue, np.interp(green, *GREEN_OF_POSITIVE), np.interp(green, *GREEN_OF_NEGATIVE))
    return np.asarray(ratio * limit, dtype=np.float64)


def values_from_zero(pixels: Pixels, high: float) -> Values:
    """Colors (..., 3) on the scale from 0 to high -> values (...)."""
    return np.asarray(np.interp(pixels[..., 1].astype(float), *GREEN_FROM_ZERO) * high, dtype=np.float64)


def last_picture(events: EventAccumulator, tag: str) -> Pixels:
    image = events.Images(tag)[-1]
    assert image.step == LAST_STEP
    with Image.open(io.BytesIO(image.encoded_image_string)) as opened:
        pixels: Pixels = np.array(opened)
    assert pixels.shape == (image.height, image.width, 3)
    return pixels


def cells(pixels: Pixels, box: Box) -> Pixels:
    """The color of every value of a tile (h, w, 3); each fills a square of the picture."""
    tile = pixels[box.y : box.bottom, box.x : box.right]
    values = tile[:: box.scale, :: box.scale]
    assert np.array_equal(values.repeat(box.scale, axis=0).repeat(box.scale, axis=1), tile)
    return values


def is_outlined(pixels: Pixels, box: Box) -> bool:
    """Whether the whole line around a tile is green, as around dead filters."""
    around = pixels[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1]
    line = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    return bool((line == (0, 170, 60)).all())


def reading_order(boxes: Mapping[tuple[int, ...], Box]) -> list[tuple[int, ...]]:
    """The keys of tiles from left to right and from top to bottom."""
    return sorted(boxes, key=lambda key: (boxes[key].y, boxes[key].x))


@pytest.mark.parametrize("layer", ["01_conv1", "03_conv2", "05_conv3"])
def test_kernel_pixels_are_the_weights_of_the_checkpoint(
    layer: str, events: EventAccumulator, weights: Mapping[str, Tensor], dead: Dead
) -> None:
    name = layer[3:]
    weight = weights[f"{name}.conv.weight"]  # (O, I, kh, kw)
    boxes = kernel_picture(weight, title=name, dead=dead.get(layer)).boxes
    assert sorted(boxes) == list(product(range(weight.shape[0]), range(weight.shape[1])))
    limit = float(weight.abs().max())
    pixels = last_picture(events, f"kernels/{layer}")
    for (output, input_), box in boxes.items():
        decoded = signed_values(cells(pixels, box), limit)
        np.testing.assert_allclose(decoded, weight[output, input_].numpy(), atol=limit * QUANTIZATION)
        assert is_outlined(pixels, box) == (output in dead.get(layer, ()))


def test_a_row_of_the_kernel_matrix_is_a_filter(weights: Mapping[str, Tensor]) -> None:
    boxes = kernel_picture(weights["conv2.conv.weight"], title="").boxes
    for output in range(6):
        row = {key: box for key, box in boxes.items() if key[0] == output}
        assert len({box.y for box in row.values()}) == 1
        assert reading_order(row) == [(output, input_) for input_ in range(5)]
    singles = kernel_picture(weights["conv1.conv.weight"], title="").boxes
    assert reading_order(singles) == [(output, 0) for output in range(5)]


@pytest.fixture(scope="module")
def probes() -> Tensor:
    """The first test image of each class as the network gets it (10, 1, 8, 8), computed from the data set."""
    digits = load_digits()
    kept, _ = stratified_split(digits.train.labels, 0.2, seed=3)
    train = digits.train.images[kept].double() / 255
    labels = digits.test.labels.tolist()
    first = torch.stack([digits.test.images[labels.index(label)] for label in range(10)]).double() / 255
    return (first - train.mean()) / train.std(correction=0)


def maps_by_definition(image: Tensor, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Each layer's name and its maps (C, H, W) for an image (1, 8, 8), by the definitions alone."""

    def convolved(x: Tensor, name: str, padding: int = 0) -> Tensor:
        weight, bias = (weights[f"{name}.conv.{which}"].double() for which in ("weight", "bias"))
        return corr2d_multi_in_out(x, weight, padding=padding) + bias[:, None, None]

    x = convolved(image, "conv1", padding=1).clamp(min=0)
    yield "01_conv1", x
    x = pool2d(x, 2)
    yield "02_max_pool1", x
    x = convolved(x, "conv2").clamp(min=0)
    yield "03_conv2", x
    x = pool2d(x, 2, mode="average", stride=1)
    yield "04_avg_pool1", x
    yield "05_conv3", convolved(x, "conv3")


@pytest.mark.parametrize("label", [0, 4, 9])
def test_feature_map_pixels_agree_with_the_definitions(
    label: int, events: EventAccumulator, weights: Mapping[str, Tensor], probes: Tensor, dead: Dead
) -> None:
    for layer, maps in maps_by_definition(probes[label], weights):
        pixels = last_picture(events, f"feature_maps/{layer}/{label}")
        picture = feature_map_picture(maps, image=torch.zeros(1, 8, 8), title="", dead=dead.get(layer))
        assert reading_order(picture.boxes) == [(channel,) for channel in range(len(maps))]
        limit = float(maps.abs().max())
        decode = signed_values if (maps < 0).any() else values_from_zero
        for (channel,), box in picture.boxes.items():
            decoded = decode(cells(pixels, box), limit)
            np.testing.assert_allclose(decoded, maps[channel].numpy(), atol=limit * QUANTIZATION, err_msg=layer)
            assert is_outlined(pixels, box) == (channel in dead.get(layer, ())), layer


def test_the_probe_is_shown_beside_its_maps(events: EventAccumulator) -> None:
    digits = load_digits()
    image = digits.test.images[digits.test.labels.tolist().index(7)]
    pixels = last_picture(events, "feature_maps/01_conv1/7")
    inset = feature_map_picture(torch.ones(5, 8, 8), image=image, title="", dead=()).inset
    assert inset is not None
    shown = cells(pixels, inset)
    assert np.array_equal(shown, image[0].numpy()[..., None].repeat(3, axis=2))


def test_the_first_pictures_differ_from_the_last(events: EventAccumulator) -> None:
    kernels = events.Images("kernels/01_conv1")
    assert kernels[0].encoded_image_string != kernels[-1].encoded_image_string


def test_a_global_pool_has_feature_maps(train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    text = (
        "data: {name: digits, size: 8}\n"
        "model: {layers: [{conv: {out_channels: 2, kernel_size: 3}}, global_avg_pool, logits]}\n"
        "train: {epochs: 1, batch_size: 512}\n"
    )
    pool = read_events(train(tmp_path, text)).Images("feature_maps/02_global_avg_pool1/7")
    assert [image.step for image in pool] == [0, 1, 2, 3]


def test_animations_lack_a_step_whose_file_is_damaged(
    network: str, train: Train, read_events: ReadEvents, tmp_path: Path
) -> None:
    run = train(tmp_path, network, stop_at=9)
    damaged = run.path / "snapshots" / "4.safetensors"
    damaged.write_bytes(b"something else")
    messages: list[str] = []
    train(tmp_path, network, run=run, log=messages.append)
    assert run.status().state == "complete"
    (message,) = [each for each in messages if "lack this step" in each]
    assert message.startswith(f"{damaged}: cannot be read: ")
    (animation,) = read_events(run).Images("snapshots/01_conv1")
    steps = len(list((run.path / "snapshots").iterdir()))
    assert Image.open(io.BytesIO(animation.encoded_image_string)).n_frames == steps - 1  # type: ignore[attr-defined]


def test_every_step_is_a_frame_on_one_scale(complete: RunDirectory, read_events: ReadEvents) -> None:
    """Colors converted back to weights, on the scale that the largest weight of all steps needs."""
    files = {int(path.stem): load_file(path) for path in (complete.path / "snapshots").iterdir()}
    weights = [files[step]["conv1:shown"] for step in sorted(files)]
    assert torch.equal(weights[-1], load_file(complete.last / "weights.safetensors")["conv1.conv.weight"])
    limit = max(float(each.abs().max()) for each in weights)
    assert any(float(each.abs().max()) < 0.99 * limit for each in weights), "a scale per step would differ"
    boxes = kernel_picture(weights[0], title="").boxes
    gif = read_events(complete).Images("snapshots/01_conv1")[0].encoded_image_string
    with Image.open(io.BytesIO(gif)) as image:
        assert getattr(image, "n_frames", 1) == len(weights) == 7
        for number, expected in enumerate(weights):
            image.seek(number)
            frame = np.array(image.convert("RGB")).astype(float)
            for (output, input_), box in boxes.items():
                tile = frame[box.y : box.bottom : box.scale, box.x : box.right : box.scale]
                negative = np.interp(tile[..., 1], (58, 158, 247), (-1.0, -0.5, 0.0))
                positive = np.interp(tile[..., 1], (16, 128, 247), (1.0, 0.5, 0.0))
                decoded = np.where(tile[..., 0] >= tile[..., 2], positive, negative) * limit
                np.testing.assert_allclose(decoded, expected[output, input_].numpy(), atol=limit / 100)
