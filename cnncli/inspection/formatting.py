"""The layer table as text: its columns, aligned lines of plain or styled text, Markdown and HTML.

A line is a list of spans, each a text and the name of a terminal style (`bold`, `dim`, `green` ...).
"""

import html
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from cnncli.inspection.columns import Column, columns_of, counted, size_in_bytes
from cnncli.inspection.hints import HINTS, Hint
from cnncli.inspection.table import LayerTable
from cnncli.layers import format_size
from cnncli.printable import printable

INCOMPLETE = "totals exclude layers whose cost is unknown"
_LEGEND = (
    "k/s/p/d: kernel, stride, padding, dilation; RF: receptive field in input pixels; all (n): the whole input, n "
    "without layers that read every position; jump: input pixels from one unit to the next; %: share of the input "
    "area that one unit spans; MACs: multiply-accumulates for one image, without bias"
)
_WIDE_LEGEND = "; FLOPs: 2 x MACs; start, center: of unit 0; padding: pixels by which its RF extends beyond the image"
_MIN_TEXT_WIDTH = 8
"""Columns of text are wrapped, but to no fewer characters than this."""
_MIN_NAME_WIDTH = 24
"""Nor are the names of layers, which only their ends may tell apart."""

Span = tuple[str, str]
Line = list[Span]


def as_text(table: LayerTable) -> str:
    """The table, its notes and its hints as plain text, as `cnncli inspect` prints them."""
    return "\n".join(plain(line) for line in [*table_lines(table), *hint_lines(table)])


def plain(line: Line) -> str:
    """The text of a line without its styles."""
    return "".join(text for text, _ in line).rstrip()


def table_lines(
    table: LayerTable,
    *,
    wide: bool = False,
    tree: bool = True,
    width: int | None = None,
    prose_width: int | None = None,
) -> list[Line]:
    """The table with memory, notes and legend below it.

    Args:
        table: the layers.
        wide: whether to show all columns.
        tree: whether to show names as a tree, which needs rows in the order of computation.
        width: characters in a row; columns are narrowed, and as a last resort left out.
        prose_width: characters in the other lines, if they are to be wrapped.
    """
    every = columns_of(table, wide=wide)
    names = as_tree([row.name for row in table]) if tree else [([], row.name) for row in table]
    cells: list[list[str]] = [
        [name, *(column.cell(row) for column in every[1:])] for row, (_, name) in zip(table, names, strict=True)
    ]
    total = [(column.total(table), "") for column in every]
    shown, left_out = _fitting(every, [*cells, [text for text, _ in total]], width)
    picked = [i for i, column in enumerate(every) if column in shown]
    first = {"layer": "input", "output": format_size(table.input_shape)}
    rows: list[list[Span]] = [[(first.get(column.heading, ""), "") for column in shown]]
    for (scopes, _), texts in zip(names, cells, strict=True):
        rows += [[(scope, "dim")] for scope in scopes]
        rows.append([(texts[i], "") for i in picked])
    headings = [column.heading for column in shown]
    return [
        [(table.model, "bold")],
        *align(
            headings,
            rows,
            numeric=[column.numeric for column in shown],
            footer=[total[i] for i in picked],
            width=width,
            least=[_MIN_NAME_WIDTH],
        ),
        *(wrap([(f"left out, for the width: {', '.join(left_out)}", "dim")], prose_width) if left_out else []),
        *(line for text in (*_memory_lines(table), *notes(table)) for line in wrap([(text, "")], prose_width)),
        *(line for text in _unknown_lines(table) for line in wrap([(text, "yellow")], prose_width)),
        *wrap([(_LEGEND + (_WIDE_LEGEND if wide else ""), "dim")], prose_width),
    ]


