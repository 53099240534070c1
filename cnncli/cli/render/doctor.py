"""The result of `cnncli doctor`."""

from collections.abc import Iterable, Sequence

from cnncli.cli.render.console import out
from cnncli.cli.render.table import show_lines
from cnncli.doctor import DataSetState, Device, Diagnosis, Extra, Folder, RunState
from cnncli.inspection.columns import counted, size_in_bytes
from cnncli.inspection.formatting import Line, Span, align

_GOOD, _BAD, _QUIET = "green", "bold red", "dim"
_STATES = {
    "included": _GOOD,
    "intact": _GOOD,
    "complete": _GOOD,
    "incomplete": "yellow",
    "damaged": _BAD,
    "absent": _QUIET,
}


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """Print what was found, and at the end the problems with their remedies."""
    packages = {name: found for name, found in diagnosis.versions.items() if name not in ("cnncli", "python")}
    torch = diagnosis.torch
    threads = f"; torch uses {counted(torch.threads, 'thread')}" if torch.threads else ""
    lines: list[Line] = [
        [(f"cnncli {diagnosis.versions['cnncli']}", "bold"), (f", Python {diagnosis.versions['python']}", "")],
        [(diagnosis.system, "")],
        [(f"{counted(diagnosis.cores, 'core')}{threads}", "")],
        *_table(("package", "version"), ([(name, ""), _version(found)] for name, found in packages.items())),
        *_table(("device", "model", "memory", "precision: auto"), map(_device, torch.devices)),
        *_table(("data set", "state", "files"), map(_data_set, diagnosis.data_sets)),
        *_table(("folder", "free", "path"), map(_folder, diagnosis.folders)),
        *_table(("run", "state", "command"), map(_run, diagnosis.runs)),
        *_table(("extra", "state", "for", "install"), map(_extra, diagnosis.extras)),
        *_table(("variable", "value"), ([(name, ""), (value, "")] for name, value in diagnosis.environment.items())),
        [],
    ]
    for problem in diagnosis.problems:
        lines.append([("problem: ", _BAD), (problem.message, "")])
        lines += [[(f"  {line}", "cyan")] for line in (problem.remedy or "").splitlines()]
    lines.append(
        [("no problems", _GOOD)]
        if not diagnosis.problems
        else [(f"exit code {diagnosis.problems[0].exit_code}", _QUIET)]
    )
    show_lines(lines)


def _table(headings: Sequence[str], rows: Iterable[Sequence[Span]]) -> list[Line]:
    """A table after a blank line; nothing if it has no rows."""
    rows = list(rows)
    if not rows:
        return []
    numeric = [heading in ("free", "memory") for heading in headings]
    return [[], *align(headings, rows, numeric=numeric, width=out().width)]


def _version(found: str | None) -> Span:
    return (found, "") if found else ("not installed", _BAD)


def _device(device: Device) -> list[Span]:
    if device.unavailable is not None:
        return [(device.name, _QUIET), (device.unavailable, _QUIET)]
    memory = "" if device.memory is None else size_in_bytes(device.memory)
    return [(device.name, ""), (device.model or "", ""), (memory, ""), ("bf16" if device.bf16 else "fp32", "")]


def _data_set(data_set: DataSetState) -> list[Span]:
    note = {"damaged": "damaged: ", "incomplete": "missing: "}.get(data_set.state, "")
    return [(data_set.name, ""), (data_set.state, _STATES[data_set.state]), (note + ", ".join(data_set.files), "")]


def _folder(folder: Folder) -> list[Span]:
    writable = "" if folder.writable else " (not writable)"
    free = "" if folder.free is None else size_in_bytes(folder.free)
    return [(folder.purpose, ""), (free, ""), (f"{folder.path}{writable}", "")]


def _run(run: RunState) -> list[Span]:
    return [(str(run.path), ""), (run.state, _BAD if run.state == "damaged" else "yellow"), (run.remedy, "")]


def _extra(extra: Extra) -> list[Span]:
    state = ("missing", _QUIET) if extra.missing else ("installed", _GOOD)
    return [(extra.name, ""), state, (extra.purpose, ""), (extra.install or "", "")]
