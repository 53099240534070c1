"""Hints about what single windows do: skip, drop, shift, or print a checkerboard."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from cnncli.analysis.graph import GraphNode
from cnncli.analysis.hints.base import AXES, Hint, Subject, per_axis
from cnncli.geometry import Sliding, Transposed, Window


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
                size = len(field.seen)
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
