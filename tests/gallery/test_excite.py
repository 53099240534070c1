"""Patches, saliency and maximized images of networks whose weights were set by hand, read back from the pictures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnncli.config.config import Config
from cnncli.config.data import DataSpec
from cnncli.config.document import Problem, parse_document
from cnncli.config.log import LogSpec
from cnncli.config.model import read_blueprint
from cnncli.config.network import lay_out
from cnncli.config.train import TrainSpec
from cnncli.data.batches import Normalization
from cnncli.data.images import ImageSet
from cnncli.drawing.grid import Picture
from cnncli.drawing.layout import CARD, PAGE
from cnncli.drawing.sheet import PART
from cnncli.errors import UsageError
from cnncli.module import CnnModule
from cnncli.run import Run, RunData
from cnncli.views import activation_maximization as maximize
from cnncli.views import patches, saliency
from cnncli.views.patches import PADDING
from cnncli.views.saliency import Method
from cnncli.views.view import Exhibit

SMALL = "{conv: {out_channels: 3, kernel_size: 3, padding: same, activation: relu}}, {max_pool: 2}, flatten, logits"


def random_run(layers: str, images: Tensor, classes: tuple[str, ...] = ("cat", "dog", "owl")) -> Run:
    problems: list[Problem] = []
    document = parse_document(f"model:\n  layers: [{layers}]\n", name="test")
    shape = (images.shape[1], images.shape[2], images.shape[3])
    network = lay_out(read_blueprint(document, problems), shape, len(classes), problems)
    assert not problems, problems
    model = CnnModule(network).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 2)
    config = Config(
        name="test",
        document=document,
        data=DataSpec(name="digits"),
        train=TrainSpec(),
        log=LogSpec(),
        network=network,
        classes=classes,
    )
    data = RunData(
        splits={"test": (ImageSet(images=images, labels=torch.arange(len(images)) % len(classes)), None)},
        normalization=Normalization(mean=(0.4,) * shape[0], std=(0.3,) * shape[0]),
    )
    return Run(path=Path("runs/random"), config=config, model=model, epoch=1, step=1, load_data=lambda: data)


def noise(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Picture]]:
    """The pictures that are drawn, with the places of their panels."""
    found: list[Picture] = []
    for module, name in (
        (patches, "patches_picture"), (saliency, "saliency_picture"), (maximize, "maximize_picture")
    ):  # fmt: skip
        draw: Callable[..., Picture] = getattr(module, name)

        def keep(*arguments: object, draw: Callable[..., Picture] = draw, **named: object) -> Picture:
            found.append(draw(*arguments, **named))
            return found[-1]

        monkeypatch.setattr(module, name, keep)
    yield found
    assert all(picture.pixels.shape[1] <= PAGE.width for picture in found)


# Patches


def test_a_planted_motif_is_the_patch_that_is_drawn_and_framed_in_its_image(drawn: list[Picture]) -> None:
    """The kernel wants white on a cross and black beside it; only image 5 has that, at rows 7 to 9, columns 2 to 4."""
    cross = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    images = noise(8, 1, 12, 12) // 3 + 60
    images[5, 0, 7:10, 2:5] = 255 * cross
    run = random_run("{conv: {out_channels: 1, kernel_size: 3}}, flatten, logits", images)
    with torch.no_grad():
        run.model.kernels()["conv1"].copy_(2.0 * cross - 1)
    (exhibit,) = patches.patches(run, count=2)
    (picture,) = drawn
    assert exhibit.tag == "patches/01_conv1"
    box = picture.boxes[0, 0, 0]
    assert np.array_equal(picture.colors(box), (255 * cross)[..., None].expand(3, 3, 3).numpy())
    source = picture.boxes[0, 0, 1]
    colors = picture.pixels[source.y - 1 : source.bottom + 1, source.x - 1 : source.right + 1]
    marked = np.argwhere((colors == PART).all(axis=-1)) - 1  # in enlarged pixels of the image
    scale = source.scale
    assert marked.min(axis=0).tolist() == [7 * scale - 1, 2 * scale - 1]
    assert marked.max(axis=0).tolist() == [10 * scale, 5 * scale]
    inside = picture.colors(source)[7:10, 2:5]
    assert np.array_equal(inside, picture.colors(box))
    assert exhibit.tiles[0].values.tolist() == (255 * cross).tolist()
    assert ": owl, " in exhibit.tiles[0].label
    assert "#5 at 7,2" in exhibit.tiles[0].label


def test_padding_is_drawn_in_violet_checks(drawn: list[Picture]) -> None:
    """The corner of the image is brightest, and the kernel looks at the middle pixel only."""
    images = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    images[0, 0, 0, 5] = 255
    run = random_run("{conv: {out_channels: 1, kernel_size: 3, padding: same}}, flatten, logits", images)
    with torch.no_grad():
        run.model.kernels()["conv1"].zero_()[0, 0, 1, 1] = 1
    (exhibit,) = patches.patches(run)
    colors = drawn[0].colors(drawn[0].boxes[0, 0, 0])
    light, dark = map(list, PADDING)
    assert colors.tolist() == [
        [light, dark, light],
        [[0] * 3, [255] * 3, dark],
        [[0] * 3, [0] * 3, light],
    ]
    assert "Violet checks: padding." in exhibit.lines[0]
    assert np.isnan(exhibit.tiles[0].values).tolist() == [[True] * 3, [False, False, True], [False, False, True]]


def test_dead_filters_say_so_and_are_counted(drawn: list[Picture]) -> None:
    run = random_run(SMALL, noise(5, 1, 8, 8))
    with torch.no_grad():
        run.model.kernels()["conv1"][1] = 0
        run.model.get_parameter("conv1.conv.bias")[1] = -1
    (exhibit,) = patches.patches(run)
    assert exhibit.numbers == {"dead_filters": 1}
    assert exhibit.lines[0].endswith("1 of 3 filters are dead: always 0.")
    assert {key[0] for key in drawn[0].boxes} == {0, 2}
    assert not any(tile.label.startswith("filter 1") for tile in exhibit.tiles)


def test_of_layers_that_see_everything_the_patch_is_the_image(drawn: list[Picture]) -> None:
    images = noise(7, 3, 8, 8)
    run = random_run(SMALL, images)
    (exhibit,) = patches.patches(run, layers=["logits1"], count=3)
    with torch.no_grad():
        logits = run.model(next(run.batches().epoch(1))[0])
    for number in range(3):
        best = int(logits[:, number].argmax())
        colors = drawn[0].colors(drawn[0].boxes[number, 0, 0])
        assert np.array_equal(colors, images[best].permute(1, 2, 0).numpy())
        assert (number, 0, 1) not in drawn[0].boxes
    assert exhibit.tiles[0].label.startswith("class 0, cat: ")


def test_only_some_filters_are_drawn_and_the_picture_says_so(drawn: list[Picture]) -> None:
    run = random_run("{conv: {out_channels: 20, kernel_size: 3}}, flatten, logits", noise(4, 1, 8, 8))
    (first,) = patches.patches(run, count=1)
    assert {key[0] for key in drawn[0].boxes} == set(range(16))
    assert first.lines[0].endswith("16 of 20 filters; --filter shows others.")
    list(patches.patches(run, filters=[19, 2], count=1))
    assert {key[0] for key in drawn[1].boxes} == {0, 1}
    with pytest.raises(UsageError, match="conv1 has filters 0 to 19"):
        list(patches.patches(run, filters=[20]))
    with pytest.raises(UsageError, match="has no layer conv2"):
        list(patches.patches(run, layers=["conv2"]))


def test_a_large_image_is_thinned_out_and_a_field_beyond_it_cut_short(drawn: list[Picture]) -> None:
    layers = ", ".join(["{conv: {out_channels: 2, kernel_size: 9, padding: same, dilation: 5}}"] * 3)
    run = random_run(f"{layers}, global_avg_pool, logits", noise(2, 1, 30, 200))
    exhibits = list(patches.patches(run, layers=["conv3"], count=1))
    box = drawn[0].boxes[0, 0, 0]
    assert box.height * box.scale <= 96
    assert box.width * box.scale <= 96
    assert "Violet checks: padding, 6 of it on each side at most." in exhibits[0].lines[0]


# Saliency


def test_saliency_of_a_linear_network_shows_its_weights(drawn: list[Picture]) -> None:
    run = random_run("flatten, logits", noise(4, 1, 6, 6))
    weight = run.model.get_parameter("logits1.weight").detach()[2].view(6, 6)
    (exhibit,) = saliency.saliency(run, ["1"], method=Method.GRADIENT, target="owl")
    assert exhibit.tag == "saliency/test-1-as-owl-gradient"
    picture = drawn[0]
    assert picture.colors(picture.boxes[0, 0, 0])[..., 0].tolist() == run.test.images[1, 0].tolist()
    colors = picture.colors(picture.boxes[0, 1, 0])
    redder = colors[..., 0].astype(int) - colors[..., 2]
    clear = (weight.abs() > 0.05 * weight.abs().max()).numpy()
    assert clear.sum() > 30
    assert np.array_equal(np.sign(redder)[clear], np.sign(weight.numpy())[clear])
    tile = exhibit.tiles[1]
    assert np.allclose(tile.values, weight)
    assert (tile.scale.low, tile.scale.high) == pytest.approx((-float(weight.abs().max()), float(weight.abs().max())))
    with torch.no_grad():
        logits = run.model(run.input_image("1").image[None])[0]
    assert exhibit.numbers["logit"] == pytest.approx(float(logits[2]))
    assert exhibit.numbers["probability"] == pytest.approx(float(logits.softmax(0)[2]))


def test_all_methods_stand_beside_the_image(drawn: list[Picture]) -> None:
    run = random_run(SMALL, noise(9, 1, 8, 8))
    (exhibit,) = saliency.saliency(run, ["4"])
    assert exhibit.tag == "saliency/test-4"
    assert [tile.label.partition(",")[0] for tile in exhibit.tiles] == [
        "test image 4 (class dog)", "gradient", "SmoothGrad", "integrated gradients", "Grad-CAM", "occlusion",
    ]  # fmt: skip
    assert len(drawn[0].boxes) == 6
    (line,) = exhibit.lines
    assert line.startswith("test image 4 (class dog): predicted ")
    cam = exhibit.tiles[4]
    assert not cam.scale.signed
    assert cam.scale.low == 0


def test_without_names_a_few_images_share_a_sheet(drawn: list[Picture]) -> None:
    run = random_run(SMALL, noise(9, 1, 8, 8))
    (exhibit,) = saliency.saliency(run)
    assert exhibit.tag == "saliency/overview"
    assert {key[0] for key in drawn[0].boxes} == {0, 1, 2}  # one image of each class


def test_of_color_images_the_channels_are_added_up(drawn: list[Picture]) -> None:
    run = random_run("flatten, logits", noise(3, 3, 5, 5))
    weight = run.model.get_parameter("logits1.weight").detach()[0].view(3, 5, 5)
    (exhibit,) = saliency.saliency(run, ["0"], method=Method.GRADIENT, target="cat")
    assert np.allclose(exhibit.tiles[1].values, weight.sum(0))


def test_a_picture_of_ones_own(drawn: list[Picture], tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8).numpy()).save(tmp_path / "my digit.png")
    run = random_run(SMALL, noise(3, 1, 8, 8))
    (exhibit,) = saliency.saliency(run, [str(tmp_path / "my digit.png")])
    assert exhibit.tag == "saliency/my-digit"


def test_what_was_done_to_a_picture_of_ones_own_is_said_and_undone(
    drawn: list[Picture], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the colors of ink on paper where the network knows bright signs on dark."""
    image = noise(1, 8, 8) // 4
    file = str(tmp_path / "ink.png")
    Image.fromarray(255 - image[0].numpy()).save(file)
    run = random_run(SMALL, noise(3, 1, 8, 8) // 4)
    list(saliency.saliency(run, [file]))
    assert caplog.messages == [f"{file}: bright, but the images of the data set are dark; try with --invert"]
    caplog.clear()
    (exhibit,) = saliency.saliency(run, [file], invert=True)
    assert not caplog.messages
    assert exhibit.tiles[0].values.tolist() == image[0].tolist()
    with pytest.raises(UsageError, match="--invert is for picture files"):
        list(saliency.saliency(run, invert=True))
    with pytest.raises(UsageError, match="several images are called ink"):
        list(saliency.saliency(run, [file, f"{tmp_path}/../{tmp_path.name}/ink.png"]))


def refusal(run: Run, **arguments: object) -> UsageError:
    with pytest.raises(UsageError) as refused:
        list(saliency.saliency(run, ["0"], **arguments))  # type: ignore[arg-type]  # whatever a test gives
    return refused.value


def test_grad_cam_is_refused_where_maps_have_one_place(drawn: list[Picture], caplog: pytest.LogCaptureFixture) -> None:
    layers = SMALL.replace("flatten", "{conv: {out_channels: 4, kernel_size: 4}}, flatten")
    run = random_run(layers, noise(3, 1, 8, 8))
    refused = refusal(run, method=Method.GRADCAM)
    assert "those of conv2 are 1x1: there is only one place" in refused.message
    assert refused.remedy == "--layer max_pool1 has maps of more"
    (instead,) = saliency.saliency(run, ["0"], method=Method.GRADCAM, layer="max_pool1")
    assert instead.tiles[1].values.shape == (8, 8)
    (others,) = saliency.saliency(run, ["0"])
    assert len(caplog.messages) == 1
    assert "without Grad-CAM: " in caplog.messages[0]
    assert "those of conv2 are 1x1" in caplog.messages[0]
    assert len(others.tiles) == 5
    assert "logits1 gives a row of numbers" in refusal(run, layer="logits1").message
    assert "--layer is for Grad-CAM" in refusal(run, layer="max_pool1", method=Method.OCCLUSION).message
    assert (
        "no layer has any" in refusal(random_run("flatten, logits", noise(3, 1, 4, 4)), method=Method.GRADCAM).message
    )


def test_an_unknown_class_is_refused(drawn: list[Picture]) -> None:
    run = random_run(SMALL, noise(3, 1, 8, 8))
    assert "there is no class dgo. Did you mean dog?" in refusal(run, target="dgo").message
    assert "there is no class 3" in refusal(run, target="3").message


# Maximize


def test_what_is_made_stands_beside_the_best_real_patch(drawn: list[Picture]) -> None:
    """The kernel wants white left and black right; every such edge in an image of bars is as good as another."""
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    images[1, :, :, :4] = 200
    run = random_run("{conv: {out_channels: 1, kernel_size: 2}}, flatten, logits", images)
    with torch.no_grad():
        run.model.kernels()["conv1"].copy_(torch.tensor([[1.0, -1.0], [1.0, -1.0]]))
        run.model.get_parameter("conv1.conv.bias").zero_()
    (exhibit,) = maximize.maximized(run, layers=["conv1"])
    made, real = (drawn[0].colors(drawn[0].boxes[0, 0, panel])[..., 0].tolist() for panel in (0, 1))
    assert made == [[255, 0], [255, 0]]
    assert real == [[200, 0], [200, 0]]
    assert exhibit.numbers == {"made": 1, "made_at_least_real": 1}
    # Normalized, white and black are 1 / 0.3 apart; two rows of that.
    assert [tile.label for tile in exhibit.tiles] == [
        f"filter 0, made {2 / 0.3:.4g}", f"filter 0, real {2 * 200 / 255 / 0.3:.4g}"
    ]  # fmt: skip


def test_classes_come_with_the_convolutions_and_alone_in_the_overview(drawn: list[Picture]) -> None:
    run = random_run(SMALL, noise(4, 1, 8, 8))
    tags = [exhibit.tag for exhibit in maximize.maximized(run, steps=2)]
    assert tags == ["maximize/01_conv1", "maximize/04_logits1"]
    (classes,) = maximize.class_images(run)
    assert classes.tag == "maximize/04_logits1"
    assert len(drawn[-1].boxes) == 6
    assert drawn[-1].colors(drawn[-1].boxes[0, 0, 0]).shape == (8, 8, 3)


def test_all_that_is_shown_is_the_same_again(drawn: list[Picture]) -> None:
    run = random_run(SMALL, noise(4, 1, 8, 8))

    def everything() -> list[Exhibit]:
        return [*patches.patches(run), *saliency.saliency(run), *maximize.maximized(run, steps=5)]

    for first, again in zip(everything(), everything(), strict=True):
        assert np.array_equal(first.pixels, again.pixels)
        assert first.card is not None
        assert first.card.shape == (CARD.height, CARD.width, 3), "TensorBoard shows it pixel for pixel"
