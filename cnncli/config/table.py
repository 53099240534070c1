"""Tables of images in CSV files: a column of paths, one of labels, and perhaps one of splits."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnncli.config.image_folder import PART_NAMES, FolderPart, is_text, natural_key
from cnncli.errors import DataError, did_you_mean, shorten
from cnncli.files import read_at_most
from cnncli.limits import MAX_TABLE_BYTES

COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "file_name", "filename", "filepath", "image", "image_path"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "part", "subset", "set"),
}
"""The usual names of the columns, of which the first that a table has is used."""
_PART_OF: dict[str, FolderPart] = {name: part for part, names in PART_NAMES.items() for name in names}
_MAX_PROBLEMS = 5


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """An image of a table.

    Attributes:
        line: its number in the file.
        path: as written.
        label: the name of its class.
        part: None if the table has no column of splits.
    """

    line: int
    path: str
    label: str
    part: FolderPart | None


def read_table(path: Path, columns: Mapping[str, str]) -> list[TableRow]:
    """Read a table of images.

    Args:
        path: CSV in UTF-8 with a header; values are separated by commas, semicolons or tabs.
        columns: the names of the columns `path`, `label` and `split`, if they are not those of `COLUMN_NAMES`.

    Raises:
        DataError: the file is missing, is no table, has no such columns, or some rows cannot be understood.
    """
    try:
        content = read_at_most(path, MAX_TABLE_BYTES)
    except FileNotFoundError:
        raise DataError(
            f"data.path: file not found: {path}",
            remedy="put it there, or choose another data directory with --data-dir or $CNNCLI_DATA; to inspect the "
            "network without it, set data.classes to the number or the names of the classes",
        ) from None
    except OSError as error:
        raise DataError(
            f"data.path: {path} cannot be read: {error.strerror or error}", remedy="data.path must be a CSV file"
        ) from None
    text = content.decode("utf-8-sig", errors="surrogateescape")  # as Python has names of files
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    rows: list[TableRow] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    try:
        names = _columns(path, reader.fieldnames or (), columns)
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


def table_classes(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The labels of a table in natural order."""
    return tuple(sorted({row.label for row in rows}, key=natural_key))


def shorten_lines(lines: Sequence[str]) -> list[str]:
    """The first few lines, and the number of the others."""
    more = len(lines) - _MAX_PROBLEMS
    return [*lines[:_MAX_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]


def _columns(path: Path, header: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The name of the column of paths, of labels, and of splits if there is one."""
    found: dict[str, str] = {}
    for what, usual in COLUMN_NAMES.items():
        if what in given:
            if given[what] not in header:
                raise DataError(
                    f"{path}:1 no column {given[what]}{did_you_mean(given[what], header)}; it has {shorten(header)}",
                    remedy=f"set data.columns.{what} to one of them",
                )
            found[what] = given[what]
        elif name := next((each for each in header if each.strip().casefold() in usual), None):
            found[what] = name
        elif what != "split":
            raise DataError(
                f"{path}:1 no column of {what}s; it has {shorten(header) or 'no columns'}",
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
        part = _PART_OF.get(values["split"].casefold())
        if part is None:
            return None, f"unknown split: {values['split'] or 'empty'}; train, val or test"
    return TableRow(line=line, path=values["path"], label=values["label"], part=part), ""
