"""Hints: what the windows, receptive fields and parameters of a network imply. `docs/hints` explains each one."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod

from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.receptive_field import ReceptiveField, ReceptiveFields
from cnncli.layers.base import Unknown, per_axis
from cnncli.windows import Sliding, Transposed, Window

AXES = {0: (), 1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
_LINES = {0: (), 1: ("position",), 2: ("row", "column"), 3: ("slice", "row", "column")}


@dataclass(frozen=True, kw_only=True)
class Hint:
    """A conclusion from the numbers of a layer.

    Attributes:
        name: the name that `--ignore` takes; `docs/hints/NAME.md` explains it.
        layer: the layer it is about.
        says: the fact or the prediction.
        consider: an edit to consider; empty if there is nothing to change.
    """

    name: str
    layer: str
    says: str
    consider: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A graph with the receptive fields of its nodes, and their summaries where they are known."""

    graph: Graph
    receptive_fields: Mapping[str, ReceptiveFields | Unknown]
    summaries: Mapping[str, ReceptiveField]

    @property
    def input_size(self) -> tuple[int, ...]:
        """Pixels per axis."""
        return self.graph.input_shape[1:]

    def with_positions(self) -> list[tuple[GraphNode, ReceptiveFields]]:
        """The nodes whose units have positions, with their receptive fields."""
        pairs = ((node, self.receptive_fields[node.name]) for node in self.graph.nodes)
        return [(node, each) for node, each in pairs if isinstance(each, ReceptiveFields) and not each.is_global]


def most_parameters(subject: Subject) -> Iterator[Hint]:
    """A layer with more than half of the parameters, if other layers have some."""
    counts = {node.name: node.params for node in subject.graph.nodes if node.params}
    total = sum(counts.values())
    for node in subject.graph.nodes:
        if len(counts) > 1 and 2 * counts.get(node.name, 0) > total:
            has_positions = node.shape is None or len(node.shape) > 1
            yield Hint(
                name="most-parameters",
                layer=node.name,
                says=f"holds {counts[node.name] / total:.0%} of all parameters",
                consider="fewer channels, groups, or a 1x1 convolution before it"
                if has_positions
                else "global_avg_pool instead of flatten, or fewer features before it",
            )


def whole_input(subject: Subject) -> Iterator[Hint]:
    """The first layers in which some unit, and every unit, spans the input, before a layer reads every position."""
    layers = subject.with_positions()
    if not layers:
        return
    some = next((node.name for node, fields in layers if _spans_input(subject, fields, any)), None)
    every = next((node.name for node, fields in layers if _spans_input(subject, fields, all)), None)
    known = len(subject.summaries) == len(subject.graph.nodes)
    limit = "" if known else "where receptive fields are known, "
    if every is not None:
        says = f"from {every} on, every unit spans the whole input"
        says += f"; some units do from {some} on" if some != every else ""
        yield Hint(name="whole-input", layer=every, says=says)
    elif some is not None:
        says = f"{limit}some units span the whole input from {some} on, but in no layer do all"
        yield Hint(name="whole-input", layer=some, says=says)
    else:
        sizes = [[max(axis.sizes, default=0) for axis in fields.axes] for _, fields in layers]
        widest = [max(of_axis) for of_axis in zip(*sizes, strict=True)]
        yield Hint(
            name="whole-input",
            layer=layers[-1][0].name,
            says=f"{limit}no unit spans the whole input{_before_global(subject)}: "
            f"at most {_per_axis(widest)} of {_per_axis(subject.input_size)} pixels",
            consider="more strides, pools or dilation before it, if the task needs the whole input",
        )


def _before_global(subject: Subject) -> str:
    """Names the first layer that reads every position, if there is one."""
    for node in subject.graph.nodes:
        fields = subject.receptive_fields[node.name]
        if isinstance(fields, ReceptiveFields) and fields.is_global:
            return f" before {node.name}, which reads every position"
    return ""


