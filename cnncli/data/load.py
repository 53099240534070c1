"""A data set by its description, at the size and with the channels that the network gets."""

from dataclasses import replace
from pathlib import Path

from cnncli.config.data import DataSpec, folder_path, input_shape
from cnncli.config.datasets import KnownDataset, known_dataset
from cnncli.data.digits import load_digits
from cnncli.data.images import Dataset, ImageSet, resized, with_channels
from cnncli.data.known import load_known
from cnncli.errors import DataError


def load_dataset(spec: DataSpec, *, data_dir: Path) -> Dataset:
    """Read a data set, downloading it where it has a name and is not there.

    Args:
        spec: the `data:` section of a config.
        data_dir: where files are looked for and downloaded to.

    Returns:
        The data set, its images uint8 (N, C, H, W) with the (C, H, W) of `input_shape(spec)`.

    Raises:
        DataError: it is missing or damaged; the message names the place, the remedy what to do.
        DiskError: it cannot be stored.
    """
    try:
        return _load(spec, data_dir=data_dir)
    except OSError as error:
        raise DataError(
            f"{error.filename or data_dir}: cannot be read ({error.strerror or error})",
            remedy="see that you may read it, or name another data directory with --data-dir or $CNNCLI_DATA",
        ) from None


def _load(spec: DataSpec, *, data_dir: Path) -> Dataset:
    channels, height, width = input_shape(spec)
    if spec.name == "image-folder":
        from cnncli.data.image_folder import load_image_folder  # with Pillow, which no other data set needs

        return load_image_folder(
            folder_path(spec, data_dir),
            channels=channels,
            size=(height, width),
            test=spec.test,
            classes=spec.classes,
            data_dir=data_dir,
        )
    if spec.name == "digits":
        dataset = load_digits()
    else:
        facts = known_dataset(spec.name, spec.split)
        dataset = load_known(facts, data_dir=data_dir, without_files=_digits_instead(spec, facts))

    def fitted(part: ImageSet) -> ImageSet:
        # Color is taken away before resizing and put on after it: fewer numbers to work on.
        gray = with_channels(part.images, min(channels, part.images.shape[1]))
        return replace(part, images=with_channels(resized(gray, (height, width)), channels))

    return replace(dataset, train=fitted(dataset.train), test=fitted(dataset.test))


def _digits_instead(spec: DataSpec, facts: KnownDataset) -> str:
    """The flags that run the same config on the embedded digits."""
    digits = known_dataset("digits")
    assert digits.counts is not None
    flags = ["data.name=digits"]
    if spec.size is None:
        flags.append(f"data.size={facts.native[1]}")
    if spec.channels is None and facts.native[0] != digits.native[0]:
        flags.append(f"data.channels={facts.native[0]}")
    if spec.split is not None:
        flags.append("data.split=null")
    if isinstance(spec.validation, int) and spec.validation >= digits.counts[0]:
        flags.append("data.validation=0.1")
    return " ".join(f"--set {flag}" for flag in flags)
