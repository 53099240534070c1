"""Topics that look into a picture or a trained network."""

from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.explain.options import (
    AtOption,
    ImageOption,
    InputOption,
    LayerOption,
    StepOption,
    place,
    values,
)
from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, InvertOption
from cnncli.cli.render.lesson import show_pages
from cnncli.errors import UsageError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="Show the kernels that this run has learned, too.")
]
UnitLayerOption = Annotated[str, typer.Option("--layer", metavar="NAME", help="Which layer, as inspect names it.")]
FilterOption = Annotated[int, typer.Option("--filter", min=0, metavar="N", help="Which feature map or number.")]
WhyOption = Annotated[bool, typer.Option("--why", help="Go back along the largest contributions to the pixels.")]


def feature_maps(
    input_: InputOption = None,
    image: ImageOption = "0",
    run: RunOption = None,
    layer: LayerOption = None,
    invert: InvertOption = False,
    data_dir: DataDirOption = DATA_DIR,
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """What edge, blur, sharpen and emboss kernels find in a digit; then what a network learned.

    Examples:

      cnncli explain feature-maps --image 3

      cnncli explain feature-maps --run runs/quickstart-20260131-120000 --layer conv2
    """
    if layer is not None and run is None:
        raise UsageError("--layer names a layer of a trained network", remedy="give its run with --run")
    if invert and run is None:
        raise UsageError("--invert is for a picture that a trained network sees", remedy="give its run with --run")
    if run is None and input_ is None and not image.isdecimal():
        raise UsageError(f"--image: {image!r} is not the number of a digit", remedy="a picture is given with --input")
    x = values(input_, "--input", 2)
    from cnncli.lessons import feature_maps as topic
    from cnncli.run import load_run
    from cnncli.views.view import read_images

    pages = [topic.feature_maps(x, int(image) if run is None and x is None else 0)]
    if run is not None:
        opened = load_run(run, data_dir=data_dir)
        (seen,) = read_images(opened, [image], invert=invert)
        pages.append(topic.learned_maps(opened, layer, seen))
    show_pages(pages, step=step)


def unit(
    run: RunArgument,
    layer: UnitLayerOption,
    filter_: FilterOption = 0,
    at: AtOption = None,
    image: ImageOption = "0",
    why: WhyOption = False,
    invert: InvertOption = False,
    data_dir: DataDirOption = DATA_DIR,
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """One number inside a trained network: its patch, kernel, sums, bias and activation.

    Examples:

      cnncli explain unit runs/lenet5-20260131-120000 --layer conv2 --filter 3 --at 5,7 --image 12

      cnncli explain unit runs/lenet5-20260131-120000 --layer logits1 --filter 7 --image my.png --why
    """
    where = place(at)
    from cnncli.lessons.unit import find_unit, unit_page, why_page
    from cnncli.run import load_run
    from cnncli.views.view import read_images

    opened = load_run(run, data_dir=data_dir)
    node = opened.node(layer)
    wanted = find_unit(node, filter_, where)
    (seen,) = read_images(opened, [image], invert=invert)
    tell = why_page if why else unit_page
    show_pages([tell(opened, node, wanted, seen)], step=step)