def _fitting(
    shown: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> tuple[list[Column], list[str]]:
    """The columns that fit into `width` characters at their smallest, and the headings of those that do not."""
    least = {}
    for i, column in enumerate(shown):
        longest = max(len(column.heading), *(len(row[i]) for row in rows))
        least[column] = longest if column.numeric else min(longest, _MIN_NAME_WIDTH if i == 0 else _MIN_TEXT_WIDTH)
    kept = list(shown)
    for column in reversed([column for column in shown if column.optional]):
        if width is not None and sum(least[each] + 2 for each in kept) - 2 > width:
            kept.remove(column)
    return kept, [column.heading for column in shown if column not in kept]


def hint_lines(table: LayerTable, *, width: int | None = None) -> list[Line]:
    """The hints, one paragraph per name; nothing if there are none. Lines are wrapped at `width` characters."""
    by_name: dict[str, list[Hint]] = {}
    for hint in sorted(table.hints, key=lambda hint: list(HINTS).index(hint.name)):
        by_name.setdefault(hint.name, []).append(hint)
    if not by_name:
        return []
    lines: list[Line] = [[("hints", "bold")]]
    for name, hints in by_name.items():
        lines += wrap([(name, "bold cyan"), (f" {_grouped(hints)}", "")], width)
        suggestions = dict.fromkeys(hint.consider for hint in hints if hint.consider)
        for suggestion in list(suggestions)[:2]:
            lines += wrap([(f"  consider {suggestion}", "green")], width)
    return [*lines, *wrap([("docs/hints explains each hint; --ignore NAME hides it", "dim")], width)]


def wrap(line: Line, width: int | None) -> list[Line]:
    """A line of prose as lines of at most `width` characters; all but the last span stay on the first one."""
    *first, (text, style) = line
    indent = len(text) - len(text.lstrip())
    if width is None:
        return [line]
    parts = textwrap.wrap(
        "".join(span for span, _ in first) + text,
        max(width, 20),
        subsequent_indent=" " * indent if not first else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
    head = sum(len(span) for span, _ in first)
    return [[*first, (parts[0][head:], style)], *([(part, style)] for part in parts[1:])]


def _grouped(hints: list[Hint]) -> str:
    """The layers and what the hints say about them, with layers of the same text together."""
    layers: dict[str, list[str]] = {}
    for hint in hints:
        layers.setdefault(hint.says, []).append(hint.layer)
    parts = [f"{listed(list(dict.fromkeys(names)))}: {says}" for says, names in layers.items()]
    return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} more layers" if len(parts) > 4 else "")


def align(
    headings: Sequence[str],
    rows: Sequence[Sequence[Span]],
    *,
    numeric: Sequence[bool],
    footer: Sequence[Span] = (),
    width: int | None = None,
    least: Sequence[int] = (),
) -> list[Line]:
    """Rows of cells as aligned lines under bold headings and a rule.

    Numbers are never wrapped. Text is wrapped between words if that makes the table fit into `width`, and longer words
    are shortened; if it does not fit even so, nothing is wrapped.

    Args:
        headings: of the columns.
        rows: cells with their styles, of which control characters are shown as escapes; a row may end early.
        numeric: for each column whether it is aligned right and never wrapped.
        footer: a last row, after a blank line.
        width: characters in a line.
        least: of the first columns, how far they may be narrowed; of all others 8.
    """
    rows = [[(printable(text).replace("\n", r"\n"), style) for text, style in row] for row in rows]
    body = [*rows, footer]
    widths = [
        max(len(heading), *(len(row[i][0]) for row in body if i < len(row))) for i, heading in enumerate(headings)
    ]
    words = [max((_longest_word(row[i][0]) for row in body if i < len(row)), default=0) for i in range(len(widths))]
    limits = [*least, *[_MIN_TEXT_WIDTH] * (len(widths) - len(least))]
    widths = _fitted(widths, numeric, width, words, limits)
    lines = [
        *_row_lines([(heading, "bold") for heading in headings], widths, numeric),
        [("─" * (sum(widths) + 2 * (len(widths) - 1)), "")],
    ]
    for row in rows:
        lines += _row_lines(row, widths, numeric)
    return [*lines, [], *_row_lines(footer, widths, numeric)] if footer else lines


def _longest_word(text: str) -> int:
    """The length of what wrapping leaves whole."""
    return max(map(len, re.findall(r"[^\s-]+-?", text)), default=0)


def _fitted(
    widths: list[int], numeric: Sequence[bool], width: int | None, words: Sequence[int], least: Sequence[int]
) -> list[int]:
    """Widths with text columns narrowed so that a line fits, the widest first; unchanged if that is impossible.

    They are narrowed to their longest words, if that is not enough to `least`, and at last all to the same minimum.
    """
    if width is None:
        return widths
    room = width - sum(widths) - 2 * (len(widths) - 1)
    fitted = list(widths)
    while room < 0:
        for limits in (words, least, [0] * len(widths)):
            wide = [i for i, each in enumerate(fitted) if not numeric[i] and each > max(limits[i], _MIN_TEXT_WIDTH)]
            if wide:
                break
        else:
            return widths
        fitted[max(wide, key=lambda i: fitted[i])] -= 1
        room += 1
    return fitted


def _row_lines(row: Sequence[Span], widths: Sequence[int], numeric: Sequence[bool]) -> list[Line]:
    """One row as lines: several if text is wrapped."""
    wrapped = [
        [text] if numeric[i] or len(text) <= widths[i] else _words(text, widths[i]) for i, (text, _) in enumerate(row)
    ]
    lines: list[Line] = []
    for number in range(max(map(len, wrapped), default=0)):
        texts = [parts[number] if number < len(parts) else "" for parts in wrapped]
        spans = [
            (text.rjust(widths[i]) if numeric[i] else text.ljust(widths[i]), row[i][1]) for i, text in enumerate(texts)
        ]
        while len(spans) > 1 and not spans[-1][0].strip():
            spans.pop()
        spans[-1] = (spans[-1][0].rstrip(), spans[-1][1])
        lines.append([span for i, each in enumerate(spans) for span in ((("  ", ""), each) if i else (each,))])
    return lines


def _words(text: str, width: int) -> list[str]:
    """A cell as lines between its words, of which longer ones are shortened; the indent of a tree stays."""
    words = text.lstrip()
    indent = " " * min(len(text) - len(words), width // 2)
    parts = textwrap.wrap(words, width - len(indent), break_long_words=False)
    return [indent + shortened(part, width - len(indent)) for part in parts]


def shortened(word: str, width: int) -> str:
    """A word with an ellipsis in the middle: its end tells it from its neighbors, its beginning what it is."""
    if len(word) <= width:
        return word
    last = width // 2
    return f"{word[: width - 1 - last]}…{word[-last:] if last else ''}"


def markdown(table: LayerTable, *, wide: bool = False) -> str:
    """The table as Markdown, with the notes below it."""
    shown = columns_of(table, wide=wide)
    lines = [
        markdown_row(column.heading for column in shown),
        markdown_row("---:" if column.numeric else "---" for column in shown),
        *(markdown_row(column.cell(row) for column in shown) for row in table),
        markdown_row(column.total(table) for column in shown),
    ]
    return "\n".join([*lines, "", *(f"- {_escaped(note)}" for note in notes(table))])


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    """Text in Markdown. Names of layers in a module may be any text, also HTML or a link."""
    return re.sub(r"([\\|<>&`\[\]*])", r"\\\1", text)


_SORT = """
const table = this.closest('table'), body = table.tBodies[0], i = this.cellIndex;
const down = i > 0 && table.dataset.sorted !== 'down' + i;
table.dataset.sorted = (down ? 'down' : 'up') + i;
const value = (row) => {
  const text = row.cells[i].dataset.sort;
  return text === '' || isNaN(text) ? text : +text;
};
const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : +(a > b)) : typeof a === 'number' ? 1 : -1);
body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(value(a), value(b))));
"""
_SORTING = f' title="sort" onclick="{html.escape(" ".join(_SORT.split()))}"'
"""Attributes of a heading: a click sorts by its column, the largest first; by the first column as computed."""


def as_html(table: LayerTable) -> str:
    """The table as an HTML fragment, with notes and hints below it; a click on a heading sorts it, without requests."""
    shown = columns_of(table)

    def line(cells: Iterable[str], tag: str = "td", attributes: Iterable[str] = ()) -> str:
        tagged = (
            f'<{tag} style="text-align: {"right" if column.numeric else "left"}"{extra}>{html.escape(cell)}</{tag}>'
            for column, cell, extra in zip(shown, cells, attributes or [""] * len(shown), strict=True)
        )
        return f"<tr>{''.join(tagged)}</tr>"

    headings = line((column.heading for column in shown), "th", [_SORTING] * len(shown))
    lines = [
        line(
            (column.cell(row) for column in shown),
            attributes=[f' data-sort="{number if i == 0 else column.sort(row)}"' for i, column in enumerate(shown)],
        )
        for number, row in enumerate(table)
    ]
    notes_and_hints = [
        *_memory_lines(table),
        *notes(table),
        *_unknown_lines(table),
        *(plain(line) for line in hint_lines(table)[1:-1]),
    ]
    return "\n".join([
        "<table>",
        f"<caption>{html.escape(table.model)}, input {format_size(table.input_shape)}</caption>",
        f"<thead>{headings}</thead>",
        "<tbody>",
        *lines,
        "</tbody>",
        f"<tfoot>{line((column.total(table) for column in shown), 'th')}</tfoot>",
        "</table>",
        f"<ul>{''.join(f'<li>{html.escape(line.strip())}</li>' for line in notes_and_hints)}</ul>",
    ])  # fmt: skip


def notes(table: LayerTable) -> list[str]:
    """The notes on the model and on its layers; layers with the same note share a line."""
    layers: dict[str, list[str]] = {}
    for row in table:
        for note in row.notes:
            layers.setdefault(note, []).append(row.name)
    return [*table.notes, *(f"{listed(names)}: {note}" for note, names in layers.items())]


def _memory_lines(table: LayerTable) -> Iterator[str]:
    memory = table.memory
    yield (
        f"memory: weights {size_in_bytes(memory.weights)}; activations for {counted(memory.batch, 'image')}: "
        f"{size_in_bytes(memory.training)} in training, {size_in_bytes(memory.inference)} at the peak of inference"
    )
    if (tiny := table.quantized) is not None:
        yield (
            f"with numbers of {counted(tiny.bits, 'bit')}: weights {size_in_bytes(tiny.weights)}, activations at the "
            f"peak of inference {size_in_bytes(tiny.inference)}"
        )
    if not table.complete:
        yield INCOMPLETE


def _unknown_lines(table: LayerTable) -> Iterator[str]:
    """The reasons why something is unknown, each with the number of later layers it affects."""
    reasons: dict[str, int] = {}
    for row in table.unknown:
        assert row.unknown is not None
        reasons[row.unknown] = reasons.get(row.unknown, 0) + 1
    for reason, count in reasons.items():
        later = f" (also affects {count - 1} later layer{'s' if count > 2 else ''})" if count > 1 else ""
        yield f"unknown: {reason}{later}"


def as_tree(names: Sequence[str]) -> list[tuple[list[str], str]]:
    """Dotted names as a tree: for each name the scopes that start with it, and its own line, both indented.

    A scope that contains a single name has no separate line: `layer1`, ` .0`, `  .conv1`, `  .downsample.0`.
    """
    paths = [name_parts(name) for name in names]
    result: list[tuple[list[str], str]] = []
    open_scopes: list[tuple[str, ...]] = []
    for path, following in zip(paths, [*paths[1:], ()], strict=True):
        open_scopes = [scope for scope in open_scopes if path[: len(scope)] == scope]
        scopes = []
        for depth in range(len(open_scopes[-1]) + 1 if open_scopes else 1, len(path)):
            if following[:depth] == path[:depth]:
                scopes.append(_indented(path[:depth], open_scopes))
                open_scopes.append(path[:depth])
        result.append((scopes, _indented(path, open_scopes)))
    return result


def _indented(path: tuple[str, ...], scopes: list[tuple[str, ...]]) -> str:
    return " " * len(scopes) + "".join(path[len(scopes[-1]) if scopes else 0 :])


def name_parts(name: str) -> tuple[str, ...]:
    """The modules that a name goes through, each with the dot (in ONNX, slash) before it: joined, they are the name."""
    return tuple(re.findall(r"^[./]*[^./]*|[./]+[^./]*", name))


def listed(names: Sequence[str]) -> str:
    """Up to four names, or the first three and the number of the others."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
