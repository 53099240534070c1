"""Image classification data sets that torchvision reads.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import inspect
import logging
import operator
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cnncli.config.datasets import Shape
from cnncli.data.decode import fit_image, pixel_range, scale_to_8_bits, upright, usual_range
from cnncli.data.download import FAILURES, import_torchvision_datasets, quiet_without_terminal, timeout
from cnncli.data.images import Dataset, ImageSet, classes_without, hold_out_test
from cnncli.errors import DataError, DeviceError, did_you_mean, shorten
from cnncli.inspection.columns import size_in_bytes
from cnncli.machine import machine_memory

_log = logging.getLogger(__name__)

NATIVE = {
    "MNIST": "mnist",
    "FashionMNIST": "fashion-mnist",
    "KMNIST": "kmnist",
    "EMNIST": "emnist",
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "ImageFolder": "image-folder",
}
"""Classes of torchvision whose files are read without it, and their names in configs."""
_OURS = ("root", "train", "split", "transform", "target_transform", "transforms", "download", "loader", "is_valid_file")
"""Arguments that a config cannot give."""
_SPLITS = {"train": ("train", "trainval"), "val": ("val", "valid", "validation"), "test": ("test",)}
"""The values of the argument `split` in torchvision's classes."""
_FAKE_TEST_OFFSET = 10**6
"""Of the seeds of test images of FakeData."""


def load_torchvision(
    class_name: str,
    *,
    name: str,
    classes: tuple[str, ...],
    shape: Shape,
    arguments: Mapping[str, Any],
    validation: int | float,
    test: int | float | None,
    data_dir: Path,
    download: bool,
) -> Dataset:
    """Read a data set through torchvision, resized to one size.

    Args:
        class_name: of `torchvision.datasets`.
        name: of the data set, for messages.
        classes: the names of the classes, in the order of the labels.
        shape: (C, H, W) of the images.
        arguments: of the class, except those that choose the part.
        validation: 0 if a split of validation images is not to be read.
        test: number or fraction of images to hold out for testing if there is no test split; None for a fifth.
        data_dir: where the files are, or are downloaded to.
        download: whether to download missing files.

    Raises:
        DataError: there is no such class, it cannot be read or downloaded, or its labels are not those of the classes.
        DeviceError: the images need more memory than the machine has.
    """
    kind = _find_class(class_name, name)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    if wrong := [each for each in given if each in _OURS or each not in inspect.signature(kind).parameters]:
        allowed = [each for each in inspect.signature(kind).parameters if each not in _OURS]
        raise DataError(
            f"data.arguments: {class_name} takes no {shorten(wrong)}{did_you_mean(wrong[0], allowed)}",
            remedy="remove it, or correct its name" if allowed else "remove data.arguments",
        )
    parts = _parts(kind, given, name, data_dir, download=download)
    if not validation:
        parts.pop("val", None)
    read = {part: _read(source, f"{name}: {part}", classes, shape) for part, source in parts.items()}
    if "test" not in read:
        train = read["train"]
        kept, tested = hold_out_test(train.labels, test, classes, name=name)
        read |= {"train": train.subset(kept), "test": train.subset(tested)}
    elif test is not None:
        raise DataError(f"data.test: {name} has its own test images", remedy="remove data.test from the config")
    if absent := classes_without(read["train"].labels, torch.arange(len(classes)), classes):
        raise DataError(f"{name}: no training images of {shorten(absent)}", remedy="correct data.classes")
    own = len(read["val"]) if "val" in read else 0
    train = read["train"]
    if own:
        _log.info(f"{name}: {own:,} validation images of its own, in place of data.validation")
        train = ImageSet(
            images=torch.cat([train.images, read["val"].images]), labels=torch.cat([train.labels, read["val"].labels])
        )
    return Dataset(
        name=name,
        classes=classes,
        train=train,
        test=read["test"],
        validation=own,
        files={"train": _checksum(train), "test": _checksum(read["test"])},
    )


def _find_class(class_name: str, name: str) -> type[Any]:
    datasets = import_torchvision_datasets(name)
    if class_name in NATIVE:
        raise DataError(f"data.name: {name} has a name of its own", remedy=f"use data.name: {NATIVE[class_name]}")
    base = datasets.VisionDataset
    kinds = {each: kind for each in datasets.__all__ if (kind := getattr(datasets, each)) is not base}
    known = [each for each, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, base)]
    if class_name not in known:
        raise DataError(
            f"data.name: torchvision has no data set {class_name}{did_you_mean(class_name, known)}",
            remedy="the names are those of the classes in torchvision.datasets, such as torchvision:Flowers102",
        )
    found: type[Any] = getattr(datasets, class_name)
    return found


