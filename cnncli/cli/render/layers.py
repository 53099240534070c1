"""The layer table, what it adds up to, and what it means."""

from rich import box
from rich.table import Table
from rich.text import Text

from cnncli.analysis.hints import HINTS, Hint
from cnncli.analysis.rows import Inspection
from cnncli.analysis.table import columns, listed, nested, notes, size_in_bytes
from cnncli.cli.render.console import out

_LEGEND = (
    "k/s/p/d: kernel, stride, padding, dilation; field: input pixels that a unit sees; all (n): all of them, n over "
    "local paths; jump: pixels from one unit to the next; %: of the input's area that one unit spans; "
    "MACs: multiply-accumulates for one image, bias not counted"
)
INCOMPLETE = "totals leave out what is not known"
_WORDS = 8
"""Characters of a column of words at least."""
_UNBROKEN = 1000
"""Characters that any table fits in."""
_LEGEND_WIDE = "; FLOPs: 2 x MACs; start, center: of unit 0; padding: pixels its field reaches out of the image"


def show_layers(inspection: Inspection, *, wide: bool = False) -> None:
    """Print the layer table."""
    console = out()
    table = _table(inspection, wide=wide)
    console.print(Text(inspection.model, style="bold"))
    print_whole(
        table,
        [
            [column.heading, column.total(inspection), *(column.cell(row) for row in inspection.rows)]
            for column in columns(wide=wide)
            if column.numeric
        ],
    )
    for line in _memory(inspection):
        console.print(Text(line), soft_wrap=True)
    for note in notes(inspection):
        console.print(Text(note), soft_wrap=True)
    show_unknown(inspection)
    console.print(Text(_LEGEND + (_LEGEND_WIDE if wide else ""), style="dim"))


def print_whole(table: Table, numeric: list[list[str]]) -> None:
    """Print a table whose numbers are never broken.

    Words are broken where that makes it fit. A terminal that is too narrow even so breaks the lines itself: rich would
    leave out digits, and short words would help nobody.

    Args:
        table: numbers are not to wrap in it, and words are to be folded.
        numeric: the cells of those columns that are not to be broken.
    """
    console = out()
    words = len(table.columns) - len(numeric)
    least = 1 + sum(2 + max(map(len, cells)) for cells in numeric) + words * (2 + _WORDS)
    if console.width < least:
        console.width = _UNBROKEN
    console.print(table)


def _table(inspection: Inspection, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown = columns(wide=wide)
    for column in shown:
        # Numbers are never broken: on a narrow terminal the words give way.
        justify = "right" if column.numeric else "left"
        table.add_column(
            column.heading,
            justify=justify,  # type: ignore[arg-type]  # rich asks for a Literal
            no_wrap=column.numeric,
            overflow="fold",
            min_width=None if column.numeric else _WORDS,
        )
    table.add_row("input", "", "", "x".join(map(str, inspection.input_shape)))
    for row, (scopes, name) in zip(inspection.rows, nested([row.name for row in inspection.rows]), strict=True):
        for scope in scopes:
            table.add_row(Text(scope, style="dim"))
        table.add_row(Text(name), *(Text(column.cell(row)) for column in shown[1:]))
    table.add_section()
    table.add_row(*(Text(column.total(inspection)) for column in shown))
    return table


def _memory(inspection: Inspection) -> list[str]:
    memory = inspection.memory
    images = "1 image" if memory.batch == 1 else f"{memory.batch} images"
    lines = [
        f"memory: weights {size_in_bytes(memory.weights)}; for {images}: "
        f"activations in training {size_in_bytes(memory.training)}, "
        f"in inference at its peak {size_in_bytes(memory.inference)}"
    ]
    if not inspection.complete:
        lines.append(INCOMPLETE)
    return lines


def show_unknown(inspection: Inspection) -> None:
    """Say why rows are not known, each reason once, with the rows that depend on it counted."""
    reasons: dict[str, list[str]] = {}
    for row in inspection.unknown:
        assert row.unknown is not None
        reasons.setdefault(row.unknown, []).append(row.name)
    for reason, names in reasons.items():
        more = len(names) - 1
        behind = f" (and so for {more} more layer{'s' if more > 1 else ''} after it)" if more else ""
        out().print(Text(f"not known: {reason}{behind}", style="yellow"), soft_wrap=True)


def show_hints(inspection: Inspection) -> None:
    """Print what the numbers mean: one paragraph per kind of hint."""
    kinds: dict[str, list[Hint]] = {}
    for hint in inspection.hints:
        kinds.setdefault(hint.name, []).append(hint)
    if not kinds:
        return
    console = out()
    console.print(Text("what it means", style="bold"))
    for name, hints in sorted(kinds.items(), key=lambda kind: list(HINTS).index(kind[0])):
        console.print(Text.assemble((name, "bold cyan"), " ", _said(hints)), soft_wrap=True)
        edits = dict.fromkeys(hint.consider for hint in hints if hint.consider)
        for edit in list(edits)[:2]:
            console.print(Text(f"  consider {edit}", style="green"), soft_wrap=True)
    console.print(Text("each is explained in docs/hints; --ignore NAME leaves one out", style="dim"))


def _said(hints: list[Hint]) -> str:
    """The layers and what is said of them; what is said of several alike, once."""
    layers: dict[str, list[str]] = {}
    for hint in hints:
        layers.setdefault(hint.says, []).append(hint.layer)
    parts = [f"{listed(list(dict.fromkeys(names)))}: {says}" for says, names in layers.items()]
    return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} layers more" if len(parts) > 4 else "")
