"""`cnncli audit`: labels of a data set that look wrong, and duplicates."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption
from cnncli.cli.messages import show_log
from cnncli.options import DATA_DIR, DEVICE, DataDirOption, DeviceOption, ThreadsOption

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="The name of a data set such as mnist, a folder with one folder of images per class, or a config, - for "
        "one on stdin, or a run, whose data section is audited.",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="CFG",
        help="The config whose network and training are used. Default: mnist-fast, or quickstart for images below "
        "16x16.",
    ),
]
FoldsOption = Annotated[
    int, typer.Option("--folds", min=2, max=100, metavar="N", help="Networks to train, each without one of N parts.")
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        min=1,
        metavar="N",
        help="Epochs of each network. Default: of CFG, more for few images.",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1, metavar="N", help="Seed of the parts and the networks.")
]
TopOption = Annotated[
    int, typer.Option("--top", min=1, metavar="N", help="Number of images in the tables and on the contact sheets.")
]
AuditsOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="The folder for audits; each gets a folder of its own there.")
]


def audit(
    data: DataArgument,
    recipe: RecipeOption = None,
    folds: FoldsOption = 5,
    epochs: EpochsOption = None,
    seed: SeedOption = 0,
    top: TopOption = 24,
    out: AuditsOption = Path("audits"),
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    device: DeviceOption = DEVICE,
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> None:
    """Find labels that look wrong, and duplicates, in a data set.

    The data set is not changed. Small networks are trained, each without a part of the training images, and predict
    what they have not seen. Labels that they confidently contradict are listed (confident learning), drawn on a contact
    sheet, and written with the suggested labels to a CSV file: check it, then train with it as data.relabel.

    Examples:

      cnncli audit digits

      cnncli audit my.yaml --config fashion-fast --top 100
    """
    from cnncli.audit.target import find_target, fold_config

    target = find_target(data, data_dir=data_dir)
    config = fold_config(target, recipe, seed=seed, epochs=epochs, data_dir=data_dir)
    import torch  # takes seconds: errors in the arguments have been reported by now

    from cnncli.audit.audit import audit as audit_data
    from cnncli.audit.output import audit_folder, write_audit
    from cnncli.cli.render.audit import show_audit
    from cnncli.cli.render.training import TrainingDisplay, output_mode
    from cnncli.inspection.table import inspect_network
    from cnncli.training.device import keep_freed_memory, resolve_device, useful_threads

    macs = inspect_network(config.network, config.name).macs * config.train.batch_size
    torch.set_num_threads(threads or useful_threads(macs))
    display = TrainingDisplay(output_mode(quiet=False, as_json=False))
    used = resolve_device(device)
    keep_freed_memory()
    with audit_folder(out, target, datetime.now().astimezone()) as folder:
        with show_log(display.notice), display.live():  # messages appear above the live line
            found = audit_data(
                target,
                config,
                folds=folds,
                extend=epochs is None,
                data_dir=data_dir,
                device=used,
                progress=display.progress,
            )
        write_audit(found, folder, most=top)
    if as_json:
        typer.echo(json.dumps([issue.as_record() for issue in found.issues], indent=2, allow_nan=False))
    else:
        show_audit(found, folder, most=top)
