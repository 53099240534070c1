"""Two networks side by side."""

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.analysis.comparison import Change, compare
from cnncli.analysis.rows import Inspection
from cnncli.analysis.table import columns, size_in_bytes
from cnncli.cli.render.console import out

_COLOUR = {"added": "green", "removed": "red", "changed": "yellow"}


def show_comparison(before: Inspection, after: Inspection) -> None:
    """Print the layers that differ, old and new, and the totals."""
    console = out()
    console.print(Text(f"{before.model} -> {after.model}", style="bold"))
    changes = compare(before, after)
    if changes:
        shown = [column for column in columns(wide=False) if column.heading in _HEADINGS]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("", no_wrap=True)
        for column in shown:
            table.add_column(column.heading, justify="right" if column.numeric else "left", overflow="fold")
        for change in changes:
            table.add_row(Text(change.status, style=_COLOUR[change.status]), *_cells(change))
        console.print(table)
    else:
        console.print("no layer differs")
    for what, old, new in _totals(before, after):
        console.print(Text(f"{what}: {old} -> {new}" if old != new else f"{what}: {old}, both"))


_HEADINGS = ("layer", "kind", "k/s/p/d", "output", "params", "MACs", "field", "jump")


def _cells(change: Change) -> list[Text]:
    cells = []
    for column in columns(wide=False):
        if column.heading not in _HEADINGS:
            continue
        old, new = ("" if row is None else column.cell(row) for row in (change.before, change.after))
        if change.status == "changed" and old != new:
            cells.append(Text(f"{old or 0} -> {new or 0}", style="yellow"))
        else:
            cells.append(Text(old or new))
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
