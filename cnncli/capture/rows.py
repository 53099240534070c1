"""From a list of operations to the rows of a table: one for each thing that a person would call a layer."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from math import prod

from torch import nn

from cnncli.capture.effect import Context, Effect, composed
from cnncli.capture.layout import Factors, Kind, Layout, UnsupportedOp, free, has_batch, of_input, without_batch
from cnncli.capture.mixing import product
from cnncli.capture.record import Operation, Value
from cnncli.capture.rules import RULES, effect_of
from cnncli.capture.spatial import multiplications
from cnncli.config.network import INPUT
from cnncli.inspection.graph import Part, reads_everything
from cnncli.layers import Reach
from cnncli.layers.base import Reads, Unknown


@dataclass(eq=False)
class Row:
    """A layer while it is put together.

    Attributes:
        name, word: what it is called, and its kind.
        path: the module that its first operation ran in.
        scope: the module that it is the whole of, or None.
        inputs: the rows before it; None is the input of the network.
        reads: which positions of them its units read.
        statistics: whether a norm makes them depend on the whole map besides.
        tip: its last value, whose shape is the row's.
        layout: of the tip.
        made_by: the operation that made the tip, or what the tip is another name of.
        parts: its operations that compute something.
        macs: multiply-accumulates for one image; None where unknown.
        groups: of a convolution.
        state: names of the parameters and buffers that it was the first to use.
        shares: whether it uses parameters that a row before it was the first to use.
    """

    name: str
    type: str
    path: str
    scope: str | None
    inputs: list["Row | None"]
    reads: Reads
    tip: Value
    layout: Layout
    made_by: Operation
    parts: list[Part]
    statistics: bool = False
    macs: int | None = 0
    groups: int = 1
    state: set[str] = field(default_factory=set)
    shares: bool = False


def rows_of(
    module: nn.Module, example: Value, operations: list[Operation], *, scopes: Collection[str] = ()
) -> list[Row]:
    """The rows of a module that was recorded.

    Number-by-number operations and norms go with the layer before them, padding with zeros with the convolution
    behind it.

    Args:
        module: what ran.
        example: the value that stands for its input.
        operations: what it did.
        scopes: modules of which each is to be one row, whatever it is made of.
    """
    gathering = _Gathering(module, example, operations, scopes)
    for operation in operations:
        if operation.outputs and any(value.dynamic for value in operation.inputs):
            gathering.add(operation)
    return gathering.rows


class _Gathering:
    def __init__(self, module: nn.Module, example: Value, operations: list[Operation], scopes: Collection[str]) -> None:
        self._modules = dict(module.named_modules())
        self._scopes = scopes
        self._context = Context(len(example.shape) - 2, {example: of_input(example.shape)})
        self._row_of: dict[Value, Row | None] = {example: None}
        self._uses = Counter(value for operation in operations for value in set(operation.inputs))
        self._counted: set[str] = set()
        self._names: Counter[str] = Counter([INPUT])
        self.rows: list[Row] = []

    def add(self, operation: Operation) -> None:
        """Give the next operation to a row there is, or to a new one."""
        sources = list(dict.fromkeys(value for value in operation.inputs if value.dynamic))
        try:
            effect = effect_of(operation, self._context)
        except UnsupportedOp as reason:
            # Whatever is done with units that all see the whole input, the result sees it too.
            reads = Reach.ALL if self._context.whole.issuperset(sources) else Unknown(str(reason))
            effect = _unfollowed(operation, self._context, reads)
        scope = self._scope(operation.path)
        row = self._find(operation, effect, sources, scope)
        if row is None:
            row = self._start(operation, effect, sources, scope)
        else:
            self._join(row, operation, effect, sources)
        for value in operation.outputs:
            self._row_of[value] = row
            # Beside its result an operator may give indices or statistics, of whose layout nobody asks.
            alike = len(value.shape) == len(effect.layout)
            self._context.layouts[value] = effect.layout if alike else tuple(map(free, value.shape))
        seen = all if effect.type == "concat" else any
        whole = effect.reads is Reach.SAME and seen(each in self._context.whole for each in sources)
        if whole or effect.statistics or reads_everything(effect.reads):
            self._context.whole.update(operation.outputs)
        self._count(row, operation)

    def _scope(self, path: str) -> str | None:
        """The module among `scopes` that a path lies in."""
        while path and path not in self._scopes:
            path = path.rpartition(".")[0]
        return path or None

    def _find(self, operation: Operation, effect: Effect, sources: list[Value], scope: str | None) -> Row | None:
        """The row that an operation belongs to, if it does not begin one of its own."""
        rows = {self._row_of[value] for value in sources}
        if scope is not None:
            return next((row for row in rows if row is not None and row.scope == scope), None)
        row = rows.pop()
        if rows or row is None or not effect.minor or composed(row.reads, effect.reads) is None:
            return None
        # What works on a part of a layer's output, as a gate does, is a layer of its own: fewer numbers come out of it.
        if not effect.view and effect.type != "scale" and operation.outputs[0].numel < row.tip.numel:
            return None
        # A norm is a layer of its own behind one whose output is used without it, or has been rearranged since.
        weighted = any(value.state for value in operation.inputs)
        return None if weighted and (self._uses[row.tip] > 1 or sources[0] is not row.tip) else row

    def _join(self, row: Row, operation: Operation, effect: Effect, sources: list[Value]) -> None:
        """Add an operation to a row."""
        reads = composed(row.reads, effect.reads)
        row.reads = Unknown("its operations together have no window") if reads is None else reads
        others = [self._row_of[value] for value in sources if self._row_of[value] is not row]
        row.statistics |= effect.statistics
        row.inputs.extend(other for other in others if other not in row.inputs)
        row.macs = None if row.macs is None or effect.macs is None else row.macs + effect.macs
        if row.type in ("pad", "view", "slice") and not effect.view:
            row.type, row.groups = self._word(operation.path, effect), effect.groups
        if not effect.view and effect.type != "identity":
            row.parts.append(_part(operation, effect, aside=sources[0].numel < row.tip.numel))
        output = operation.outputs[0]
        # A view in another module than the layer's belongs to what comes next; the layer is known by its own shape.
        own = not effect.view or operation.path == row.path or not _is_batch(row.layout[0])
        own = own and (effect.type != "slice" or output.numel == row.tip.numel)
        if row.scope is not None or (sources[0] is row.tip and own and not (effect.view and operation.outputs[1:])):
            row.tip, row.layout = output, effect.layout
            row.made_by = row.made_by if operation.number is None else operation

    def _start(self, operation: Operation, effect: Effect, sources: list[Value], scope: str | None) -> Row:
        """A new row, which takes the place of a padding that is there for it alone."""
        inputs = list(dict.fromkeys(self._row_of[value] for value in sources))
        reads = effect.reads
        parts = [] if effect.view else [_part(operation, effect)]
        before = inputs[0]
        if scope is None and effect.type == "conv" and before is not None and before.type == "pad":
            together = composed(before.reads, reads)
            if together is not None and before.tip is sources[0] and self._uses[before.tip] == 1:
                self.rows.remove(before)
                inputs, reads, parts = before.inputs, together, [*before.parts, *parts]
        word = self._word(operation.path, effect)
        row = Row(
            name=self._name(operation.path, effect.type) if scope is None else scope,
            type=word,
            path=operation.path,
            scope=scope,
            inputs=inputs,
            reads=reads,
            tip=operation.outputs[0],
            layout=effect.layout,
            made_by=operation,
            parts=parts,
            statistics=effect.statistics,
            macs=effect.macs,
            groups=effect.groups,
        )
        self.rows.append(row)
        return row

    def _is_leaf(self, path: str) -> bool:
        return path != "" and not any(self._modules[path].children())

    def _word(self, path: str, effect: Effect) -> str:
        """The kind of a row: for torch's own modules the name of their class, as configs write it."""
        kind = type(self._modules[path])
        known = kind.__module__.startswith("torch.nn.modules") and not any(self._modules[path].children())
        if known and effect.type != "pad" and not effect.view:
            words = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z]{3})", "_", kind.__name__)
            return re.sub(r"[1-3]d$", "", words).lower()
        return effect.type

    def _name(self, path: str, word: str) -> str:
        """The path of the module that a row is, or a word behind the path of the module that it is a part of."""
        # A convolution that pads its input by itself is known by its name, and the padding as a part of it.
        whole = self._is_leaf(path) and (word != "pad" or "Pad" in type(self._modules[path]).__name__)
        name = path if whole else f"{path}.{word}".removeprefix(".")
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"

    def _count(self, row: Row, operation: Operation) -> None:
        """Give a row the parameters that it is the first to use."""
        names = frozenset[str]().union(*(value.state for value in operation.inputs if not value.dynamic))
        row.shares |= bool(names & self._counted - row.state)
        row.state |= names - self._counted
        self._counted |= names


