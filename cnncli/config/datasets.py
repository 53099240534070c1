"""Facts about the known data sets: images, classes, files and checksums.

Files have the layout of `torchvision.datasets`, so that both can read what either has downloaded.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

DatasetName = Literal[
    "digits",
    "mnist",
    "fashion-mnist",
    "kmnist",
    "emnist",
    "cifar10",
    "cifar100",
    "svhn",
    "stl10",
    "usps",
    "fakedata",
    "image-folder",
    "csv",
    "parquet",
    "npz",
    "idx",
]
EmnistSplit = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]
Part = Literal["train", "test"]

DEFAULT_EMNIST_SPLIT: EmnistSplit = "balanced"
EMNIST_SPLITS: tuple[EmnistSplit, ...] = get_args(EmnistSplit)

OWN_DATA: tuple[DatasetName, ...] = ("image-folder", "csv", "parquet", "npz", "idx")
"""People's own images, which `data.path` names."""
TABLES: tuple[DatasetName, ...] = ("csv", "parquet")
"""Those of them that are tables."""
STANDARD_DATA: tuple[DatasetName, ...] = tuple(name for name in get_args(DatasetName) if name not in OWN_DATA)
"""Data sets with a fixed content."""

TORCHVISION = "torchvision:"
"""Prefix of the name of a class of `torchvision.datasets`, as in `torchvision:Flowers102`."""

Shape = tuple[int, int, int]
"""(channels, height, width)."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How the makers of a data set placed what an image shows, on a black background.

    Attributes:
        box: (height, width) of the box in which it is as large as possible, in pixels of the image as stored.
        center: what is at the center of the image: the center of `mass`, or that of the bounding `box`.
        threshold: fraction of the brightest gray level above which a pixel belongs to it: for strokes more than the
            ringing of JPEG, and less than their edges when blurred.
    """

    box: tuple[int, int]
    center: Literal["mass", "box"]
    threshold: float = 0.3


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """Facts about one data set.

    Attributes:
        name: as in the config; for EMNIST with its split.
        native: `(C, H, W)` of its images as stored.
        classes: names of the classes, in the order of the labels.
        counts: numbers of training and test images; None if releases differ.
        split: of EMNIST.
        torchvision_class: the class of `torchvision.datasets` that downloads it; empty for the embedded set.
        folder: of its files, below the data directory.
        format: of its files; `torchvision` if torchvision reads them.
        files: file names of each part: IDX images and labels, or pickled batches.
        md5: known checksums of files, compressed (`.gz`) or not.
        archive: path below the data directory of the archive with all files, if there is one.
        first_label: label of the first class in the files.
        transposed: whether the files store images with rows and columns exchanged.
        framing: how its makers placed what an image shows; None if they did not.
    """

    name: str
    native: Shape
    classes: tuple[str, ...]
    counts: tuple[int, int] | None = None
    split: EmnistSplit | None = None
    torchvision_class: str = ""
    folder: str = ""
    format: Literal["idx", "cifar", "torchvision"] = "idx"
    files: Mapping[Part, tuple[str, ...]] = field(default_factory=dict)
    md5: Mapping[str, str] = field(default_factory=dict)
    archive: str | None = None
    first_label: int = 0
    transposed: bool = False
    framing: Framing | None = None


