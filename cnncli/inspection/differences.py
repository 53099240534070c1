"""Two networks layer by layer: what was added, what left out, and what changed."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from cnncli.inspection.formatting import Column, columns
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import LayerTable, Row

_COMPARED = ("kind", "k/s/p/d", "output", "params", "MACs", "field", "jump")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A layer that is not the same in both networks.

    Attributes:
        status: whether only the second has it, only the first, or both.
        before, after: its rows; None where it is not there.
        columns: the columns of the layer table in which the two differ; all that are compared where one is missing.
    """

    status: Literal["added", "removed", "changed"]
    before: Row | None
    after: Row | None
    columns: tuple[Column, ...]


def compare(before: LayerTable, after: LayerTable) -> list[Change]:
    """The layers that differ, in the order of computation.

    Layers are matched by name where the order of names allows it, and otherwise, between those, by kind.
    """
    changes = []
    for old, new in _matched(before.rows, after.rows):
        if old is None or new is None:
            status: Literal["added", "removed"] = "added" if old is None else "removed"
            changes.append(Change(status=status, before=old, after=new, columns=_columns()))
            continue
        differing = tuple(column for column in _columns() if exact_cell(column, old) != exact_cell(column, new))
        if differing:
            changes.append(Change(status="changed", before=old, after=new, columns=differing))
    return changes


def exact_cell(column: Column, row: Row) -> str:
    """The text of a row with every digit of its numbers."""
    return (column.exact or column.cell)(row)


def _columns() -> tuple[Column, ...]:
    return tuple(column for column in columns(wide=False) if column.heading in _COMPARED)


def _matched(before: tuple[Row, ...], after: tuple[Row, ...]) -> list[tuple[Row | None, Row | None]]:
    """Pairs of rows by name, and between them by kind; a row without partner stands alone."""
    pairs: list[tuple[Row | None, Row | None]] = []
    blocks = SequenceMatcher(None, [row.name for row in before], [row.name for row in after], autojunk=False)
    for tag, i1, i2, j1, j2 in blocks.get_opcodes():
        old, new = before[i1:i2], after[j1:j2]
        if tag == "equal":
            pairs.extend(zip(old, new, strict=True))
        else:
            pairs.extend(_by_kind(old, new))
    return pairs


def _by_kind(before: tuple[Row, ...], after: tuple[Row, ...]) -> list[tuple[Row | None, Row | None]]:
    pairs: list[tuple[Row | None, Row | None]] = []
    blocks = SequenceMatcher(None, [row.type for row in before], [row.type for row in after], autojunk=False)
    for tag, i1, i2, j1, j2 in blocks.get_opcodes():
        if tag == "equal":
            pairs.extend(zip(before[i1:i2], after[j1:j2], strict=True))
        else:
            pairs.extend((row, None) for row in before[i1:i2])
            pairs.extend((None, row) for row in after[j1:j2])
    return pairs


def comparison_as_json(before: LayerTable, after: LayerTable) -> dict[str, Any]:
    """The differences as JSON: both totals, and both rows of every layer that is not the same."""
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
