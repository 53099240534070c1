"""`cnncli data`: what is in a data set."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption, check_output
from cnncli.options import DATA_DIR, DataDirOption

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="The name of a data set such as mnist, a folder with one folder of images per class, a .csv, .parquet "
        "or .npz file, a folder of Parquet files, a config, - for one on stdin, or a run.",
    ),
]
SheetOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="PNG", help="Write a contact sheet: images of each class, and the augmentation."),
]


def data(
    data: DataArgument,
    out: SheetOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Summarize a data set: images of each class and split, size, mean and standard deviation, duplicates.

    Images have the size and channels of the config, or those of the data set; those of a folder 48x48. Duplicates are
    identical images and near-duplicates, also across training, validation and test images.

    Examples:

      cnncli data digits

      cnncli data my.yaml --out my-images.png
    """
    check_output(out, ".png")
    from cnncli.audit.target import find_target

    target = find_target(data, data_dir=data_dir)
    from cnncli.audit.summary import draw_summary, summarize  # imports torch: errors in the arguments come first

    summary = summarize(target, data_dir=data_dir)
    if out is not None:
        from cnncli.drawing.image import png
        from cnncli.files import replace_file

        replace_file(out, png(draw_summary(summary)))
    if as_json:
        typer.echo(json.dumps(summary.as_record(), indent=2, allow_nan=False))
    else:
        from cnncli.cli.render.data import show_summary

        show_summary(summary, sheet=out)
