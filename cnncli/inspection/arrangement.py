"""A layer table arranged for reading: rows grouped by module, repeated blocks folded, rows selected and sorted.

A group is a row like any other: its costs are the sums of its layers, its output and its receptive field those of the
last one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any, Literal

from cnncli.errors import UsageError
from cnncli.inspection.columns import counted, size_in_bytes, total_latency
from cnncli.inspection.formatting import Line, Span, align, name_parts
from cnncli.inspection.table import LayerTable, Row

SortKey = Literal["params", "macs", "memory", "rf"]
By = Literal["type", "module"]
_MIN_FOLDED = 3
"""Fewer rows than this are not folded."""


def grouped(table: LayerTable, depth: int) -> LayerTable:
    """One row for the neighboring layers of each module that is `depth` levels deep."""
    rows: list[Row] = []
    names: dict[str, int] = {}
    for prefix, members in groupby(table.rows, lambda row: _prefix(row.name, depth)):
        layers = list(members)
        if len(layers) == 1 and len(name_parts(layers[0].name)) <= depth:
            rows += layers
            continue
        names[prefix] = names.get(prefix, 0) + 1
        name = prefix if names[prefix] == 1 else f"{prefix}#{names[prefix]}"
        rows.append(_sum(layers, name=name, type=counted(len(layers), "layer")))
    return replace(table, rows=tuple(rows))


def _prefix(name: str, depth: int) -> str:
    return "".join(name_parts(name)[:depth])


def _sum(layers: Sequence[Row], *, name: str, type: str) -> Row:
    """A row for several layers."""
    unknown = next((layer.unknown for layer in layers if layer.unknown), None)
    members = tuple(member for layer in layers for member in layer.members or (layer.name,))
    return replace(
        layers[-1],
        name=name,
        type=type,
        inputs=tuple(dict.fromkeys(each for layer in layers for each in layer.inputs if each not in members)),
        windows=(),
        groups=1,
        params=_total(layers, lambda row: row.params),
        trainable=_total(layers, lambda row: row.trainable),
        macs=_total(layers, lambda row: row.macs),
        activation_bytes=_total(layers, lambda row: row.activation_bytes),
        unknown=unknown,
        shares_weights=any(layer.shares_weights for layer in layers),
        latency=total_latency(layers),
        members=members,
        notes=layers[-1].notes,
        hints=tuple(hint for layer in layers for hint in layer.hints),
    )


def _total(layers: Sequence[Row], of: Callable[[Row], int | None]) -> int | None:
    """The sum; None if a part of it is unknown."""
    values = [of(layer) for layer in layers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def folded(table: LayerTable) -> LayerTable:
    """The table with blocks that repeat the one before them as one row: `layer3.2-35`.

    Blocks are numbered modules side by side. They repeat if their layers have the same names, types, windows, shapes
    and costs; receptive fields grow, and the row of the repeated blocks has that of their last layer.
    """
    return replace(table, rows=tuple(_fold(table.rows, 0)))


def _fold(rows: Sequence[Row], level: int) -> Iterator[Row]:
    """Fold the blocks whose number is the part `level` of the name, and in those that are kept the deeper ones."""
    runs = [(key, list(members)) for key, members in groupby(rows, lambda row: name_parts(row.name)[: level + 1])]
    while runs:
        key, block = runs.pop(0)
        if len(block) == 1 and len(name_parts(block[0].name)) <= level + 1 and not _is_number(key[-1]):
            yield block[0]
            continue
        yield from _fold(block, level + 1) if len(key) > level else block
        repeated: list[tuple[tuple[str, ...], list[Row]]] = []
        if len(key) > level and _is_number(key[-1]):
            shape = _signature(block, level)
            while runs and _is_number(runs[0][0][-1]) and _signature(runs[0][1], level) == shape:
                repeated.append(runs.pop(0))
        layers = [row for _, members in repeated for row in members]
        if len(layers) >= _MIN_FOLDED:
            first, last = repeated[0][0], repeated[-1][0]
            number = first[-1] if len(repeated) == 1 else f"{first[-1]}-{last[-1].lstrip('./')}"
            times = "as" if len(repeated) == 1 else f"{len(repeated)} x"
            yield _sum(layers, name="".join([*first[:-1], number]), type=f"{times} {''.join(key)}")
        else:
            for _, members in repeated:
                yield from _fold(members, level + 1)


def _is_number(part: str) -> bool:
    return part.lstrip("./").isdecimal()


def _signature(block: Sequence[Row], level: int) -> tuple[object, ...]:
    return tuple(
        (name_parts(row.name)[level + 1 :], row.type, row.windows, row.groups, row.output_shape, row.params, row.macs)
        for row in block
    )


def only(table: LayerTable, patterns: Sequence[str]) -> LayerTable:
    """The rows whose names match one of the patterns, such as `layer3.*`; totals are of these.

    Raises:
        UsageError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(row.name, pattern) for row in table.rows):
            raise UsageError(f"no layer matches {pattern}", remedy="* stands for any text: --only 'layer3.*'")
    rows = tuple(row for row in table.rows if any(fnmatchcase(row.name, pattern) for pattern in patterns))
    note = f"{len(rows)} of {counted(len(table.rows), 'layer')}; the totals are theirs, the memory that of the network"
    return replace(table, rows=rows, notes=(*table.notes, note))


