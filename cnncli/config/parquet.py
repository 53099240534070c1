"""Tables of images in Parquet files, as Hugging Face stores them: files, columns, labels. No image is read here.

pets/train-00000-of-00002.parquet   or pets/data/train-..., or one folder further down: pets/default/train-...
pets/train/0000.parquet             parts may also be folders
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.config.image_folder import PART_OF, FolderPart, class_folders, natural_key
from cnncli.config.table import COLUMN_NAMES, ImageTable, TableRow, find_columns
from cnncli.errors import DataError, DeviceError, UsageError, shorten
from cnncli.files import open_to_read
from cnncli.limits import MAX_CLASSES, MAX_TABLE_BYTES
from cnncli.machine import machine_memory

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIX = ".parquet"
_COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "img", "images", "picture", "photo"),
    "label": COLUMN_NAMES["label"],
    "split": COLUMN_NAMES["split"],
}
_FEATURES = {"image": "Image", "label": "ClassLabel"}
"""The types of columns in Hugging Face's description of a table."""
_NUMBERED = re.compile(r"(.*)-(\d+)-of-(\d+)\.parquet")
_LFS_POINTER = b"version https://git-lfs"
_BUFFER = 2**20
"""Bytes that are read at once."""
_MAX_ROWS = 20_000_000
_MAX_TEXT = 10_000
"""Bytes of a label."""
_BYTES_PER_ROW = 600
"""Of memory that the list of images takes: paths, names and labels."""
_INTACT = "replace it with an intact copy"


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """A file of a table, with its columns.

    Attributes:
        path: of the file.
        part: that its name or its folder says; None if they say none.
        columns: the names of the columns `image`, `label`, and perhaps `split`.
        classes: names of the classes in the order of the labels; None if labels are themselves the names.
    """

    path: Path
    part: FolderPart | None
    columns: Mapping[str, str]
    classes: tuple[str, ...] | None


def has_parquet_files(folder: Path) -> bool:
    """Whether a folder has Parquet files, rather than images: in it, in `data`, or in its only folder."""
    folders = class_folders(folder)
    places = (folder, folder / "data", *(folder / name for name in folders if len(folders) == 1))
    return any(True for place in places for _ in place.glob(f"*{SUFFIX}"))


def read_parquet(path: Path, columns: Mapping[str, str]) -> ImageTable:
    """Read all of a table of images except the images.

    Args:
        path: a file, or a folder of files whose names, or whose folders' names, have the words of `PART_NAMES`.
        columns: the names of the columns `image`, `label` and `split`, if they are not the usual ones.

    Returns:
        The table; the path of an image is that of its file, and the row in it from 0: `train.parquet/17`.

    Raises:
        DataError: files are missing or damaged, or have no such columns, or some rows have no label.
        DeviceError: it has more rows than fit in the memory.
        UsageError: pyarrow is not installed.
    """
    _require_pyarrow()
    root = path if path.is_dir() else path.parent
    shards = [_open(file, part, columns) for file, part in _parts(path)]
    described = next((shard for shard in shards if shard.classes is not None), None)
    rows: list[TableRow] = []
    unlabeled: dict[FolderPart | None, tuple[Path, int]] = {}
    for shard in shards:
        if shard.columns["image"] != shards[0].columns["image"]:
            raise DataError(
                f"{shard.path}: its column of images is not called {shards[0].columns['image']}, as elsewhere",
                remedy="give all files the same columns",
            )
        if described is not None and shard.classes not in (None, described.classes):
            raise DataError(
                f"{shard.path} has other names of classes than {described.path}",
                remedy="give all files the same names in the same order",
            )
        for row in _rows(shard, root):
            if row.label:
                rows.append(row)
            else:
                file, count = unlabeled.get(row.part, (shard.path, 0))
                unlabeled[row.part] = file, count + 1
    labeled = {row.part for row in rows}
    for part, (file, count) in unlabeled.items():
        if part in labeled or part in (None, "train"):
            raise DataError(f"{file}: {count:,} rows have no label", remedy="label them, or remove them")
    if described is not None and described.classes is not None:
        classes = described.classes
    else:
        classes = tuple(sorted({row.label for row in rows}, key=natural_key))
    if len(classes) > MAX_CLASSES:
        raise DataError(f"{path} has {len(classes):,} classes", remedy=f"give it at most {MAX_CLASSES:,}")
    return ImageTable(
        root=root,
        rows=rows,
        classes=classes,
        unlabeled=tuple(part for part in unlabeled if part is not None),
        image_column=shards[0].columns["image"],
    )


