"""What a drawing consists of, in px from its upper left corner.

A canvas collects these shapes; `raster` and `svg` draw them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cnncli.drawing.color import Color, Pixels
from cnncli.printable import printable

Anchor: TypeAlias = Literal["start", "middle", "end"]
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A line of text.

    Attributes:
        x, y: where its start, middle or end is, and its upper edge or, if `centered`, the middle of its height.
        text: with single spaces between words.
        size: of the letters.
        color: of the letters.
        anchor: which part of the text is at x.
        centered: whether y is the middle of its height.
        upward: whether it reads from bottom to top; it then starts at y, and x is the middle of its height.
    """

    x: float
    y: float
    text: str
    size: int
    color: Color
    anchor: Anchor = "start"
    centered: bool = False
    upward: bool = False

    def __post_init__(self) -> None:
        """Escape control characters, which neither pixels nor SVG can show."""
        object.__setattr__(self, "text", printable(self.text))


@dataclass(frozen=True, kw_only=True)
class Rectangle:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    color: Color


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A frame of `thickness`, whose outer edges these are."""

    x: float
    y: float
    width: float
    height: float
    thickness: int
    color: Color


@dataclass(frozen=True)
class Line:
    """Straight lines through points."""

    points: Sequence[Point]
    color: Color
    width: float


@dataclass(frozen=True)
class Polygon:
    """A filled area between corners."""

    points: Sequence[Point]
    color: Color


@dataclass(frozen=True, kw_only=True)
class Disc:
    """A filled circle around x, y, with a ring of one px if it has a color."""

    x: float
    y: float
    radius: float
    color: Color
    ring: Color | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Mosaic:
    """Pixels (h, w, 3), each of them a square of `scale` px."""

    x: int
    y: int
    pixels: Pixels
    scale: int


Shape: TypeAlias = Text | Rectangle | Outline | Line | Polygon | Disc | Mosaic