def _spans_input(subject: Subject, fields: ReceptiveFields, quantifier: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether any unit, or every unit, spans each axis from the first to the last pixel."""
    pairs = zip(fields.axes, subject.input_size, strict=True)
    return all(quantifier(each == size for each in axis.sizes) for axis, size in pairs)


def unread(subject: Subject) -> Iterator[Hint]:
    """Rows and columns of the input that no output of the network depends on."""
    inputs = {name for node in subject.graph.nodes for name in node.inputs}
    outputs = [subject.receptive_fields[node.name] for node in subject.graph.nodes if node.name not in inputs]
    known = [each for each in outputs if isinstance(each, ReceptiveFields)]
    if len(known) < len(outputs) or not known:
        return
    for axis, (line, size) in enumerate(zip(_LINES[len(subject.input_size)], subject.input_size, strict=True)):
        missing = ((1 << size) - 1) & ~_union(known, axis)
        if missing:
            positions = [position for position in range(size) if missing >> position & 1]
            yield Hint(
                name="unread",
                layer=_first_missing(subject, axis, missing),
                says=f"the network never reads {ranges(positions, line)} of the input",
                consider="padding, ceil_mode on a pool, or an input size that the strides divide",
            )


def _union(fields: list[ReceptiveFields], axis: int) -> int:
    """The pixels that any unit sees along an axis."""
    union = 0
    for each in fields:
        for mask in set(each.axes[axis].masks):
            union |= mask
    return union


def _first_missing(subject: Subject, axis: int, missing: int) -> str:
    """The first layer that does not see all pixels of `missing`."""
    for node in subject.graph.nodes:
        fields = subject.receptive_fields[node.name]
        if isinstance(fields, ReceptiveFields) and missing & ~_union([fields], axis):
            return node.name
    raise AssertionError("pixels that no output sees are missing from some layer first")


def ranges(numbers: list[int], noun: str) -> str:
    """Sorted numbers as ranges: `rows 3, 25-27`."""
    texts = as_ranges(numbers)
    if len(texts) > 6:
        texts = [*texts[:5], f"... ({len(numbers)} in all)"]
    return f"{noun}{'s' if len(numbers) > 1 else ''} {', '.join(texts)}"


def as_ranges(numbers: list[int]) -> list[str]:
    """Sorted numbers as `3` and `25-27`."""
    present = set(numbers)
    firsts = [number for number in numbers if number - 1 not in present]
    lasts = [number for number in numbers if number + 1 not in present]
    return [str(first) if first == last else f"{first}-{last}" for first, last in zip(firsts, lasts, strict=True)]


def critical(subject: Subject) -> Iterator[Hint]:
    """Convolutions whose receptive field exceeds the input on every axis, even along the smallest path."""
    for node in _convolutions(subject):
        if _exceeds(subject, node.name) and not _is_border(subject, node):
            size = _per_axis(subject.summaries[node.name].smallest_path or ())
            yield Hint(
                name="critical",
                layer=node.name,
                says=f"predicted to add little: even along the smallest path its receptive field of {size} exceeds "
                f"the input of {_per_axis(subject.input_size)}",
                consider=f"an input larger than {size}, or one fewer stride or pool before it",
            )


def border(subject: Subject) -> Iterator[Hint]:
    """Convolutions all of whose inputs already have a receptive field that exceeds the network's input."""
    for node in _convolutions(subject):
        if _is_border(subject, node):
            yield Hint(
                name="border",
                layer=node.name,
                says="predicted to be unproductive: the receptive field of every layer it reads already exceeds the "
                "input",
                consider="removing it, or moving a pool or stride from before it to after it",
            )


def _is_border(subject: Subject, node: GraphNode) -> bool:
    return _exceeds(subject, node.name) and all(_exceeds(subject, name) for name in node.inputs)


def _convolutions(subject: Subject) -> Iterator[GraphNode]:
    """Convolutions that read more than one position."""
    for node in subject.graph.nodes:
        windows = node.reads if isinstance(node.reads, tuple) else ()
        if node.params and any(isinstance(window, Sliding) and window.kernel > 1 for window in windows):
            yield node


def _exceeds(subject: Subject, name: str) -> bool:
    """Whether a receptive field is larger than the input on every axis, even along the smallest path."""
    receptive_field = subject.summaries.get(name)
    if receptive_field is None or receptive_field.smallest_path is None:
        return False
    return all(size > whole for size, whole in zip(receptive_field.smallest_path, subject.input_size, strict=True))


def holes(subject: Subject) -> Iterator[Hint]:
    """Layers whose units read a smaller share of what they span than before: dilation, or a stride above the kernel."""
    for node, _ in subject.with_positions():
        receptive_field = subject.summaries[node.name]
        share = _share(subject, node.name)
        if share is None or share == 1 or not node.inputs:
            continue
        if share >= min(_share(subject, name) or Fraction(1) for name in node.inputs):
            continue
        assert receptive_field.used is not None
        counts = [f"{used} of {size}" for used, size in zip(receptive_field.used, receptive_field.size, strict=True)]
        yield Hint(
            name="holes",
            layer=node.name,
            says=f"units read {_per_axis(counts)} positions per axis, {float(share):.0%} of the area they span",
            consider="dilations without a common divisor, such as 1, 2, 5, and no stride larger than the kernel",
        )


def _share(subject: Subject, name: str) -> Fraction | None:
    """Share of the spanned area that a unit reads."""
    receptive_field = subject.summaries.get(name)
    if receptive_field is None or receptive_field.used is None:
        return Fraction(1) if name == "input" else None
    return Fraction(prod(receptive_field.used), prod(max(1, size) for size in receptive_field.size))


def dropped(subject: Subject) -> Iterator[Hint]:
    """Layers that do not read the last positions of their input, because the stride does not reach them."""
    for node, axis, window, positions in _unread_positions(subject):
        count = _trailing(positions)
        if count:
            last = f"the last {count} positions" if count > 1 else "the last position"
            yield Hint(
                name="dropped",
                layer=node.name,
                says=f"never reads {last} of its input's {axis}, which a stride of {window.stride} does not reach",
                consider=f"{-(-count // 2)} more padding, ceil_mode on a pool, "
                f"or an input {window.stride - count} larger or {count} smaller",
            )


def skipped(subject: Subject) -> Iterator[Hint]:
    """Layers that skip inner positions of their input, because the stride is larger than the kernel."""
    for node, axis, window, positions in _unread_positions(subject):
        count = len(positions) - _trailing(positions)
        if count:
            yield Hint(
                name="skipped",
                layer=node.name,
                says=f"skips {count} positions of its input's {axis}: "
                f"a stride of {window.stride} exceeds what a kernel of {window.kernel} covers",
                consider="a kernel at least as large as the stride, or a pool before it",
            )


def _unread_positions(subject: Subject) -> Iterator[tuple[GraphNode, str, Sliding, list[int]]]:
    """Nodes with a strided window, the axis, and the positions of their input that neither they nor others read."""
    readers: dict[str, list[GraphNode]] = {}
    for node in subject.graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in subject.graph.nodes:
        if not isinstance(node.reads, tuple) or len(node.inputs) != 1:
            continue
        fields = subject.receptive_fields[node.inputs[0]]
        if isinstance(fields, Unknown):
            continue
        names = AXES.get(len(node.reads), ())
        for axis, (name, window, receptive_field) in enumerate(zip(names, node.reads, fields.axes, strict=True)):
            if isinstance(window, Sliding) and window.stride > 1:
                size = len(receptive_field.masks)
                read = 0
                for reader in readers[node.inputs[0]]:
                    read |= _read(reader.reads[axis], size) if isinstance(reader.reads, tuple) else (1 << size) - 1
                yield node, name, window, [position for position in range(size) if not read >> position & 1]


@lru_cache(maxsize=256)
def _read(window: Window, size: int) -> int:
    """The positions that any unit reads, as a bit mask."""
    positions = {position for unit in range(window.output_size(size)) for position in window.reads(unit, size)}
    return sum(1 << position for position in positions if 0 <= position < size)


def _trailing(positions: list[int]) -> int:
    """How many of the positions are consecutive up to the last one."""
    return next((i for i, each in enumerate(reversed(positions)) if each != positions[-1] - i), len(positions))


def even_kernel(subject: Subject) -> Iterator[Hint]:
    """Even kernels with unequal padding: no unit is at the center of what it reads."""
    for node, fields in subject.with_positions():
        if not isinstance(node.reads, tuple):
            continue
        shifts = [
            abs(Fraction(window.after - window.before, 2)) * axis.jump
            if isinstance(window, Sliding) and window.kernel % 2 == 0
            else Fraction(0)
            for window, axis in zip(node.reads, fields.axes, strict=True)
        ]
        if any(shifts):
            yield Hint(
                name="even-kernel",
                layer=node.name,
                says="its even kernel has unequal padding, which shifts the image by "
                f"{_per_axis([float(shift) for shift in shifts])} pixels",
                consider="an odd kernel_size, or a second such layer that shifts it back",
            )


def checkerboard(subject: Subject) -> Iterator[Hint]:
    """Transposed convolutions whose stride does not divide their kernel (Odena, Dumoulin and Olah, Distill 2016)."""
    for node in subject.graph.nodes:
        for window in node.reads if isinstance(node.reads, tuple) else ():
            if isinstance(window, Transposed) and window.kernel % window.stride:
                multiple = window.stride * (1 + window.kernel // window.stride)
                yield Hint(
                    name="checkerboard",
                    layer=node.name,
                    says=f"a kernel of {window.kernel} with a stride of {window.stride} covers some output positions "
                    "more often than others, which can cause checkerboard artifacts",
                    consider=f"kernel_size: {multiple}, or upsample followed by conv",
                )
                break


def _per_axis(values: Iterable[object]) -> str:
    return per_axis(values, " x ")


HINTS: dict[str, Callable[[Subject], Iterator[Hint]]] = {
    "whole-input": whole_input,
    "unread": unread,
    "dropped": dropped,
    "skipped": skipped,
    "holes": holes,
    "critical": critical,
    "border": border,
    "even-kernel": even_kernel,
    "checkerboard": checkerboard,
    "most-parameters": most_parameters,
}
"""Name of a hint -> the function that finds it."""


def find_hints(subject: Subject, ignore: Collection[str] = ()) -> tuple[Hint, ...]:
    """All hints except those named in `ignore`, in the order of `HINTS` and then of layers."""
    return tuple(hint for name, find in HINTS.items() if name not in ignore for hint in find(subject))
