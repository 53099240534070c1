"""The layer table as text: which columns there are, and what stands in each cell. How it is drawn, `render` says."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cnncli.inspection.table import LayerTable, Row
from cnncli.windows import Adaptive, Gathered, Padded, Resampled, Sliding, Transposed, Window

UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        heading: its name.
        cell: the text of a row.
        exact: the same with every digit, where `cell` rounds large numbers.
        total: the text below all rows.
        numeric: whether it is set to the right and never broken.
        wide: whether only `--wide` shows it.
    """

    heading: str
    cell: Callable[[Row], str]
    exact: Callable[[Row], str] | None = None
    total: Callable[[LayerTable], str] = lambda inspection: ""
    numeric: bool = True
    wide: bool = False


def columns(*, wide: bool) -> tuple[Column, ...]:
    """The columns of the narrow or the wide table."""
    return tuple(column for column in _COLUMNS if wide or not column.wide)


def markdown(inspection: LayerTable, *, wide: bool = False) -> str:
    """The layer table as Markdown, with the notes below it."""
    shown = columns(wide=wide)
    lines = [
        _line(column.heading for column in shown),
        _line("---:" if column.numeric else "---" for column in shown),
        *(_line(column.cell(row) for column in shown) for row in inspection.rows),
        _line(column.total(inspection) for column in shown),
    ]
    return "\n".join([*lines, "", *(f"- {line}" for line in notes(inspection))])


def notes(inspection: LayerTable) -> list[str]:
    """What is to be said of the model, and of its layers; what is said of several, once."""
    layers: dict[str, list[str]] = {}
    for row in inspection.rows:
        for note in row.notes:
            layers.setdefault(note, []).append(row.name)
    return [*inspection.notes, *(f"{listed(names)}: {note}" for note, names in layers.items())]


def nested(names: Sequence[str]) -> list[tuple[list[str], str]]:
    """Names as a tree: for each the scopes that begin with it, and what stands for it among these, indented.

    A scope that holds a single name is no scope of its own: `layer1`, ` .0`, `  .conv1`, `  .downsample.0`.
    """
    paths = [tuple(name.split(".")) for name in names]
    result: list[tuple[list[str], str]] = []
    within: list[tuple[str, ...]] = []
    for path, then in zip(paths, [*paths[1:], ()], strict=True):
        within = [scope for scope in within if path[: len(scope)] == scope]
        scopes = []
        for depth in range(len(within[-1]) + 1 if within else 1, len(path)):
            if then[:depth] == path[:depth]:
                scopes.append(_indented(path[:depth], within))
                within.append(path[:depth])
        result.append((scopes, _indented(path, within)))
    return result


def _indented(path: tuple[str, ...], within: list[tuple[str, ...]]) -> str:
    rest = ".".join(path[len(within[-1]) if within else 0 :])
    return f"{' ' * len(within)}{'.' if within else ''}{rest}"


