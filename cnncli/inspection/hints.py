"""Hints about what single windows do: skip, drop, shift, or print a checkerboard."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.receptive_field import ReceptiveField, ReceptiveFields
from cnncli.layers.base import Unknown
from cnncli.windows import Sliding, Transposed, Window

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Something that the numbers of a layer mean.

    Attributes:
        name: what `--ignore` takes; `docs/hints/NAME.md` says more.
        layer: which layer it is about.
        says: the fact or the prediction, in words.
        consider: an edit to consider; empty where there is nothing to change.
    """

    name: str
    layer: str
    says: str
    consider: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A graph with the fields of its nodes, and the same as numbers where they are known."""

    graph: Graph
    fields: Mapping[str, ReceptiveFields | Unknown]
    numbers: Mapping[str, ReceptiveField]

    @property
    def input_size(self) -> tuple[int, ...]:
        """Pixels per axis."""
        return self.graph.input_shape[1:]

    def before(self, node: GraphNode) -> list[ReceptiveFields]:
        """The fields of what a node reads, those that are known."""
        fields = (self.fields[name] for name in node.inputs)
        return [each for each in fields if not isinstance(each, Unknown)]

    def positioned(self) -> list[tuple[GraphNode, ReceptiveFields]]:
        """The nodes whose units have a place in the image and a field of their own."""
        pairs = ((node, self.fields[node.name]) for node in self.graph.nodes)
        return [(node, each) for node, each in pairs if isinstance(each, ReceptiveFields) and not each.is_global]


def per_axis(values: list[str]) -> str:
    """One value where the axes agree, else `height x width`."""
    return values[0] if len(set(values)) == 1 else " x ".join(values)


def most_parameters(subject: Subject) -> Iterator[Hint]:
    """A layer that holds more than half of the parameters, where there are others."""
    counts = {node.name: node.params for node in subject.graph.nodes if node.params}
    total = sum(counts.values())
    for node in subject.graph.nodes:
        if len(counts) > 1 and 2 * counts.get(node.name, 0) > total:
            row = node.shape is not None and len(node.shape) == 1
            yield Hint(
                name="most-parameters",
                layer=node.name,
                says=f"it holds {counts[node.name] / total:.0%} of all parameters",
                consider="global_avg_pool in place of flatten, or fewer features before it"
                if row
                else "fewer channels, groups, or a 1x1 convolution before it",
            )


def whole_input(subject: Subject) -> Iterator[Hint]:
    """Whether any unit, and whether every unit, spans the whole input, before a layer reads everything at once."""
    positioned = subject.positioned()
    if not positioned:
        return
    anyone = next((node.name for node, fields in positioned if _whole(subject, fields, any)), None)
    everyone = next((node.name for node, fields in positioned if _whole(subject, fields, all)), None)
    last = positioned[-1][0].name
    known = "" if len(subject.numbers) == len(subject.graph.nodes) else "as far as fields are known, "
    if everyone is not None:
        says = f"from {everyone} on every unit sees from edge to edge of the input"
        says += f"; some unit does from {anyone} on" if anyone != everyone else ""
        yield Hint(name="whole-input", layer=everyone, says=says)
    elif anyone is not None:
        says = f"{known}some unit sees from edge to edge of the input from {anyone} on; nowhere does every unit"
        yield Hint(name="whole-input", layer=anyone, says=says)
    else:
        sizes = [[max(axis.sizes, default=0) for axis in fields.axes] for _, fields in positioned]
        widest = [str(max(of_axis)) for of_axis in zip(*sizes, strict=True)]
        whole = per_axis([str(size) for size in subject.input_size])
        yield Hint(
            name="whole-input",
            layer=last,
            says=f"{known}{_before_everything(subject)}no unit sees from edge to edge of the input: "
            f"at most {per_axis(widest)} of {whole} pixels",
            consider="more strides, pools or dilation before it, if the task needs to see everything together",
        )


def _before_everything(subject: Subject) -> str:
    """Names the first layer that reads everything at once, if there is one."""
    for node in subject.graph.nodes:
        fields = subject.fields[node.name]
        if isinstance(fields, ReceptiveFields) and fields.is_global:
            return f"before {node.name}, which reads everything at once, "
    return ""


def _whole(subject: Subject, fields: ReceptiveFields, quantifier: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether any unit (or every one) sees the first and the last pixel of each axis."""
    pairs = zip(fields.axes, subject.input_size, strict=True)
    return all(quantifier(bool(mask & 1 and mask >> (size - 1)) for mask in axis.masks) for axis, size in pairs)


