"""The layout of an image folder: which of its folders are parts, and which are classes. No image is opened here."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnncli.errors import DataError, shorten

FolderPart = Literal["train", "validation", "test"]

PART_NAMES: Mapping[FolderPart, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The names of the folders of each part, in lower case; upper case is accepted too."""
PART_OF: Mapping[str, FolderPart] = {name: part for part, names in PART_NAMES.items() for name in names}


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """The layout of an image folder.

    Attributes:
        classes: names of the class folders: those declared, in their order, else all of them, in natural order.
        train: the folder with the class folders.
        validation: the folder with the class folders of the validation images, if there is one.
        test: the folder with the class folders of the test images, if there is one.
        ignored: names of folders that are neither parts nor classes, which are not read.
        unselected: names of class folders that are not among the declared ones, which are not read.
    """

    classes: tuple[str, ...]
    train: Path
    validation: Path | None
    test: Path | None
    ignored: tuple[str, ...] = ()
    unselected: tuple[str, ...] = ()


def folder_layout(root: Path, *, classes: int | Sequence[str] | None = None) -> FolderLayout:
    """Find out whether a folder has parts with class folders, or class folders only.

    Parts have the names of `PART_NAMES`, or, if every folder has such a word in its name, names like `train2017` and
    `test_set`. A folder called `train` that contains images and no folders is a class if there are others, and so is
    one that is among the declared names.

    Args:
        root: the image folder.
        classes: the declared number of classes, or the names of those to read, if any.

    Raises:
        DataError: `root` is missing, not a folder, or has no class folders, another number of them, or not those named;
            or its parts are incomplete or ambiguous.
    """
    unknown = "; to inspect the network without them, set data.classes to the number or the names of the classes"
    try:
        top = class_folders(root)
        declared = isinstance(classes, Sequence) and set(classes) <= set(top)
        parts = {} if declared else _parts(root, top)
        train = root / parts["train"] if parts else root
        names = class_folders(train)
        inside = class_folders(train / names[0]) if len(names) == 1 else ()
    except FileNotFoundError:
        raise DataError(
            f"data.path: folder not found: {root}",
            remedy="put the images there, or choose another data directory with --data-dir or $CNNCLI_DATA"
            + (unknown if classes is None else ""),
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise DataError(
            f"data.path: {root} cannot be read as a folder: {getattr(error, 'strerror', None) or error}",
            remedy="data.path must be a folder with one folder of images per class",
        ) from None
    if len(names) < 2:
        found = f"only the class folder {names[0]}" if names else "no class folders"
        remedy = f"create one folder per class, at least two, such as {train / 'cat'} and {train / 'dog'}"
        if len(inside) > 1:  # as archives are often unpacked
            remedy = f"if {shorten(inside)} in it are the classes or the parts, " + (
                f"move them to {train}" if parts else f"set data.path to {train / names[0]}"
            )
        raise DataError(f"data.path: {train} has {found}", remedy=remedy)
    if undecodable := next((name for name in names if not is_text(name)), None):
        raise _undecodable_name(train / undecodable)
    if isinstance(classes, int) and len(names) != classes:
        raise DataError(
            f"data.classes: {classes} classes declared, but {train} has {len(names)}: {shorten(names)}",
            remedy=f"set data.classes={len(names)}, remove it, or fix the folders",
        )
    selected = names if classes is None or isinstance(classes, int) else tuple(classes)
    if missing := tuple(name for name in selected if name not in names):
        raise DataError(
            f"data.classes: {train} has no folder {shorten(missing)}; it has {shorten(names)}",
            remedy="restore the folders, or name others in data.classes",
        )
    return FolderLayout(
        classes=selected,
        train=train,
        validation=root / parts["validation"] if "validation" in parts else None,
        test=root / parts["test"] if "test" in parts else None,
        ignored=tuple(name for name in top if name not in parts.values()) if parts else (),
        unselected=tuple(name for name in names if name not in selected),
    )


def _undecodable_name(folder: Path) -> DataError:
    """The error about a class folder whose name Python cannot decode: in this locale, or in any."""
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError:
        return DataError(
            f"data.path: the name of the class folder {folder} is not UTF-8 text",
            remedy="rename the folder: the names of its classes are written to files of text",
        )
    return DataError(
        f"data.path: the name of the class folder {folder} cannot be decoded as {sys.getfilesystemencoding()}",
        remedy="set the environment variable PYTHONUTF8=1, or a UTF-8 locale such as LC_ALL=C.UTF-8",
    )


def part_folders(root: Path) -> dict[FolderPart, str]:
    """The names of the parts of a folder that have class folders; empty if it has no parts."""
    found: dict[FolderPart, str] = {}
    for name, part in _named_like_parts(class_folders(root)).items():
        if class_folders(root / name):
            found.setdefault(part, name)
    return found


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, in natural order, without hidden ones and those that macOS adds to archives."""
    hidden = (".", "__MACOSX")
    names = (each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith(hidden))
    return tuple(sorted(names, key=natural_key))


def natural_key(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """A sort key that compares the numbers in names as numbers: `2` before `10`."""
    pieces = re.split(r"([0-9]+)", name)  # text and digits, in turn
    keys = [_digits_key(piece) if place % 2 else piece for place, piece in enumerate(pieces)]
    return keys, name


def _digits_key(digits: str) -> tuple[int, str]:
    """Orders numbers of any length by their value."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _parts(root: Path, top: Sequence[str]) -> dict[FolderPart, str]:
    """The folder of each part; empty if the folders are classes.

    Raises:
        DataError: some of the folders are named like parts, but a part is missing or is there twice.
    """
    candidates = _named_like_parts(top)
    if not any(class_folders(root / name) for name in candidates):
        if candidates and len(candidates) == len(top):
            raise DataError(
                f"data.path: {root} has {' and '.join(candidates)}, but they contain no class folders",
                remedy=f"create one folder per class, such as {root / top[-1] / 'cat'}; if these are the classes, "
                "name them in data.classes",
            )
        return {}
    as_classes = f"; if these are classes, list them in data.classes: [{', '.join(top[:5])}]"
    parts: dict[FolderPart, str] = {}
    for name, part in candidates.items():
        if part in parts:
            raise DataError(
                f"data.path: {root} has two folders of {part} images: {parts[part]} and {name}",
                remedy="merge them, or move one of them" + as_classes,
            )
        parts[part] = name
    if "train" not in parts:
        raise DataError(
            f"data.path: {root} has {' and '.join(candidates)}, but no training images",
            remedy=f"rename the folder with the training images to {root / 'train'}" + as_classes,
        )
    return parts


def _named_like_parts(top: Sequence[str]) -> dict[str, FolderPart]:
    """The folders that are named like parts: by such a name or, if all folders are, by such a word in their names."""
    exact = {name: part for name in top if (part := PART_OF.get(name.casefold()))}
    words = {name: re.findall(r"[a-z]+", name.casefold()) for name in top}
    loose = {name: part for name in top if (part := next((PART_OF[w] for w in words[name] if w in PART_OF), None))}
    return loose if len(loose) == len(top) else exact


def is_text(name: str) -> bool:
    """Whether a file name is text; Python represents bytes that are not UTF-8 by lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in name)
