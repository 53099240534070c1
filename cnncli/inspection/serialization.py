"""The published JSON of an inspection; keys keep their meaning, more may be added."""

from fractions import Fraction
from typing import Any

from cnncli.inspection.hints import Hint
from cnncli.inspection.table import LayerTable, Row
from cnncli.windows import Sliding, Transposed, Window

JSON_VERSION = 1


def as_json(inspection: LayerTable) -> dict[str, Any]:
    """An inspection as the published JSON."""
    memory = inspection.memory
    complete = inspection.complete
    return {
        "version": JSON_VERSION,
        "model": inspection.model,
        "input_shape": list(inspection.input_shape),
        "layers": [_row(row) for row in inspection.rows],
        "totals": {
            "params": inspection.params if complete else None,
            "trainable": inspection.trainable if complete else None,
            "macs": inspection.macs if complete else None,
            "flops": 2 * inspection.macs if complete else None,
            "memory": {
                "batch": memory.batch,
                "weights": memory.weights,
                "training": memory.training,
                "inference": memory.inference,
            },
        },
        "notes": list(inspection.notes),
        "hints": [_hint(hint) for hint in inspection.hints],
    }


def _hint(hint: Hint) -> dict[str, str]:
    return {"name": hint.name, "layer": hint.layer, "says": hint.says, "consider": hint.consider}


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "inputs": list(row.inputs),
        **_geometry(row.windows),
        "groups": row.groups,
        "output_shape": None if row.output_shape is None else list(row.output_shape),
        "params": row.params,
        "trainable": row.trainable,
        "macs": row.macs,
        "flops": None if row.macs is None else 2 * row.macs,
        "activation_bytes": row.activation_bytes,
        "receptive_field": _field(row),
        "coverage": None if row.coverage is None else float(row.coverage),
        "unknown": row.unknown,
        "notes": list(row.notes),
        "hints": [hint.name for hint in row.hints],
    }


def _field(row: Row) -> dict[str, Any] | None:
    field = row.receptive_field
    if field is None:
        return None
    return {
        "size": list(field.size),
        "jump": field.jump and [_number(each) for each in field.jump],
        "start": field.start and list(field.start),
        "end": field.end and list(field.end),
        "center": field.center and [float(each) for each in field.center],
        "smallest_path": field.smallest_path and list(field.smallest_path),
        "largest_path": field.largest_path and list(field.largest_path),
        "used": field.used and list(field.used),
        "local": field.local and list(field.local),
        **({"global": True} if field.is_global else {}),
    }


def _geometry(windows: tuple[Window, ...]) -> dict[str, Any]:
    """Kernel, stride, padding (before and after, where they differ) and dilation per axis; null where there is none."""
    sliding = [window for window in windows if isinstance(window, Sliding | Transposed)]
    alike = bool(windows) and len(sliding) == len(windows)  # the kernel of any other window is not one number
    fields = {
        "kernel_size": [window.kernel for window in sliding],
        "stride": [window.stride for window in sliding],
        "padding": [_padding(window) for window in sliding],
        "dilation": [window.dilation for window in sliding],
    }
    return {name: values if alike else None for name, values in fields.items()}


def _padding(window: Sliding | Transposed) -> int | list[int]:
    if isinstance(window, Transposed):
        return window.padding
    return window.before if window.before == window.after else [window.before, window.after]


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
