"""The `data:` section: data set, image size and splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError

from cnncli.config.augment import AugmentSpec
from cnncli.config.datasets import DatasetName, EmnistSplit, known_dataset
from cnncli.errors import DataError
from cnncli.fields import Fraction01, Pair, Spec, Whole
from cnncli.limits import MAX_CLASSES


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """The layout of an image folder.

    Attributes:
        classes: names of the class folders: those declared, in their order, else all of them, sorted.
        train: the folder with the class folders.
        test: the folder with the class folders of the test images, if there is one.
        ignored: names of folders other than `train/` and `test/`, which are not read.
        unselected: names of class folders that are not among the declared ones, which are not read.
    """

    classes: tuple[str, ...]
    train: Path
    test: Path | None
    ignored: tuple[str, ...] = ()
    unselected: tuple[str, ...] = ()


def folder_layout(root: Path, *, classes: int | Sequence[str] | None = None) -> FolderLayout:
    """Find out whether a folder has `train/` (and `test/`) with class folders, or class folders only.

    A `train/` with images and no folders is a class.

    Args:
        root: the image folder.
        classes: the declared number of classes, or the names of those to read, if any.

    Raises:
        DataError: `root` is missing, not a folder, or has no class folders, another number of them, or not those named.
    """
    unknown = "; to inspect the network without them, set data.classes to the number or the names of the classes"
    try:
        top = class_folders(root)
        divided = "train" in top and bool(class_folders(root / "train"))
        train = root / "train" if divided else root
        names = class_folders(train)
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
        raise DataError(
            f"data.path: {train} has {found}",
            remedy=f"create one folder per class, at least two, such as {train / 'cat'} and {train / 'dog'}",
        )
    if undecodable := next((name for name in names if not _is_text(name)), None):
        raise DataError(
            f"data.path: the name of the class folder {train / undecodable} is not UTF-8 text",
            remedy="rename the folder: the names of its classes are written to files of text",
        )
    if isinstance(classes, int) and len(names) != classes:
        raise DataError(
            f"data.classes: {classes} classes declared, but {train} has {len(names)}: {_some(names)}",
            remedy=f"set data.classes={len(names)}, remove it, or fix the folders",
        )
    selected = names if classes is None or isinstance(classes, int) else tuple(classes)
    if missing := tuple(name for name in selected if name not in names):
        raise DataError(
            f"data.classes: {train} has no folder {_some(missing)}; it has {_some(names)}",
            remedy="restore the folders, or name others in data.classes",
        )
    return FolderLayout(
        classes=selected,
        train=train,
        test=root / "test" if divided and "test" in top else None,
        ignored=tuple(name for name in top if name not in ("train", "test")) if divided else (),
        unselected=tuple(name for name in names if name not in selected),
    )


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted, without hidden ones and those that macOS adds to archives."""
    hidden = (".", "__MACOSX")
    return tuple(sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith(hidden)))


def _is_text(name: str) -> bool:
    """Whether a file name is text; Python represents bytes that are not UTF-8 by lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in name)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _count_or_fraction(value: object) -> object:
    """A whole number from 0, or a fraction from 0 to less than 1."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    if isinstance(value, float) and 0 <= value < 1:
        return value
    raise PydanticCustomError(
        "share",
        "must be a whole number or a fraction from 0 to less than 1, found {found}",
        {"found": str(value)},
    )