def listed(names: Sequence[str]) -> str:
    """Some names, or the first of many."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def count(number: int | None) -> str:
    """A count as people read it: exact to nine characters, then in millions; nothing for 0."""
    if number is None:
        return UNKNOWN
    if number >= 10**7:
        return f"{number / 1e6:,.1f}M"
    return f"{number:,}" if number else ""


def _every_digit(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}" if number else ""


def size_in_bytes(number: int | None) -> str:
    """Bytes as people read them."""
    if number is None:
        return UNKNOWN
    for unit, power in (("GB", 30), ("MB", 20), ("kB", 10)):
        if number >= 1 << power:
            return f"{number / (1 << power):.1f} {unit}"
    return f"{number} B"


def per_axis(values: Iterable[object]) -> str:
    """One value where the axes agree, else `height x width`, without spaces."""
    texts = [str(each) for each in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def window_text(windows: tuple[Window, ...]) -> str:
    """Kernel, stride, padding and dilation; `up2` for a stride that enlarges, `to 7` where only the size is set.

    `cut 2+0` leaves positions out at the ends, `picks` takes them in some other order; `1` is an axis left as it is.
    """
    parts = [_window_parts(window) for window in windows]
    if len({len(part) for part in parts}) > 1:
        return " x ".join(
            "1" if window == Sliding(kernel=1) else "/".join(part) for window, part in zip(windows, parts, strict=True)
        )
    text = "/".join(per_axis(values) for values in zip(*parts, strict=True))
    return re.sub(r"x(to|cut|pad) ", "x", text)  # the word stands before the first axis


def _window_parts(window: Window) -> tuple[str, ...]:
    match window:
        case Sliding(kernel=1, stride=1, before=before, after=after) if before < 0 or after < 0:
            return (f"cut {_two(-before, -after)}",)
        case Sliding():
            return (str(window.kernel), str(window.stride), _two(window.before, window.after), str(window.dilation))
        case Transposed():
            return (str(window.kernel), f"up{window.stride}", str(window.padding), str(window.dilation))
        case Adaptive() | Resampled():
            return (f"to {window.units}",)
        case Padded():
            return (f"pad {_two(window.before, window.after)}",)
        case Gathered():
            everything = len(set(window.positions)) == 1 and len(window.positions[0]) > 1
            return ("all",) if everything else ("picks",)
    return ("",)


def _two(before: int, after: int) -> str:
    return str(before) if before == after else f"{before}+{after}"


def _shape(row: Row) -> str:
    return UNKNOWN if row.output_shape is None else "x".join(map(str, row.output_shape))


def _field(row: Row) -> str:
    field = row.receptive_field
    if field is None:
        return UNKNOWN
    if not field.is_global:
        return per_axis(field.size)
    return "all" if field.local is None else f"all ({per_axis(field.local)})"


def _jump(row: Row) -> str:
    field = row.receptive_field
    if field is None:
        return UNKNOWN
    return "" if field.jump is None else per_axis(map(rational, field.jump))


def rational(value: Fraction) -> str:
    """`2`, `1/2`, or with one decimal where the denominator would say nothing."""
    return str(value) if value.denominator <= 8 else f"{float(value):.2f}"


def _coverage(row: Row) -> str:
    return UNKNOWN if row.coverage is None else f"{100 * float(row.coverage):.1f}"


def _hints(row: Row) -> str:
    return ", ".join(dict.fromkeys(hint.name for hint in row.hints))


def _of_unit_0(row: Row, which: str) -> str:
    field = row.receptive_field
    values = None if field is None else getattr(field, which)
    return "" if values is None else per_axis(f"{float(value):g}" for value in values)


def _reach(row: Row) -> str:
    """How far padding reaches out of the image before unit 0."""
    field = row.receptive_field
    return "" if field is None or field.start is None else per_axis(max(0, -start) for start in field.start)


def _smallest(row: Row) -> str:
    field = row.receptive_field
    if field is None or field.smallest_path is None:
        return UNKNOWN
    return per_axis(field.smallest_path)


def _trainable(row: Row) -> str:
    if row.params is None or row.trainable is None:
        return UNKNOWN
    frozen = row.params - row.trainable
    return f"{row.trainable:,}/{frozen:,}" if row.params else ""


_COLUMNS = (
    Column(heading="layer", cell=lambda row: row.name, total=lambda _: "total", numeric=False),
    Column(heading="kind", cell=lambda row: row.type, numeric=False),
    Column(heading="k/s/p/d", cell=lambda row: window_text(row.windows), numeric=False),
    Column(heading="output", cell=_shape),
    Column(
        heading="params",
        cell=lambda row: count(row.params),
        exact=lambda row: _every_digit(row.params),
        total=lambda each: count(each.params),
    ),
    Column(
        heading="MACs",
        cell=lambda row: count(row.macs),
        exact=lambda row: _every_digit(row.macs),
        total=lambda each: count(each.macs),
    ),
    Column(heading="field", cell=_field),
    Column(heading="jump", cell=_jump),
    Column(heading="%", cell=_coverage),
    Column(heading="start", cell=lambda row: _of_unit_0(row, "start"), wide=True),
    Column(heading="center", cell=lambda row: _of_unit_0(row, "center"), wide=True),
    Column(heading="padding", cell=_reach, wide=True),
    Column(heading="smallest", cell=_smallest, wide=True),
    Column(heading="groups", cell=lambda row: str(row.groups) if row.groups > 1 else "", wide=True),
    Column(heading="activation", cell=lambda row: size_in_bytes(row.activation_bytes), wide=True),
    Column(
        heading="FLOPs",
        cell=lambda row: count(None if row.macs is None else 2 * row.macs),
        total=lambda each: count(2 * each.macs),
        wide=True,
    ),
    Column(
        heading="trained/frozen",
        cell=_trainable,
        total=lambda each: f"{each.trainable:,}/{each.params - each.trainable:,}",
        wide=True,
    ),
    Column(heading="hint", cell=_hints, numeric=False),
)
