"""Facts about the known data sets against torchvision."""

import pytest
from torchvision import datasets

from cnncli.config.datasets import EMNIST_SPLITS, STANDARD_DATA, DatasetName, EmnistSplit, known_dataset

MNIST_LIKE: list[tuple[DatasetName, type[datasets.MNIST]]] = [
    ("mnist", datasets.MNIST),
    ("fashion-mnist", datasets.FashionMNIST),
    ("kmnist", datasets.KMNIST),
]


@pytest.mark.parametrize(("name", "theirs"), MNIST_LIKE)
def test_compressed_files_and_checksums_are_those_of_torchvision(
    name: DatasetName, theirs: type[datasets.MNIST]
) -> None:
    facts = known_dataset(name)
    packed = {file: md5 for file, md5 in facts.md5.items() if file.endswith(".gz")}
    assert packed == dict(theirs.resources)
    assert {f"{file}.gz" for part in facts.files.values() for file in part} == set(packed)
    assert facts.folder == f"{theirs.__name__}/raw"
    assert len(facts.classes) == 10


def test_class_names_are_those_of_torchvision() -> None:
    assert known_dataset("fashion-mnist").classes == tuple(datasets.FashionMNIST.classes)
    assert known_dataset("kmnist").classes == tuple(datasets.KMNIST.classes)


@pytest.mark.parametrize(("name", "theirs"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar_files_are_those_of_torchvision(name: DatasetName, theirs: type[datasets.CIFAR10]) -> None:
    facts = known_dataset(name)
    assert dict(facts.md5) == dict([*theirs.train_list, *theirs.test_list])
    assert facts.files["train"] == tuple(name for name, _ in theirs.train_list)
    assert facts.folder == theirs.base_folder
    assert facts.archive == theirs.filename


def test_files_that_torchvision_reads() -> None:
    """Names and checksums, in torchvision's classes."""
    svhn, stl10, usps = known_dataset("svhn"), known_dataset("stl10"), known_dataset("usps")
    assert dict(svhn.md5) == {name: md5 for _, name, md5 in map(datasets.SVHN.split_list.get, ("train", "test"))}
    assert dict(stl10.md5) == dict([*datasets.STL10.train_list, *datasets.STL10.test_list])
    assert stl10.folder == datasets.STL10.base_folder
    assert dict(usps.md5) == {name: md5 for _, name, md5 in datasets.USPS.split_list.values()}


@pytest.mark.parametrize(
    ("split", "count"),
    [("byclass", 62), ("bymerge", 47), ("balanced", 47), ("letters", 26), ("digits", 10), ("mnist", 10)],
)
def test_emnist_splits_are_those_of_torchvision(split: EmnistSplit, count: int) -> None:
    facts = known_dataset("emnist", split)
    theirs = datasets.EMNIST.classes_split_dict[split]
    assert list(facts.classes) == theirs[facts.first_label :]
    assert len(facts.classes) == count
    assert facts.files["test"][0] == f"emnist-{split}-test-images-idx3-ubyte"


def test_every_data_set_has_facts() -> None:
    for name in STANDARD_DATA:
        assert known_dataset(name).classes
    assert tuple(datasets.EMNIST.splits) == EMNIST_SPLITS
    assert known_dataset("emnist").name == "emnist (balanced)"
