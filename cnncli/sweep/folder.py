"""The folder of a sweep: its description, its journal, its trials, and its results."""

from collections.abc import Sequence
from pathlib import Path

from cnncli.errors import UsageError
from cnncli.files import disk_errors_explained, replace_file, replace_json
from cnncli.sweep.study import Plan, TrialQueue, open_storage
from cnncli.training.metadata import installed_versions

JSON_VERSION = 1


def open_sweep(folder: Path, plan: Plan, *, storage: str | None, command: Sequence[str]) -> TrialQueue:
    """Start a sweep in a folder, or continue it; describe it in `sweep.json` and `base.yaml`.

    Args:
        folder: its name is the name of the sweep in the storage.
        plan: what is varied.
        storage: a database URL or the path of a journal; by default `journal.log` in the folder.
        command: the command line.

    Raises:
        UsageError: the folder has a sweep with other settings or is something else, or the storage cannot be opened.
        DiskError: the folder cannot be written.
    """
    if (folder / "status.json").exists() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder} is not the folder of a sweep", remedy="choose another one with --name or --out")
    with disk_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    queue = TrialQueue(folder.name, folder, open_storage(storage or folder / "journal.log"), plan)
    settings = plan.settings()
    replace_file(folder / "base.yaml", settings.pop("config").encode())
    replace_json(
        folder / "sweep.json",
        {
            "version": JSON_VERSION,
            "name": folder.name,
            "config": plan.config.name,
            **settings,
            "trials": plan.trials,
            "storage": storage,
            "versions": installed_versions("optuna"),
            "command": list(command),
        },
    )
    return queue
