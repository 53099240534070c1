"""Exhibits in the terminal: where they are, what was measured, and the pictures themselves."""

from pathlib import Path

from rich.text import Text

from cnncli.cli.render.console import out
from cnncli.cli.render.tiles import tile_lines
from cnncli.gallery.exhibit import Exhibit


def show_exhibit(exhibit: Exhibit, path: Path, *, drawn: bool) -> None:
    """Print the path of its PNG and its numbers; draw its tiles if `drawn`."""
    console = out()
    console.print(Text(str(path)), soft_wrap=True)
    for line in exhibit.lines:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if drawn and exhibit.tiles:
        for text in tile_lines(exhibit.tiles, console):
            console.print(text, no_wrap=True, crop=False, soft_wrap=True)
