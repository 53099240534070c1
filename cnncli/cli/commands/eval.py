"""`cnncli eval`: the scores of a run on labeled images."""

import json
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption
from cnncli.errors import UsageError
from cnncli.options import DATA_DIR, DEVICE, DataDirOption, DeviceOption, RunArgument

if TYPE_CHECKING:
    from cnncli.run import Run

_ROBUSTNESS_IMAGES = 2000


class SplitName(StrEnum):
    """Which images of a data set."""

    test = "test"
    val = "val"
    train = "train"


SplitOption = Annotated[SplitName, typer.Option("--split", case_sensitive=False, help="Which images.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|DIR",
        help="Another data set: the name of one, or a folder with one folder of images per class. Its classes are "
        "matched by name. Default: the data set of the run.",
    ),
]
TtaOption = Annotated[
    bool, typer.Option("--tta", help="Average over the flips and shifts of each image that the training used.")
]
RobustnessOption = Annotated[
    bool,
    typer.Option("--robustness", help="Also measure the accuracy on distorted images, and how layers follow a shift."),
]
ImagesOption = Annotated[
    int | None,
    typer.Option(
        "--images",
        min=2,
        metavar="N",
        help=f"Number of images for --robustness, evenly spaced. Default: {_ROBUSTNESS_IMAGES}.",
    ),
]


def eval(
    run: RunArgument,
    split: SplitOption = SplitName.test,
    data: DataOption = None,
    tta: TtaOption = False,
    robustness: RobustnessOption = False,
    images: ImagesOption = None,
    device: DeviceOption = DEVICE,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Evaluate a run: accuracy with its interval, loss, calibration error, and the scores of each class.

    Examples:

      cnncli eval runs/lenet5-20260131-120000

      cnncli eval runs/lenet5-20260131-120000 --split val --json

      cnncli eval runs/lenet5-20260131-120000 --data emnist/digits

      cnncli eval runs/lenet5-20260131-120000 --robustness
    """
    if tta and robustness:
        raise UsageError("--tta and --robustness are evaluated separately", remedy="use only one of them")
    if images is not None and not robustness:
        raise UsageError("--images is only for --robustness", remedy="omit it: the scores are those of all images")
    from cnncli.run import load_run
    from cnncli.training.device import resolve_device

    opened = load_run(run, data_dir=data_dir, device=resolve_device(device))
    evaluation = opened.evaluate(split.value, data=data, tta=tta)
    if not as_json:
        from cnncli.cli.render.table import show_evaluation

        show_evaluation(evaluation, title=_title(opened, split, data, tta))
    most = images or _ROBUSTNESS_IMAGES
    measured = _measure_robustness(opened, split, data, most, quiet=as_json) if robustness else {}
    if as_json:
        record = {"run": str(run), **_options(opened, split, data, tta), **evaluation.as_json(), **measured}
        typer.echo(json.dumps(record, allow_nan=False))


def _measure_robustness(run: "Run", split: SplitName, data: str | None, most: int, *, quiet: bool) -> dict[str, Any]:
    """Measure the robustness, print it unless `quiet`, and save its picture.

    Returns:
        The key `robustness` of the JSON object.
    """
    from cnncli.cli.render.robustness import show_robustness
    from cnncli.cli.render.views import show_picture, with_progress
    from cnncli.robustness.picture import draw_robustness, draw_robustness_card
    from cnncli.robustness.robustness import measure_robustness
    from cnncli.views.view import Picture, save

    progress = partial(with_progress, what="measuring distortion")
    robustness = measure_robustness(run, split.value, most=most, data=data, progress=progress)
    title = f"{robustness.images:,} {split.value} images of {_data(run, data)}"
    picture = Picture(
        tag="eval/robustness",
        title="accuracy on distorted images",
        canvas=draw_robustness(robustness.accuracies, plain=robustness.accuracy, title=title),
        card=draw_robustness_card(robustness.accuracies, plain=robustness.accuracy),
        numbers={"undistorted": robustness.accuracy} | robustness.means,
    )
    if not quiet:
        show_robustness(robustness)
    ((_, png),) = save(run, [picture])
    if not quiet:
        show_picture(picture, png, draw=False)
    return {"robustness": {**robustness.as_json(), "picture": str(png)}}


def _data(run: "Run", data: str | None) -> str:
    return data or run.config.data.name


def _options(run: "Run", split: SplitName, data: str | None, tta: bool) -> dict[str, Any]:
    """What was evaluated, as JSON values."""
    return {
        "split": split.value,
        "data": _data(run, data),
        "tta": [str(variant) for variant in run.test_time_variants] if tta else [],
    }


def _title(run: "Run", split: SplitName, data: str | None, tta: bool) -> str:
    averaged = f", averaged over {len(run.test_time_variants)} variants of each image" if tta else ""
    return f"{run.path}, epoch {run.epoch}, on the {split.value} images of {_data(run, data)}{averaged}"
