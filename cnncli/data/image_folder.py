"""A data set made of a folder of images: one folder per class, maybe parted into `train/` and `test/`.

N: images, C: channels, H, W: height and width.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from cnncli.data.decode import image_suffixes
from cnncli.data.image_files import Listing, forget_outdated, read_images, some
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.splits import stratified_split
from cnncli.errors import DataError
from cnncli.spec.folder import folder_layout

_TEST_SHARE = 0.2
_TEST_SEED = 0
"""Constant, so that the test images are the same whatever the seed of the training."""


def load_image_folder(
    root: Path,
    *,
    channels: int,
    size: tuple[int, int],
    test: int | float | None,
    classes: int | None,
    data_dir: Path,
    notify: Callable[[str], None],
) -> Dataset:
    """Read every image of a folder at one size.

    Args:
        root: a folder of class folders, or one that has `train/` and maybe `test/` with class folders.
        channels: 1 (grey) or 3 (RGB).
        size: (height, width).
        test: count or fraction to hold out where there is no `test/`; a fifth where it is None.
        classes: the number of classes there should be, if that was said.
        data_dir: where pixels are kept that are many.
        notify: told what is skipped and held out, and how far reading is.

    Raises:
        DataError: no such folder, a class without images or only in `test/`, images that cannot be read.
        DiskError: no room for the pixels.
    """
    layout = folder_layout(root, classes=classes)
    if layout.test is not None and test is not None:
        raise DataError(
            f"data.test: {layout.test} holds the test images already",
            remedy="leave out data.test, or move the folder away",
        )
    if layout.ignored:
        notify(f"image-folder: beside train and test, not read: {', '.join(layout.ignored)}")

    def read(listing: Listing, among: Listing) -> tuple[ImageSet, str]:
        return read_images(listing, among=among, channels=channels, size=size, data_dir=data_dir, notify=notify)

    every = learned = _list(layout.train, layout.classes, notify)
    _refuse_empty_classes(learned, layout.classes)
    if layout.test is None:
        learned, tested = _held_out(learned, _TEST_SHARE if test is None else test)
        notify(f"image-folder: no test folder, so {len(tested.paths):,} images are held out for the test")
    else:
        _refuse_unknown_classes(layout.test, layout.classes)
        tested = _list(layout.test, layout.classes, notify)
        if not tested.paths:
            raise DataError(f"{layout.test}: no images", remedy="put images there, or move the folder away")
    train_images, train_checksum = read(learned, every)
    beside = every if layout.test is None else tested
    test_images, test_checksum = read(tested, beside)
    for among in {id(each): each for each in (every, beside)}.values():
        forget_outdated(among, data_dir=data_dir, notify=notify)
    return Dataset(
        name="image-folder",
        classes=layout.classes,
        train=train_images,
        test=test_images,
        files={"train": train_checksum, "test": test_checksum},
    )


def _list(root: Path, classes: Sequence[str], notify: Callable[[str], None]) -> Listing:
    """The images of each class, without hidden files and, with a notice, without what is no image."""
    suffixes = image_suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    skipped = 0
    absent = [name for name in classes if not (root / name).exists()]
    if absent:
        notify(f"image-folder: {root} has no images of {', '.join(absent[:5])}")
    for label, name in enumerate(classes):
        for path in _visible_files(root / name) if name not in absent else ():
            if path.suffix.lower() in suffixes:
                paths.append(path)
                labels.append(label)
            else:
                skipped += 1
    skipped += sum(1 for each in root.iterdir() if not each.is_dir() and not each.name.startswith("."))
    if skipped:
        notify(f"image-folder: {root}: {skipped:,} files that are no images of a class are passed over")
    return Listing(root=root, paths=tuple(paths), labels=tuple(labels))


def _held_out(listing: Listing, share: int | float) -> tuple[Listing, Listing]:
    """The images to learn from and those to test with, parted before they are read: nothing is copied."""
    kept, held_out = stratified_split(torch.tensor(listing.labels), share, seed=_TEST_SEED, field="data.test")
    assert len(held_out), "a share of 0 is refused by DataSpec"

    def part(positions: Sequence[int]) -> Listing:
        return Listing(
            root=listing.root,
            paths=tuple(listing.paths[position] for position in positions),
            labels=tuple(listing.labels[position] for position in positions),
        )

    return part(kept.tolist()), part(held_out.tolist())


def _visible_files(folder: Path) -> Iterator[Path]:
    """Files in a folder and the folders below it, in order of name, without what is hidden."""
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    """Let no folder that cannot be read pass for an empty one."""
    raise error


def _refuse_empty_classes(listing: Listing, classes: Sequence[str]) -> None:
    present = set(listing.labels)
    empty = [name for label, name in enumerate(classes) if label not in present]
    if empty:
        raise DataError(
            f"{listing.root}: no images in {some(empty)}",
            remedy="put images into every class folder, or remove the empty ones",
        )


def _refuse_unknown_classes(test: Path, classes: Sequence[str]) -> None:
    folders = (each.name for each in test.iterdir() if each.is_dir() and not each.name.startswith("."))
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(
            f"{test}: {some(unknown)} is no class of the training images",
            remedy=f"the classes are {some(classes)}; rename the folder, or add training images",
        )
