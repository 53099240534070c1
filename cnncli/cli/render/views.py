"""Exhibits in the terminal: where they are, what was measured, and the pictures themselves."""

import importlib.util
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import TypeVar

from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cnncli.cli.render.console import messages, out, show_notice
from cnncli.cli.render.medium import Medium
from cnncli.cli.render.tiles import tile_lines
from cnncli.drawing.color import Pixels
from cnncli.views.view import Exhibit

_CELL = 8
"""Pixels in the width of a character, about: a picture is as wide as its pixels, or as the terminal."""


def pixel_graphics(pixels: Pixels, console: Console, medium: Medium) -> RenderableType | None:
    """A picture (H, W, 3) for the console; None where the terminal takes none, or the extra is not installed."""
    if not (medium.colors and sys.stdout.isatty() and sys.stdin.isatty()):
        return None  # the terminal is asked, and its answer read
    if importlib.util.find_spec("textual_image") is None:
        return None
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # a terminal that does not answer is no error here
    from textual_image import renderable

    if renderable.Image not in (renderable.SixelImage, renderable.TGPImage):
        return None
    columns = -(-pixels.shape[1] // _CELL)
    return renderable.Image(Image.fromarray(pixels), width=min(columns, console.width), height="auto")


_PATIENCE = 1.0
"""Seconds after which somebody who waits is told that something goes on."""

Item = TypeVar("Item")


def show_exhibit(exhibit: Exhibit, path: Path, *, drawn: bool) -> None:
    """Print the path of its PNG on stdout, and if `drawn` the picture; what is to be said of it goes to stderr."""
    console = out()
    console.print(Text(str(path)), soft_wrap=True)
    for line in exhibit.lines:
        show_notice(f"  {line}")
    if drawn:
        _draw(exhibit)


def _draw(exhibit: Exhibit) -> None:
    console = out()
    medium = Medium.of(console)
    console.print(Text(exhibit.title, style="bold"), soft_wrap=True)
    picture = pixel_graphics(exhibit.pixels, console, medium)
    if picture is not None:
        console.print(picture)
    elif exhibit.tiles:
        for text in tile_lines(exhibit.tiles, medium):
            console.print(text, no_wrap=True, crop=False, soft_wrap=True)
    else:
        console.print(Text("(no small picture of this one: open the file)", style="dim"), soft_wrap=True)
    console.print()


def waiting_for(items: Iterable[Item]) -> Iterator[Item]:
    """The items as they come; on a terminal with a line on stderr while one of them takes more than a second."""
    console = messages()
    if not console.is_terminal:
        yield from items
        return
    iterator = iter(items)
    count = 0
    while True:
        began = monotonic()

        def line(began: float = began, count: int = count) -> Text | Group:
            waited = monotonic() - began
            if waited < _PATIENCE:
                return Group()
            return Text(f"drawing picture {count + 1}: {waited:.0f} s", style="dim")

        # It goes before a result is printed, which would else stand in the middle of it.
        with Live(get_renderable=line, console=console, refresh_per_second=4, transient=True):
            try:
                item = next(iterator)
            except StopIteration:
                return
        count += 1
        yield item
