"""The data set that a config describes, at the size and with the channels of the network's input."""

from dataclasses import replace
from math import prod
from pathlib import Path

from cnncli.config.data import DataSpec, class_names, image_table, input_shape, own_path, relabel_path
from cnncli.config.datasets import STANDARD_DATA, TABLES, TORCHVISION, KnownDataset, known_dataset
from cnncli.data.arrays import load_arrays
from cnncli.data.digits import load_digits
from cnncli.data.images import Dataset, ImageSet, convert_channels, limit_per_class, resize
from cnncli.data.known import load_known
from cnncli.data.relabel import read_corrections, relabel
from cnncli.errors import DataError, DeviceError
from cnncli.inspection.columns import size_in_bytes
from cnncli.machine import machine_memory


def load_dataset(spec: DataSpec, *, data_dir: Path, download: bool = True) -> Dataset:
    """Read a data set, with corrected labels if there are any; download it first if it is a standard one and missing.

    Args:
        spec: the `data:` section of a config.
        data_dir: where files are read from and downloaded to.
        download: whether to download; without, a missing data set is an error.

    Returns:
        The data set; its images are uint8 (N, C, H, W), with the (C, H, W) of `input_shape(spec)`.

    Raises:
        DataError: the data set is missing or damaged, or the file of corrected labels does not fit it.
        DeviceError: its images, at this size, need more memory than the machine has.
        DiskError: it cannot be stored.
    """
    try:
        dataset = _load(spec, data_dir, download=download)
        path = relabel_path(spec, data_dir)
        labeled = dataset if path is None else relabel(dataset, read_corrections(path, dataset))
        return labeled if spec.limit is None else limit_per_class(labeled, spec.limit)
    except OSError as error:
        raise DataError(
            f"{error.filename or data_dir}: cannot be read ({error.strerror or error})",
            remedy="check its permissions, or choose another data directory with --data-dir or $CNNCLI_DATA",
        ) from None


def _load(spec: DataSpec, data_dir: Path, *, download: bool) -> Dataset:
    channels, height, width = input_shape(spec, data_dir)
    scale = None if spec.range == "auto" else spec.range
    if spec.name == "image-folder" or spec.name in TABLES:
        from cnncli.data.image_files import Reading  # imports Pillow, which no other data set needs
        from cnncli.data.image_folder import load_image_folder
        from cnncli.data.image_table import load_image_table

        reading = Reading(
            name=spec.name,
            channels=channels,
            size=(height, width),
            range=scale,
            skip_unreadable=spec.skip_unreadable,
            data_dir=data_dir,
        )
        path, validation, test = own_path(spec, data_dir), spec.validation, spec.test
        if spec.name == "image-folder":
            return load_image_folder(path, reading, validation=validation, test=test, classes=spec.classes)
        table = image_table(spec, data_dir)
        if spec.name == "parquet":
            from cnncli.data.parquet import ParquetImages

            reading = replace(reading, read=ParquetImages(table.image_column), column=table.image_column)
        names = class_names(spec, data_dir)
        return load_image_table(table, path, reading, validation=validation, test=test, classes=names)
    if spec.name.startswith(TORCHVISION):
        from cnncli.data.torchvision_sets import load_torchvision  # imports Pillow, too

        return load_torchvision(
            spec.name.removeprefix(TORCHVISION),
            name=spec.name,
            classes=class_names(spec, data_dir),
            shape=(channels, height, width),
            arguments=spec.arguments,
            validation=spec.validation,
            test=spec.test,
            data_dir=data_dir,
            download=download,
        )
    if spec.name in ("npz", "idx"):
        dataset = load_arrays(
            own_path(spec, data_dir),
            name=spec.name,
            classes=class_names(spec, data_dir),
            validation=spec.validation,
            test=spec.test,
            range=scale,
        )
    elif spec.name == "digits":
        dataset = load_digits()
    else:
        facts = known_dataset(spec.name, spec.split)
        if facts.format == "torchvision":
            from cnncli.data.torchvision_sets import load_torchvision  # imports Pillow, too

            dataset = load_torchvision(
                facts.torchvision_class,
                name=spec.name,
                classes=facts.classes,
                shape=facts.native,
                arguments={"image_size": facts.native} if spec.name == "fakedata" else {},
                validation=spec.validation,
                test=spec.test,
                data_dir=data_dir,
                download=download,
            )
        else:
            dataset = load_known(
                facts, data_dir=data_dir, digits_flags=_digits_flags(spec, facts), allow_download=download
            )

    if isinstance(spec.classes, tuple) and spec.name in STANDARD_DATA:
        dataset = dataset.with_classes(spec.classes)
    _require_memory(dataset, (channels, height, width))

    def convert(part: ImageSet) -> ImageSet:
        # Resized with as few channels as possible: color is removed before, and added after.
        gray = convert_channels(part.images, min(channels, part.images.shape[1]))
        return replace(part, images=convert_channels(resize(gray, (height, width)), channels))

    return replace(dataset, train=convert(dataset.train), test=convert(dataset.test))


def _require_memory(dataset: Dataset, shape: tuple[int, int, int]) -> None:
    """Check, before anything is allocated, that the images fit in the memory when they have another shape."""
    count, memory = len(dataset.train) + len(dataset.test), machine_memory()
    needed = count * prod(shape)
    if memory is not None and needed > memory:
        raise DeviceError(
            f"{dataset.name}: {count:,} images of {'x'.join(map(str, shape))} need {size_in_bytes(needed)}, "
            f"but this machine has {size_in_bytes(memory)}",
            remedy="make data.size smaller",
        )


def _digits_flags(spec: DataSpec, facts: KnownDataset) -> str:
    """The options that run the same config on the embedded digits."""
    digits = known_dataset("digits")
    assert digits.counts is not None
    values = ["data.name=digits"]
    if spec.size is None:
        values.append(f"data.size={facts.native[1]}")
    if spec.channels is None and facts.native[0] != digits.native[0]:
        values.append(f"data.channels={facts.native[0]}")
    if spec.split is not None:
        values.append("data.split=null")
    if spec.relabel is not None:
        values.append("data.relabel=null")
    if isinstance(spec.classes, tuple) and not {*spec.classes} <= {*digits.classes}:
        values.append("data.classes=null")
    if isinstance(spec.validation, int) and spec.validation >= digits.counts[0]:
        values.append("data.validation=0.1")
    return " ".join(f"--set {value}" for value in values)
