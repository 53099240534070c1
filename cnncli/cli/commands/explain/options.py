"""Options that several topics have, and what they are read as."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cnncli.lessons.page import Values
    from cnncli.lessons.walk import Pair, Sweep

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="NUMBERS",
        help="Your own input: nested lists as in '[[0,1],[2,3]]', or a .npy, .csv or .png.",
    ),
]
KernelOption = Annotated[
    str | None, typer.Option("--kernel", metavar="NUMBERS", help="Your own kernel, given like --input.")
]
StrideOption = Annotated[
    str, typer.Option("--stride", metavar="N or H,W", help="Pixels from one stop of the window to the next.")
]
PaddingOption = Annotated[str, typer.Option("--padding", metavar="N or H,W", help="Zeros around the input.")]
DilationOption = Annotated[
    str, typer.Option("--dilation", metavar="N or H,W", help="Pixels from one number of the kernel to the next.")
]
StepOption = Annotated[bool, typer.Option("--step", help="Wait for Enter before every step.")]
ImageOption = Annotated[
    str, typer.Option("--image", metavar="N or FILE", help="A test image by its number, or a picture of your own.")
]
LayerOption = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="Which layer, as inspect names it.")]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="ROW,COLUMN", help="Which unit of the layer, counted from 0,0.")
]


def values(text: str | None, option: str, *dimensions: int) -> "Values | None":
    """The numbers that an option gives, if it is given."""
    from cnncli.lessons.numbers import read_numbers

    return None if text is None else read_numbers(text, option=option, dimensions=dimensions)


def sweep(stride: str = "1", padding: str = "0", dilation: str = "1") -> "Sweep":
    """The three options that say how a window moves."""
    from cnncli.lessons.walk import Sweep, read_pair

    return Sweep(
        stride=read_pair(stride, option="--stride", least=1),
        padding=read_pair(padding, option="--padding", least=0),
        dilation=read_pair(dilation, option="--dilation", least=1),
    )


def place(at: str | None) -> "Pair | None":
    """The row and the column that `--at` gives, if it is given."""
    from cnncli.lessons.walk import read_pair

    return None if at is None else read_pair(at, option="--at", least=0)
