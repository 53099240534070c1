"""The layer table for other programs."""

import csv
import io
import json
from typing import Any

from cnncli.analysis.as_json import as_json
from cnncli.analysis.rows import Inspection


def json_text(inspection: Inspection) -> str:
    """The published JSON."""
    return json.dumps(as_json(inspection), indent=2)


def csv_text(inspection: Inspection) -> str:
    """One line per layer with the keys of the JSON; `receptive_field.size` is `5x5`, what is not known is empty."""
    rows = [_flat(row) for row in as_json(inspection)["layers"]]
    headings = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, headings, restval="", lineterminator="\n")
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
            case None if key != "receptive_field":
                flat[prefix + key] = ""
            case None:
                pass  # its own keys are left empty
            case _:
                flat[prefix + key] = value
    return flat