def _require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401  only whether it can be imported
    except ImportError as error:
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported: {error}"
        raise UsageError(
            f"Parquet files need the package pyarrow, which {reason}", remedy='pip install "cnncli[parquet]"'
        ) from None


def _files(folder: Path) -> list[Path]:
    """The files in a folder, else those in its folder `data`, else those one folder further down."""
    for pattern in ("*", "data/*", "*/*", "*/*/*"):
        if found := [each for each in folder.glob(pattern + SUFFIX) if each.is_file() and each.name[0] != "."]:
            return sorted(found, key=lambda file: natural_key(file.as_posix()))
    return []


def _parts(path: Path) -> list[tuple[Path, FolderPart | None]]:
    """The files at a path and their parts: all with a part, or all without.

    Raises:
        DataError: there are none, some are missing, or it is unclear which belong to the table.
    """
    try:
        if path.is_dir():
            files = _files(path)
        elif path.is_file():
            return [(path, None)]
        elif path.exists():
            raise DataError(f"data.path: {path} is no regular file", remedy="give a Parquet file, or a folder of them")
        else:
            raise DataError(
                f"data.path: not found: {path}",
                remedy="put it there, or choose another data directory with --data-dir or $CNNCLI_DATA; to inspect the "
                "network without it, set data.classes to the number or the names of the classes",
            )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"data.path: {path} cannot be read: {reason}", remedy="give a Parquet file, or a folder of them"
        ) from None
    if not files:
        raise DataError(f"data.path: {path} has no files *{SUFFIX}", remedy="give a Parquet file, or a folder of them")
    _check_complete(files)
    parts = {file: _part(file.relative_to(path)) for file in files}
    tops = {file.relative_to(path).parts[0] for file in files} if files[0].parent != path else set()
    tables = sorted(name for name in tops if name.casefold() not in PART_OF)
    if len(tables) > 1:
        raise DataError(
            f"data.path: {path} has several tables: {shorten(tables)}",
            remedy=f"choose one, such as {path / tables[0]}",
        )
    if unclear := [file.name for file, part in parts.items() if part is None]:
        if len(unclear) < len(files):
            raise DataError(
                f"data.path: {path}: training, validation or test images? {shorten(unclear)}",
                remedy="rename these files, such as train-00000-of-00001.parquet, or move them",
            )
    elif "train" not in parts.values():
        raise DataError(
            f"data.path: {path} has no training images: {shorten([file.name for file in files])}",
            remedy="rename the file with the training images to train.parquet",
        )
    return list(parts.items())


def _part(path: Path) -> FolderPart | None:
    """The part that the name of a file, or of the folder that it is in, has the word of."""
    names = (path.name, path.parent.name)
    words = (word for name in names for word in re.findall(r"[a-z]+", name.casefold()))
    return next((PART_OF[word] for word in words if word in PART_OF), None)


def _check_complete(files: Sequence[Path]) -> None:
    """Check that all of `train-00000-of-00002.parquet`, `train-00001-of-00002.parquet` are there."""
    names = {file.as_posix() for file in files}
    missing = []
    for start, width, count in sorted({(m[1], len(m[2]), m[3]) for name in names if (m := _NUMBERED.fullmatch(name))}):
        expected = (f"{start}-{number:0{width}}-of-{count}{SUFFIX}" for number in range(min(int(count), _MAX_ROWS)))
        missing += [name for name in expected if name not in names]
    if missing:
        raise DataError(f"files are missing: {shorten(missing)}", remedy="download them too")


def _open(path: Path, part: FolderPart | None, given: Mapping[str, str]) -> _Shard:
    """Read the schema of a file."""
    import pyarrow as pa

    with parquet_errors(path):
        file = open_parquet(path)
        schema, count = file.schema_arrow, file.metadata.num_rows
    memory = machine_memory()
    if count > _MAX_ROWS:
        raise DataError(f"{path} declares {count:,} rows", remedy=f"give it at most {_MAX_ROWS:,}")
    if memory is not None and count * _BYTES_PER_ROW > memory:
        raise DeviceError(f"{path}: its {count:,} rows do not fit in the memory", remedy="split it, and use a part")
    features = _features(schema)
    header = schema.names
    chosen = dict(given)
    for what, type in _FEATURES.items():
        names = [name for name in header if _field(features, name).get("_type") == type]
        if what not in given and len(names) == 1 and not any(name.casefold() in _COLUMN_NAMES[what] for name in header):
            chosen[what] = names[0]
    columns = find_columns(f"{path}:", header, chosen, _COLUMN_NAMES)
    image = schema.field(columns["image"])
    if image_bytes(image) is None:
        raise DataError(
            f"{path}: the column {image.name} has {image.type}, not the bytes of image files",
            remedy="store a column of bytes, or of the structs that Hugging Face's Image() makes; the column is named "
            "by data.columns.image",
        )
    class_names = _field(features, columns["label"]).get("names")
    label = schema.field(columns["label"]).type
    if isinstance(label, pa.DictionaryType):
        label = label.value_type
    readable = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    if not any(check(label) for check in readable):
        raise DataError(
            f"{path}: the column {columns['label']} has labels of type {label}",
            remedy="give whole numbers or text; the column is named by data.columns.label",
        )
    if not (pa.types.is_integer(label) and class_names and _are_texts(class_names)):
        class_names = None
    return _Shard(
        path=path,
        part=part,
        columns=columns,
        classes=None if class_names is None else tuple(class_names),
    )


