"""Options of the topics as typer declares them. A topic takes them as text and reads them with `lessons.numbers`."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

InputOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="NUMBERS",
        help="Your own input: nested lists such as '[[0,1],[2,3]]', or a .npy, .csv or .png file.",
    ),
]
KernelOption: TypeAlias = Annotated[
    str | None, typer.Option("--kernel", metavar="NUMBERS", help="Your own kernel, in the same form as --input.")
]
StrideOption: TypeAlias = Annotated[
    str, typer.Option("--stride", metavar="N or H,W", help="Pixels from one position of the window to the next.")
]
PaddingOption: TypeAlias = Annotated[
    str, typer.Option("--padding", metavar="N or H,W", help="Rows and columns of zeros on each side of the input.")
]
DilationOption: TypeAlias = Annotated[
    str, typer.Option("--dilation", metavar="N or H,W", help="Pixels from one weight of the kernel to the next.")
]
WindowOption: TypeAlias = Annotated[str, typer.Option("--window", metavar="N or H,W", help="Size of the window.")]
LayerOption: TypeAlias = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="Name of a layer, as in the table of inspect.")
]
AtOption: TypeAlias = Annotated[
    str | None, typer.Option("--at", metavar="ROW,COLUMN", help="Position of the unit in its layer, from 0,0.")
]
ImageOption: TypeAlias = Annotated[
    str, typer.Option("--image", metavar="N or FILE", help="Number of a test image, or an image file of your own.")
]
InvertOption: TypeAlias = Annotated[
    bool, typer.Option("--invert", help="Swap black and white in an image file, as for ink on paper.")
]
ConfigArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="CFG", help="A YAML config, or the name of a bundled one such as lenet5.")
]
SetOption: TypeAlias = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field, such as data.size=32. Repeatable."),
]
DataDirOption: TypeAlias = Annotated[
    Path, typer.Option("--data-dir", envvar="CNNCLI_DATA", help="Directory of the data sets.")
]

DATA_DIR = Path("data")
