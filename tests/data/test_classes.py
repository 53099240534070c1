"""`data.classes` of a data set that cnncli knows: some classes, in an order of their own."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from cnncli.config.config import read_config
from cnncli.config.data import DataSpec, class_names
from cnncli.data.load import load_dataset
from cnncli.errors import ConfigError


def test_classes_are_selected_and_ordered(tmp_path: Path) -> None:
    """Against scikit-learn's copy: the images of 7 and 3, of which 7 comes first, at the size of the config."""
    spec = DataSpec(name="digits", classes=("7", "3"))
    found = load_dataset(spec, data_dir=tmp_path)
    assert (found.classes, class_names(spec, tmp_path)) == (("7", "3"), ("7", "3"))
    numbers = load_digits()
    images = torch.cat([found.train.images, found.test.images])[:, 0].float() / 255 * 16
    labels = torch.cat([found.train.labels, found.test.labels])
    for label, digit in enumerate((7, 3)):
        expected = numbers.images[numbers.target == digit]
        ours = images[labels == label].round().numpy()
        assert len(ours) == len(expected)
        assert sorted(each.tobytes() for each in ours) == sorted(each.astype("float32").tobytes() for each in expected)
    larger = load_dataset(DataSpec(name="digits", size=(12, 12), classes=("7", "3")), data_dir=tmp_path)
    assert torch.equal(larger.test.labels, found.test.labels)
    assert larger.test.images.shape == (len(found.test), 1, 12, 12)


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ('["1", "10"]', "no class of digits: 10"),
        ("5", "must be a list of classes of digits, found 5"),
        ('["1"]', "two"),
    ],
)
def test_problems(classes: str, problem: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{name: digits, classes: {classes}}}\nmodel: {{layers: [flatten, logits]}}")
    with pytest.raises(ConfigError, match=problem):
        read_config(str(config), data_dir=tmp_path)


def test_the_network_has_as_many_outputs(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text('data: {name: digits, classes: ["1", "2", "4"]}\nmodel: {layers: [flatten, logits]}')
    read = read_config(str(config), data_dir=tmp_path)
    assert (read.network.nodes[-1].shape, read.classes) == ((3,), ("1", "2", "4"))