def image_bytes(column: "pa.Field") -> str | None:
    """Where the bytes of images are in a column: a name as pyarrow selects columns; None if there are none."""
    import pyarrow as pa

    type, name = column.type, column.name
    if isinstance(type, pa.StructType) and type.get_field_index("bytes") >= 0:
        type, name = type.field("bytes").type, f"{name}.bytes"
    return name if pa.types.is_binary(type) or pa.types.is_large_binary(type) else None


def _features(schema: "pa.Schema") -> Mapping[str, Any]:
    """Hugging Face's description of the columns; empty if the file has none."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _field(features: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = features.get(name)
    return found if isinstance(found, dict) else {}


def _rows(shard: _Shard, root: Path) -> Iterator[TableRow]:
    """The rows of a file; those without a label have an empty one.

    Raises:
        DataError: it is damaged, or has labels or splits that cannot be understood.
    """
    labels = _values(shard, shard.columns["label"])
    splits = _values(shard, shard.columns["split"]) if shard.part is None and "split" in shard.columns else None
    prefix = shard.path.relative_to(root).as_posix()
    for number, value in enumerate(labels):
        if shard.classes is None or value is None:
            label = "" if value is None or value == -1 else str(value).strip()
        elif -1 <= value < len(shard.classes):  # -1: none
            label = shard.classes[value] if value >= 0 else ""
        else:
            raise DataError(
                f"{shard.path}: row {number} has the label {value}, but there are {len(shard.classes):,} classes",
                remedy=_INTACT,
            )
        part = shard.part
        if splits is not None:
            part = PART_OF.get(str(splits[number]).strip().casefold())
            if part is None:
                raise DataError(
                    f"{shard.path}: row {number} has an unknown split: {splits[number] or 'empty'}",
                    remedy="give train, val or test; the column is named by data.columns.split",
                )
        yield TableRow(line=number, path=f"{prefix}/{number}", label=label, part=part)


def _values(shard: _Shard, name: str) -> list[Any]:
    """A column of labels or splits. Text that is repeated is in memory once."""
    import pyarrow as pa
    import pyarrow.compute

    with parquet_errors(shard.path):
        file = open_parquet(shard.path, read_dictionary=[name])
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)
        if size > MAX_TABLE_BYTES:
            raise ValueError(f"{size:,} bytes in the column {name}, more than {MAX_TABLE_BYTES:,}")
        values: list[Any] = []
        for array in file.read(columns=[name], use_threads=False).column(0).chunks:
            if isinstance(array, pa.DictionaryArray):
                lengths = pa.compute.binary_length(array.dictionary)
                if (longest := pa.compute.max(lengths).as_py() or 0) > _MAX_TEXT:
                    raise ValueError(f"{longest:,} bytes of text in a row of the column {name}")
                texts = [*array.dictionary.to_pylist(), None]
                values += [texts[-1 if index is None else index] for index in array.indices.to_pylist()]
            else:
                values += array.to_pylist()
    return values


def open_parquet(path: Path, *, read_dictionary: Sequence[str] | None = None) -> "pq.ParquetFile":
    """Open a file to be read in pieces; see `parquet_errors` for what is raised."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        path,
        read_dictionary=read_dictionary,
        buffer_size=_BUFFER,
        pre_buffer=False,  # would read all of a column
        page_checksum_verification=True,
    )


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a file into a DataError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, NotImplementedError) as error:
        with suppress(OSError), open_to_read(path) as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise DataError(f"{path} is only a pointer of Git LFS", remedy="git lfs pull") from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read: {reason}", remedy=_INTACT) from None
