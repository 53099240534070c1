"""The `data:` section: data set, image size and splits."""

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import BeforeValidator, WrapValidator
from pydantic_core import PydanticCustomError

from cnncli.config.arrays import array_parts, class_count, stored_shape
from cnncli.config.augment import AugmentSpec
from cnncli.config.datasets import (
    DEFAULT_EMNIST_SPLIT,
    EMNIST_SPLITS,
    OWN_DATA,
    STANDARD_DATA,
    TABLES,
    TORCHVISION,
    DatasetName,
    EmnistSplit,
    known_dataset,
)
from cnncli.config.image_folder import folder_layout
from cnncli.config.parquet import has_parquet_files, read_parquet
from cnncli.config.table import ImageTable, has_metadata, read_table
from cnncli.errors import DataError, shorten
from cnncli.fields import Fraction01, Listed, NoBool, Pair, Spec, Whole, given
from cnncli.limits import MAX_CLASSES, MAX_PIXEL_SCALE


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
_ClassNames = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=2, json_schema_extra={"uniqueItems": True}),
]
Classes = Annotated[
    Annotated[int, Field(ge=2, le=MAX_CLASSES)] | _ClassNames,
    BeforeValidator(_count_or_names),
]


def _auto_or_two_numbers(value: object) -> object:
    """`auto`, or a list of two numbers, the lower one first."""
    if value == "auto":
        return value
    if isinstance(value, list | tuple) and len(value) == 2:
        numbers = [float(each) for each in value if isinstance(each, int | float) and not isinstance(each, bool)]
        if len(numbers) == 2 and all(map(isfinite, numbers)) and numbers[0] < numbers[1]:
            return tuple(numbers)
    raise PydanticCustomError("range", "must be auto or [lowest, highest], found {found}", {"found": str(value)})


Finite = Annotated[float, Field(allow_inf_nan=False)]
Range = Annotated[
    Literal["auto"] | tuple[Finite, Finite],
    BeforeValidator(_auto_or_two_numbers, json_schema_input_type=Literal["auto"] | tuple[Finite, Finite]),
]


_TORCHVISION_SETS = f"{TORCHVISION}NAME"
"""Stands for all of torchvision's data sets."""
_TORCHVISION_PATTERN = f"^{TORCHVISION}[A-Za-z0-9_]+$"
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "test": (*OWN_DATA, _TORCHVISION_SETS),
    "split": ("emnist",),
    "path": OWN_DATA,
    "columns": ("csv", "parquet"),
    "skip_unreadable": ("image-folder", "csv", "parquet"),
    "range": OWN_DATA,
    "arguments": (_TORCHVISION_SETS,),
}
"""The data sets for which a field may have another value than its default."""
_REQUIRED: dict[str, tuple[str, ...]] = {
    "image-folder": ("path", "size"),
    "csv": ("path", "size"),
    "parquet": ("path", "size"),
    _TORCHVISION_SETS: ("size", "classes"),
    "npz": ("path",),
    "idx": ("path",),
}
"""The fields that a data set requires."""
_NO_COLUMN = {"csv": "image", "parquet": "path"}
"""The field of `columns` that a kind of table has no use for."""


def _dependencies(schema: dict[str, Any]) -> None:
    """Add to the JSON Schema of `DataSpec` how its fields depend on the data set."""
    fields = schema["properties"]
    only = []
    for field, names in _ONLY_FOR.items():
        unset = {"const": fields[field]["default"]} if field != "columns" else {"additionalProperties": {"const": None}}
        only.append({"if": _where_name_is(names), "else": {"properties": {field: unset}}})
    required = [{"if": _where_name_is([name]), "then": given(*names)} for name, names in _REQUIRED.items()]
    own = _where_name_is((*OWN_DATA, _TORCHVISION_SETS))
    named = {"if": own, "else": {"properties": {"classes": {"not": {"type": "integer"}}}}}
    columns = [
        {"if": _where_name_is([name]), "then": {"properties": {"columns": {"properties": {field: {"const": None}}}}}}
        for name, field in _NO_COLUMN.items()
    ]
    schema["allOf"] = [*only, *required, named, *columns, *_known_classes(), *_known_channels()]
    fields["test"]["not"] = {"const": 0}


