"""The layer table as published JSON and CSV; keys keep their meaning, more may be added."""

import csv
import io
from dataclasses import asdict
from fractions import Fraction
from statistics import median
from typing import Any

from cnncli.inspection.columns import half_spread, repeated_padding
from cnncli.inspection.table import LayerTable, Row
from cnncli.windows import Sliding, Transposed, Window

JSON_VERSION = 1


def as_json(table: LayerTable) -> dict[str, Any]:
    """A table as the published JSON."""
    params_known = all(row.params is not None for row in table)
    macs_known = all(row.macs is not None for row in table)
    return {
        "version": JSON_VERSION,
        "model": table.model,
        "input_shape": list(table.input_shape),
        "layers": [_row(row) for row in table],
        "totals": {
            "params": table.params if params_known else None,
            "trainable": table.trainable if params_known else None,
            "macs": table.macs if macs_known else None,
            "flops": 2 * table.macs if macs_known else None,
            "memory": asdict(table.memory),
            **({} if table.quantized is None else {"quantized_memory": asdict(table.quantized)}),
        },
        "notes": list(table.notes),
        "hints": [asdict(hint) for hint in table.hints],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "inputs": list(row.inputs),
        **_windows(row.windows),
        "groups": row.groups,
        "output_shape": None if row.output_shape is None else list(row.output_shape),
        "params": row.params,
        "trainable": row.trainable,
        "shares_weights": row.shares_weights,
        "macs": row.macs,
        "flops": None if row.macs is None else 2 * row.macs,
        "activation_bytes": row.activation_bytes,
        **({"latency_ms": _latency(row)} if row.latency else {}),
        "receptive_field": _receptive_field(row),
        "coverage": None if row.coverage is None else float(row.coverage),
        "unknown": row.unknown,
        "notes": list(row.notes),
        "hints": [hint.name for hint in row.hints],
    }


def _latency(row: Row) -> dict[str, float]:
    return {"median": 1000 * median(row.latency), "half_spread": 1000 * half_spread(row.latency)}


def _receptive_field(row: Row) -> dict[str, Any] | None:
    receptive_field = row.known_receptive_field
    if receptive_field is None:
        return None
    return {
        "size": list(receptive_field.size),
        "jump": receptive_field.jump and [_number(jump) for jump in receptive_field.jump],
        "start": receptive_field.start and list(receptive_field.start),
        "end": receptive_field.end and list(receptive_field.end),
        "center": receptive_field.center and [float(center) for center in receptive_field.center],
        "smallest_path": receptive_field.smallest_path and list(receptive_field.smallest_path),
        "largest_path": receptive_field.largest_path and list(receptive_field.largest_path),
        "used": receptive_field.used and list(receptive_field.used),
        "local": receptive_field.local and list(receptive_field.local),
        **({"global": True} if receptive_field.is_global else {}),
    }


def _windows(windows: tuple[Window, ...]) -> dict[str, Any]:
    """Kernel, stride, padding (before and after, if they differ) and dilation per axis, and what is in the padding.

    They are null if an axis has none.
    """
    sliding = [window for window in windows if isinstance(window, Sliding | Transposed)]
    values: dict[str, Any] = {
        "kernel_size": [window.kernel for window in sliding],
        "stride": [window.stride for window in sliding],
        "padding": [_padding(window) for window in sliding],
        "dilation": [window.dilation for window in sliding],
        "padding_mode": repeated_padding(windows) or "zeros",
    }
    return values if windows and len(sliding) == len(windows) else dict.fromkeys(values)


def _padding(window: Sliding | Transposed) -> int | list[int]:
    if isinstance(window, Transposed):
        return window.padding
    return window.before if window.before == window.after else [window.before, window.after]


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def as_csv(table: LayerTable) -> str:
    """One line per layer with the keys of the JSON; `receptive_field.size` is `5x5`, and null an empty cell."""
    rows = [_flat(row) for row in as_json(table)["layers"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        match value:
            case dict():
                flat |= _flat(value, f"{prefix}{key}.")
            case list():
                separator = "; " if any(isinstance(each, str) for each in value) else "x"
                flat[prefix + key] = separator.join(
                    "+".join(map(str, each)) if isinstance(each, list) else str(each) for each in value
                )
            case None if key == "receptive_field":
                pass  # its keys stay empty
            case _:
                flat[prefix + key] = "" if value is None else value
    return flat
