"""The columns of the layer table, and the text of their cells."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from statistics import median, quantiles
from typing import Literal

from cnncli.inspection.table import LayerTable, Row
from cnncli.layers import format_size, per_axis
from cnncli.windows import Adaptive, Gathered, Padded, Resampled, Sliding, Transposed, Window

UNKNOWN = "?"
_SHARED = "shared"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the layer table.

    Attributes:
        heading: its heading.
        cell: the text of a row.
        exact: the same with all digits, if `cell` rounds large numbers.
        total: the text below all rows.
        numeric: whether it is aligned right and never wrapped.
        wide: whether only the wide table has it.
        compared: whether `cnncli diff` compares it.
        optional: whether it may be left out where the table is too wide; the last of these first.
        latency: whether only a table with measured times has it.
        number: what rows are sorted by, if not by the text.
    """

    heading: str
    cell: Callable[[Row], str]
    exact: Callable[[Row], str] | None = None
    total: Callable[[LayerTable], str] = lambda table: ""
    numeric: bool = True
    wide: bool = False
    compared: bool = False
    optional: bool = False
    latency: bool = False
    number: Callable[[Row], float | None] | None = None

    def sort(self, row: Row) -> str:
        """What rows are sorted by: a number, or the text of the cell; empty if unknown."""
        if self.number is None:
            return re.sub(r"[^\w.]", "-", self.cell(row))
        value = self.number(row)
        return "" if value is None else f"{value:.12g}"

    def exact_cell(self, row: Row) -> str:
        """The text of a row with all digits of its numbers."""
        return (self.exact or self.cell)(row)


def columns(*, wide: bool) -> tuple[Column, ...]:
    """The columns of the normal or the wide table, without measured times."""
    return tuple(column for column in _COLUMNS if (wide or not column.wide) and not column.latency)


def columns_of(table: LayerTable, *, wide: bool = False) -> tuple[Column, ...]:
    """The columns that are shown of a table: with measured times if it has any."""
    measured = any(row.latency for row in table)
    return tuple(column for column in _COLUMNS if (wide or not column.wide) and (measured or not column.latency))