_KEYS: dict[SortKey, Callable[[Row], int]] = {
    "params": lambda row: row.params or 0,
    "macs": lambda row: row.macs or 0,
    "memory": lambda row: row.activation_bytes or 0,
    "rf": lambda row: 0 if row.known_receptive_field is None else max(row.known_receptive_field.size),
}


def sorted_by(table: LayerTable, key: SortKey) -> LayerTable:
    """The rows with the largest first; equal ones, and last the unknown, in the order of computation."""
    return replace(table, rows=tuple(sorted(table.rows, key=_KEYS[key], reverse=True)))


@dataclass(frozen=True, kw_only=True)
class Share:
    """What the layers of a type or a module cost together; unknown costs are left out.

    Attributes:
        name: of the type or module.
        layers: how many rows of the table.
        params, macs, activation_bytes: see `Row`.
    """

    name: str
    layers: int
    params: int
    macs: int
    activation_bytes: int


def shares(table: LayerTable, by: By, depth: int = 1) -> list[Share]:
    """What each type, or each module `depth` levels deep, costs; in the order of first appearance."""
    members: dict[str, list[Row]] = {}
    for row in table.rows:
        members.setdefault(row.type if by == "type" else _prefix(row.name, depth), []).append(row)
    return [
        Share(
            name=name,
            layers=len(rows),
            params=sum(row.params or 0 for row in rows),
            macs=sum(row.macs or 0 for row in rows),
            activation_bytes=sum(row.activation_bytes or 0 for row in rows),
        )
        for name, rows in members.items()
    ]


_BAR = 20


def share_lines(table: LayerTable, by: By, depth: int, *, width: int | None = None) -> list[Line]:
    """Where parameters, multiply-accumulates and activations are, as bars: the longest for the largest share."""
    rows = shares(table, by, depth)
    columns: list[tuple[str, list[int], Callable[[int], str]]] = [
        ("params", [each.params for each in rows], lambda number: f"{number:,}"),
        ("MACs", [each.macs for each in rows], lambda number: f"{number:,}"),
        ("activations", [each.activation_bytes for each in rows], size_in_bytes),
    ]
    cells = [[(each.name, ""), (f"{each.layers}", "")] for each in rows]
    total: list[Span] = [("total", ""), (f"{len(table)}", "")]
    for _, numbers, text in columns:
        whole = sum(numbers)
        for line, number in zip(cells, numbers, strict=True):
            percent = f"{100 * number / whole:.1f}%" if number else ""
            line += [(text(number) if number else "", ""), (percent, ""), (_bar(number, max(numbers)), "cyan")]
        total += [(text(whole), ""), ("", ""), ("", "")]
    headings = [by, "layers", *(heading for name, _, _ in columns for heading in (name, "%", ""))]
    numeric = [False, True, *(flag for _ in columns for flag in (True, True, False))]
    if width is not None and width < 60 + 3 * _BAR:  # without bars
        kept = [i for i in range(len(headings)) if headings[i]]
        headings, numeric = [headings[i] for i in kept], [numeric[i] for i in kept]
        cells, total = [[line[i] for i in kept] for line in cells], [total[i] for i in kept]
    return [[(table.model, "bold")], *align(headings, cells, numeric=numeric, footer=total, width=width)]


def _bar(number: int, largest: int) -> str:
    eighths = round(8 * _BAR * number / largest) if largest else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def shares_as_json(table: LayerTable, by: By, depth: int) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "version": 1,
        "model": table.model,
        "input_shape": list(table.input_shape),
        "by": by,
        "groups": [asdict(each) for each in shares(table, by, depth)],
    }
