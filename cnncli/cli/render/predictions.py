"""Predictions: the image as the network sees it, beside the most probable classes."""

from __future__ import annotations

import sys
from textwrap import wrap
from typing import TYPE_CHECKING

import torch
from rich.text import Text

from cnncli.cli.render.console import out, show_error
from cnncli.cli.render.tiles import GAP, Medium, beside, tile_lines, width_of
from cnncli.drawing.image import Tile
from cnncli.errors import CnncliError

if TYPE_CHECKING:
    from cnncli.data.preparation import PreparedImage
    from cnncli.run import Prediction

_MOST_PICTURES = 20
"""More images than this are listed without pictures."""
_BAR = 20
"""Columns of the bar of probability 1."""
_LEAST_COLUMNS = 20
"""Columns that the answer needs beside the picture; it is printed below if there are fewer."""


class PredictionDisplay:
    """Prints predictions: on a terminal with the image that the network sees, else one line for each.

    Args:
        top: the number of classes to print.
        images: how many images will be printed.
    """

    def __init__(self, *, top: int, images: int) -> None:
        self._top = top
        self._console = out()
        self._with_pictures = sys.stdout.isatty() and images <= _MOST_PICTURES

    def problem(self, error: CnncliError) -> None:
        """Print why an image cannot be predicted, on stderr."""
        show_error(CnncliError(error.message))

    def prediction(self, name: str, image: PreparedImage, prediction: Prediction) -> None:
        """Print a prediction."""
        top = list(prediction.probabilities.items())[: self._top]
        if not self._with_pictures:
            classes = ", ".join(f"{each} {probability:.1%}" for each, probability in top)
            steps = f" ({', '.join(prediction.preprocessing)})" if prediction.preprocessing else ""
            self._console.print(Text(f"{name}: {classes}{steps}"), soft_wrap=True)
            return
        medium = Medium.of(self._console)
        tile = Tile.image(torch.from_numpy(image.pixels), label="input")
        picture = list(tile_lines([tile], medium))
        room = medium.width - width_of(picture) - GAP
        self._console.print(Text(name, style="bold"), soft_wrap=True)
        if room >= _LEAST_COLUMNS:
            lines = beside([picture, _answer(top, prediction.preprocessing, room, medium)])
        else:
            lines = [*picture, *_answer(top, prediction.preprocessing, medium.width, medium)]
        for line in lines:
            self._console.print(line, no_wrap=True, crop=False, soft_wrap=True)
        self._console.print()


def _answer(top: list[tuple[str, float]], steps: tuple[str, ...], width: int, medium: Medium) -> list[Text]:
    """The most probable classes with their bars, and what was done to the image, in lines of some width."""
    room = max(1, width - len(" 100.0%") - 1)
    names = [Text(name) for name, _ in top]
    longest = min(max(name.cell_len for name in names), room)
    bar = min(_BAR, room - longest - 1)
    block = "\u2588" if medium.colors else "#"
    lines = [Text()]
    for (_, probability), name in zip(top, names, strict=True):
        name.truncate(longest, overflow="ellipsis", pad=True)
        filled = block * round(probability * bar) if bar > 0 and probability == probability else ""
        lines.append(Text.assemble(name, " ", filled.ljust(max(0, bar)), f" {probability:6.1%}"))
    lines[1].stylize("bold")
    described = ", ".join(steps) or "unchanged"
    return [*lines, Text(), *(Text(line, style="dim") for line in wrap(described, width))]