def _known_classes() -> Iterator[dict[str, Any]]:
    """JSON Schemas of the names in `classes` of the data sets with a fixed content."""
    for name in STANDARD_DATA:
        for split in EMNIST_SPLITS if name == "emnist" else (None,):
            splits = [split, *([None] if split == DEFAULT_EMNIST_SPLIT else [])]
            unset = {"properties": {"split": {"enum": splits}}}
            is_it = {**unset, **({} if None in splits else {"required": ["split"]})}
            names = {"enum": [*known_dataset(name, split).classes]}
            of_set = {"if": _where_name_is([name]), "then": {"properties": {"classes": {"items": names}}}}
            yield of_set if split is None else {"if": is_it, "then": of_set}


def _known_channels() -> Iterator[dict[str, Any]]:
    """JSON Schemas of what images of one channel, or of three, can have."""
    stored = {name: known_dataset(name).native[0] for name in STANDARD_DATA}
    files = ("image-folder", *TABLES, _TORCHVISION_SETS)

    def lists(*lengths: int) -> dict[str, Any]:
        """Lists of one of these lengths, and all that are no lists."""
        sizes = [{"minItems": length, "maxItems": length} for length in lengths]
        return {"anyOf": [{"not": {"type": "array"}}, *sizes]}

    for channels, augment, numbers in (
        (1, {"saturation": {"const": 0}, "hue": {"const": 0}, "fill": lists(1)}, lists(1)),
        (3, {"fill": lists(3)}, lists(1, 3)),
    ):
        names = [*(name for name, count in stored.items() if count == channels), *(files if channels == 3 else ())]
        given_ = {"required": ["channels"], "properties": {"channels": {"const": channels}}}
        default = {"properties": {"channels": {"const": None}}}
        normalize = {"properties": {"mean": numbers, "std": numbers}}
        yield {
            "if": {"anyOf": [given_, {"allOf": [_where_name_is(names), default]}]},
            "then": {"properties": {"augment": {"properties": augment}, "normalize": normalize}},
        }


def _where_name_is(names: Sequence[str]) -> dict[str, Any]:
    """A JSON Schema of the sections of these data sets."""
    pattern = [{"pattern": _TORCHVISION_PATTERN, "type": "string"}] if _TORCHVISION_SETS in names else []
    return {"required": ["name"], "properties": {"name": {"anyOf": [{"enum": [*names]}, *pattern]}}}


def _kind(name: str) -> str:
    """The name in `_ONLY_FOR` and `_REQUIRED` of a data set."""
    return _TORCHVISION_SETS if name.startswith(TORCHVISION) else name


def _or_torchvision(value: object, check: ValidatorFunctionWrapHandler) -> object:
    return value if isinstance(value, str) and re.fullmatch(_TORCHVISION_PATTERN, value) else check(value)


Name = Annotated[
    DatasetName,
    WrapValidator(
        _or_torchvision, json_schema_input_type=DatasetName | Annotated[str, Field(pattern=_TORCHVISION_PATTERN)]
    ),
    PlainSerializer(str),
]
"""Of a data set; `torchvision:NAME` too, which `DatasetName` does not list."""
Argument = bool | int | float | str | Annotated[tuple[int, ...], Listed]


class ColumnsSpec(Spec):
    """The names of the columns of a table; by default the usual ones, see `cnncli.config.table` and `.parquet`."""

    path: str | None = Field(default=None, min_length=1, description="csv only: of the paths of the images")
    image: str | None = Field(default=None, min_length=1, description="parquet only: of the images")
    label: str | None = Field(default=None, min_length=1, description="of the names of the classes")
    split: str | None = Field(default=None, min_length=1, description="of train, val and test")

    @property
    def given(self) -> dict[str, str]:
        """The names that are given."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


def _one_or_more(value: object) -> object:
    """A number alone is that of every channel."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


Mean = Annotated[float, Field(ge=-MAX_PIXEL_SCALE, le=MAX_PIXEL_SCALE)]
Std = Annotated[float, Field(ge=1 / MAX_PIXEL_SCALE, le=MAX_PIXEL_SCALE)]


