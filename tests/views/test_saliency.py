"""Saliency maps read back from the pictures, of networks whose weights were set by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnncli.drawing.sheet import Drawing
from cnncli.errors import UsageError
from cnncli.run import Run
from cnncli.views.saliency import ImageMaps, Saliency, SaliencyMap, draw_saliency

SMALL = "[{conv: {out_channels: 3, kernel_size: 3, padding: same, activation: relu}}, {max_pool: 2}, flatten, logits]"

RunOf = Callable[..., Run]


def noise(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def test_saliency_of_a_linear_network_shows_its_weights(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of("[flatten, logits]", noise(4, 1, 6, 6))
    weight = run.model.get_parameter("logits1.weight").detach()[2].view(6, 6)
    (picture,) = Saliency(images=["1"], method="gradient", target="owl").pictures(run)
    assert picture.tag == "saliency/test-1-as-owl-gradient"
    drawing = drawn[0]
    assert drawing.colors(drawing.boxes[0, 0, 0])[..., 0].tolist() == run.test.images[1, 0].tolist()
    colors = drawing.colors(drawing.boxes[0, 1, 0])
    redder = colors[..., 0].astype(int) - colors[..., 2]
    clear = (weight.abs() > 0.05 * weight.abs().max()).numpy()
    assert clear.sum() > 30
    assert np.array_equal(np.sign(redder)[clear], np.sign(weight.numpy())[clear])
    tile = picture.tiles[1]
    assert np.allclose(tile.values, weight)
    assert (tile.scale.low, tile.scale.high) == pytest.approx((-float(weight.abs().max()), float(weight.abs().max())))
    with torch.no_grad():
        logits = run.model(run.input_image("1").image[None])[0]
    assert picture.numbers["logit"] == pytest.approx(float(logits[2]))
    assert picture.numbers["probability"] == pytest.approx(float(logits.softmax(0)[2]))


def test_all_methods_stand_beside_the_image(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of(SMALL, noise(9, 1, 8, 8))
    (picture,) = Saliency(images=["4"]).pictures(run)
    assert picture.tag == "saliency/test-4"
    assert [tile.label.partition(",")[0] for tile in picture.tiles] == [
        "test image 4 (class dog)", "gradient", "SmoothGrad", "integrated gradients", "Grad-CAM", "occlusion",
    ]  # fmt: skip
    assert len(drawn[0].boxes) == 1 + 2 * 5
    assert picture.data["images"][0]["image"] == "4"  # type: ignore[index]  # JSON values
    (line,) = picture.lines
    assert line.startswith("test image 4 (class dog): predicted ")
    cam = picture.tiles[4]
    assert not cam.scale.signed
    assert cam.scale.low == 0


def test_by_default_a_few_images_share_a_sheet(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of(SMALL, noise(9, 1, 8, 8))
    (picture,) = Saliency().pictures(run)
    assert picture.tag == "saliency/overview"
    assert {key[0] for key in drawn[0].boxes} == {0, 1, 2}  # one image of each class


def test_of_color_images_the_channels_are_added_up(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of("[flatten, logits]", noise(3, 3, 5, 5))
    weight = run.model.get_parameter("logits1.weight").detach()[0].view(3, 5, 5)
    (picture,) = Saliency(images=["0"], method="gradient", target="cat").pictures(run)
    assert np.allclose(picture.tiles[1].values, weight.sum(0))


def test_an_image_file(drawn: list[Drawing], tmp_path: Path, run_of: RunOf) -> None:
    Image.fromarray(noise(8, 8).numpy()).save(tmp_path / "my digit.png")
    run = run_of(SMALL, noise(3, 1, 8, 8))
    (picture,) = Saliency(images=[str(tmp_path / "my digit.png")]).pictures(run)
    assert picture.tag == "saliency/my-digit"


def test_ink_on_paper_is_inverted(
    drawn: list[Drawing], tmp_path: Path, caplog: pytest.LogCaptureFixture, run_of: RunOf
) -> None:
    """Of the colors of ink on paper where the network knows bright signs on dark."""
    image = noise(1, 8, 8) // 4
    file = str(tmp_path / "ink.png")
    Image.fromarray(255 - image[0].numpy()).save(file)
    run = run_of(SMALL, noise(3, 1, 8, 8) // 4)
    (picture,) = Saliency(images=[file]).pictures(run)
    assert caplog.messages == [f"{file}: inverted"]
    assert picture.tiles[0].values.tolist() == image[0].tolist()
    caplog.clear()
    (paper,) = Saliency(images=[file], invert="no").pictures(run)
    assert not caplog.messages
    assert paper.tiles[0].values.tolist() == (255 - image[0]).tolist()
    with pytest.raises(UsageError, match="--invert yes --fit none applies only to image files"):
        list(Saliency(invert="yes", fit="none").pictures(run))
    with pytest.raises(UsageError, match="several images have the name ink"):
        list(Saliency(images=[file, f"{tmp_path}/../{tmp_path.name}/ink.png"]).pictures(run))


def refusal(run: Run, **arguments: object) -> UsageError:
    with pytest.raises(UsageError) as refused:
        list(Saliency(images=["0"], **arguments).pictures(run))  # type: ignore[arg-type]  # whatever a test gives
    return refused.value


def test_grad_cam_needs_maps_with_several_positions(
    drawn: list[Drawing], caplog: pytest.LogCaptureFixture, run_of: RunOf
) -> None:
    layers = SMALL.replace("flatten", "{conv: {out_channels: 4, kernel_size: 4}}, flatten")
    run = run_of(layers, noise(3, 1, 8, 8))
    refused = refusal(run, method="gradcam")
    assert "needs maps with several positions, but those of conv2 are 1x1" in refused.message
    assert refused.remedy == "use --layer max_pool1: its maps are larger"
    (instead,) = Saliency(images=["0"], method="gradcam", layer="max_pool1").pictures(run)
    assert instead.tiles[1].values.shape == (8, 8)
    (others,) = Saliency(images=["0"]).pictures(run)
    assert len(caplog.messages) == 1
    assert "without Grad-CAM: " in caplog.messages[0]
    assert "those of conv2 are 1x1" in caplog.messages[0]
    assert len(others.tiles) == 5
    assert "the output of logits1 is a vector" in refusal(run, layer="logits1").message
    assert "--layer is for Grad-CAM" in refusal(run, layer="max_pool1", method="occlusion").message
    assert "no layer has any" in refusal(run_of("[flatten, logits]", noise(3, 1, 4, 4)), method="gradcam").message


def test_an_unknown_class(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of(SMALL, noise(3, 1, 8, 8))
    assert "there is no class dgo. Did you mean dog?" in refusal(run, target="dgo").message
    assert "there is no class 3" in refusal(run, target="3").message


def test_maps_are_read_back_on_their_own_scales() -> None:
    signed = SaliencyMap(name="gradient", values=np.array([[-2.0, 0.0], [2.0, 1.0]]), signed=True)
    rising = SaliencyMap(name="Grad-CAM", values=np.array([[0.0, 5.0], [10.0, 0.0]]), signed=False)
    image = torch.tensor([[[0, 255], [7, 8]]], dtype=torch.uint8)
    shown = ImageMaps(heading="image", lines=["a line"], image=image, maps=[signed, rising], numbers={})
    picture = draw_saliency([shown, shown], title="t")
    assert (signed.range, rising.range) == ("±2", "0 to 10")
    for row in range(2):
        colors = [picture.colors(picture.boxes[row, cell, 0]).tolist() for cell in range(3)]
        assert colors[0] == [[[0] * 3, [255] * 3], [[7] * 3, [8] * 3]]
        assert colors[1] == [[[18, 58, 128], [247] * 3], [[138, 16, 36], [236, 128, 104]]]
        assert colors[2] == [[[18, 16, 40], [26, 132, 148]], [[253, 242, 160], [18, 16, 40]]]


def test_the_image_shines_through_the_map_over_it() -> None:
    """Where a value is 0, the order of the image's grays is kept; where it is large, its sign decides the color."""
    values = np.array([[0.0, 0.0, 0.0], [-8.0, 8.0, 0.5]])
    shown = SaliencyMap(name="gradient", values=values, signed=True)
    image = torch.tensor([[[0, 100, 255], [255, 0, 255]]], dtype=torch.uint8)
    maps = ImageMaps(heading="", lines=[], image=image, maps=[shown], numbers={})
    drawing = draw_saliency([maps], title="")
    over = drawing.colors(drawing.boxes[0, 1, 1]).astype(int)
    assert (over[0] == over[0, :, :1]).all(), "gray"
    assert over[0, 0, 0] < over[0, 1, 0] < over[0, 2, 0]
    assert over[1, 0, 2] - over[1, 0, 0] > 80, "blue"
    assert over[1, 1, 0] - over[1, 1, 2] > 80, "red"
    assert abs(over[1, 2, 0] - over[1, 2, 2]) < abs(over[1, 1, 0] - over[1, 1, 2])
    below, above = drawing.boxes[0, 1, 1], drawing.boxes[0, 1, 0]
    assert (below.x, below.scale) == (above.x, above.scale)
    assert below.y > above.bottom


def test_a_map_of_zeros_is_neutral() -> None:
    for signed, color in ((True, [247] * 3), (False, [18, 16, 40])):
        nothing = SaliencyMap(name="nothing", values=np.zeros((2, 2)), signed=signed)
        shown = ImageMaps(
            heading="", lines=[], image=torch.zeros(1, 2, 2, dtype=torch.uint8), maps=[nothing], numbers={}
        )
        picture = draw_saliency([shown], title="")
        assert picture.colors(picture.boxes[0, 1, 0]).tolist() == [[color] * 2] * 2
