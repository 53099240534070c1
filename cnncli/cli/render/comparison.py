"""Two networks side by side."""

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.analysis.comparison import Change, compare, exact_cell
from cnncli.analysis.rows import Inspection
from cnncli.analysis.table import columns, size_in_bytes
from cnncli.cli.render.console import out
from cnncli.cli.render.layers import INCOMPLETE, print_whole

_COLOUR = {"added": "green", "removed": "red", "changed": "yellow"}
_HEADINGS = ("layer", "kind", "k/s/p/d", "output", "params", "MACs", "field", "jump")
_SHOWN = [column for column in columns(wide=False) if column.heading in _HEADINGS]


def show_comparison(before: Inspection, after: Inspection) -> None:
    """Print the layers that differ, old and new, and the totals."""
    console = out()
    console.print(Text(f"{before.model} -> {after.model}", style="bold"))
    changes = compare(before, after)
    if changes:
        _show_changes(changes)
    else:
        console.print("no layer differs")
    for what, old, new in _totals(before, after):
        console.print(Text(f"{what}: {old} -> {new}" if old != new else f"{what}: {old}, both"))
    if not (before.complete and after.complete):
        console.print(INCOMPLETE)


def _show_changes(changes: list[Change]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in _SHOWN:
        justify = "right" if column.numeric else "left"
        table.add_column(
            column.heading,
            justify=justify,  # type: ignore[arg-type]  # rich asks for a Literal
            no_wrap=column.numeric,
            overflow="fold",
        )
    rows = [_cells(change) for change in changes]
    for change, cells in zip(changes, rows, strict=True):
        table.add_row(Text(change.status, style=_COLOUR[change.status]), *cells)
    numbers = [[row[i].plain for row in rows] for i, column in enumerate(_SHOWN) if column.numeric]
    print_whole(table, [[change.status for change in changes], *numbers])


def _cells(change: Change) -> list[Text]:
    cells = []
    for column in _SHOWN:
        old, new = ("" if row is None else column.cell(row) for row in (change.before, change.after))
        if change.before is None or change.after is None or column.heading == "layer":
            cells.append(Text(new or old))
            continue
        if column in change.columns:
            if old == new:  # rounded to the same
                old, new = exact_cell(column, change.before), exact_cell(column, change.after)
            cells.append(Text(f"{old or 0} -> {new or 0}", style="yellow"))
        else:
            cells.append(Text(new))
    return cells


def _totals(before: Inspection, after: Inspection) -> list[tuple[str, str, str]]:
    return [
        ("input", "x".join(map(str, before.input_shape)), "x".join(map(str, after.input_shape))),
        ("layers", str(len(before.rows)), str(len(after.rows))),
        ("parameters", f"{before.params:,}", f"{after.params:,}"),
        ("MACs", f"{before.macs:,}", f"{after.macs:,}"),
        (
            "memory in inference at its peak",
            size_in_bytes(before.memory.inference),
            size_in_bytes(after.memory.inference),
        ),
    ]
