"""The layer table in the terminal, and the differences between two."""

import os
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from cnncli.cli.render.console import out
from cnncli.inspection.arrangement import By, share_lines
from cnncli.inspection.columns import size_in_bytes
from cnncli.inspection.differences import COMPARED, Change, compare
from cnncli.inspection.formatting import INCOMPLETE, Line, Span, align, hint_lines, table_lines
from cnncli.inspection.table import LayerTable
from cnncli.inspection.tensors import TensorTable, tensor_lines
from cnncli.layers import format_size
from cnncli.printable import printable
from cnncli.training.scores import Evaluation, evaluation_lines


def show_table(table: LayerTable, *, wide: bool = False) -> None:
    """Print the layer table."""
    show_lines(table_lines(table, wide=wide, width=out().width, prose_width=_prose_width()))


def show_hints(table: LayerTable) -> None:
    """Print the hints, one paragraph per name."""
    show_lines(hint_lines(table, width=_prose_width()))


def show_inspection(table: LayerTable, *, wide: bool, tree: bool) -> None:
    """Print the layer table and the hints, through a pager if they are longer than the terminal."""
    width, prose_width = out().width, _prose_width()
    lines = table_lines(table, wide=wide, tree=tree, width=width, prose_width=prose_width)
    _show_paged([*lines, *hint_lines(table, width=prose_width)])


def show_shares(table: LayerTable, by: By, depth: int) -> None:
    """Print what types or modules cost together."""
    _show_paged(share_lines(table, by, depth, width=out().width))


def _show_paged(lines: list[Line]) -> None:
    """Print lines; on a terminal that they do not fit on, through `$PAGER` or `less`."""
    console = out()
    if not console.is_terminal or len(lines) < console.height:
        show_lines(lines)
        return
    os.environ.setdefault("LESS", "FRX")  # as git: colors, and no pager if the lines fit after all
    with console.pager(styles=console.color_system is not None):
        _print_lines(console, lines)


def show_tensors(table: TensorTable) -> None:
    """Print the tensors of a file."""
    show_lines(tensor_lines(table, width=out().width, prose_width=_prose_width()))


def show_evaluation(evaluation: Evaluation, *, title: str) -> None:
    """Print the scores of a network on labeled images."""
    console = out()
    console.print(Text(title, style="bold"), soft_wrap=True)
    show_lines(evaluation_lines(evaluation, width=console.width))


def _prose_width() -> int | None:
    """The width of a terminal; elsewhere lines of prose stay whole."""
    console = out()
    return console.width if console.is_terminal else None


def show_lines(lines: Iterable[Line]) -> None:
    """Print lines with their styles."""
    _print_lines(out(), lines)


def _print_lines(console: Console, lines: Iterable[Line]) -> None:
    for line in lines:
        spans = [(_encodable(text, console.encoding), style) for text, style in line]
        console.print(Text.assemble(*spans), soft_wrap=True)


def _encodable(text: str, encoding: str) -> str:
    """The text, with a hyphen for the line of a table and `?` for other characters that the output cannot show."""
    text = printable(text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("─", "-").replace("…", "~").replace("█", "#").encode(encoding, "replace").decode(encoding)
    return text


_STATUS_COLORS = {"added": "green", "removed": "red", "changed": "yellow"}


def show_comparison(before: LayerTable, after: LayerTable) -> None:
    """Print the layers that differ, before and after, and the totals."""
    lines: list[Line] = [[(f"{before.model} -> {after.model}", "bold")]]
    changes = compare(before, after)
    if changes:
        lines += align(
            ["", "layer", *(column.heading for column in COMPARED)],
            [_change_cells(change) for change in changes],
            numeric=[False, False, *(column.numeric for column in COMPARED)],
            width=out().width,
        )
        lines.append([])
    else:
        lines.append([("no layer differs", "")])
    for name, old, new in _totals(before, after):
        lines.append([(f"{name}: {old} -> {new}" if old != new else f"{name}: {old}, both", "")])
    if not (before.complete and after.complete):
        lines.append([(INCOMPLETE, "")])
    show_lines(lines)


def _change_cells(change: Change) -> list[Span]:
    row = change.after or change.before
    assert row is not None, "a change has at least one row"
    cells = [(change.status, _STATUS_COLORS[change.status]), (row.name, "")]
    for column in COMPARED:
        if change.before is None or change.after is None or column not in change.columns:
            cells.append((column.cell(row), ""))
            continue
        old, new = column.cell(change.before), column.cell(change.after)
        if old == new:  # rounded to the same
            old, new = column.exact_cell(change.before), column.exact_cell(change.after)
        cells.append((f"{old or 0} -> {new or 0}", "yellow"))
    return cells


def _totals(before: LayerTable, after: LayerTable) -> list[tuple[str, str, str]]:
    return [
        ("input", format_size(before.input_shape), format_size(after.input_shape)),
        ("layers", str(len(before)), str(len(after))),
        ("parameters", f"{before.params:,}", f"{after.params:,}"),
        ("MACs", f"{before.macs:,}", f"{after.macs:,}"),
        (
            "peak memory in inference",
            size_in_bytes(before.memory.inference),
            size_in_bytes(after.memory.inference),
        ),
    ]
