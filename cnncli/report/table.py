"""The layer table, what it adds up to and what it means, as `inspect` prints it."""

from typing import Any

from cnncli.analysis.rows import Inspection
from cnncli.analysis.table import columns, size_in_bytes


def table_data(inspection: Inspection) -> dict[str, Any]:
    """Headings, cells and totals as texts; the hints; notes; as JSON."""
    shown = columns(wide=True)
    memory = inspection.memory
    return {
        "columns": [{"heading": each.heading, "numeric": each.numeric, "wide": each.wide} for each in shown],
        "input": "x".join(map(str, inspection.input_shape)),
        "rows": [[each.cell(row) for each in shown] for row in inspection.rows],
        "totals": [each.total(inspection) for each in shown],
        "hints": [
            {"name": each.name, "layer": each.layer, "says": each.says, "consider": each.consider}
            for each in inspection.hints
        ],
        "notes": [*inspection.notes, *(f"{row.name}: {note}" for row in inspection.rows for note in row.notes)],
        "memory": {
            "weights": size_in_bytes(memory.weights),
            "activations in training, one image": size_in_bytes(memory.training),
            "activations in inference at their peak": size_in_bytes(memory.inference),
        },
    }
