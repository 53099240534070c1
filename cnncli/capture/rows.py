"""Recorded operations grouped into rows of a table: one for each layer, as a person would count them."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from math import prod

from torch import Tensor, nn

from cnncli.capture.effect import Context, Effect, compose
from cnncli.capture.kind import kind_of
from cnncli.capture.layout import (
    Factors,
    Layout,
    Role,
    UnsupportedOp,
    batch_size,
    free,
    has_batch,
    layout_of_input,
    without_batch,
)
from cnncli.capture.mixing import LEFT_AND_RIGHT, matmul
from cnncli.capture.outputs import parts_of
from cnncli.capture.record import PRODUCTS, Operation, Value
from cnncli.capture.rules import COPIES, RULES, effect_of
from cnncli.capture.sampling import sampled_macs
from cnncli.capture.spatial import conv_macs
from cnncli.config.network import INPUT
from cnncli.inspection.graph import reads_everything
from cnncli.layers import LAYERS, Add, Layer, Reach
from cnncli.layers.base import Part, Reads, Saved, Unknown
from cnncli.layers.join import Concat

_LAYER_TYPES: tuple[type[Layer], ...] = (*LAYERS.values(), Add, Concat)
_INPUT = (
    "matmul", "mul", "div", "pow", "log", "log2", "log10", "log1p", "abs", "sin", "cos", "erf", "norm",
    "_prelu_kernel", "clamp", "clamp_min", "clamp_max", "var", "std",
    *(f"{mode}_pad{n}d" for mode in ("reflection", "replication") for n in (1, 2, 3)),
)  # fmt: skip
_OUTPUT = ("softmax", "exp", "expm1", "sqrt", "rsqrt", "reciprocal")
_BOTH = ("attention", "amax", "amin")
_NOTHING = (
    "sub", "rsub", "neg", "stack", "mean", "sum", "constant_pad_nd", "circular_pad", "slice", "select", "roll", "flip",
    "repeat", "unfold", "clone", "copy", "gt", "ge", "lt", "le", "eq", "ne", "sign", "floor", "ceil", "round", "trunc",
)  # fmt: skip
_SAVED = (
    {each.type_name(): each.saved for each in _LAYER_TYPES}
    | dict.fromkeys(_INPUT, Saved.INPUT)
    | dict.fromkeys(_OUTPUT, Saved.OUTPUT)
    | dict.fromkeys(_BOTH, Saved.INPUT | Saved.OUTPUT)
    | dict.fromkeys(_NOTHING, Saved.NOTHING)
)
"""What autograd saves for the gradient, by the type of an effect: a layer type of configs or an ATen operator."""


@dataclass(eq=False)
class Row:
    """A layer under construction.

    Attributes:
        name, type: as in the table.
        path: the module that its first operation ran in.
        first: the type of that operation.
        scope: the module of which it is the whole, or None.
        inputs: the rows it reads; None is the input of the network.
        reads: which positions of its inputs a unit reads.
        output: its last value, whose shape is the row's.
        layout: of the output.
        computed_by: the operation that computed the output (or the value that the output is a view of).
        parts: its operations that compute something.
        statistics: whether it also depends on the whole map through the statistics of a norm.
        macs: multiply-accumulates for one image; None if unknown.
        groups: of a convolution.
        state: names of the parameters and buffers that it is the first to use.
        shares: whether it uses parameters that an earlier row uses too.
        constant_shape: of the output, if it does not depend on the input.
        upper_bound, notes: see `GraphNode`.
        placed: what is read of each input, see `GraphNode.placed`.
    """

    name: str
    type: str
    path: str
    first: str
    scope: str | None
    inputs: list["Row | None"]
    reads: Reads
    output: Value
    layout: Layout
    computed_by: Operation
    parts: list[Part]
    statistics: bool = False
    macs: int | None = 0
    groups: int = 1
    state: set[str] = field(default_factory=set)
    shares: bool = False
    constant_shape: tuple[int, ...] | None = None
    upper_bound: bool = False
    notes: list[str] = field(default_factory=list)
    placed: list[tuple["Row | None", Reads]] = field(default_factory=list)


def rows_of(
    module: nn.Module, example: Value, operations: list[Operation], *, scopes: Collection[str] = ()
) -> tuple[list[Row], dict[int, Tensor], dict[int, Row]]:
    """The rows of a recorded module; for operations by number what they multiply by known zeros, and their rows.

    Elementwise operations and norms belong to the layer before them, zero padding to the convolution after it.

    Args:
        module: the module.
        example: the value of its input.
        operations: what it computed.
        scopes: submodules each of which is one row, whatever it consists of.
    """
    rows = _Rows(module, example, operations, scopes)
    for operation in operations:
        if operation.outputs and any(value.dynamic for value in operation.inputs):
            rows.add(operation)
        elif operation.outputs:
            rows.add_constant(operation)
    rows.assign_names()
    return rows.rows, rows.zeros, rows.row_of


class _Rows:
    """The rows so far."""

    def __init__(self, module: nn.Module, example: Value, operations: list[Operation], scopes: Collection[str]) -> None:
        self._modules = dict(module.named_modules())
        self._scopes = scopes
        self._batch = example.shape[0]
        self._context = Context(len(example.shape) - 2, {example: layout_of_input(example.shape)})
        self._row_of: dict[Value, Row | None] = {example: None}
        self._constant: dict[Value, Row] = {}
        self._uses = Counter(value for operation in operations for value in set(operation.inputs))
        self._counted: set[str] = set()
        self.rows: list[Row] = []
        self.zeros: dict[int, Tensor] = {}
        self.row_of: dict[int, Row] = {}

    def add(self, operation: Operation) -> None:
        """Add the next operation to an existing row or to a new one; outputs that read differently to one each."""
        for part in parts_of(operation, self._context, self._uses):
            self._add(part)

    def _add(self, operation: Operation) -> None:
        sources = list(dict.fromkeys(value for value in operation.inputs if value.dynamic))
        effect = self._effect(operation, sources)
        scope = self._scope(operation.path)
        row = self._find_row(operation, effect, sources, scope)
        if row is None:
            if operation.name in COPIES and scope is None and self._row_of[sources[0]] is None:
                self._row_of[operation.outputs[0]] = None  # a copy of the input, such as autocast makes, is the input
                self._context.layouts[operation.outputs[0]] = effect.layout
                return
            row = self._start_row(operation, effect, sources, scope)
            row.placed = [(self._row_of[value], reads) for value, reads in effect.placed]
        else:
            self._join_row(row, operation, effect, sources)
        row.upper_bound |= effect.upper_bound
        row.notes += [effect.note] if effect.note else []
        if operation.number is not None:
            self.row_of[operation.number] = row
            if effect.zeros is not None:
                self.zeros[operation.number] = effect.zeros
        for value in operation.outputs:
            self._row_of[value] = row
            self._context.layouts[value] = _fitted(effect.layout, value.shape)
        of_sources = all if effect.type == "concat" else any
        inherited = effect.reads is Reach.SAME and of_sources(each in self._context.complete for each in sources)
        reads = [effect.reads, *(each for _, each in effect.placed)]
        if inherited or effect.statistics or any(map(reads_everything, reads)):
            self._context.complete.update(operation.outputs)
        self._count_parameters(row, operation)

    def add_constant(self, operation: Operation) -> None:
        """Add a convolution or a matrix product that does not depend on the input, such as a positional encoding.

        It is a row because it costs parameters and MACs. Other operations on constants have none.
        """
        row = next((self._constant[value] for value in operation.inputs if value in self._constant), None)
        if operation.name in PRODUCTS:
            output = operation.outputs[0]
            shape = output.shape[1:] if operation.name == "convolution" else output.shape
            effect = Effect(
                type="conv" if operation.name == "convolution" else "linear", layout=tuple(map(free, output.shape))
            )
            row = Row(
                name="",
                type=self._type(operation.path, effect),
                path=operation.path,
                first=effect.type,
                scope=None,
                inputs=[] if row is None else [row],
                reads=Reach.SAME,
                output=output,
                layout=effect.layout,
                computed_by=operation,
                parts=[_part(operation, effect, constant_shape=shape)],
                macs=_constant_macs(operation, self._batch),
                groups=operation.arguments.get("groups", 1),
                constant_shape=shape,
            )
            self.rows.append(row)
            if operation.number is not None:
                self.row_of[operation.number] = row
            self._count_parameters(row, operation)
        if row is not None:
            self._constant.update(dict.fromkeys(operation.outputs, row))

    def _effect(self, operation: Operation, sources: list[Value]) -> Effect:
        try:
            return effect_of(operation, self._context)
        except UnsupportedOp as reason:
            # Any function of units that all depend on the whole input depends on the whole input.
            complete = self._context.complete.issuperset(sources)
            return _unsupported(operation, self._context, Reach.ALL if complete else Unknown(str(reason)))

    def _scope(self, path: str) -> str | None:
        """The module among `scopes` that contains a path."""
        while path and path not in self._scopes:
            path = path.rpartition(".")[0]
        return path or None

    def _find_row(self, operation: Operation, effect: Effect, sources: list[Value], scope: str | None) -> Row | None:
        """The row that an operation belongs to; None if it starts a new one."""
        rows = {self._row_of[value] for value in sources}
        if scope is not None:  # an operation on another input of the module follows the last one
            return next((row for row in (*rows, *self.rows[-1:]) if row is not None and row.scope == scope), None)
        row = rows.pop()
        if any(value in self._constant for value in operation.inputs):
            return None  # it joins two rows
        if rows or row is None or not effect.minor or compose(row.reads, effect.reads) is None:
            return None
        # An operation on a part of a layer's output, such as a gate, is a layer: it has fewer outputs.
        if not effect.view and not effect.by_constant and operation.outputs[0].numel < row.output.numel:
            return None
        # A norm is a layer if the output before it is also used without it, or has been rearranged.
        weighted = any(value.state for value in operation.inputs)
        return None if weighted and (self._uses[row.output] > 1 or sources[0] is not row.output) else row

    def _join_row(self, row: Row, operation: Operation, effect: Effect, sources: list[Value]) -> None:
        """Add an operation to a row."""
        reads = compose(row.reads, effect.reads)
        row.reads = Unknown("its operations together have no single window") if reads is None else reads
        if effect.instead is not None and row.first == "matmul":
            row.reads, row.placed = effect.instead, []
        row.statistics |= effect.statistics
        row.macs = None if row.macs is None or effect.macs is None else row.macs + effect.macs
        others = dict.fromkeys(self._row_of[value] for value in sources)
        row.inputs.extend(other for other in others if other is not row and other not in row.inputs)
        if not effect.view:
            if row.type in ("pad", "view", "slice"):
                row.type, row.groups = self._type(operation.path, effect), effect.groups
            if effect.type != "identity":
                row.parts.append(_part(operation, effect, aside=sources[0].numel < row.output.numel))
        if row.scope is not None or (sources[0] is row.output and self._updates_output(row, operation, effect)):
            row.output, row.layout = operation.outputs[0], effect.layout
            if operation.number is not None:
                row.computed_by = operation

    def _updates_output(self, row: Row, operation: Operation, effect: Effect) -> bool:
        """Whether the row's shape becomes that of an operation on its output."""
        if effect.type == "slice" and operation.outputs[0].numel != row.output.numel:
            return False
        if not effect.view:
            return True
        # A view in another module belongs to the next layer, unless the layer's own output has no batch axis in front.
        return not operation.outputs[1:] and (operation.path == row.path or not _is_batch(row.layout[0]))

    def _start_row(self, operation: Operation, effect: Effect, sources: list[Value], scope: str | None) -> Row:
        """Start a row. A convolution takes over the row of a padding that only it reads."""
        inputs = list(dict.fromkeys(self._row_of[value] for value in sources))
        reads = effect.reads
        parts = [] if effect.view else [_part(operation, effect)]
        before = inputs[0]
        if scope is None and effect.type == "conv" and before is not None and before.type == "pad":
            padded = compose(before.reads, reads)
            if padded is not None and before.output is sources[0] and self._uses[before.output] == 1:
                self.rows.remove(before)
                inputs, reads, parts = before.inputs, padded, [*before.parts, *parts]
        type = self._type(operation.path, effect)
        row = Row(
            name=scope or "",
            type=type,
            path=operation.path,
            first=effect.type,
            scope=scope,
            inputs=inputs,
            reads=reads,
            output=operation.outputs[0],
            layout=effect.layout,
            computed_by=operation,
            parts=parts,
            statistics=effect.statistics,
            macs=effect.macs,
            groups=effect.groups,
        )
        self.rows.append(row)
        if before is not None and before not in self.rows:
            self.row_of |= {number: row for number, each in self.row_of.items() if each is before}
        return row

    def _is_leaf(self, path: str) -> bool:
        return path != "" and not any(self._modules[path].children())

    def _type(self, path: str, effect: Effect) -> str:
        """The type of a row: for torch's own modules the name of the class, in the spelling of configs."""
        kind = type(self._modules[path])
        known = kind.__module__.startswith("torch.nn.modules") and not any(self._modules[path].children())
        if known and effect.type != "pad" and not effect.view:
            words = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z]{3})", "_", kind.__name__)
            return re.sub(r"[1-3]d$", "", words).lower()
        return effect.type

    def assign_names(self) -> None:
        """Name each row after the module that it is, or after the module that contains it and its type.

        Of several rows of one module, those with its parameters have its name; without parameters, those that compute
        something. Names of modules come first, so that a sum does not take the name of a module called `add`.
        """
        rows_of_leaf: dict[str, list[Row]] = {}
        for row in self.rows:
            # Padding inside a convolution does not get the convolution's name.
            whole = row.first != "pad" or "Pad" in kind_of(self._modules[row.path])
            if row.scope is None and self._is_leaf(row.path) and whole:
                rows_of_leaf.setdefault(row.path, []).append(row)
        modules: dict[Row, None] = {}
        for rows in rows_of_leaf.values():
            with_parameters = [row for row in rows if row.state or row.shares]
            modules |= dict.fromkeys(with_parameters or [row for row in rows if row.parts] or rows)
        names = Counter([INPUT])
        named = {row: row.path for row in self.rows if row in modules} | {
            row: f"{row.path}.{row.first}".removeprefix(".")
            for row in self.rows
            if row not in modules and row.scope is None
        }
        for row, name in named.items():
            names[name] += 1
            row.name = name if names[name] == 1 else f"{name}#{names[name]}"

    def _count_parameters(self, row: Row, operation: Operation) -> None:
        """Assign parameters to the first row that uses them."""
        constants = [value for value in operation.inputs if not value.dynamic]
        names = frozenset[str]().union(*(value.state for value in constants))
        for value in constants:
            before = self._constant.get(value)
            if before is not None and before is not row:
                names -= before.state
                if before not in row.inputs:
                    row.inputs.append(before)
        row.shares |= bool(names & self._counted - row.state)
        row.state |= names - self._counted
        self._counted |= names


