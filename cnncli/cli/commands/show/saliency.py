"""`cnncli show saliency`: which pixels speak for a class."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, InvertOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import ImagesArgument, RunArgument, TerminalOption
from cnncli.views.saliency import Method

MethodOption = Annotated[Method, typer.Option("--method", help="Which method.")]
TargetOption = Annotated[
    str | None,
    typer.Option("--target", metavar="CLASS", help="The class that is explained; the predicted one if not given."),
]
CamLayerOption = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="For Grad-CAM; the last layer with maps if not given.")
]


def saliency(
    run: RunArgument,
    images: ImagesArgument = [],  # noqa: B006  typer reads the default, nothing changes it
    method: MethodOption = Method.ALL,
    target: TargetOption = None,
    layer: CamLayerOption = None,
    invert: InvertOption = False,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Which pixels of an image speak for a class: gradient, SmoothGrad, integrated gradients, Grad-CAM, occlusion.

    Without an IMAGE it is the first test image of each of five classes.

    Examples:

      cnncli show saliency runs/lenet5-20260131-120000

      cnncli show saliency runs/lenet5-20260131-120000 3 mine.png --target 8

      cnncli show saliency runs/lenet5-20260131-120000 3 --method gradcam --layer conv2
    """
    from cnncli.views import saliency as gallery

    hang(
        run,
        lambda opened: gallery.saliency(opened, images, method=method, target=target, layer=layer, invert=invert),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
