"""An experiment built from a config, before it is trained."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnncli.config.config import read_config
from cnncli.data.digits import load_digits
from cnncli.errors import ConfigError
from cnncli.experiment import setup
from cnncli.experiment.setup import Experiment, prepare
from tests.data.folders import Folder, pets, write_folder

CPU = torch.device("cpu")


def experiment(tmp_path: Path, *assignments: str) -> Experiment:
    """The quickstart with assignments, prepared."""
    config = read_config("quickstart", data_dir=tmp_path, assignments=assignments)
    return prepare(config, data_dir=tmp_path, device=CPU)


def test_training_validation_and_test_images_do_not_overlap(tmp_path: Path) -> None:
    """Each image of the training part is in exactly one split, and the test images are the data set's own."""
    prepared = experiment(tmp_path, "data.size=8", "data.normalize=false", "data.augment={}")
    assert prepared.validation is not None
    parts = {
        name: torch.cat([images for images, _ in batches.epoch(1)])
        for name, batches in {
            "train": prepared.train_unchanged,
            "val": prepared.validation,
            "test": prepared.test,
        }.items()
    }
    digits = load_digits()
    assert {name: len(images) for name, images in parts.items()} == {"train": 1294, "val": 144, "test": 359}
    both = torch.cat((parts["train"], parts["val"])).mul(255).round().flatten(1).tolist()
    assert sorted(both) == sorted(digits.train.images.flatten(1).tolist())
    assert torch.allclose(parts["test"], digits.test.images / 255)


def test_classes_without_validation_images_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    experiment(tmp_path, "data.validation=8")
    (message,) = (each for each in caplog.messages if "no validation images" in each)
    assert re.search(r"no validation images of \d, \d: too few", message)
    caplog.clear()
    experiment(tmp_path, "data.validation=10")
    assert not [each for each in caplog.messages if "no validation images" in each]


def test_validation_images_of_a_folder_are_those_in_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", Folder(files=pets("train", "val", "test", each=4)))
    folder = "data={name: image-folder, path: pets, size: 8, channels: 1, validation: 0.5}"
    prepared = experiment(tmp_path, folder)
    assert prepared.validation is not None
    assert prepared.train.image_count == 8
    (_, labels), *_ = prepared.validation.epoch(1)
    assert labels.tolist() == [0] * 4 + [1] * 4
    assert prepared.validation.image_set.paths is not None
    assert {path.split("/")[0] for path in prepared.validation.image_set.paths[8:]} == {"val"}


