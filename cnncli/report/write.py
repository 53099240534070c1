"""A run as one HTML file."""

from collections.abc import Callable
from pathlib import Path

from cnncli.errors import UsageError
from cnncli.report.collect import collect
from cnncli.report.document import document
from cnncli.training.durable import disk_errors_explained, replace_file
from cnncli.training.run_directory import RunDirectory

REPORT = "report.html"
"""The page's file in its run, unless another is named."""


def write_report(run: Path, *, out: Path | None, data_dir: Path, notify: Callable[[str], None]) -> Path:
    """Write the page of a run, in place of the one that is there.

    Args:
        run: the directory of a run, whatever its status.
        out: the file; `report.html` in the run, if not given.
        data_dir: where the run's data set is.
        notify: takes what is to be said meanwhile.

    Returns:
        Where the page is.

    Raises:
        UsageError: there is a directory of that name.
        RunError: it is no run, or it is damaged.
        DiskError: the page cannot be written.
    """
    opened = RunDirectory.open(run)
    path = out or run / REPORT
    if path.is_dir():
        raise UsageError(f"{path} is a directory", remedy="give --out the name of a file, such as report.html")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    data = collect(opened, data_dir=data_dir, notify=notify)
    head = data["head"]
    replace_file(path, document(data, title=f"{head['name']} on {head['data']}: {head['run']}").encode())
    return path
