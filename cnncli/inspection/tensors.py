"""The tensors of a file that holds no network, such as a state dict, with what their names and shapes say about layers.

The table as JSON and CSV has the keys of `TensorEntry`; its text is drawn by `tensor_lines`.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import prod
from typing import Any

from cnncli.inspection.columns import counted, size_in_bytes
from cnncli.inspection.formatting import Line, align, markdown_row, shortened, wrap
from cnncli.layers import format_size
from cnncli.layers.base import Shape

JSON_VERSION = 1
_NOTES = (
    "the order in which layers are computed, and the shapes of their maps, are not in the file: inspect the code that "
    "creates the network for MACs and receptive fields",
    "layers are guessed from names and shapes; a transposed convolution looks like a convolution",
)
MAX_ROWS = 1000
"""Tensors that a terminal is shown; other formats have all."""
_MAX_NAME = 120
"""Characters of a name in a terminal."""
_MAX_NOTE = 1000
"""Characters of a note in a terminal."""
_MAX_LISTED = 20
"""Tensors with shared memory, and other things in the file, that the notes name."""
_HEADINGS = ("tensor", "type", "shape", "numbers", "bytes", "layer")
_NUMERIC = (False, False, True, True, True, False)


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor.

    Attributes:
        name: in the file; keys of nested dictionaries are joined by dots.
        dtype: the type of its numbers, as torch calls it: `float32`.
        shape: its shape.
        bytes: of its numbers.
        shared_with: an earlier tensor that has the same memory, so that it takes none; None if there is none.
    """

    name: str
    dtype: str
    shape: Shape
    bytes: int
    shared_with: str | None = None

    @property
    def numbers(self) -> int:
        """How many it has."""
        return prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class TensorTable:
    """The tensors of a file.

    Attributes:
        file: its path.
        entries: its tensors, in the order of the file.
        others: what else it holds, such as `epoch`.
    """

    file: str
    entries: tuple[TensorEntry, ...]
    others: tuple[str, ...] = ()

    @property
    def numbers(self) -> int:
        """In all tensors; shared ones count once."""
        return sum(each.numbers for each in self.entries if each.shared_with is None)

    @property
    def bytes(self) -> int:
        """Of all tensors; shared ones count once."""
        return sum(each.bytes for each in self.entries if each.shared_with is None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the file."""
        others = (f"it also holds {', '.join(_listed(self.others))}",) if self.others else ()
        shared = _listed(
            [f"{each.name} is {each.shared_with}, and counted there" for each in self.entries if each.shared_with]
        )
        return (*shared, *others, *_NOTES)

    @cached_property
    def layers(self) -> Mapping[str, str]:
        """Guessed layers, each by the name of its first tensor: `conv 3x3, 64 -> 128`."""
        groups: dict[str, dict[str, TensorEntry]] = {}
        for each in self.entries:
            owner, _, own = each.name.rpartition(".")
            groups.setdefault(owner, {})[own] = each
        guesses = {
            next(iter(group.values())).name: _layer({k: v.shape for k, v in group.items()}) for group in groups.values()
        }
        return {name: layer for name, layer in guesses.items() if layer}


def _layer(shapes: Mapping[str, Shape]) -> str:
    """A layer by the shapes of its tensors, whose names are torch's; empty if they do not say it.

    Source: the parameters of torch's modules, https://docs.pytorch.org/docs/stable/nn.html.
    """
    if "weight_ih_l0" in shapes and "weight_hh_l0" in shapes:
        rows, (gates, hidden) = shapes["weight_ih_l0"], shapes["weight_hh_l0"]
        kind = {4: "lstm", 3: "gru", 1: "rnn"}.get(gates // max(1, hidden), "recurrent layer")
        return f"{kind}, {rows[-1]} -> {hidden}"
    if "in_proj_weight" in shapes:
        return f"attention, {shapes['in_proj_weight'][-1]} features"
    weight = shapes.get("weight", ())
    if "running_mean" in shapes:
        return f"batch_norm, {shapes['running_mean'][0]} channels"
    match weight:
        case (features,):
            norm = "layer_norm or group_norm" if "bias" in shapes else "norm or prelu"
            return f"{norm}, {features}"
        case (outputs, inputs):
            return f"{'linear' if 'bias' in shapes else 'linear or embedding'}, {inputs} -> {outputs}"
        case (outputs, 1, *kernel) if kernel and outputs > 1:
            return f"conv {format_size(kernel)}, 1 -> {outputs} or depthwise"
        case (outputs, inputs, *kernel):
            return f"conv {format_size(kernel)}, {inputs} -> {outputs}"
    return ""


def _listed(texts: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(texts) - _MAX_LISTED
    return [*texts[:_MAX_LISTED], *([f"and {more:,} more"] if more > 0 else [])]


def tensor_lines(table: TensorTable, *, width: int | None = None, prose_width: int | None = None) -> list[Line]:
    """The table as lines of styled text, of the first `MAX_ROWS` tensors; for the arguments see `table_lines`."""
    rows = [[(shortened(cell, _MAX_NAME), "") for cell in cells] for cells in islice(_cells(table), MAX_ROWS)]
    more = len(table.entries) - MAX_ROWS
    if more > 0:
        rows.append([(f"and {more:,} more, which --json prints", "")])
    return [
        [(table.file, "bold")],
        *align(_HEADINGS, rows, numeric=_NUMERIC, footer=[(cell, "") for cell in _total(table)], width=width),
        *(line for note in table.notes for line in wrap([(shortened(note, _MAX_NOTE), "")], prose_width)),
    ]


def tensor_markdown(table: TensorTable) -> str:
    """The table as Markdown."""
    rows = [_HEADINGS, ["---:" if numeric else "---" for numeric in _NUMERIC], *_cells(table), _total(table)]
    return "\n".join([*map(markdown_row, rows), "", *(f"- {note}" for note in table.notes)])


def _cells(table: TensorTable) -> Iterable[list[str]]:
    for each in table.entries:
        yield [
            each.name,
            each.dtype,
            format_size(each.shape),
            f"{each.numbers:,}",
            size_in_bytes(each.bytes),
            table.layers.get(each.name, ""),
        ]


def _total(table: TensorTable) -> list[str]:
    return [counted(len(table.entries), "tensor"), "", "", f"{table.numbers:,}", size_in_bytes(table.bytes), ""]


def tensors_as_json(table: TensorTable) -> dict[str, Any]:
    """The table as the published JSON."""
    return {
        "version": JSON_VERSION,
        "file": table.file,
        "tensors": [
            {
                "name": each.name,
                "dtype": each.dtype,
                "shape": list(each.shape),
                "numbers": each.numbers,
                "bytes": each.bytes,
                "shared_with": each.shared_with,
                "layer": table.layers.get(each.name),
            }
            for each in table.entries
        ],
        "totals": {"tensors": len(table.entries), "numbers": table.numbers, "bytes": table.bytes},
        "notes": list(table.notes),
    }


def tensors_as_csv(table: TensorTable) -> str:
    """One line per tensor, with the keys of the JSON."""
    rows = tensors_as_json(table)["tensors"]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["name", "dtype", "shape", "numbers", "bytes", "shared_with", "layer"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({**row, "shape": format_size(row["shape"])} for row in rows)
    return text.getvalue()


_SAFETENSORS = re.compile(r"(BF|F|I|U|BOOL)(\d*)(?:_(\w+))?")
_PREFIXES = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}


def torch_dtype(name: str) -> tuple[str, int]:
    """The name in torch and the bits of a safetensors type: `F32` is `float32`, 32.

    Raises:
        ValueError: it is none.
    """
    if name == "BOOL":
        return "bool", 8
    match = _SAFETENSORS.fullmatch(name)
    if match is None or not match[2]:
        raise ValueError(name)
    kind = f"_{match[3].lower()}" if match[3] else ""
    return f"{_PREFIXES[match[1]]}{match[2]}{kind}", int(match[2])
