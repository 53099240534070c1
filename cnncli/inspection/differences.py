"""The differences between two networks, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from cnncli.inspection.columns import Column, columns
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import LayerTable, Row

COMPARED = tuple(column for column in columns(wide=False) if column.compared)
"""The columns of the layer table that are compared."""

Pair = tuple[Row | None, Row | None]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A layer that differs between two networks.

    Attributes:
        status: whether only the second network has it, only the first, or both.
        before, after: its rows; None where the network lacks it.
        columns: the columns in which the rows differ; all compared columns if one row is missing.
    """

    status: Literal["added", "removed", "changed"]
    before: Row | None
    after: Row | None
    columns: tuple[Column, ...]


def compare(before: LayerTable, after: LayerTable) -> list[Change]:
    """The layers that differ, in the order of computation.

    Layers are matched by name where the order of names allows it, and between those by type.
    """
    changes = []
    for old, new in _matched(before.rows, after.rows):
        if old is None or new is None:
            status: Literal["added", "removed"] = "added" if old is None else "removed"
            changes.append(Change(status=status, before=old, after=new, columns=COMPARED))
            continue
        differing = tuple(column for column in COMPARED if column.exact_cell(old) != column.exact_cell(new))
        if differing:
            changes.append(Change(status="changed", before=old, after=new, columns=differing))
    return changes


def _matched(before: Sequence[Row], after: Sequence[Row]) -> Iterator[Pair]:
    """Pairs of rows by name, and between them by type; a row without a partner is paired with None."""
    for same, old, new in _blocks(before, after, lambda row: row.name):
        if same:
            yield from zip(old, new, strict=True)
            continue
        for same_type, removed, added in _blocks(old, new, _kind):
            if same_type:
                yield from zip(removed, added, strict=True)
            else:
                yield from ((row, None) for row in removed)
                yield from ((None, row) for row in added)


def _kind(row: Row) -> str:
    return "linear" if row.type == "logits" else row.type  # in a file, the last layer is one like others


def _blocks(
    before: Sequence[Row], after: Sequence[Row], key: Callable[[Row], str]
) -> Iterator[tuple[bool, Sequence[Row], Sequence[Row]]]:
    """Blocks of rows that are equal by `key`, or differ."""
    matcher = SequenceMatcher(None, [key(row) for row in before], [key(row) for row in after], autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        yield tag == "equal", before[i1:i2], after[j1:j2]


def comparison_as_json(before: LayerTable, after: LayerTable) -> dict[str, Any]:
    """The differences as JSON: both totals, and both rows of every layer that differs."""
    old, new = as_json(before), as_json(after)
    rows_before = {row["name"]: row for row in old["layers"]}
    rows_after = {row["name"]: row for row in new["layers"]}
    return {
        "version": old["version"],
        "before": {"model": before.model, "input_shape": old["input_shape"], "totals": old["totals"]},
        "after": {"model": after.model, "input_shape": new["input_shape"], "totals": new["totals"]},
        "changes": [
            {
                "status": change.status,
                "before": change.before and rows_before[change.before.name],
                "after": change.after and rows_after[change.after.name],
                "differ": [column.heading for column in change.columns],
            }
            for change in compare(before, after)
        ],
    }
