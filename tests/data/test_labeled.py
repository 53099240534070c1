"""Images of another data set get the labels of a network's classes, by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnncli.data.digits import load_digits
from cnncli.data.images import ImageSet
from cnncli.data.labeled import load_labeled
from cnncli.errors import DataError, UsageError

CLASSES = ("emu", "cat", "T-shirt/top")
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes class folders with one gray image for each brightness."""

    def write(root: str = "pictures", **brightness: Sequence[int]) -> Path:
        for name, values in brightness.items():
            folder = tmp_path / root / name.replace("__", "/").replace("T_shirt", "T-shirt")
            folder.mkdir(parents=True)
            for value in values:
                Image.new("L", (4, 4), value).save(folder / f"{value:03}.png")
        return tmp_path / root

    return write


def load(data: str | Path, part: str = "test", classes: Sequence[str] = CLASSES) -> ImageSet:
    return load_labeled(
        str(data),
        part,  # type: ignore[arg-type]  # train or test
        classes=classes,
        input_shape=(1, 4, 4),
        data_dir=Path("nowhere"),
    )


def test_labels_are_positions_among_the_classes_of_the_network(make: Make) -> None:
    found = load(make(cat=[10, 20], emu=[30], T_shirt_top=[40]))
    assert dict(zip(found.images[:, 0, 0, 0].tolist(), found.labels.tolist(), strict=True)) == {
        10: 1, 20: 1, 30: 0, 40: 2
    }  # fmt: skip


def test_some_of_the_classes_are_enough(make: Make) -> None:
    assert load(make(cat=[10, 20])).labels.tolist() == [1, 1]


def test_unknown_classes_are_an_error_that_lists_both(make: Make) -> None:
    with pytest.raises(DataError) as error:
        load(make(cat=[1], dog=[2], owl=[3]))
    for line in ("no class dog, owl\n", "classes of the data: cat, dog, owl\n", "network: emu, cat, T-shirt/top"):
        assert line in error.value.message


def test_the_parts_of_a_divided_folder(make: Make) -> None:
    root = make(train__cat=[1, 2], train__emu=[3], test__emu=[4])
    assert load(root, "train").images[:, 0, 0, 0].tolist() == [3, 1, 2]
    assert load(root).images[:, 0, 0, 0].tolist() == [4]
    root = make("other", Training__cat=[1, 2], Valid__emu=[5], TEST__emu=[4])
    assert load(root, "train").images[:, 0, 0, 0].tolist() == [1, 2]
    assert load(root, "val").images[:, 0, 0, 0].tolist() == [5]
    assert load(root, "test").images[:, 0, 0, 0].tolist() == [4]


def test_a_part_that_a_folder_lacks_is_an_error(make: Make) -> None:
    with pytest.raises(UsageError, match="no folder of test images"):
        load(make("divided", train__cat=[1]))
    with pytest.raises(UsageError, match="no split train"):
        load(make(cat=[1]), "train")


def test_what_is_no_data_set_is_an_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    for data, error, message in (
        ("digitss", UsageError, "no data set or folder digitss. Did you mean digits?"),
        ("emnist/lettres", UsageError, "Did you mean emnist/letters?"),
        (tmp_path / "file", UsageError, "is not a folder"),
        (tmp_path / "empty", DataError, "has no class folders"),
        (tmp_path / "hollow", DataError, "no images"),
    ):
        with pytest.raises(error, match=message):
            load(data)


def test_a_known_data_set_in_another_order() -> None:
    digits, backward = load_digits(), tuple("9876543210")
    found = load_labeled("digits", "test", classes=("none", *backward), input_shape=(1, 8, 8), data_dir=Path("nowhere"))
    assert torch.equal(found.images, digits.test.images)
    assert torch.equal(found.labels, 10 - digits.test.labels)
    assert len(load("digits", "train", tuple("0123456789")).images) == len(digits.train.images)
    with pytest.raises(DataError, match="no class 7, 8, 9"):
        load("digits", classes=tuple("0123456"))


def test_a_split_of_emnist_is_checked_before_it_is_read() -> None:
    with pytest.raises(DataError, match="no class A, B"):
        load("emnist/balanced", classes=tuple("0123456789"))
