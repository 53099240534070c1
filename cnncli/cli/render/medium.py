"""The terminal that pictures are drawn on with characters."""

from dataclasses import dataclass
from typing import Self

from rich.console import Console

PLAIN_WIDTH = 80
"""Columns if stdout is not a terminal."""


@dataclass(frozen=True)
class Medium:
    """A terminal, or plain text.

    Attributes:
        width: columns.
        colors: whether there are colors (and characters beyond ASCII).
        true_color: whether there are 24-bit colors, not only 256.
    """

    width: int
    colors: bool
    true_color: bool = True

    @classmethod
    def of(cls, console: Console, *, most: int | None = None) -> Self:
        """The medium of a console: sixteen colors are too few for a scale, and count as none.

        Args:
            console: writes to stdout.
            most: columns to use, at most.
        """
        # Colors may be turned off (NO_COLOR).
        enough = console.color_system in ("256", "truecolor") and not console.no_color
        width = console.width if console.file.isatty() else PLAIN_WIDTH
        return cls(
            width if most is None else min(width, most),
            colors=enough and console.encoding.startswith("utf"),
            true_color=console.color_system == "truecolor",
        )
