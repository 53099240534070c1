"""Tables of images in CSV files: a column of paths, one of labels, and perhaps one of splits.

A folder of such a table is that of Hugging Face's `imagefolder`:

pets/metadata.csv                        whose paths may begin with the folder of a part: train/0001.png
pets/train/metadata.csv, pets/test/...   or one table for each part
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnncli.config.image_folder import PART_OF, FolderPart, is_text, natural_key
from cnncli.errors import DataError, did_you_mean, shorten
from cnncli.files import read_at_most
from cnncli.limits import MAX_TABLE_BYTES

COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "file_name", "filename", "filepath", "image", "image_path"),
    "label": ("label", "labels", "class", "target", "category"),
    "split": ("split", "part", "subset", "set"),
}
"""The usual names of the columns, of which the first that a table has is used."""
METADATA = "metadata.csv"
"""The name of the table in a folder."""
_MAX_PROBLEMS = 5


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """An image of a table.

    Attributes:
        line: its number in the file.
        path: as written, relative to the folder of the table, or absolute.
        label: the name of its class.
        part: None if the table does not say it.
    """

    line: int
    path: str
    label: str
    part: FolderPart | None


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """A table of images.

    Attributes:
        root: the folder that paths are relative to.
        rows: the images.
        classes: names of the classes, in natural order, or in that of the labels in a file that gives them names.
        unlabeled: parts whose images have no labels; they are not among the rows.
        image_column: of Parquet files: the name of the column of images.
    """

    root: Path
    rows: Sequence[TableRow]
    classes: tuple[str, ...]
    unlabeled: tuple[FolderPart, ...] = ()
    image_column: str = ""


def read_table(path: Path, columns: Mapping[str, str]) -> ImageTable:
    """Read a table of images.

    Args:
        path: CSV in UTF-8 with a header; values are separated by commas, semicolons or tabs. Or a folder with such
            tables called `METADATA`.
        columns: the names of the columns `path`, `label` and `split`, if they are not those of `COLUMN_NAMES`.

    Raises:
        DataError: the file is missing, is no table, has no such columns, or some rows cannot be understood.
    """
    try:
        is_folder = path.is_dir()
        rows = _read_folder(path, columns) if is_folder else _read_rows(path, columns)
    except OSError as error:
        raise DataError(
            f"data.path: {path} cannot be read: {error.strerror or error}", remedy="data.path must be a CSV file"
        ) from None
    classes = tuple(sorted({row.label for row in rows}, key=natural_key))
    return ImageTable(root=path if is_folder else path.parent, rows=rows, classes=classes)


def has_metadata(folder: Path) -> bool:
    """Whether a folder has tables called `METADATA`."""
    return (folder / METADATA).is_file() or bool(_part_tables(folder))


def _part_tables(folder: Path) -> dict[Path, FolderPart]:
    """The tables in the folders of parts."""
    parts = {path: PART_OF.get(path.name.casefold()) for path in sorted(folder.iterdir())}
    return {path / METADATA: part for path, part in parts.items() if part and (path / METADATA).is_file()}


def _read_folder(folder: Path, columns: Mapping[str, str]) -> list[TableRow]:
    if (folder / METADATA).is_file():
        rows = _read_rows(folder / METADATA, columns)
        if any(row.part is not None for row in rows):
            return rows
        parts = [PART_OF.get(row.path.partition("/")[0].casefold()) for row in rows]
        return [replace(row, part=part) for row, part in zip(rows, parts, strict=True)] if all(parts) else rows
    if not (tables := _part_tables(folder)):
        raise DataError(f"data.path: {folder} has no {METADATA}", remedy="data.path must be a CSV file")
    return [
        replace(row, path=(Path(path.parent.name) / row.path).as_posix(), part=part)
        for path, part in tables.items()
        for row in _read_rows(path, columns)
    ]


def _read_rows(path: Path, columns: Mapping[str, str]) -> list[TableRow]:
    """The rows of one file; see `read_table`."""
    try:
        content = read_at_most(path, MAX_TABLE_BYTES)
    except FileNotFoundError:
        raise DataError(
            f"data.path: file not found: {path}",
            remedy="put it there, or choose another data directory with --data-dir or $CNNCLI_DATA; to inspect the "
            "network without it, set data.classes to the number or the names of the classes",
        ) from None
    text = content.decode("utf-8-sig", errors="surrogateescape")  # as Python has names of files
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    rows: list[TableRow] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    try:
        names = find_columns(f"{path}:1", reader.fieldnames or (), columns, COLUMN_NAMES)
        for fields in reader:
            row, problem = _row(fields, names, reader.line_num)
            if row is not None and row.path in lines:
                problem = f"{row.path} is there already, on line {lines[row.path]}"
            if row is None or problem:
                problems.append(f"{path}:{reader.line_num} {problem}")
                continue
            lines[row.path] = row.line
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.reader.line_num} not CSV: {error}", remedy="correct the file") from None
    if problems:
        raise DataError("\n".join(shorten_lines(problems)), remedy="correct or delete these lines")
    return rows


def shorten_lines(lines: Sequence[str]) -> list[str]:
    """The first few lines, and the number of the others."""
    more = len(lines) - _MAX_PROBLEMS
    return [*lines[:_MAX_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]


def find_columns(
    where: str, header: Sequence[str], given: Mapping[str, str], usual: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """The names of the columns of a table, that of splits only if there is one.

    Args:
        where: the file, for messages.
        header: all names.
        given: those that the config gives.
        usual: the usual names of each column, in lower case.

    Raises:
        DataError: a column is missing.
    """
    found: dict[str, str] = {}
    for what, names in usual.items():
        if what in given:
            if given[what] not in header:
                raise DataError(
                    f"{where} no column {given[what]}{did_you_mean(given[what], header)}; it has {shorten(header)}",
                    remedy=f"set data.columns.{what} to one of them",
                )
            found[what] = given[what]
        elif name := next((each for each in header if each.strip().casefold() in names), None):
            found[what] = name
        elif what != "split":
            raise DataError(
                f"{where} no column of {what}s; it has {shorten(header) or 'no columns'}",
                remedy=f"call it {what}, or name it with --set data.columns.{what}=NAME",
            )
    return found


def _row(fields: Mapping[str, str | None], names: Mapping[str, str], line: int) -> tuple[TableRow | None, str]:
    """A row, or None and what is wrong with it."""
    if None in fields or None in fields.values():
        return None, "the line has more or fewer values than the header"
    values = {what: (fields[name] or "").strip() for what, name in names.items()}
    for what in ("path", "label"):
        if not values[what]:
            return None, f"no {what}"
    if not is_text(values["label"]):
        return None, f"the label is not UTF-8 text: {values['label']}"
    part = None
    if "split" in values:
        part = PART_OF.get(values["split"].casefold())
        if part is None:
            return None, f"unknown split: {values['split'] or 'empty'}; train, val or test"
    return TableRow(line=line, path=values["path"], label=values["label"], part=part), ""
