"""Pictures as they are, in terminals that take pixels (Kitty's protocol, Sixel), with the extra `terminal`."""

import importlib.util
import logging
import sys

from PIL import Image
from rich.console import Console, RenderableType

from cnncli.cli.render.medium import Medium
from cnncli.pictures.colour import Pixels

_CELL = 8
"""Pixels in the width of a character, about: a picture is as wide as its pixels, or as the terminal."""


def pixel_graphics(pixels: Pixels, console: Console, medium: Medium) -> RenderableType | None:
    """A picture (H, W, 3) for the console; None where the terminal takes none, or the extra is not installed."""
    if not (medium.colours and sys.stdout.isatty() and sys.stdin.isatty()):
        return None  # the terminal is asked, and its answer read
    if importlib.util.find_spec("textual_image") is None:
        return None
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # a terminal that does not answer is no error here
    from textual_image import renderable

    if renderable.Image not in (renderable.SixelImage, renderable.TGPImage):
        return None
    columns = -(-pixels.shape[1] // _CELL)
    return renderable.Image(Image.fromarray(pixels), width=min(columns, console.width), height="auto")