def unread(subject: Subject) -> Iterator[Hint]:
    """Rows and columns of the input that no output of the network sees."""
    read_by_someone = {name for node in subject.graph.nodes for name in node.inputs}
    ends = [subject.fields[node.name] for node in subject.graph.nodes if node.name not in read_by_someone]
    known = [each for each in ends if isinstance(each, ReceptiveFields)]
    if len(known) < len(ends) or not known:
        return
    for axis, (what, size) in enumerate(zip(_LINES[len(subject.input_size)], subject.input_size, strict=True)):
        never = ((1 << size) - 1) & ~_seen(known, axis)
        if never:
            lines = [line for line in range(size) if never >> line & 1]
            yield Hint(
                name="unread",
                layer=_first_without(subject, axis, never),
                says=f"the network never reads {ranges(lines, what)} of the input",
                consider="padding, ceil_mode on a pool, or an input size that the strides divide",
            )


_LINES = {1: ("position",), 2: ("row", "column"), 3: ("slice", "row", "column")}


def _seen(fields: list[ReceptiveFields], axis: int) -> int:
    """The pixels that any unit sees."""
    seen = 0
    for each in fields:
        for mask in set(each.axes[axis].masks):
            seen |= mask
    return seen


def _first_without(subject: Subject, axis: int, never: int) -> str:
    """The first layer that sees less than all pixels of `never`."""
    for node in subject.graph.nodes:
        fields = subject.fields[node.name]
        if isinstance(fields, ReceptiveFields) and never & ~_seen([fields], axis):
            return node.name
    raise AssertionError("what no output sees, some layer did not see first")


def ranges(numbers: list[int], what: str) -> str:
    """Numbers in order as people write them: `rows 3 and 25-27`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    written = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    if len(written) > 6:
        written = [*written[:5], f"... ({len(numbers)} in all)"]
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(written)}"


def critical(subject: Subject) -> Iterator[Hint]:
    """Convolutions whose field exceeds the input on every axis, even over the path that sees least."""
    for node in _convolutions(subject):
        if _exceeds(subject, node.name) and not _is_border(subject, node):
            size = per_axis([str(n) for n in subject.numbers[node.name].smallest_path or ()])
            whole = per_axis([str(n) for n in subject.input_size])
            yield Hint(
                name="critical",
                layer=node.name,
                says=f"predicted to add little: even over the path that sees least, its field of {size} exceeds "
                f"the input of {whole}",
                consider=f"an input larger than {size}, or one stride or pool less before it",
            )


def border(subject: Subject) -> Iterator[Hint]:
    """Convolutions all of whose predecessors were critical already."""
    for node in _convolutions(subject):
        if _is_border(subject, node):
            yield Hint(
                name="border",
                layer=node.name,
                says="predicted to be unproductive: every layer it reads sees more than the input already",
                consider="leaving it out, or moving its pool or stride behind it",
            )


def _is_border(subject: Subject, node: GraphNode) -> bool:
    return _exceeds(subject, node.name) and all(_exceeds(subject, name) for name in node.inputs)


def _convolutions(subject: Subject) -> Iterator[GraphNode]:
    """Convolutions that look at more than one position."""
    for node in subject.graph.nodes:
        windows = node.reads if isinstance(node.reads, tuple) else ()
        if node.params and any(isinstance(window, Sliding) and window.kernel > 1 for window in windows):
            yield node


def _exceeds(subject: Subject, name: str) -> bool:
    """Whether a layer's field, over the path that sees least, is larger than the input on every axis."""
    field = subject.numbers.get(name)
    if field is None or field.smallest_path is None:
        return False
    return all(size > whole for size, whole in zip(field.smallest_path, subject.input_size, strict=True))


def holes(subject: Subject) -> Iterator[Hint]:
    """Layers after which units use a smaller share of what they span: dilation, or a stride larger than the kernel."""
    for node, _ in subject.positioned():
        field = subject.numbers[node.name]
        share = _share(subject, node.name)
        if share is None or share == 1 or not node.inputs:
            continue
        if share >= min((_share(subject, name) or Fraction(1) for name in node.inputs), default=Fraction(1)):
            continue
        assert field.used is not None
        counts = [f"{used} of {size}" for used, size in zip(field.used, field.size, strict=True)]
        yield Hint(
            name="holes",
            layer=node.name,
            says=f"units read {per_axis(counts)} positions that they span on an axis, {float(share):.0%} of the area",
            consider="dilations without a common divisor, such as 1, 2, 5, and no stride larger than the kernel",
        )


def _share(subject: Subject, name: str) -> Fraction | None:
    """Share of the spanned area that a unit reads."""
    field = subject.numbers.get(name)
    if field is None or field.used is None:
        return Fraction(1) if name == "input" else None
    share = Fraction(1)
    for used, size in zip(field.used, field.size, strict=True):
        share *= Fraction(used, max(1, size))
    return share


