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
        colours: whether it has colours (and characters beyond ASCII).
        true_colour: whether it has all of them, and not 256.
    """

    width: int
    colours: bool
    true_colour: bool = True

    @classmethod
    def of(cls, console: Console, *, most: int | None = None) -> Self:
        """A console as it says of itself: sixteen colours are too few for a scale, and count as none.

        Args:
            console: writes to stdout.
            most: columns to use of a wider one.
        """
        # What it has, it may still have been asked not to use (NO_COLOR).
        enough = console.color_system in ("256", "truecolor") and not console.no_color
        width = console.width if console.file.isatty() else PLAIN_WIDTH
        return cls(
            width if most is None else min(width, most),
            colours=enough and console.encoding.startswith("utf"),
            true_colour=console.color_system == "truecolor",
        )
