"""What a page of the lecture is made of: plain data, drawn by `cnncli.cli.render.lesson`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

Cell = tuple[int, int]
"""Row and column."""


@dataclass(frozen=True)
class Prose:
    """A paragraph, filled to the width there is."""

    text: str


@dataclass(frozen=True)
class Heading:
    """The title of a part of a page."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A line set off from the text; what is too wide goes on below, indented."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Numbers in rows and columns.

    Attributes:
        cells: as they are written.
        title: above them.
        marked: cells that stand out.
        faint: cells that stand back.
    """

    cells: tuple[tuple[str, ...], ...]
    title: str = ""
    marked: frozenset[Cell] = frozenset()
    faint: frozenset[Cell] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Numbers as shades.

    Attributes:
        values: (H, W).
        title: above them.
        signed: whether the scale diverges from zero, rather than rising from the least to the largest value.
        rows: of a box that stands out, the first and the last; None where there is none.
        columns: likewise.
    """

    values: Values
    title: str = ""
    signed: bool = False
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class LetterMap:
    """A letter or digit for every pixel; a dot stands back, and each of the others has a color of its own."""

    rows: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Sign:
    """What stands between two figures: `*`, `=`, `+`."""

    text: str


@dataclass(frozen=True)
class Figures:
    """Figures side by side, or one below the other where they are too wide."""

    parts: tuple[Grid | Picture | LetterMap | Sign, ...]


@dataclass(frozen=True)
class Table:
    """Columns under headings; the first is words, the others are numbers unless `words` names them.

    Attributes:
        headings: of the columns.
        rows: as they are written.
        words: numbers of further columns that hold words.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset()


@dataclass(frozen=True)
class TryNext:
    """Commands that lead on, without their `cnncli`."""

    commands: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A part of a page that can be waited for."""

    title: str
    blocks: tuple["Block", ...]


Block = Prose | Heading | Formula | Figures | Table | TryNext | Step


@dataclass(frozen=True)
class Page:
    """What one topic has to say."""

    title: str
    blocks: tuple[Block, ...]