def _part(
    operation: Operation, effect: Effect, *, aside: bool = False, constant_shape: tuple[int, ...] | None = None
) -> Part:
    value = operation.outputs[0]
    shape = constant_shape or without_batch(value.shape, effect.layout)
    # Some kinds of padding keep their input for the gradient, others do not.
    type = operation.name if effect.type == "pad" else effect.type
    numbers = None if shape is None else prod(shape)
    return Part(
        type,
        numbers,
        Saved.NOTHING if effect.by_constant else _SAVED.get(type),
        value.item_bytes,
        saved_bytes=(numbers or 0) if type == "dropout" else effect.saved_bytes,  # a mask of a byte each, as on CUDA
        index_bytes=8 * (numbers or 0) if type in ("max_pool", "adaptive_max_pool") else 0,
        alias=type in ("flatten", "identity"),
        inplace=not operation.fresh,
        aside=aside,
    )


def _fitted(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """The layout of one of several outputs, whose channels may be others.

    Outputs of another rank are indices or statistics, whose layout does not matter.
    """
    if len(layout) != len(shape):
        return tuple(map(free, shape))
    return tuple(
        factors if prod(factor.size for factor in factors) == size else free(size)
        for factors, size in zip(layout, shape, strict=True)
    )


def _is_batch(factors: Factors) -> bool:
    return len(factors) == 1 and factors[0].of is Role.BATCH


def _unsupported(operation: Operation, context: Context, reads: Reads) -> Effect:
    """The effect of an operation of which only the output is known."""
    shape = operation.outputs[0].shape
    layout = tuple(free(size) for size in shape)
    for value in operation.inputs if not _has_kernel_of_each_image(operation, context) else ():
        first = context.layouts[value][:1] if value.dynamic else ()
        if shape and first and _is_batch(first[0]) and first[0][0].size == shape[0]:
            layout = (first[0], *layout[1:])
            break
    return Effect(type=operation.name.strip("_"), layout=layout, reads=reads, macs=_known_macs(operation, layout))


def _has_kernel_of_each_image(operation: Operation, context: Context) -> bool:
    """Whether it is a convolution of every image with the kernels of all images, which then are its output channels."""
    weight = operation.arguments.get("weight")
    if operation.name != "convolution" or not isinstance(weight, Value) or not weight.dynamic:
        return False
    return any(factor.of is Role.BATCH for factor in context.layouts[weight][0])


def _constant_macs(operation: Operation, batch: int) -> int:
    """Multiply-accumulates of a product of constants, computed once, or for each image if it has their number."""
    if operation.name == "convolution":
        images = batch if operation.outputs[0].shape[0] == batch else 1
        return conv_macs(operation, images)
    left = operation.arguments[LEFT_AND_RIGHT[operation.name][0]]
    return operation.outputs[0].numel * int(left.shape[-1])


def _known_macs(operation: Operation, after: Layout) -> int | None:
    """Multiply-accumulates for one image of an operation that is not supported otherwise; None if unknown."""
    if operation.name == "convolution":
        known = has_batch(after) and not operation.arguments["weight"].dynamic
        return conv_macs(operation, batch_size(after)) if known else None
    if operation.name == "deform_conv2d":
        return sampled_macs(operation, batch_size(after)) if has_batch(after) else None
    return 0 if operation.name in RULES and RULES[operation.name] is not matmul else None
