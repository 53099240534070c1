"""`cnncli eval`: the scores of a run on labeled images."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption
from cnncli.options import DATA_DIR, DEVICE, DataDirOption, DeviceOption, RunArgument

if TYPE_CHECKING:
    from cnncli.run import Run


class SplitName(StrEnum):
    """Which images of a data set."""

    test = "test"
    val = "val"
    train = "train"


SplitOption = Annotated[SplitName, typer.Option("--split", help="Which images.")]
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


def eval(
    run: RunArgument,
    split: SplitOption = SplitName.test,
    data: DataOption = None,
    tta: TtaOption = False,
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
    """
    from cnncli.run import load_run
    from cnncli.training.device import resolve_device

    opened = load_run(run, data_dir=data_dir, device=resolve_device(device))
    evaluation = opened.evaluate(split.value, data=data, tta=tta)
    if as_json:
        record = {"run": str(run), **_options(opened, split, data, tta), **evaluation.as_json()}
        typer.echo(json.dumps(record, allow_nan=False))
        return
    from cnncli.cli.render.table import show_evaluation

    show_evaluation(evaluation, title=_title(opened, split, data, tta))


def _options(run: "Run", split: SplitName, data: str | None, tta: bool) -> dict[str, Any]:
    """What was evaluated, as JSON values."""
    return {
        "split": split.value,
        "data": data or run.config.data.name,
        "tta": [str(variant) for variant in run.test_time_variants] if tta else [],
    }


def _title(run: "Run", split: SplitName, data: str | None, tta: bool) -> str:
    averaged = f", averaged over {len(run.test_time_variants)} variants of each image" if tta else ""
    return f"{run.path}, epoch {run.epoch}, on the {split.value} images of {data or run.config.data.name}{averaged}"
