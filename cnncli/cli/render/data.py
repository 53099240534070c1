"""What `cnncli data` prints: a table of classes and splits, and what else is known of the images."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from cnncli.audit.summary import DataSummary
from cnncli.cli.render.console import out
from cnncli.cli.render.table import show_lines
from cnncli.inspection.columns import counted
from cnncli.inspection.formatting import Line, Span, align

_MOST_CLASSES = 100
"""Rows of the table."""


def show_summary(summary: DataSummary, *, sheet: Path | None) -> None:
    """Print a summary.

    Args:
        summary: of a data set.
        sheet: where its contact sheet was written, if it was.
    """
    console = out()
    show_lines(_lines(summary, console.width))
    if sheet is not None:
        console.print(Text(str(sheet)), soft_wrap=True)


def _lines(summary: DataSummary, width: int) -> list[Line]:
    channels, height, width_of_image = summary.shape
    splits = {"train": "training", "val": "validation", "test": "test"}
    parts = ", ".join(f"{sum(counts):,} {splits[name]}" for name, counts in summary.counts.items())
    classes = summary.dataset.classes
    mean, deviation = (_numbers(each) for each in (summary.normalization.mean, summary.normalization.std))
    lines: list[Line] = [
        [(f"{summary.target.name}: {parts} images of {channels} x {height} x {width_of_image}", "bold")],
        [(f"mean {mean}, standard deviation {deviation}", "")],
    ]
    if summary.dataset.range is not None:
        low, high = summary.dataset.range
        lines.append([(f"pixels scaled from {low:g}..{high:g}", "")])
    lines += [*_duplicates(summary), []]
    rows: list[list[Span]] = [
        [(name, ""), *((f"{counts[label]:,}", "" if counts[label] else "yellow") for counts in summary.counts.values())]
        for label, name in enumerate(classes[:_MOST_CLASSES])
    ]
    lines += align(["class", *summary.counts], rows, numeric=[False, *(True for _ in summary.counts)], width=width)
    if len(classes) > _MOST_CLASSES:
        lines.append([(f"and {len(classes) - _MOST_CLASSES:,} more", "dim")])
    return lines


def _duplicates(summary: DataSummary) -> list[Line]:
    found = summary.duplicates
    if not found.identical + found.similar:
        return [[("no duplicates", "")]]
    style = "yellow" if found.across or found.labels_differ else ""
    return [
        [
            (
                f"{counted(found.identical, 'group')} of identical images and {found.similar:,} of near-duplicates: "
                f"{found.across:,} across splits, {found.labels_differ:,} with different labels",
                style,
            )
        ]
    ]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