def _count_or_names(value: object) -> object:
    """A whole number from 2, or a list of at least two different names."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= MAX_CLASSES):
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value):
        names = tuple(value)
        if len(names) >= 2 and len(set(names)) == len(names):
            return names
    raise PydanticCustomError(
        "classes",
        f"must be a whole number from 2 to {MAX_CLASSES:,}, or a list of at least two different names, "
        "with numbers in quotes, found {found}",
        {"found": str(value)},
    )


Share = Annotated[Whole | Fraction01, BeforeValidator(_count_or_fraction)]
Classes = Annotated[
    Annotated[int, Field(ge=2, le=MAX_CLASSES)] | Annotated[tuple[str, ...], Field(min_length=2)],
    BeforeValidator(_count_or_names),
]


class DataSpec(Spec):
    """The data set and how its images are prepared."""

    name: DatasetName = Field(description="name of a data set; digits needs no files")
    size: Pair | None = Field(default=None, description="images are resized to this; default: size as stored")
    channels: Literal[1, 3] | None = Field(
        default=None, description="1: gray, 3: RGB; default: as stored, 3 for folders"
    )
    validation: Share = Field(
        default=0.1, description="training images held out for validation: a count or a fraction; 0 is none"
    )
    test: Share | None = Field(
        default=None,
        description="image-folder without test/ only: images held out for testing, count or fraction; default: 0.2",
    )
    split: EmnistSplit | None = Field(default=None, description="emnist only; default: balanced")
    path: str | None = Field(
        default=None, min_length=1, description="image-folder only: the folder, relative to the data directory"
    )
    classes: Classes | None = Field(
        default=None,
        description="image-folder only: number of classes, or names of the class folders to read, in order; needed to "
        "inspect without the folder",
    )
    relabel: str | None = Field(
        default=None,
        min_length=1,
        description="CSV file of corrected labels, as cnncli audit writes it, relative to the data directory",
    )
    normalize: bool = Field(default=True, description="normalize each channel to mean 0 and standard deviation 1")
    augment: AugmentSpec = AugmentSpec()

    @field_validator("split", "test", "path", "classes")
    @classmethod
    def _belongs_to_the_set(cls, value: object, info: ValidationInfo) -> object:
        owner = "emnist" if info.field_name == "split" else "image-folder"
        if value is not None and info.data.get("name", owner) != owner:
            raise PydanticCustomError(
                "other_set",
                "{field} is only for {owner}; remove it for {name}",
                {"field": info.field_name, "owner": owner, "name": info.data["name"]},
            )
        return value

    @field_validator("test")
    @classmethod
    def _something_to_test(cls, value: float | None) -> float | None:
        if value == 0:
            raise PydanticCustomError(
                "no_test", "must be greater than 0; remove it for the default, a fifth of the images"
            )
        return value

    @model_validator(mode="after")
    def _folder_is_described(self) -> "DataSpec":
        missing = [name for name in ("path", "size") if getattr(self, name) is None]
        if self.name == "image-folder" and missing:
            raise PydanticCustomError("folder", "image-folder requires {fields}", {"fields": " and ".join(missing)})
        return self


def input_shape(spec: DataSpec) -> tuple[int, int, int]:
    """`(C, H, W)` of the images as the network receives them."""
    if spec.name == "image-folder":
        assert spec.size is not None, "checked by DataSpec"
        return (spec.channels or 3, *spec.size)
    channels, *size = known_dataset(spec.name, spec.split).native
    height, width = spec.size or size
    return (spec.channels or channels, height, width)


def class_names(spec: DataSpec, data_dir: Path) -> tuple[str, ...]:
    """Names of the classes in the order of their labels.

    Those of an image folder are `classes` if these are names, without a look at the folder; else the sorted names of
    its folders or, if it is missing, the numbers from 0 to `classes` - 1.

    Raises:
        DataError: the image folder is missing and `classes` is not given, or it has another number of classes.
    """
    if spec.name != "image-folder":
        return known_dataset(spec.name, spec.split).classes
    if isinstance(spec.classes, tuple):
        return spec.classes
    root = folder_path(spec, data_dir)
    if spec.classes is not None and _is_absent(root):
        return tuple(map(str, range(spec.classes)))
    return folder_layout(root, classes=spec.classes).classes


def folder_path(spec: DataSpec, data_dir: Path) -> Path:
    """The path of an image folder: relative to the data directory, or absolute."""
    assert spec.path is not None, "checked by DataSpec"
    return data_dir / Path(spec.path).expanduser()


def relabel_path(spec: DataSpec, data_dir: Path) -> Path | None:
    """The path of the file of corrected labels, if there is one: relative to the data directory, or absolute."""
    return None if spec.relabel is None else data_dir / Path(spec.relabel).expanduser()


def _is_absent(path: Path) -> bool:
    """Whether a path does not exist; a path without permission counts as existing, and reading it reports the error."""
    try:
        return not path.exists()
    except OSError:
        return False
