"""The `data:` section: which images are learned from, at what size, and how they are varied. Torch-free."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError

from cnncli.config.datasets import DatasetName, EmnistSplit, known_dataset
from cnncli.errors import DataError
from cnncli.fields import Fraction01, Pair, Spec, Whole


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


NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=0, lt=90, allow_inf_nan=False)]


def _count_or_fraction(value: object) -> object:
    """A whole number from 0, or a number from 0 up to but not including 1."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    if isinstance(value, float) and 0 <= value < 1:
        return value
    raise PydanticCustomError(
        "share",
        "must be a count (a whole number) or a fraction from 0 to less than 1, found {found}",
        {"found": str(value)},
    )


def _principal(name: str) -> BeforeValidator:
    """Let a bare number stand for one field of a section: `elastic: 2` is `elastic: {alpha: 2}`."""

    def open_number(value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {name: value} if number else value

    return BeforeValidator(open_number)


Share = Annotated[Whole | Fraction01, BeforeValidator(_count_or_fraction)]


class ElasticSpec(Spec):
    """Smooth random displacement of the pixels (Simard, Steinkraus and Platt, ICDAR 2003)."""

    alpha: NotNegative = Field(
        default=0.0, description="displacement along each axis, in pixels (root mean square); 0 is off"
    )
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=4.0, description="how smooth: standard deviation of the blur of the displacements, in pixels"
    )


class EraseSpec(Spec):
    """A black rectangle on some images (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020)."""

    probability: Annotated[float, Field(ge=0, le=1)] = Field(default=0.0, description="share of the images; 0 is off")
    area: Annotated[float, Field(gt=0, le=1)] = Field(default=0.25, description="largest share of an image's area")


class AugmentSpec(Spec):
    """Random variation of training images, drawn anew for every image and epoch; all off by default.

    What comes in from outside the image is black.
    """

    shift: NotNegative = Field(default=0.0, description="pixels of the declared size along each axis, at most")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(default=0.0, description="degrees either way, at most")
    scale: Fraction01 = Field(default=0.0, description="0.1: by a factor from 0.9 to 1.1")
    shear: Angle = Field(default=0.0, description="degrees of slant either way, at most")
    flip: Literal["none", "horizontal", "vertical", "both"] = Field(default="none", description="half of the time")
    elastic: Annotated[ElasticSpec, _principal("alpha")] = ElasticSpec()
    erase: Annotated[EraseSpec, _principal("probability")] = EraseSpec()
    noise: NotNegative = Field(default=0.0, description="standard deviation of Gaussian noise, where white is 1")


class DataSpec(Spec):
    """What is learned from."""

    name: DatasetName = Field(description="a data set by name; digits needs no files")
    size: Pair | None = Field(default=None, description="images are resized to this; default: as they are stored")
    channels: Literal[1, 3] | None = Field(
        default=None, description="1: gray, 3: RGB; default: as stored, 3 for folders"
    )
    validation: Share = Field(default=0.1, description="held out of training: a count or a fraction; 0 is none")
    test: Share | None = Field(
        default=None,
        description="image-folder without test/ only: held out for the test, a count or a fraction; 0.2",
    )
    split: EmnistSplit | None = Field(default=None, description="emnist only; balanced unless given")
    path: str | None = Field(default=None, min_length=1, description="image-folder only: in the data directory")
    classes: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description="image-folder only: number of classes, so that inspect works without the folder",
    )
    normalize: bool = Field(default=True, description="training images to mean 0 and deviation 1, per channel")
    augment: AugmentSpec = AugmentSpec()

    @field_validator("split", "test", "path", "classes")
    @classmethod
    def _belongs_to_the_set(cls, value: object, info: ValidationInfo) -> object:
        owner = "emnist" if info.field_name == "split" else "image-folder"
        if value is not None and info.data.get("name", owner) != owner:
            raise PydanticCustomError(
                "other_set",
                "{field} is for {owner}; leave it out for {name}",
                {"field": info.field_name, "owner": owner, "name": info.data["name"]},
            )
        return value

    @field_validator("test")
    @classmethod
    def _something_to_test(cls, value: float | None) -> float | None:
        if value == 0:
            raise PydanticCustomError("no_test", "must be more than 0; leave it out for a fifth of the images")
        return value

    @model_validator(mode="after")
    def _folder_is_described(self) -> "DataSpec":
        missing = [name for name in ("path", "size") if getattr(self, name) is None]
        if self.name == "image-folder" and missing:
            raise PydanticCustomError("folder", "image-folder needs {fields}", {"fields": " and ".join(missing)})
        return self


def input_shape(spec: DataSpec) -> tuple[int, int, int]:
    """(channels, height, width) of the images as the network gets them."""
    if spec.name == "image-folder":
        assert spec.size is not None, "checked by DataSpec"
        return (spec.channels or 3, *spec.size)
    channels, *size = known_dataset(spec.name, spec.split).native
    height, width = spec.size or size
    return (spec.channels or channels, height, width)


def class_names(spec: DataSpec, data_dir: Path) -> tuple[str, ...]:
    """Names of the classes in the order of their labels.

    An image folder's are the names of its folders, sorted; where it is not there, `classes` numbers.

    Raises:
        DataError: an image folder that is not there while `classes` is not given, or that contradicts it.
    """
    if spec.name != "image-folder":
        return known_dataset(spec.name, spec.split).classes
    root = folder_path(spec, data_dir)
    if spec.classes is not None and _is_absent(root):
        return tuple(map(str, range(spec.classes)))
    return folder_layout(root, classes=spec.classes).classes


def folder_path(spec: DataSpec, data_dir: Path) -> Path:
    """Where an image folder is: `path`, looked up in the data directory unless absolute."""
    assert spec.path is not None, "checked by DataSpec"
    return data_dir / Path(spec.path).expanduser()


def _is_absent(path: Path) -> bool:
    """Whether nothing is there; what may not be looked at is there, and who reads it will say so."""
    try:
        return not path.exists()
    except OSError:
        return False