def test_probes_are_the_first_test_image_of_each_class(tmp_path: Path) -> None:
    prepared = experiment(tmp_path, "data.size=8", "log.probes=3")
    digits = load_digits()
    firsts = [digits.test.labels.tolist().index(label) for label in range(3)]
    assert prepared.probes.names == ("0", "1", "2")
    assert torch.equal(prepared.probes.pictures, digits.test.images[firsts])
    mean, std = prepared.normalization.mean[0], prepared.normalization.std[0]
    assert torch.allclose(prepared.probes.images, (digits.test.images[firsts] / 255 - mean) / std, atol=1e-6)


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    first, same, other = (
        experiment(tmp_path, f"train.seed={seed}").model.state_dict()["conv1.conv.weight"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_part_of_one_image_is_refused_before_batch_norm(tmp_path: Path) -> None:
    """1,294 images in batches of 432 leave 430, of which 400 parts have one image or two."""
    layers = "model.layers=[flatten, {linear: {out_features: 8, norm: batch}}, logits]"
    with pytest.raises(ConfigError, match="400 parts of a batch of 430 images leave a part of one image"):
        experiment(tmp_path, layers, "train.batch_size=432", "train.accumulate=400")
    experiment(tmp_path, layers, "train.batch_size=432", "train.accumulate=200")


@pytest.mark.parametrize(
    ("layers", "refused"),
    [
        ("[flatten, {linear: {out_features: 8, norm: batch}}, logits]", True),
        ("[{conv: {out_channels: 4, kernel_size: 16, padding: 0, norm: batch}}, flatten, logits]", True),
        ("[{conv: {out_channels: 4, kernel_size: 3, norm: batch}}, flatten, logits]", False),
        ("[flatten, {linear: {out_features: 8, norm: layer}}, logits]", False),
    ],
)
def test_a_last_batch_of_one_image_is_refused_before_batch_norm(layers: str, refused: bool, tmp_path: Path) -> None:
    """1,294 images in batches of 431 leave one: there is no variance of one number."""
    assignments = ("data.size=16", f"model.layers={layers}", "train.batch_size=431")
    if not refused:
        experiment(tmp_path, *assignments)
        return
    with pytest.raises(ConfigError) as caught:
        experiment(tmp_path, *assignments)
    assert "a last batch of one image of 1,294" in caught.value.message
    assert "train.batch_size=432" in str(caught.value.remedy)


def test_without_validation_all_images_are_trained_on(tmp_path: Path) -> None:
    prepared = experiment(tmp_path, "data.validation=0")
    assert prepared.validation is None
    assert prepared.train.image_count == 1438


def test_images_that_do_not_fit_the_device_are_copied_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The meta device stands for a GPU: its tensors cannot be mixed with those of another device."""
    monkeypatch.setattr(setup, "room_for_images", lambda device: 359 * 64 - 1)
    config = read_config("quickstart", data_dir=tmp_path, assignments=["data.size=8"])
    meta = torch.device("meta")
    prepared = prepare(config, data_dir=tmp_path, device=meta)
    for batches in (prepared.train, prepared.train_unchanged, prepared.validation, prepared.test, prepared.held_out):
        assert batches is not None
        images, labels = next(batches.epoch(1))
        assert images.device == labels.device == meta
    assert prepared.probes.images.device == meta
    assert prepared.probes.pictures.device == CPU
    assert prepared.normalization == experiment(tmp_path, "data.size=8").normalization
    assert [notice.split(":")[1] for notice in caplog.messages] == [
        f" {count} images of 0.00 GB are copied to it batch by batch" for count in ("1,438", "359")
    ]


def test_chosen_probes(tmp_path: Path) -> None:
    probes = experiment(tmp_path, "data.size=8", "log.probes={classes: 1, images: [3, 358]}").probes
    digits = load_digits().test
    zero = digits.labels.tolist().index(0)
    assert torch.equal(probes.pictures, digits.images[[zero, 3, 358]])
    assert probes.names == ("0", "test-3", "test-358")
    assert probes.titles == (
        "class 0",
        f"test image 3, class {int(digits.labels[3])}",
        f"test image 358, class {int(digits.labels[358])}",
    )


@pytest.mark.parametrize("probes", ["[3, 359]", "{images: [3, 359]}"])
def test_a_probe_that_is_no_test_image_is_an_error_with_its_place(probes: str, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        f"data: {{name: digits, size: 8}}\nmodel: {{layers: [flatten, logits]}}\nlog:\n  probes: {probes}\n",
        encoding="utf-8",
    )
    config = read_config(str(path), data_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"net.yaml:4:\d+ log.probes.*: no test image 359; .* 0 to 358") as caught:
        prepare(config, data_dir=tmp_path, device=CPU)
    assert probes in caught.value.message, "the line is quoted"


@pytest.mark.parametrize(("validation", "expected"), [("0.75", 1078), ("0.1", 144), ("0", 359)])
def test_dead_filters_are_detected_with_images_of_all_classes(validation: str, expected: int, tmp_path: Path) -> None:
    """Folders list their images class by class: the first thousand would be of one class."""
    assert setup.DEAD_FILTER_IMAGES == 1000
    held_out = experiment(tmp_path, "data.size=8", f"data.validation={validation}").held_out
    assert held_out.image_count == expected
    assert len({int(label) for _, labels in held_out.epoch(1) for label in labels}) == 10


def test_classes_with_no_or_one_training_image_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder with 3 and 2 images, of which one class has only one in the training part."""
    for name, count in (("cat", 12), ("dog", 2), ("emu", 12)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / "pets" / name / f"{i}.png")
    settings = ("data={name: image-folder, path: pets, size: 8, channels: 1, validation: 0, test: 14}",)
    experiment(tmp_path, *settings)
    assert "only one training image of class dog" in caplog.messages


def test_class_weights_must_name_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(tmp_path, "train.class_weights={'3': 2, ten: 1}")
    assert "train.class_weights.ten: unknown class: ten" in caught.value.message


def test_a_plateau_needs_validation_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.schedule: plateau needs validation images"):
        experiment(tmp_path, "train.schedule=plateau", "data.validation=0")
    assert experiment(tmp_path, "train.schedule={plateau: 3}").training.plateau is not None


def test_pixels_are_normalized_by_given_numbers(tmp_path: Path) -> None:
    given = experiment(tmp_path, "data.size=8", "data.augment={}", "data.normalize={mean: 0.25, std: 0.5}")
    plain = experiment(tmp_path, "data.size=8", "data.augment={}", "data.normalize=false")
    (ours, _), (pixels, _) = next(given.test.epoch(1)), next(plain.test.epoch(1))
    torch.testing.assert_close(ours, (pixels - 0.25) / 0.5)
    assert given.training.preprocessing is not None
    assert given.training.preprocessing.normalization.mean == (0.25,)
    color = experiment(tmp_path, "data.channels=3", "data.normalize={mean: 0.25, std: [0.5, 0.6, 0.7]}")
    assert (color.normalization.mean, color.normalization.std) == ((0.25,) * 3, (0.5, 0.6, 0.7))


def test_label_noise_is_in_the_training_batches_only(tmp_path: Path) -> None:
    """A quarter of 1,294 labels, each replaced by one of nine others."""
    noisy, clean = experiment(tmp_path, "data.label_noise=0.25"), experiment(tmp_path)
    assert noisy.validation is not None
    assert clean.validation is not None
    wrong = noisy.train.labels != clean.train.labels
    assert wrong.sum() == round(0.25 * 1294)
    assert torch.equal(noisy.train_unchanged.labels, clean.train_unchanged.labels)
    assert torch.equal(noisy.validation.labels, clean.validation.labels)
    offsets = (noisy.train.labels - clean.train.labels)[wrong] % 10
    assert torch.bincount(offsets, minlength=10)[1:].min() > 15
    assert torch.equal(experiment(tmp_path, "data.label_noise=0.25").train.labels, noisy.train.labels)
