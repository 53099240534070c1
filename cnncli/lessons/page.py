"""The parts of a page of the lecture, as plain data; `cnncli.cli.render.lesson` prints them."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = npt.NDArray[np.float64]
Pair: TypeAlias = tuple[int, int]
"""One number for each axis: (height, width), or (row, column)."""


@dataclass(frozen=True)
class Paragraph:
    """Text, wrapped to the available width."""

    text: str


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A line set off from the text; one that is too wide continues on the next line, indented."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Numbers in rows and columns.

    Attributes:
        cells: formatted numbers.
        title: printed above them.
        marked: (row, column) of highlighted cells.
        faint: (row, column) of dimmed cells.
    """

    cells: tuple[tuple[str, ...], ...]
    title: str = ""
    marked: frozenset[Pair] = frozenset()
    faint: frozenset[Pair] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """Numbers as shades.

    Attributes:
        values: (H, W).
        title: printed above them.
        signed: whether the scale diverges from zero, rather than rising from the smallest to the largest value.
        rows: first and last row of a highlighted box, or None.
        columns: first and last column of that box, or None.
    """

    values: Values
    title: str = ""
    signed: bool = False
    rows: Pair | None = None
    columns: Pair | None = None


@dataclass(frozen=True, kw_only=True)
class LetterMap:
    """One character per pixel: a dot is dimmed, each letter or digit has its own color."""

    rows: tuple[str, ...]
    title: str = ""


class Figures:
    """Figures side by side, with signs such as `*` and `=` between them; one below the other if they are too wide."""

    def __init__(self, *parts: Grid | Heatmap | LetterMap | str) -> None:
        self.parts = parts


@dataclass(frozen=True)
class Table:
    """Rows under headings. The first column is left-aligned text, the others are right-aligned numbers.

    Attributes:
        headings: of the columns.
        rows: formatted cells.
        text_columns: indices of further columns that hold text.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset()


class TryNext:
    """Suggested commands, without the leading `cnncli`."""

    def __init__(self, *commands: str) -> None:
        self.commands = commands


class Step:
    """A titled part of a page; with `--step`, the terminal waits for Enter before it."""

    def __init__(self, title: str, *blocks: "Block") -> None:
        self.title, self.blocks = title, blocks


Block: TypeAlias = Paragraph | Heading | Formula | Figures | Table | TryNext | Step


class Page:
    """A topic of the lecture, ready to be printed."""

    def __init__(self, title: str, *blocks: Block) -> None:
        self.title, self.blocks = title, blocks
