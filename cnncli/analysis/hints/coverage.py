"""Hints about how much of the input is seen.

Critical and border layers are predictions after Richter, Byttner, Krumnack and others, "(Input)
Size Matters for CNN Classifiers" (2021) and Richter, Schoening and others, "Should You Go Deeper?" (2021).
"""

from collections.abc import Callable, Iterable, Iterator

from cnncli.analysis.graph import GraphNode
from cnncli.analysis.hints.base import Hint, Subject, per_axis
from cnncli.analysis.receptive_field import Fields
from cnncli.geometry import Sliding


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
        if isinstance(fields, Fields) and fields.everywhere:
            return f"before {node.name}, which reads everything at once, "
    return ""


def _whole(subject: Subject, fields: Fields, quantifier: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether any unit (or every one) sees the first and the last pixel of each axis."""
    pairs = zip(fields.axes, subject.input_size, strict=True)
    return all(quantifier(bool(mask & 1 and mask >> (size - 1)) for mask in axis.seen) for axis, size in pairs)


def unread(subject: Subject) -> Iterator[Hint]:
    """Rows and columns of the input that no output of the network sees."""
    read_by_someone = {name for node in subject.graph.nodes for name in node.inputs}
    ends = [subject.fields[node.name] for node in subject.graph.nodes if node.name not in read_by_someone]
    known = [each for each in ends if isinstance(each, Fields)]
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


def _seen(fields: list[Fields], axis: int) -> int:
    """The pixels that any unit sees."""
    seen = 0
    for each in fields:
        for mask in set(each.axes[axis].seen):
            seen |= mask
    return seen


def _first_without(subject: Subject, axis: int, never: int) -> str:
    """The first layer that sees less than all pixels of `never`."""
    for node in subject.graph.nodes:
        fields = subject.fields[node.name]
        if isinstance(fields, Fields) and never & ~_seen([fields], axis):
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
            size = per_axis([str(n) for n in subject.numbers[node.name].smallest or ()])
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
    if field is None or field.smallest is None:
        return False
    return all(size > whole for size, whole in zip(field.smallest, subject.input_size, strict=True))
