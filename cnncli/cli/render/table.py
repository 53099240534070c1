"""The layer table in the terminal."""

from collections.abc import Iterable

from rich.text import Text

from cnncli.cli.render.console import out
from cnncli.inspection.formatting import Line, hint_lines, table_lines
from cnncli.inspection.table import LayerTable


def show_table(table: LayerTable, *, wide: bool = False) -> None:
    """Print the layer table."""
    show_lines(table_lines(table, wide=wide, width=out().width))


def show_hints(table: LayerTable) -> None:
    """Print the hints, one paragraph per name."""
    show_lines(hint_lines(table))


def show_lines(lines: Iterable[Line]) -> None:
    """Print lines with their styles."""
    console = out()
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