class NormalizeSpec(Spec):
    """The mean and standard deviation that pixels from 0 (black) to 1 (white) are normalized with."""

    mean: Annotated[
        tuple[Mean, ...], Listed, BeforeValidator(_one_or_more, json_schema_input_type=Mean | list[Mean])
    ] = Field(description="a number, or a list of one for each channel")
    std: Annotated[
        tuple[Std, ...],
        Listed,
        BeforeValidator(_one_or_more, json_schema_input_type=Std | list[Std]),
    ] = Field(description="likewise, at least 1e-6")


def _form_of_normalize(value: object) -> str:
    return "numbers" if isinstance(value, dict | NormalizeSpec) else "switch"


Normalize = Annotated[
    Annotated[bool, Tag("switch")] | Annotated[NormalizeSpec, Tag("numbers")], Discriminator(_form_of_normalize)
]


class DataSpec(Spec):
    """The data set and how its images are prepared."""

    model_config = ConfigDict(json_schema_extra=_dependencies)

    name: Name = Field(description="name of a data set; digits needs no files")
    size: Pair | None = Field(default=None, description="images are resized to this; default: size as stored")
    channels: Annotated[Literal[1, 3] | None, NoBool] = Field(
        default=None, description="1: gray, 3: RGB; default: as stored, 3 for folders"
    )
    validation: Share = Field(
        default=0.1,
        description="training images held out for validation: a count or a fraction; 0 is none; an image-folder with "
        "val/ has its own",
    )
    test: Share | None = Field(
        default=None,
        description="own data without test images only: images held out for testing, count or fraction; default: 0.2",
    )
    split: EmnistSplit | None = Field(default=None, description="emnist only; default: balanced")
    path: str | None = Field(
        default=None, min_length=1, description="own data only: the file or folder, relative to the data directory"
    )
    arguments: dict[str, Argument] = Field(
        default={}, description="torchvision:NAME only: arguments of its class, except those that choose the part"
    )
    columns: ColumnsSpec = Field(default=ColumnsSpec(), description="csv and parquet only: the names of columns")
    classes: Classes | None = Field(
        default=None,
        description="names of the classes to use, in the order of their labels; default: all. For own data also their "
        "number, to inspect without the data",
    )
    skip_unreadable: bool = Field(
        default=False, description="image-folder, csv and parquet only: skip images that cannot be read, with a message"
    )
    range: Range = Field(
        default="auto",
        description="own data only: values that become black and white, of pixels of more than 8 bits; auto: the "
        "lowest and highest value of the training images",
    )
    relabel: str | None = Field(
        default=None,
        min_length=1,
        description="CSV file of corrected labels, as cnncli audit writes it, relative to the data directory",
    )
    limit: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="maximum number of training images per class, for learning curves; default: all"
    )
    label_noise: Fraction01 = Field(
        default=0.0, description="fraction of the training images that get a wrong label, at random, for experiments"
    )
    normalize: Normalize = Field(
        default=True,
        description="normalize each channel to mean 0 and standard deviation 1 over the training images, or by given "
        "numbers",
    )
    augment: AugmentSpec = AugmentSpec()

    @field_validator(*_ONLY_FOR)
    @classmethod
    def _belongs_to_the_set(cls, value: object, info: ValidationInfo) -> object:
        assert info.field_name is not None, "validates fields"
        owners = _ONLY_FOR[info.field_name]
        name = info.data.get("name", owners[0])
        if value != cls.model_fields[info.field_name].default and _kind(name) not in owners:
            raise PydanticCustomError(
                "other_set",
                "{field} is only for {owners}; remove it for {name}",
                {"field": info.field_name, "owners": ", ".join(owners), "name": name},
            )
        return value

    @field_validator("classes")
    @classmethod
    def _number_is_for_folders(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, int) and (name := info.data.get("name", OWN_DATA[0])) in STANDARD_DATA:
            raise PydanticCustomError(
                "class_names", "must be a list of classes of {name}, found {found}", {"name": name, "found": value}
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
    def _has_what_it_requires(self) -> "DataSpec":
        missing = [name for name in _REQUIRED.get(_kind(self.name), ()) if getattr(self, name) is None]
        if missing:
            raise PydanticCustomError(
                "required", "{name} requires {fields}", {"name": self.name, "fields": " and ".join(missing)}
            )
        if (column := _NO_COLUMN.get(self.name)) in self.columns.given:
            raise PydanticCustomError(
                "no_column", "{name} has no columns.{column}; remove it", {"name": self.name, "column": column}
            )
        return self


def input_shape(spec: DataSpec, data_dir: Path | None = None) -> tuple[int, int, int]:
    """`(C, H, W)` of the images as the network receives them.

    Args:
        spec: the section.
        data_dir: the data directory, in which array files are looked up unless size and channels are given.

    Raises:
        DataError: an array file is needed, and missing or damaged.
    """
    if spec.name not in STANDARD_DATA:
        if spec.size is not None and (spec.channels is not None or spec.name not in ("npz", "idx")):
            return (spec.channels or 3, *spec.size)
        path = own_path(spec, Path() if data_dir is None else data_dir)
        channels, *size = stored_shape(array_parts(path)["train"].shape, path)
    else:
        channels, *size = known_dataset(spec.name, spec.split).native
    height, width = spec.size or size
    return (spec.channels or channels, height, width)


def class_names(spec: DataSpec, data_dir: Path) -> tuple[str, ...]:
    """Names of the classes in the order of their labels.

    They are `classes` if these are names, of own data without a look at them. Else those of own data are what the data
    say, in natural order, or, if they are missing, the numbers from 0 to `classes` - 1.

    Raises:
        DataError: the data are missing and `classes` is not given, or they have another number of classes.
        DeviceError, UsageError: see `read_parquet`.
    """
    if isinstance(spec.classes, tuple):
        return spec.classes
    if spec.name in STANDARD_DATA:
        return known_dataset(spec.name, spec.split).classes
    if spec.name.startswith(TORCHVISION):
        assert spec.classes is not None, "checked by DataSpec"
        return tuple(map(str, range(spec.classes)))
    path = own_path(spec, data_dir)
    if spec.classes is not None and _is_absent(path):
        return tuple(map(str, range(spec.classes)))
    if spec.name == "image-folder":
        return folder_layout(path, classes=spec.classes).classes
    if spec.name in TABLES:
        found = image_table(spec, data_dir).classes
    else:
        found = tuple(map(str, range(class_count(array_parts(path)["train"]))))
    if len(found) < 2 or (spec.classes is not None and spec.classes != len(found)):
        declared = "" if spec.classes is None else f"{spec.classes} classes declared, but "
        raise DataError(
            f"data.classes: {declared}{path} has {len(found)}: {shorten(found)}",
            remedy="correct data.classes or the labels; there must be two classes at least",
        )
    return found


def own_path(spec: DataSpec, data_dir: Path) -> Path:
    """The path of own data: relative to the data directory, or absolute."""
    assert spec.path is not None, "checked by DataSpec"
    return data_dir / Path(spec.path).expanduser()


def table_format(path: Path) -> Literal["csv", "parquet"] | None:
    """The format of a table of images at a path, a file or a folder; None if there is none."""
    if path.is_dir():
        return "parquet" if has_parquet_files(path) else "csv" if has_metadata(path) else None
    match path.suffix.lower():
        case ".csv":
            return "csv"
        case ".parquet":
            return "parquet"
    return None


def image_table(spec: DataSpec, data_dir: Path) -> ImageTable:
    """The table of images of one of `TABLES`.

    Raises:
        DataError, DeviceError, UsageError: see `read_table` and `read_parquet`.
    """
    read = read_table if spec.name == "csv" else read_parquet
    return read(own_path(spec, data_dir), spec.columns.given)


def relabel_path(spec: DataSpec, data_dir: Path) -> Path | None:
    """The path of the file of corrected labels, if there is one: relative to the data directory, or absolute."""
    return None if spec.relabel is None else data_dir / Path(spec.relabel).expanduser()


def _is_absent(path: Path) -> bool:
    """Whether a path does not exist; a path without permission counts as existing, and reading it reports the error."""
    try:
        return not path.exists()
    except OSError:
        return False