def _part(operation: Operation, effect: Effect, *, aside: bool = False) -> Part:
    value = operation.outputs[0]
    shape = without_batch(value.shape, effect.layout)
    # Of paddings some keep what they read for the gradient, some do not.
    word = operation.name if effect.type == "pad" else effect.type
    return Part(
        word, None if shape is None else prod(shape), value.item_bytes, inplace=not operation.fresh, aside=aside
    )


def _is_batch(factors: Factors) -> bool:
    return len(factors) == 1 and factors[0].of is Kind.BATCH


def _unfollowed(operation: Operation, context: Context, reads: Reads) -> Effect:
    """The effect of an operation of which no more is known than its output."""
    sources = [context.layouts[value] for value in operation.inputs if value.dynamic]
    shape = operation.outputs[0].shape
    led = shape and any(layout and _is_batch(layout[0]) and layout[0][0].size == shape[0] for layout in sources)
    layout = tuple(free(size) for size in shape)
    if led:
        layout = ((next(each[0][0] for each in sources if each and _is_batch(each[0])),), *layout[1:])
    return Effect(type=operation.name.strip("_"), layout=layout, reads=reads, macs=_known_macs(operation, layout))


def _known_macs(operation: Operation, after: Layout) -> int | None:
    """Multiply-accumulates for one image of an operation that is not followed, where they are known all the same."""
    if operation.name == "convolution":
        return multiplications(operation) if has_batch(after) and not operation.arguments["weight"].dynamic else None
    return 0 if operation.name in RULES and RULES[operation.name] is not product else None
