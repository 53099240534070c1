"""Runs in the terminal: their list, one of them, a comparison, a verification, and what a deletion would do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cnncli.cli.render.console import out, show_notice
from cnncli.cli.render.plot import curve_style, plot_lines, sparkline
from cnncli.cli.render.table import show_lines
from cnncli.drawing.chart import Chart
from cnncli.errors import RunError
from cnncli.inspection.columns import UNKNOWN, counted, size_in_bytes
from cnncli.inspection.formatting import Line, Span, align
from cnncli.layers import format_size
from cnncli.runs.details import RunDetails, run_charts
from cnncli.runs.prune import Deletion, delete
from cnncli.runs.summary import RunSummary, number_at, value_at

if TYPE_CHECKING:
    from cnncli.runs.compare import Comparison
    from cnncli.runs.verify import Check

_STATUS_STYLES = {"complete": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "damaged": "red"}
_SPARKLINE_WIDTH = 12
_MIN_NAME = 12
_PLAIN_PLOT_WIDTH = 80
"""Characters of a plot that is not in a terminal."""


@dataclass(frozen=True)
class _Column:
    """A column of the list of runs.

    Attributes:
        heading: its heading.
        cell: the text of a run and its style.
        numeric: whether it is aligned right.
        importance: columns with the lowest one are left out first in a narrow terminal.
    """

    heading: str
    cell: Callable[[RunSummary, Console], Span]
    numeric: bool
    importance: int


def _text(of: Callable[[RunSummary], str]) -> Callable[[RunSummary, Console], Span]:
    return lambda run, console: (of(run), "")


_COLUMNS = (
    _Column("run", _text(lambda run: run.name), numeric=False, importance=10),
    _Column("status", lambda run, _: (run.status, _STATUS_STYLES[run.status]), numeric=False, importance=8),
    _Column("config", _text(lambda run: run.config or ""), numeric=False, importance=2),
    _Column("data", _text(lambda run: run.data or ""), numeric=False, importance=4),
    _Column("epochs", _text(lambda run: _epochs(run)), numeric=True, importance=6),
    _Column("val", _text(lambda run: _percent(run.val_accuracy)), numeric=True, importance=7),
    _Column("test", _text(lambda run: _percent(run.accuracy)), numeric=True, importance=9),
    _Column(
        "val by epoch",
        lambda run, console: (sparkline(run.curve, width=_SPARKLINE_WIDTH, encoding=console.encoding), "cyan"),
        numeric=False,
        importance=3,
    ),
    _Column("params", _text(lambda run: "" if run.params is None else f"{run.params:,}"), numeric=True, importance=5),
    _Column("time", _text(lambda run: duration(run.seconds or None)), numeric=True, importance=1),
    _Column("size", _text(lambda run: size_in_bytes(run.size)), numeric=True, importance=0),
    _Column("started", _text(lambda run: _minute(run.started)), numeric=False, importance=1),
)


def show_runs(runs: Sequence[RunSummary]) -> None:
    """Print a row for each run, without the columns that do not fit into the terminal; below them what is wrong."""
    console = out()
    cells = {column.heading: [column.cell(run, console) for run in runs] for column in _COLUMNS}
    widths = {
        column.heading: max(len(column.heading), *(len(text) for text, _ in cells[column.heading]))
        for column in _COLUMNS
    }
    name = _COLUMNS[0].heading
    shown, widths[name] = _fitting(widths, console.width)
    cells[name] = [(shortened(text, widths[name]), style) for text, style in cells[name]]
    lines = align(
        [column.heading for column in shown],
        [[cells[column.heading][i] for column in shown] for i in range(len(runs))],
        numeric=[column.numeric for column in shown],
    )
    show_lines(lines)
    show_lines(_problem_lines(runs))


def _fitting(widths: Mapping[str, int], width: int) -> tuple[list[_Column], int]:
    """The columns that fit into a line, and the width of the first one, which is shortened only beside the last two.

    Args:
        widths: heading -> width of a column.
        width: of the line.
    """
    shown = list(_COLUMNS)
    while True:
        needed = widths[shown[0].heading]
        room = width - sum(2 + widths[column.heading] for column in shown[1:])
        if room >= (needed if len(shown) > 3 else min(needed, _MIN_NAME)) or len(shown) == 1:
            return shown, max(1, min(needed, room))
        shown.remove(min(shown, key=lambda column: column.importance))


def _problem_lines(runs: Sequence[RunSummary]) -> list[Line]:
    lines: list[Line] = []
    for run in runs:
        lines += [[(f"{run.name}: ", "bold"), (problem, "yellow")] for problem in run.problems]
        if run.reason:
            lines.append([(f"{run.name}: ", "bold"), (run.reason, "red" if run.status == "failed" else "yellow")])
    return [[], *lines] if lines else []


def shortened(text: str, width: int) -> str:
    """The beginning and the end of a text, if it is longer than `width`."""
    if len(text) <= width:
        return text
    end = max(0, (width - 2) * 2 // 3)
    return text[: max(0, width - 2 - end)] + ".."[:width] + text[len(text) - end :]


def duration(seconds: float | None) -> str:
    """A time with its unit, such as `4.9 s`, `3.1 min` or `2.0 h`."""
    if seconds is None:
        return ""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _minute(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else ""


def _epochs(run: RunSummary) -> str:
    if run.epochs is None:
        return UNKNOWN
    return str(run.epochs) if run.planned_epochs in (None, run.epochs) else f"{run.epochs}/{run.planned_epochs}"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.2%}"


def show_run(details: RunDetails) -> None:
    """Print everything about a run: facts, results, curves and files."""
    show_lines([[(str(details.summary.path), "bold")]])
    facts = _facts(details)
    width = max(len(name) for name, _ in facts)
    show_lines([(f"{name:{width}}  ", "dim"), (text, _STATUS_STYLES.get(text, ""))] for name, text in facts)
    show_lines([("problem: ", "bold"), (problem, "yellow")] for problem in details.summary.problems)
    if details.results:
        show_lines([[], *_result_lines(details.results)])
    show_charts(run_charts(details.metrics))
    files = [[(name, ""), (size_in_bytes(size), "")] for name, size in details.files.items()]
    total = [(counted(len(files), "file"), ""), (size_in_bytes(details.summary.size), "")]
    show_lines([[], *align(["file", "size"], files, numeric=[False, True], footer=total, width=out().width)])


def _facts(details: RunDetails) -> list[tuple[str, str]]:
    """Name and value of each line; values that are unknown are left out."""
    summary, metadata, table = details.summary, details.metadata, details.table
    facts = [
        ("status", summary.status),
        ("reason", summary.reason),
        ("started", summary.started and f"{summary.started:%Y-%m-%d %H:%M:%S}"),
        ("config", summary.config),
        (
            "network",
            table
            and f"{counted(len(table), 'layer')}, {table.params:,} parameters, {table.macs:,} MACs, "
            f"input {format_size(table.input_shape)}",
        ),
        ("data", _data(details)),
        ("training", _training(details)),
        ("device", _device(metadata)),
        ("versions", ", ".join(f"{name} {each}" for name, each in _mapping(metadata, "versions").items() if each)),
        ("platform", metadata.get("platform")),
        ("git commit", metadata.get("git_commit")),
        ("command", _command(metadata)),
        *(("resumed", _command(each)) for each in _list(metadata, "resumed")),
        *(("data file", f"{name} {checksum}") for name, checksum in _mapping(metadata, "data").items()),
    ]
    return [(name, str(text)) for name, text in facts if text]


def _data(details: RunDetails) -> str | None:
    if details.config is None:
        return details.summary.data
    return f"{details.config.data.name}, {len(details.config.classes)} classes"


def _training(details: RunDetails) -> str:
    summary = details.summary
    parts = [f"{summary.epochs or 0} of {counted(summary.planned_epochs or 0, 'epoch')}", duration(summary.seconds)]
    if details.config is not None:
        spec = details.config.train
        optimizer = f"{spec.optimizer.type_name()} with lr {spec.optimizer.lr:g}"
        parts += [optimizer, f"batch size {spec.batch_size}", f"seed {spec.seed}"]
    return ", ".join(part for part in parts if part)


def _device(metadata: Mapping[str, Any]) -> str:
    device = _mapping(metadata, "device")
    threads, processes = (number_at(metadata, key) for key in ("threads", "processes"))
    parts = [
        " ".join(str(part) for part in (device.get("type"), device.get("name")) if part),
        metadata.get("precision"),
        threads and counted(int(threads), "thread"),
        processes and processes > 1 and f"{processes:.0f} processes",
    ]
    return ", ".join(str(part) for part in parts if part)


def _command(metadata: Mapping[str, Any]) -> str:
    return shlex.join(str(word) for word in _list(metadata, "command"))


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _result_lines(results: Mapping[str, Any]) -> list[Line]:
    """Loss, accuracies and macro F1 of each split, and the accuracy of each class."""
    splits = [split for split in ("train", "val", "test") if split in results]
    classes = list(_mapping(_mapping(results, "test"), "per_class"))
    rows = [
        ("loss", ["loss"], ".4f"),
        ("accuracy", ["accuracy"], ".2%"),
        ("balanced accuracy", ["balanced_accuracy"], ".2%"),
        ("macro F1", ["macro_f1"], ".2%"),
        (f"top-{value_at(results, *splits[:1], 'top_k')} accuracy", ["top_k_accuracy"], ".2%"),
    ]
    rows = [row for row in rows if any(value_at(results, split, *row[1]) is not None for split in splits)]
    rows += [(name, ["per_class", name], ".2%") for name in classes]
    cells: list[list[Span]] = [
        [(name, ""), *((_number(value_at(results, split, *keys), form), "") for split in splits)]
        for name, keys, form in rows
    ]
    heading: Line = [(f"weights of epoch {results.get('epoch')}", "")]
    return [heading, *align(["", *splits], cells, numeric=[False, *(True for _ in splits)], width=out().width)]


def _number(value: Any, form: str) -> str:  # noqa: ANN401  JSON
    return f"{value:{form}}" if isinstance(value, int | float) else ""


def show_comparison(comparison: Comparison) -> None:
    """Print what differs between runs: settings, results, classes, costs, weights, and the curves of all."""
    console = out()
    runs, marks = comparison.runs, comparison.marks
    show_lines(
        [(f"{mark}  ", curve_style(i)), (str(details.summary.path), "bold")]
        for i, (mark, details) in enumerate(zip(marks, runs, strict=True))
    )
    show_lines([("problem: ", "bold"), (problem, "yellow")] for problem in comparison.problems)
    settings = [
        (setting.path, [_setting_text(setting.values[mark]) if mark in setting.values else "-" for mark in marks])
        for setting in comparison.settings
    ]
    if settings:
        _show_table("settings that differ", settings, marks, console.width, numeric=False)
    else:
        show_lines([[], [("no setting differs", "")]])
    _show_table("results", _result_rows(comparison), marks, console.width)
    classes = dict.fromkeys(
        name for details in runs for name in _mapping(_mapping(details.results or {}, "test"), "per_class")
    )
    per_class = [
        (name, [_number(value_at(details.results, "test", "per_class", name), ".2%") for details in runs])
        for name in classes
    ]
    _show_table("class, test accuracy", per_class, marks, console.width)
    _show_table("costs and memory", _cost_rows(comparison), marks, console.width)
    distances = [
        (each.layer, [_number(value, ".3f") for value in (*each.moved, *each.apart[1:])]) for each in comparison.layers
    ]
    headings = [*(f"{mark} moved" for mark in marks), *(f"{marks[0]} to {mark}" for mark in marks[1:])]
    known = [i for i in range(len(headings)) if any(cells[i] for _, cells in distances)]
    if known:
        distances = [(name, [cells[i] for i in known]) for name, cells in distances]
        _show_table("layer", distances, [headings[i] for i in known], console.width)
        note = "moved: |best - initial| / |initial|, L2 norms over all parameters of the layer; "
        note += f"{marks[0]} to {marks[1]}: |{marks[1]} - {marks[0]}| / |{marks[0]}|, best weights"
        show_lines([[(note, "dim")]])
    show_charts(comparison.charts())


def _show_table(
    heading: str, rows: Sequence[tuple[str, Sequence[str]]], columns: Sequence[str], width: int, *, numeric: bool = True
) -> None:
    """Print rows with a cell for each column; columns that do not fit beside each other follow below."""
    if not rows:
        return
    first = max(len(heading), *(len(name) for name, _ in rows))
    widths = [max(len(column), *(len(cells[i]) for _, cells in rows)) for i, column in enumerate(columns)]
    widest = max(widths) if numeric else min(max(widths), 16)
    count = max(1, (width - first) // (widest + 2))
    for begin in range(0, len(columns), count):
        part = range(begin, min(begin + count, len(columns)))
        cells: list[list[Span]] = [[(name, ""), *((texts[i], "") for i in part)] for name, texts in rows]
        headings = [heading, *(columns[i] for i in part)]
        lines = align(headings, cells, numeric=[False, *(numeric for _ in part)], width=width)
        show_lines([[], *lines])


def _setting_text(value: Any) -> str:  # noqa: ANN401  YAML
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _result_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    runs = comparison.runs
    rows: list[tuple[str, list[str]]] = [("status", [details.summary.status for details in runs])]
    for split in ("test", "val", "train"):
        for key, form in (("accuracy", ".2%"), ("loss", ".4f")):
            rows.append((f"{split} {key}", [_number(value_at(details.results, split, key), form) for details in runs]))
            if (split, key) == ("test", "accuracy"):
                rows.append(("  95 % interval", [_interval(details.accuracy_interval) for details in runs]))
    rows.append(("best epoch", [_number(value_at(details.results, "epoch"), ".0f") for details in runs]))
    rows.append(("epochs", [_epochs(details.summary) for details in runs]))
    rows.append(("time", [duration(details.summary.seconds) for details in runs]))
    return [(name, cells) for name, cells in rows if any(cells)]


def _interval(ends: tuple[float, float] | None) -> str:
    """`97.2 .. 97.8 %`."""
    return "" if ends is None else f"{100 * ends[0]:.1f} .. {100 * ends[1]:.1f} %"


def _cost_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    all_costs = [details.costs or {} for details in comparison.runs]
    rows = [
        (name, [UNKNOWN if each.get(key) is None else form(each[key]) for each in all_costs])
        for name, key, form in (
            ("parameters", "params", lambda number: f"{number:,}"),
            ("MACs for an image", "macs", lambda number: f"{number:,}"),
            ("training, a batch", "training_bytes", size_in_bytes),
            ("inference, an image", "inference_bytes", size_in_bytes),
        )
    ]
    return rows


_OUTCOME_STYLES = {"ok": "green", "problem": "bold red", "skipped": "yellow"}


def shown_checks(checks: Iterable[Check]) -> Iterator[Check]:
    """The checks as they are made, each printed: what was checked, the outcome, and the remedy of a problem."""
    for check in checks:
        outcome = f"{check.outcome:7}  "
        show_lines([[(outcome, _OUTCOME_STYLES[check.outcome]), (f"{check.subject}: {check.detail}", "")]])
        if check.remedy:
            show_lines([[(" " * len(outcome), ""), (check.remedy, "cyan")]])
        yield check


def deleted_with_progress(plan: Sequence[Deletion]) -> list[Deletion]:
    """Delete, and return what was deleted; runs that have been started meanwhile are skipped, with a message."""
    done = []
    for deletion in plan:
        try:
            done.append(delete(deletion))
        except RunError as error:
            show_notice(f"not deleted: {error.message}")
    return done


def show_deletions(plan: Sequence[Deletion], folder: Path, *, done: bool) -> None:
    """Print directories with their sizes, and the command that deletes them.

    Args:
        plan: the directories.
        folder: the folder of runs.
        done: whether they have been deleted.
    """
    if not plan:
        show_notice(f"nothing to delete in {folder}")
        return
    name_of = {each.path: each.path.relative_to(folder).as_posix() for each in plan}
    rows: list[list[Span]] = [
        [(name_of[each.path], ""), (size_in_bytes(each.size), ""), (each.reason, "")] for each in plan
    ]
    total = size_in_bytes(sum(each.size for each in plan))
    heading = "deleted" if done else "would be deleted"
    footer = [(counted(len(plan), "folder"), ""), (total, "")]
    show_lines(align([heading, "size", "reason"], rows, numeric=[False, True, False], footer=footer, width=out().width))
    if not done:
        show_notice("nothing has been deleted; add --yes to delete")


def show_charts(charts: Sequence[Chart]) -> None:
    """Print plots of curves of two or more epochs."""
    console = out()
    width = console.width if console.is_terminal else _PLAIN_PLOT_WIDTH
    colors = console.color_system is not None and not console.no_color
    for chart in charts:
        if chart.epochs < 2:
            continue
        show_lines([[], *plot_lines(chart, width=width, colors=colors, encoding=console.encoding)])
