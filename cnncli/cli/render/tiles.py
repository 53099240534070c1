"""Tiles in the terminal: half blocks in colour, digits without."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from cnncli.cli.render.figures import half_block_lines
from cnncli.pictures.tile import Tile


def tile_lines(tiles: Sequence[Tile], console: Console) -> Iterator[Text]:
    """The lines of tiles, one below the other."""
    for tile in tiles:
        yield Text(tile.label)
        yield from half_block_lines(tile.pixels)