def dropped(subject: Subject) -> Iterator[Hint]:
    """Outputs whose last positions no layer reads, because the stride does not reach them."""
    for node, axis, window, unread in _unread(subject):
        edge = _trailing(unread)
        if edge:
            many = f"the last {edge} positions" if edge > 1 else "the last position"
            yield Hint(
                name="dropped",
                layer=node.name,
                says=f"it never reads {many} of its input's {axis}: a stride of {window.stride} does not reach there",
                consider=f"padding of {-(-edge // 2)} more, ceil_mode on a pool, "
                f"or an input of {window.stride - edge} more or {edge} fewer positions",
            )


def skipped(subject: Subject) -> Iterator[Hint]:
    """Outputs of which some inner positions are read by no layer, because the stride is larger than the kernel."""
    for node, axis, window, unread in _unread(subject):
        inner = len(unread) - _trailing(unread)
        if inner:
            yield Hint(
                name="skipped",
                layer=node.name,
                says=f"it steps over {inner} positions of its input's {axis}: "
                f"its stride of {window.stride} is larger than what its kernel of {window.kernel} covers",
                consider="a kernel at least as large as the stride, or a pool before it",
            )


def _unread(subject: Subject) -> Iterator[tuple[GraphNode, str, Sliding, list[int]]]:
    """Nodes with a sliding window, the axis, and the positions of their input that neither they nor others read."""
    readers: dict[str, list[GraphNode]] = {}
    for node in subject.graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in subject.graph.nodes:
        before = subject.before(node)
        if not isinstance(node.reads, tuple) or len(node.inputs) != 1 or not before:
            continue
        names = AXES.get(len(node.reads), ())
        for axis, (name, window, field) in enumerate(zip(names, node.reads, before[0].axes, strict=True)):
            if isinstance(window, Sliding) and window.stride > 1:
                size = len(field.masks)
                read = 0
                for reader in readers[node.inputs[0]]:
                    over = reader.reads[axis] if isinstance(reader.reads, tuple) else None
                    read |= _read(over, size) if over is not None else (1 << size) - 1
                unread = [position for position in range(size) if not read >> position & 1]
                yield node, name, window, unread


@lru_cache(maxsize=256)
def _read(window: Window, size: int) -> int:
    """The positions that any unit reads, as a bit mask."""
    positions = {each for unit in range(window.output_size(size)) for each in window.reads(unit, size)}
    return sum(1 << each for each in positions if 0 <= each < size)


def _trailing(unread: list[int]) -> int:
    """How many of the positions stand together at the end."""
    return next((i for i, each in enumerate(reversed(unread)) if each != unread[-1] - i), len(unread))


def even_kernel(subject: Subject) -> Iterator[Hint]:
    """Even kernels that are padded more on one side, so that every unit lies beside the middle of what it reads."""
    for node, fields in subject.positioned():
        if not isinstance(node.reads, tuple):
            continue
        shifts = []
        for window, field in zip(node.reads, fields.axes, strict=True):
            uneven = isinstance(window, Sliding) and window.kernel % 2 == 0 and window.before != window.after
            by = Fraction(window.after - window.before, 2) if uneven and isinstance(window, Sliding) else Fraction(0)
            shifts.append(abs(by) * field.jump)
        if any(shifts):
            yield Hint(
                name="even-kernel",
                layer=node.name,
                says=f"its even kernel is padded on one side more, which moves the picture by "
                f"{per_axis([str(float(shift)) for shift in shifts])} pixels",
                consider="an odd kernel_size, or a second such layer that moves it back",
            )


def checkerboard(subject: Subject) -> Iterator[Hint]:
    """Transposed convolutions whose stride does not divide their kernel (Odena, Dumoulin and Olah, Distill 2016)."""
    for node in subject.graph.nodes:
        windows = node.reads if isinstance(node.reads, tuple) else ()
        for window in windows:
            if isinstance(window, Transposed) and window.kernel % window.stride:
                yield Hint(
                    name="checkerboard",
                    layer=node.name,
                    says=f"a kernel of {window.kernel} with a stride of {window.stride} stamps some positions more "
                    "often than others, which can print a checkerboard",
                    consider=f"kernel_size: {window.stride * (1 + window.kernel // window.stride)}, "
                    "or upsample and then conv",
                )
                break


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
"""Name of a kind of hint -> what finds it."""


def find_hints(subject: Subject, ignore: Collection[str] = ()) -> tuple[Hint, ...]:
    """All hints but those whose names are to be ignored, in the order of `HINTS` and then of layers."""
    return tuple(hint for name, find in HINTS.items() if name not in ignore for hint in find(subject))
