"""The effective receptive field as numbers."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.cli.render.console import out


def show_sides(field: Mapping[str, Any]) -> None:
    """Print what `EffectiveField.as_json` gives: the sides of squares, trained and untrained."""
    console = out()
    unit = ",".join(map(str, field["unit"]))
    console.print(Text(f"{field['layer']}, unit {unit}, over {field['images']} images", style="bold"))
    shares = sorted({share for weights in ("trained", "untrained") for share in field[weights]}, key=int)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("side of the square that holds")
    for share in shares:
        table.add_column(f"{share}%", justify="right")
    for weights in ("trained", "untrained"):
        sides = field[weights]
        table.add_row(weights, *(str(sides[share]) for share in shares if sides), *([] if sides else ["no gradient"]))
    console.print(table)
    (top, bottom), (left, right) = field["rows"], field["columns"]
    console.print(f"the whole field: rows {top} to {bottom}, columns {left} to {right}")