_TEN = tuple(string.digits)
_MNIST_FILES: dict[Part, tuple[str, ...]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def _mnist_like(
    name: str, *, folder: str, classes: tuple[str, ...], md5: Mapping[str, str], framing: Framing
) -> KnownDataset:
    """60,000 training and 10,000 test images, 28x28, gray, in four IDX files."""
    return KnownDataset(
        name=name,
        native=(1, 28, 28),
        classes=classes,
        counts=(60_000, 10_000),
        torchvision_class=folder,
        folder=f"{folder}/raw",
        files=_MNIST_FILES,
        md5=md5,
        framing=framing,
    )


# The embedded set: the test set of UCI "Optical Recognition of Handwritten Digits", split in two.
_DIGITS = KnownDataset(
    name="digits",
    native=(1, 8, 8),
    classes=_TEN,
    counts=(1438, 359),
    framing=Framing(box=(8, 8), center="box"),
)

# Checksums with .gz are those that torchvision checks after a download.
_MNIST = _mnist_like(
    "mnist",
    folder="MNIST",
    framing=Framing(box=(20, 20), center="mass"),
    classes=_TEN,
    md5={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
_FASHION = _mnist_like(
    "fashion-mnist",
    folder="FashionMNIST",
    framing=Framing(box=(28, 28), center="box", threshold=0.1),  # clothes have dark parts
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    md5={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
_KMNIST = _mnist_like(
    "kmnist",
    folder="KMNIST",
    framing=Framing(box=(28, 28), center="box"),
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    md5={
        "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    },
)
_CIFAR10 = KnownDataset(
    name="cifar10",
    native=(3, 32, 32),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    counts=(50_000, 10_000),
    torchvision_class="CIFAR10",
    folder="cifar-10-batches-py",
    format="cifar",
    files={"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    archive="cifar-10-python.tar.gz",
)

_CIFAR100 = KnownDataset(
    name="cifar100",
    native=(3, 32, 32),
    classes=tuple(
        [
            "apple",
            "aquarium_fish",
            "baby",
            "bear",
            "beaver",
            "bed",
            "bee",
            "beetle",
            "bicycle",
            "bottle",
            "bowl",
            "boy",
            "bridge",
            "bus",
            "butterfly",
            "camel",
            "can",
            "castle",
            "caterpillar",
            "cattle",
            "chair",
            "chimpanzee",
            "clock",
            "cloud",
            "cockroach",
            "couch",
            "crab",
            "crocodile",
            "cup",
            "dinosaur",
            "dolphin",
            "elephant",
            "flatfish",
            "forest",
            "fox",
            "girl",
            "hamster",
            "house",
            "kangaroo",
            "keyboard",
            "lamp",
            "lawn_mower",
            "leopard",
            "lion",
            "lizard",
            "lobster",
            "man",
            "maple_tree",
            "motorcycle",
            "mountain",
            "mouse",
            "mushroom",
            "oak_tree",
            "orange",
            "orchid",
            "otter",
            "palm_tree",
            "pear",
            "pickup_truck",
            "pine_tree",
            "plain",
            "plate",
            "poppy",
            "porcupine",
            "possum",
            "rabbit",
            "raccoon",
            "ray",
            "road",
            "rocket",
            "rose",
            "sea",
            "seal",
            "shark",
            "shrew",
            "skunk",
            "skyscraper",
            "snail",
            "snake",
            "spider",
            "squirrel",
            "streetcar",
            "sunflower",
            "sweet_pepper",
            "table",
            "tank",
            "telephone",
            "television",
            "tiger",
            "tractor",
            "train",
            "trout",
            "tulip",
            "turtle",
            "wardrobe",
            "whale",
            "willow_tree",
            "wolf",
            "woman",
            "worm",
        ]
    ),
    counts=(50_000, 10_000),
    torchvision_class="CIFAR100",
    folder="cifar-100-python",
    format="cifar",
    files={"train": ("train",), "test": ("test",)},
    md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    archive="cifar-100-python.tar.gz",
)


def _read_by_torchvision(
    name: str,
    torchvision_class: str,
    *,
    native: Shape,
    classes: tuple[str, ...],
    counts: tuple[int, int],
    folder: str = "",
    train: Mapping[str, str] | None = None,
    test: Mapping[str, str] | None = None,
) -> KnownDataset:
    """Facts about a data set; `train` and `test` are the MD5 checksums of its files, which torchvision checks too."""
    train, test = train or {}, test or {}
    return KnownDataset(
        name=name,
        native=native,
        classes=classes,
        counts=counts,
        torchvision_class=torchvision_class,
        folder=folder,
        format="torchvision",
        files={"train": tuple(train), "test": tuple(test)},
        md5={**train, **test},
    )


_SVHN = _read_by_torchvision(
    "svhn",
    "SVHN",
    native=(3, 32, 32),
    classes=_TEN,
    counts=(73_257, 26_032),
    train={"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373"},
    test={"test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"},
)
_STL10 = _read_by_torchvision(
    "stl10",
    "STL10",
    native=(3, 96, 96),
    classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    counts=(5_000, 8_000),
    folder="stl10_binary",
    train={
        "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
        "train_y.bin": "5a34089d4802c674881badbb80307741",
        "unlabeled_X.bin": "5242ba1fed5e4be9e1e742405eb56ca4",  # not used, but torchvision wants it
    },
    test={"test_X.bin": "7f263ba9f9e0b06b93213547f721ac82", "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e"},
)
_USPS = _read_by_torchvision(
    "usps",
    "USPS",
    native=(1, 16, 16),
    classes=_TEN,
    counts=(7_291, 2_007),
    train={"usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197"},
    test={"usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118"},
)
_FAKEDATA = _read_by_torchvision("fakedata", "FakeData", native=(3, 32, 32), classes=_TEN, counts=(1_000, 1_000))

# In the merged splits, lower-case letters that look like their capitals share a class with them.
_UNMERGED = "abdefghnqrt"
_EMNIST_CLASSES: dict[EmnistSplit, str] = {
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": string.digits + string.ascii_uppercase + _UNMERGED,
    "balanced": string.digits + string.ascii_uppercase + _UNMERGED,
    "letters": string.ascii_lowercase,
    "digits": string.digits,
    "mnist": string.digits,
}
# `letters` has 88,800 or 124,800 training images, depending on the release.
_EMNIST_COUNTS: dict[EmnistSplit, tuple[int, int] | None] = {
    "byclass": (697_932, 116_323),
    "bymerge": (697_932, 116_323),
    "balanced": (112_800, 18_800),
    "letters": None,
    "digits": (240_000, 40_000),
    "mnist": (60_000, 10_000),
}


def _emnist(split: EmnistSplit) -> KnownDataset:
    """One split of EMNIST. Only the archive has a known checksum, which torchvision checks."""
    parts: tuple[Part, ...] = ("train", "test")
    return KnownDataset(
        name=f"emnist ({split})",
        native=(1, 28, 28),
        classes=tuple(_EMNIST_CLASSES[split]),
        counts=_EMNIST_COUNTS[split],
        split=split,
        torchvision_class="EMNIST",
        folder="EMNIST/raw",
        files={
            part: (f"emnist-{split}-{part}-images-idx3-ubyte", f"emnist-{split}-{part}-labels-idx1-ubyte")
            for part in parts
        },
        archive="EMNIST/raw/gzip.zip",
        first_label=1 if split == "letters" else 0,
        transposed=True,
        framing=Framing(box=(24, 24), center="box"),
    )


_PLAIN = (_DIGITS, _MNIST, _FASHION, _KMNIST, _CIFAR10, _CIFAR100, _SVHN, _STL10, _USPS, _FAKEDATA)
_KNOWN: dict[str, KnownDataset] = {
    **{each.name: each for each in _PLAIN},
    **{f"emnist/{split}": _emnist(split) for split in EMNIST_SPLITS},
}


def known_dataset(name: DatasetName, split: EmnistSplit | None = None) -> KnownDataset:
    """The facts about one of `STANDARD_DATA`; `split` is for `emnist` only."""
    assert name not in OWN_DATA, name
    return _KNOWN[f"emnist/{split or DEFAULT_EMNIST_SPLIT}" if name == "emnist" else name]
