"""What a run is made of, before it trains."""

from pathlib import Path

import pytest
import torch

from cnncli.config.config import read_config
from cnncli.data.digits import load_digits
from cnncli.errors import ConfigError
from cnncli.experiment import setup
from cnncli.experiment.setup import Experiment, prepare

CPU = torch.device("cpu")


def experiment(tmp_path: Path, *assignments: str) -> Experiment:
    """The quickstart with assignments, prepared."""
    config = read_config("quickstart", data_dir=tmp_path, assignments=assignments)
    return prepare(config, data_dir=tmp_path, device=CPU)


def test_nothing_is_learned_from_that_is_held_out(tmp_path: Path) -> None:
    """Every training image is in exactly one of the two parts, and the test part is the data set's own."""
    made = experiment(tmp_path, "data.size=8", "data.normalize=false", "data.augment={}")
    assert made.validation is not None
    parts = {
        name: torch.cat([images for images, _ in batches.epoch(1)])
        for name, batches in {"train": made.train_unchanged, "val": made.validation, "test": made.test}.items()
    }
    digits = load_digits()
    assert {name: len(images) for name, images in parts.items()} == {"train": 1294, "val": 144, "test": 359}
    both = torch.cat((parts["train"], parts["val"])).mul(255).round().flatten(1).tolist()
    assert sorted(both) == sorted(digits.train.images.flatten(1).tolist())
    assert torch.allclose(parts["test"], digits.test.images / 255)


def test_probes_are_the_first_test_image_of_each_class(tmp_path: Path) -> None:
    made = experiment(tmp_path, "data.size=8", "log.probes=3")
    digits = load_digits()
    firsts = [digits.test.labels.tolist().index(label) for label in range(3)]
    assert made.probes.names == ("0", "1", "2")
    assert torch.equal(made.probes.pictures, digits.test.images[firsts])
    mean, std = made.normalization.mean[0], made.normalization.std[0]
    assert torch.allclose(made.probes.images, (digits.test.images[firsts] / 255 - mean) / std, atol=1e-6)


def test_a_seed_means_the_same_weights(tmp_path: Path) -> None:
    first, same, other = (
        experiment(tmp_path, f"train.seed={seed}").model.state_dict()["conv1.conv.weight"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("layers", "refused"),
    [
        ("[flatten, {linear: {out_features: 8, norm: batch}}, logits]", True),
        ("[{conv: {out_channels: 4, kernel_size: 16, padding: 0, norm: batch}}, flatten, logits]", True),
        ("[{conv: {out_channels: 4, kernel_size: 3, norm: batch}}, flatten, logits]", False),
        ("[flatten, {linear: {out_features: 8, norm: layer}}, logits]", False),
    ],
)
def test_a_last_batch_of_one_image_is_refused_where_batch_norm_would_be(
    layers: str, refused: bool, tmp_path: Path
) -> None:
    """1,294 images in batches of 431 leave one over: torch has no variance of one number."""
    assignments = ("data.size=16", f"model.layers={layers}", "train.batch_size=431")
    if not refused:
        experiment(tmp_path, *assignments)
        return
    with pytest.raises(ConfigError) as caught:
        experiment(tmp_path, *assignments)
    assert "a last batch of one image of 1,294" in caught.value.message
    assert "train.batch_size=432" in str(caught.value.remedy)


def test_without_validation_all_images_are_learned_from(tmp_path: Path) -> None:
    made = experiment(tmp_path, "data.validation=0")
    assert made.validation is None
    assert made.train.image_count == 1438


def test_images_that_do_not_fit_the_device_are_sent_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The meta device stands for a GPU: what is there has a shape, and cannot be mixed with what is elsewhere."""
    monkeypatch.setattr(setup, "room_for_images", lambda device: 359 * 64 - 1)
    config = read_config("quickstart", data_dir=tmp_path, assignments=["data.size=8"])
    meta = torch.device("meta")
    made = prepare(config, data_dir=tmp_path, device=meta)
    for batches in (made.train, made.train_unchanged, made.validation, made.test, made.held_out):
        assert batches is not None
        images, labels = next(batches.epoch(1))
        assert images.device == labels.device == meta
    assert made.probes.images.device == meta
    assert made.probes.pictures.device == CPU
    assert made.normalization == experiment(tmp_path, "data.size=8").normalization
    assert [notice.split(":")[1] for notice in caplog.messages] == [
        f" {count} images of 0.00 GB are sent to it a batch at a time" for count in ("1,438", "359")
    ]
