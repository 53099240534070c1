"""What pictures of characters are drawn on."""

from dataclasses import dataclass
from typing import Self

from rich.console import Console

PLAIN_WIDTH = 80
"""Columns off a terminal."""


@dataclass(frozen=True)
class Medium:
    """What is drawn on.

    Attributes:
        width: columns.
        colors: whether it has colors (and characters beyond ASCII).
        true_color: whether it has all of them, and not 256.
    """

    width: int
    colors: bool
    true_color: bool = True

    @classmethod
    def of(cls, console: Console, *, most: int | None = None) -> Self:
        """A console as it says of itself: sixteen colors are too few for a scale, and count as none.

        Args:
            console: writes to stdout.
            most: columns to use of a wider one.
        """
        # What it has, it may still have been asked not to use (NO_COLOR).
        enough = console.color_system in ("256", "truecolor") and not console.no_color
        width = console.width if console.file.isatty() else PLAIN_WIDTH
        return cls(
            width if most is None else min(width, most),
            colors=enough and console.encoding.startswith("utf"),
            true_color=console.color_system == "truecolor",
        )