def _parts(
    kind: type[Any], arguments: Mapping[str, Any], name: str, data_dir: Path, *, download: bool
) -> dict[str, Any]:
    """The splits of a data set, as objects of its class; the training images are among them."""
    parameters = inspect.signature(kind).parameters
    common = dict(arguments)
    if "root" in parameters:
        common["root"] = str(data_dir)
    if "download" in parameters:
        common["download"] = download
    choices: dict[str, list[dict[str, Any]]] = {"train": [{}]}
    if "train" in parameters:
        choices = {"train": [{"train": True}], "test": [{"train": False}]}
    elif "split" in parameters:
        choices = {part: [{"split": value} for value in values] for part, values in _SPLITS.items()}
    elif "random_offset" in parameters:
        first = common.pop("random_offset", 0)
        choices = {"train": [{"random_offset": first}], "test": [{"random_offset": first + _FAKE_TEST_OFFSET}]}
    found: dict[str, Any] = {}
    for part, candidates in choices.items():
        for chosen in candidates:
            try:
                with timeout(), quiet_without_terminal():
                    found[part] = kind(**common, **chosen)
                break
            except FAILURES as error:
                if isinstance(error, ValueError) and "argument split" in str(error):
                    continue  # it has no such split
                raise _unavailable(name, data_dir, error, download=download) from None
            except (TypeError, ImportError) as error:
                raise DataError(f"{name}: {error}", remedy="correct data.arguments, or install what it needs") from None
    if "train" not in found:
        raise DataError(f"{name} has no training images", remedy="choose another data set")
    return found


def _unavailable(name: str, data_dir: Path, error: Exception, *, download: bool) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{name} cannot be read from {data_dir}{' or downloaded' if download else ''}: {reason}",
        remedy="put its files there as torchvision lays them out, or choose another data directory with --data-dir or "
        "$CNNCLI_DATA",
    )


def _read(source: Any, where: str, classes: tuple[str, ...], shape: Shape) -> ImageSet:  # noqa: ANN401  a data set of torchvision
    channels, height, width = shape
    count, memory = _of_source(len, source, where), machine_memory()
    if memory is not None and count * prod(shape) > memory:
        raise DeviceError(
            f"{where}: {count:,} images need {size_in_bytes(count * prod(shape))}, but this machine has "
            f"{size_in_bytes(memory)}",
            remedy="make data.size smaller",
        )
    images = np.empty((count, *shape), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    for index in range(count):
        image, label = _of_source(operator.getitem, source, where, index)
        if not isinstance(image, Image.Image):
            raise DataError(f"{where}: it has no images but {type(image).__name__}", remedy="choose another data set")
        if isinstance(label, tuple | list | dict) or (isinstance(label, torch.Tensor) and label.numel() != 1):
            raise DataError(
                f"{where}: the target of an image is not one class but {type(label).__name__}",
                remedy="give arguments that choose a class, such as target_type, or another data set",
            )
        turned = upright(image)
        own = pixel_range(turned)
        gray = turned if own is None else scale_to_8_bits(turned, usual_range(turned.mode, own))
        images[index] = fit_image(gray, channels, (height, width))
        number = int(label)
        if not 0 <= number < len(classes):
            raise DataError(
                f"{where}: an image has the label {number:,}, but there are {len(classes):,} classes",
                remedy="correct data.classes",
            )
        labels[index] = number
    return ImageSet(images=torch.from_numpy(images), labels=torch.from_numpy(labels))


def _of_source(function: Callable[..., Any], source: Any, where: str, *arguments: object) -> Any:  # noqa: ANN401  of torchvision
    """What a function says of a data set of torchvision, whose class may notice wrong arguments only here."""
    try:
        return function(source, *arguments)
    except (*FAILURES, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where}: cannot be read: {reason}", remedy="correct data.arguments or its files") from None


def _checksum(images: ImageSet) -> str:
    digest = hashlib.sha256(images.labels.numpy().tobytes())
    digest.update(images.images.contiguous().numpy().data)
    return f"sha256:{digest.hexdigest()}"