def size_in_bytes(number: int | None) -> str:
    """A number of bytes with its unit, such as `18.4 kB`."""
    if number is None:
        return UNKNOWN
    for unit, power in (("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)):
        if number >= 1 << power:
            return f"{number / (1 << power):.1f} {unit}"
    return f"{number} B"


def window_text(windows: tuple[Window, ...]) -> str:
    """Kernel, stride, padding and dilation; `up2` is a transposed stride, `to 7` an output size.

    `cut 2+0` crops positions at the ends, `picks` gathers them in another order; `1` leaves an axis as it is. At the
    end stands what is repeated in the padding: `3/1/1/1 reflect`.
    """
    return " ".join(filter(None, [_windows_text(windows), repeated_padding(windows)]))


def repeated_padding(windows: tuple[Window, ...]) -> str:
    """How the padding repeats pixels of the map: `reflect`, `replicate` or `circular`; empty if it is constant."""
    modes: set[str] = {window.padding_mode for window in windows if isinstance(window, Sliding)}
    modes |= {window.mode for window in windows if isinstance(window, Padded)}
    return next(iter(modes - {"zeros", "constant"}), "")


def _windows_text(windows: tuple[Window, ...]) -> str:
    parts = [_window_parts(window) for window in windows]
    if len({len(part) for part in parts}) > 1:
        return " x ".join(
            "1" if window == Sliding(kernel=1) else "/".join(part) for window, part in zip(windows, parts, strict=True)
        )
    text = "/".join(per_axis(values) for values in zip(*parts, strict=True))
    return re.sub(r"x(to|cut|pad) ", "x", text)  # the word stands before the first axis only


def _window_parts(window: Window) -> tuple[str, ...]:
    match window:
        case Sliding(kernel=1, stride=1, before=before, after=after) if before < 0 or after < 0:
            return (f"cut {_both_ends(-before, -after)}",)
        case Sliding():
            padding = _both_ends(window.before, window.after)
            return (str(window.kernel), str(window.stride), padding, str(window.dilation))
        case Transposed():
            return (str(window.kernel), f"up{window.stride}", str(window.padding), str(window.dilation))
        case Adaptive() | Resampled():
            return (f"to {window.units}",)
        case Padded():
            return (f"pad {_both_ends(window.before, window.after)}",)
        case Gathered():
            reads_all = len(set(window.positions)) == 1 and len(window.positions[0]) > 1
            return ("all",) if reads_all else ("picks",)
    return ("",)


def _both_ends(before: int, after: int) -> str:
    return str(before) if before == after else f"{before}+{after}"


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `2,000 epochs`."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def _count(number: int | None) -> str:
    """A count: exact up to nine characters, then in millions; empty for 0."""
    return f"{number / 1e6:,.1f}M" if number is not None and number >= 10**7 else _exact_count(number)


def _exact_count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}" if number else ""


def receptive_field_text(row: Row) -> str:
    """The size of a receptive field: `5`, `all`, or `?`."""
    receptive_field = row.known_receptive_field
    if receptive_field is None:
        return UNKNOWN
    if not receptive_field.is_global:
        return per_axis(receptive_field.size)
    return "all" if receptive_field.local is None else f"all ({per_axis(receptive_field.local)})"


def _jump(row: Row) -> str:
    receptive_field = row.known_receptive_field
    if receptive_field is None:
        return UNKNOWN
    return "" if receptive_field.jump is None else per_axis(map(rational, receptive_field.jump))


def rational(value: Fraction) -> str:
    """`2`, `1/2`, or two decimals if the denominator is large."""
    return str(value) if value.denominator <= 8 else f"{float(value):.2f}"


def _of_unit_0(row: Row, attribute: Literal["start", "center"]) -> str:
    values = None if row.known_receptive_field is None else getattr(row.known_receptive_field, attribute)
    return "" if values is None else per_axis(f"{float(value):g}" for value in values)


def _padding_seen(row: Row) -> str:
    """Pixels by which the receptive field of unit 0 extends beyond the image."""
    receptive_field = row.known_receptive_field
    if receptive_field is None or receptive_field.start is None:
        return ""
    return per_axis(max(0, -start) for start in receptive_field.start)


def _smallest_path(row: Row) -> str:
    receptive_field = row.known_receptive_field
    if receptive_field is None or receptive_field.smallest_path is None:
        return UNKNOWN
    return per_axis(receptive_field.smallest_path)


def _milliseconds(seconds: tuple[float, ...]) -> str:
    """The median of measured times and half the distance between their quartiles."""
    if not seconds:
        return ""
    return f"{1000 * median(seconds):.3f} ±{1000 * half_spread(seconds):.3f}"


def half_spread(values: Sequence[float]) -> float:
    """Half the distance between the first and the third quartile; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    first, _, third = quantiles(values, n=4, method="inclusive")
    return (third - first) / 2


def total_latency(rows: Iterable[Row]) -> tuple[float, ...]:
    """The sums over rows, run by run."""
    return tuple(map(sum, zip(*(row.latency for row in rows if row.latency), strict=True)))


def _only_shares(row: Row) -> bool:
    """Whether all of its parameters are counted in earlier rows."""
    return row.shares_weights and row.params == 0


def _trainable(row: Row) -> str:
    if row.params is None or row.trainable is None:
        return UNKNOWN
    return f"{row.trainable:,}/{row.params - row.trainable:,}" if row.params else ""


_COLUMNS = (
    Column(heading="layer", cell=lambda row: row.name, total=lambda _: "total", numeric=False),
    Column(heading="type", cell=lambda row: row.type, numeric=False, compared=True, optional=True),
    Column(heading="k/s/p/d", cell=lambda row: window_text(row.windows), numeric=False, compared=True, optional=True),
    Column(
        heading="output",
        cell=lambda row: UNKNOWN if row.output_shape is None else format_size(row.output_shape),
        number=lambda row: None if row.output_shape is None else prod(row.output_shape),
        compared=True,
    ),
    Column(
        heading="params",
        cell=lambda row: _SHARED if _only_shares(row) else _count(row.params),
        number=lambda row: row.params,
        exact=lambda row: _SHARED if _only_shares(row) else _exact_count(row.params),
        total=lambda table: _count(table.params),
        compared=True,
    ),
    Column(
        heading="MACs",
        cell=lambda row: _count(row.macs),
        number=lambda row: row.macs,
        exact=lambda row: _exact_count(row.macs),
        total=lambda table: _count(table.macs),
        compared=True,
    ),
    Column(
        heading="ms",
        cell=lambda row: _milliseconds(row.latency),
        total=lambda table: _milliseconds(total_latency(table.rows)),
        latency=True,
        number=lambda row: median(row.latency) if row.latency else None,
    ),
    Column(
        heading="RF",
        cell=receptive_field_text,
        compared=True,
        number=lambda row: None if row.known_receptive_field is None else prod(row.known_receptive_field.size),
    ),
    Column(
        heading="jump",
        cell=_jump,
        compared=True,
        optional=True,
        number=lambda row: float(max(jump)) if (f := row.known_receptive_field) and (jump := f.jump) else None,
    ),
    Column(
        heading="%",
        cell=lambda row: UNKNOWN if row.coverage is None else f"{100 * float(row.coverage):.1f}",
        number=lambda row: None if row.coverage is None else float(row.coverage),
        optional=True,
    ),
    Column(heading="start", cell=lambda row: _of_unit_0(row, "start"), wide=True, optional=True),
    Column(heading="center", cell=lambda row: _of_unit_0(row, "center"), wide=True, optional=True),
    Column(heading="padding", cell=_padding_seen, wide=True, optional=True),
    Column(heading="smallest", cell=_smallest_path, wide=True, optional=True),
    Column(heading="groups", cell=lambda row: str(row.groups) if row.groups > 1 else "", wide=True, optional=True),
    Column(heading="activation", cell=lambda row: size_in_bytes(row.activation_bytes), wide=True, optional=True),
    Column(
        heading="FLOPs",
        cell=lambda row: _count(None if row.macs is None else 2 * row.macs),
        total=lambda table: _count(2 * table.macs),
        wide=True,
        optional=True,
    ),
    Column(
        heading="trained/frozen",
        cell=_trainable,
        total=lambda table: f"{table.trainable:,}/{table.params - table.trainable:,}",
        wide=True,
        optional=True,
    ),
    Column(
        heading="hint",
        cell=lambda row: ", ".join(dict.fromkeys(hint.name for hint in row.hints)),
        numeric=False,
        optional=True,
    ),
)
