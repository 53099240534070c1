"""How an image folder is laid out: what its class folders are, and whether it is parted. Torch-free."""

from dataclasses import dataclass
from pathlib import Path

from cnncli.errors import DataError


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """How an image folder is laid out.

    Attributes:
        classes: the names of the class folders, sorted.
        train: the folder that holds the class folders.
        test: the folder that holds the test images' class folders, if there is one.
        ignored: names of folders beside `train/` and `test/` that are not read.
    """

    classes: tuple[str, ...]
    train: Path
    test: Path | None
    ignored: tuple[str, ...] = ()


def folder_layout(root: Path, *, classes: int | None = None) -> FolderLayout:
    """See whether a folder has `train/` (and `test/`) with class folders, or class folders only.

    `train/` that holds images and no folders is a class like any other.

    Args:
        root: the image folder.
        classes: the number of classes it should have, if that was said.

    Raises:
        DataError: it is not there or no folder, has no class folders, or not `classes` of them.
    """
    try:
        top = _folders(root)
        divided = "train" in top and bool(_folders(root / "train"))
        train = root / "train" if divided else root
        names = _folders(train)
    except FileNotFoundError:
        raise DataError(
            f"data.path: there is no folder {root}",
            remedy="put the images there, or name another data directory with --data-dir or $CNNCLI_DATA; "
            "to look at the network without them, say with data.classes how many classes there will be",
        ) from None
    except OSError as error:
        raise DataError(
            f"data.path: {root} cannot be read as a folder ({error.strerror})",
            remedy="data.path must name a folder with one folder of images per class",
        ) from None
    if len(names) < 2:
        found = f"only the class folder {names[0]}" if names else "no class folders"
        raise DataError(
            f"data.path: {train} has {found}",
            remedy=f"make one folder per class, at least two, as in {train / 'cat'} and {train / 'dog'}",
        )
    if classes is not None and len(names) != classes:
        raise DataError(
            f"data.classes: {classes} classes are declared, but {train} has {len(names)}: {_some(names)}",
            remedy=f"set data.classes={len(names)}, leave it out, or put the folders right",
        )
    test = root / "test" if divided and "test" in top else None
    ignored = tuple(name for name in top if name not in ("train", "test")) if divided else ()
    return FolderLayout(classes=names, train=train, test=test, ignored=ignored)


def _folders(root: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted, without hidden ones and what macOS puts into archives."""
    hidden = (".", "__MACOSX")
    return tuple(sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith(hidden)))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
