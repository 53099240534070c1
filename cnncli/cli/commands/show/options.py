"""Options that all kinds of pictures have."""

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")]
LayersOption = Annotated[
    list[str], typer.Option("--layer", metavar="NAME", help="Only this layer, as inspect names it. Repeatable.")
]
TerminalOption = Annotated[bool, typer.Option("--terminal", help="Also draw the pictures here.")]
FiltersOption = Annotated[
    list[int], typer.Option("--filter", min=0, metavar="N", help="Only this filter, counted from 0. Repeatable.")
]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="[IMAGE]...", help="Numbers of test images, or picture files of your own.", show_default=False
    ),
]
