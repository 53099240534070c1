"""Pictures in the terminal: their files, what was measured, and the pictures themselves."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cnncli.cli.render.console import messages, out, show_notice
from cnncli.cli.render.tiles import Medium, tile_lines

if TYPE_CHECKING:
    from cnncli.drawing.color import Pixels
    from cnncli.views.view import Picture

_CELL = 8
"""Pixels in the width of a character, about: a picture is as wide as its pixels, or as the terminal."""
_DELAY = 1.0
"""Seconds after which the progress of a picture is shown."""

Item = TypeVar("Item")


def show_picture(picture: Picture, path: Path, *, draw: bool) -> None:
    """Print the path of its file on stdout, and the picture if `draw`; the lines of the picture go to stderr."""
    out().print(Text(str(path)), soft_wrap=True)
    for line in picture.lines:
        show_notice(f"  {line}")
    if draw:
        _draw(picture)


def _draw(picture: Picture) -> None:
    console = out()
    medium = Medium.of(console)
    console.print(Text(picture.title, style="bold"), soft_wrap=True)
    image = _pixel_graphics(picture.pixels, console, medium)
    if image is not None:
        console.print(image)
    elif picture.text is not None:
        ascii_only = not console.encoding.startswith("utf")
        for line in picture.text(medium.width, ascii_only):
            console.print(Text.assemble(*line), no_wrap=True, crop=False, soft_wrap=True)
    elif picture.tiles:
        for text in tile_lines(picture.tiles, medium):
            console.print(text, no_wrap=True, crop=False, soft_wrap=True)
    else:
        console.print(Text("(not drawn in the terminal: open the file)", style="dim"), soft_wrap=True)
    console.print()


def _pixel_graphics(pixels: Pixels, console: Console, medium: Medium) -> RenderableType | None:
    """A picture (H, W, 3) for terminals that draw pixels; None on others, or without the extra `terminal`."""
    if not (medium.colors and sys.stdout.isatty() and sys.stdin.isatty()):
        return None  # the terminal is queried, and its answer read
    if importlib.util.find_spec("textual_image") is None:
        return None
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # a terminal may not answer
    from textual_image import renderable

    if renderable.Image not in (renderable.SixelImage, renderable.TGPImage):
        return None
    columns = -(-pixels.shape[1] // _CELL)
    return renderable.Image(Image.fromarray(pixels), width=min(columns, console.width), height="auto")


def with_progress(items: Iterable[Item], what: str = "drawing picture") -> Iterator[Item]:
    """The items as they come; on a terminal with a line on stderr while one of them takes more than a second."""
    console = messages()
    if not console.is_terminal:
        yield from items
        return
    iterator = iter(items)
    count = 0
    while True:
        start = monotonic()

        def line(start: float = start, count: int = count) -> Text | Group:
            seconds = monotonic() - start
            return Text(f"{what} {count + 1}: {seconds:.0f} s", style="dim") if seconds >= _DELAY else Group()

        # It disappears before a result is printed.
        with Live(get_renderable=line, console=console, refresh_per_second=4, transient=True):
            try:
                item = next(iterator)
            except StopIteration:
                return
        count += 1
        yield item
