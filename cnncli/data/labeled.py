"""Images of any data set, labeled with the classes of a network: classes are matched by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from cnncli.config.data import DataSpec
from cnncli.config.datasets import EMNIST_SPLITS, STANDARD_DATA, known_dataset
from cnncli.config.image_folder import FolderPart, class_folders, part_folders
from cnncli.data.images import ImageSet, PixelRange
from cnncli.data.load import load_dataset
from cnncli.errors import DataError, UsageError, did_you_mean

_NAMES = STANDARD_DATA
LabeledSplit = Literal["train", "val", "test"]
_PARTS: dict[LabeledSplit, FolderPart] = {"train": "train", "val": "validation", "test": "test"}
_EMNIST = {f"emnist/{split}": split for split in EMNIST_SPLITS}


def load_labeled(
    data: str,
    split: LabeledSplit,
    *,
    classes: Sequence[str],
    input_shape: tuple[int, ...],
    range: PixelRange | None = None,
    data_dir: Path,
) -> ImageSet:
    """Load images as a network takes them.

    Args:
        data: the name of a standard data set, `emnist/SPLIT` for a split of EMNIST, or an image folder: a path with
            one folder of images for each class, possibly inside folders of training, validation and test images.
        split: which images; an image folder without such folders has all its images in `test`, and only an image folder
            has `val`.
        classes: names of the classes, in the order of the network's outputs. Images of some of them are enough.
        input_shape: (C, H, W).
        range: with which pixels of more than 8 bits are scaled; None for that of the images.
        data_dir: the data directory.

    Returns:
        Images (N, C, H, W), with indices of `classes` as labels.

    Raises:
        UsageError: there is no such data set or folder, or it has no such part.
        DataError: it has a class that is not one of `classes`, or is missing or damaged.
        DiskError: it cannot be stored.
    """
    channels, height, width = input_shape
    if data in _NAMES or data in _EMNIST:
        spec = DataSpec.model_validate({
            "name": "emnist" if data in _EMNIST else data,
            "split": _EMNIST.get(data),
            "size": [height, width],
            "channels": channels,
        })  # fmt: skip
        if split == "val":
            raise UsageError(
                f"--data: {data} has no split val: validation images are a part of the training images of a run",
                remedy="use the split test or train",
            )
        _check_classes(data, known_dataset(spec.name, spec.split).classes, classes)
        dataset = load_dataset(spec, data_dir=data_dir)
        images = dataset.train if split == "train" else dataset.test
        positions = torch.tensor([classes.index(name) for name in dataset.classes])
        return ImageSet(images=images.images, labels=positions[images.labels])

    from cnncli.data.image_files import Reading  # imports Pillow, which no other data set needs
    from cnncli.data.image_folder import read_class_folders

    root = _folder(data, split)
    folders = _folder_of_each(root, classes)
    reading = Reading(
        name=data, channels=channels, size=(height, width), range=range, skip_unreadable=False, data_dir=data_dir
    )
    return read_class_folders(root, reading, folders=folders)


def _folder(data: str, split: LabeledSplit) -> Path:
    """The folder that contains the class folders of a split."""
    root = Path(data).expanduser()
    if not root.is_dir():
        near = did_you_mean(data, (*_NAMES, *_EMNIST) if data.startswith("emnist/") else _NAMES)
        raise UsageError(
            f"--data: {data} is not a folder" if root.exists() else f"--data: no data set or folder {data}{near}",
            remedy="give a folder with one folder of images per class, or the name of a data set",
        )
    folders = {name: root / folder for name, part in _PARTS.items() if (folder := part_folders(root).get(part))}
    if split in folders:
        return folders[split]
    if folders:
        raise UsageError(
            f"--data: {root} has no folder of {_PARTS[split]} images",
            remedy=" or ".join(f"--split {name}" for name in folders),
        )
    if split != "test":
        raise UsageError(
            f"--data: {root} has no folders such as train and test, so it has no split {split}",
            remedy="omit --split: all its images are used",
        )
    return root


def _folder_of_each(root: Path, classes: Sequence[str]) -> list[str]:
    """The folder name of each class: its name, with `_` or `-` for a slash, which a folder name cannot contain."""
    found = class_folders(root)
    names = {name: [name.replace("/", each) for each in "_-/"] for name in classes}
    matched = {name: next((each for each in spelled if each in found), name) for name, spelled in names.items()}
    if not found:
        raise DataError(
            f"{root} has no class folders", remedy=f"create one folder per class, such as {root / matched[classes[0]]}"
        )
    _check_classes(str(root), [name for name in found if name not in matched.values()], classes, found=found)
    return list(matched.values())


def _check_classes(data: str, names: Sequence[str], classes: Sequence[str], *, found: Sequence[str] = ()) -> None:
    """Refuse a data set with classes that the network does not know.

    Args:
        data: what it is called.
        names: its classes, or those of them that may be unknown.
        classes: those of the network.
        found: all classes of the data set, for the message; `names` if empty.
    """
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DataError(
            f"{data}: the network has no class {', '.join(unknown)}\n"
            f"classes of the data: {', '.join(found or names)}\n"
            f"classes of the network: {', '.join(classes)}",
            remedy="classes are matched by name: rename or remove the folders that differ, or use another data set",
        )
