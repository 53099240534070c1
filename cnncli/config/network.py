"""The network of a config: its layers in the order of computation, with names, inputs and shapes.

`cnncli.inspection` measures it, `cnncli.module` builds it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from cnncli.config.document import Problem, Route
from cnncli.config.model import Block, Branch, Item, Place, Residual, Sequence, Single
from cnncli.layers import (
    MERGES,
    Add,
    BatchNorm,
    Conv,
    Description,
    Join,
    Layer,
    Shape,
    ShapeError,
    ShortForm,
    format_shape,
)
from cnncli.windows import Bounds

INPUT = "input"
"""The name of the image among the inputs of a node."""

RESERVED = frozenset({
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu",
    "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers",
    "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
    "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
    "training", "type", "xpu", "zero_grad", INPUT,
    "freeze", "kernels", "layer", "network", "outputs", "tunings",
})  # fmt: skip
"""Names no layer can have: attributes of the module of a network."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One layer of a network.

    Attributes:
        name: `conv1`, or `vgg1.conv2` inside a block.
        layer: the layer as configured.
        inputs: names of the nodes it reads; `input` is the image.
        input_shapes: their output shapes, without batch axis.
        description: output shape, window and cost of the layer for these shapes.
        place: its place in the config.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    description: Description
    place: Place

    @property
    def shape(self) -> Shape:
        """Output shape."""
        return self.description.shape


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers in the order of computation; the output of the last one is the network's.

    Attributes:
        input_shape: `(C, H, W)`.
        classes: number of outputs.
        nodes: the layers.
    """

    input_shape: Shape
    classes: int
    nodes: tuple[Node, ...]

    def numbered(self) -> dict[str, str]:
        """Name -> `01_conv1`: the name after its number, so that names sort in the order of computation."""
        digits = max(2, len(str(len(self.nodes))))
        return {node.name: f"{i:0{digits}}_{node.name}" for i, node in enumerate(self.nodes, 1)}


def lay_out(blueprint: Sequence, input_shape: Shape, classes: int, problems: list[Problem]) -> Network:
    """Give every layer of a blueprint its name, inputs and shapes; problems are appended to `problems`."""
    layout = _Layout(classes, problems)
    end = layout.sequence(blueprint, _Flow(INPUT, input_shape, jumps=(Fraction(1), Fraction(1))), _Scope())
    if end is not None and end.shape != (classes,):
        last = layout.nodes[-1]
        remedy = "end the layers with logits" if len(end.shape) == 1 else "end the layers with flatten and logits"
        layout.report(
            last.place,
            f"the network ends with {last.name} of shape {format_shape(end.shape)}, but there are {classes} classes; "
            + remedy,
        )
    elif end is not None and layout.nodes[-1].layer.is_softmax:
        last = layout.nodes[-1]
        layout.report(last.place, f"the network ends with {last.name}; remove it, the loss contains the softmax")
    nodes = tuple(_without_redundant_bias(layout.nodes))
    return Network(input_shape=input_shape, classes=classes, nodes=nodes)


def _without_redundant_bias(nodes: list[Node]) -> Iterator[Node]:
    """Turn off the bias of convolutions whose output only a norm reads, unless the config sets it."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in nodes:
        if [reader.layer.replaces_bias for reader in readers.get(node.name, [])] == [True]:
            layer = node.layer.before_norm()
            if layer is not node.layer:
                node = replace(node, layer=layer, description=layer.describe(node.input_shapes[0]))
        yield node


@dataclass(frozen=True)
class _Flow:
    """The input of a layer: which node it comes from, its shape, and the nodes that set its size and its channels.

    Attributes:
        jumps: input pixels from one position to the next, along height and width.
    """

    name: str
    shape: Shape
    sized_by: Node | None = None
    channels_by: Node | None = None
    jumps: tuple[Fraction, ...] = ()

    def after(self, node: Node) -> "_Flow":
        resized = len(node.shape) != len(self.shape) or node.shape[1:] != self.shape[1:]
        recounted = node.shape[0] != self.shape[0]
        jumps, reads = self.jumps, node.description.reads
        if isinstance(reads, tuple):
            scales = (window.scale(size) for window, size in zip(reads, self.shape[1:], strict=True))
            jumps = tuple(jump * scale for jump, scale in zip(jumps, scales, strict=True))
        return _Flow(
            node.name,
            node.shape,
            node if resized else self.sized_by,
            node if recounted else self.channels_by,
            jumps,
        )


@dataclass
class _Scope:
    """The names inside one block: their prefix, and the number of layers of each type so far."""

    prefix: str = ""
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class _Layout:
    classes: int
    problems: list[Problem]
    nodes: list[Node] = field(default_factory=list)
    names: dict[str, Place] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)

    def report(self, place: Place, message: str, also: Iterable[tuple[Route, str]] = ()) -> None:
        self.problems.append(Problem(place.route, message, at_key=True, also=(*also, *place.uses_as_notes())))

    def sequence(self, items: Sequence, flow: _Flow | None, scope: _Scope) -> _Flow | None:
        """Lay out a chain of items; None if a shape is unknown because an earlier layer did not fit."""
        for item in items:
            flow = self.item(item, flow, scope)
        return flow

    def item(self, item: Item, flow: _Flow | None, scope: _Scope) -> _Flow | None:
        match item:
            case Single():
                name = self.name(item.layer.type, item.layer.name, scope, item.place)
                if isinstance(item.layer, ShortForm):
                    return flow and self.short_form(item.layer, name, flow, item.place)
                return flow and self.single(item.layer, name, flow, item.place)
            case Block():
                inside = self.scope(item.block, item.name, scope, item.place)
                return self.sequence(item.items, flow, inside)
            case Branch():
                return self.branch(item, flow, scope)
            case Residual():
                return self.residual(item, flow, scope)

    def single(self, layer: Layer, name: str, flow: _Flow, place: Place) -> _Flow | None:
        layer = layer.for_classes(self.classes)
        try:
            description = layer.describe(flow.shape)
        except ShapeError as error:
            self.report_shape(error, name, flow, place)
            return None
        reads = description.reads
        if isinstance(reads, tuple) and (excess := self.bounds.excess(reads, flow.shape[1:], flow.jumps)):
            self.report(place, f"{name} receives {format_shape(flow.shape)}: {excess}")
            return None
        return flow.after(self.add(name, layer, (flow,), description, place))

    def short_form(self, form: ShortForm, name: str, flow: _Flow, place: Place) -> _Flow | None:
        """The layers that a short form stands for; several of them are called as in a block `name`."""
        try:
            layers = form.layers(flow.shape)
        except ShapeError as error:
            self.report_shape(error, name, flow, place)
            return None
        end: _Flow | None = flow
        for part, layer in layers.items():
            end = end and self.single(layer, self.claim(f"{name}.{part}", place) if part else name, end, place)
        return end

    def report_shape(self, error: ShapeError, name: str, flow: _Flow, place: Place) -> None:
        """Report that a layer cannot take its input, with the layer that determined what does not fit."""
        cause = flow.channels_by if error.about_channels else flow.sized_by
        source = "the image" if flow.name == INPUT else flow.name
        also = [] if cause is None else [(cause.place.route, f"{cause.name} outputs {format_shape(cause.shape)}")]
        self.report(place, f"{name} receives {format_shape(flow.shape)} from {source}: {error}", also)

    def add(self, name: str, layer: Layer, flows: tuple[_Flow, ...], description: Description, place: Place) -> Node:
        node = Node(
            name=name,
            layer=layer,
            inputs=tuple(flow.name for flow in flows),
            input_shapes=tuple(flow.shape for flow in flows),
            description=description,
            place=place,
        )
        self.nodes.append(node)
        return node

    def branch(self, item: Branch, flow: _Flow | None, scope: _Scope) -> _Flow | None:
        inside = self.scope("branch", item.name, scope, item.place)
        ends = [self.sequence(path, flow, _Scope(f"{inside.prefix}path{i}.")) for i, path in enumerate(item.paths, 1)]
        join = MERGES[item.merge]()
        return self.join(join, self.claim(f"{inside.prefix}{item.merge}", item.place), ends, item.place)

    def residual(self, item: Residual, flow: _Flow | None, scope: _Scope) -> _Flow | None:
        inside = self.scope("residual", item.name, scope, item.place)
        main = self.sequence(item.main, flow, inside)
        if flow is None or main is None:
            return None
        shortcut = self.shortcut(item, flow, main, inside)
        name = self.claim(f"{inside.prefix}add", item.place)
        return self.join(Add(activation=item.activation), name, [main, shortcut], item.place)

    def shortcut(self, item: Residual, flow: _Flow, main: _Flow, inside: _Scope) -> _Flow | None:
        """The shortcut: as given, the identity, or a 1x1 convolution with norm if the shapes differ."""
        if isinstance(item.shortcut, tuple):
            return self.sequence(item.shortcut, flow, _Scope(f"{self.claim(f'{inside.prefix}shortcut', item.place)}."))
        if item.shortcut == "identity" or flow.shape == main.shape:
            return flow
        if len(flow.shape) != 3 or len(main.shape) != 3:
            self.report(
                item.place,
                f"no automatic shortcut from {format_shape(flow.shape)} to {format_shape(main.shape)}; "
                "give shortcut as a list of layers",
            )
            return None
        strides = [_stride(before, after) for before, after in zip(flow.shape[1:], main.shape[1:], strict=True)]
        if None in strides:
            self.report(
                item.place,
                f"no 1x1 convolution maps {format_shape(flow.shape)} to {format_shape(main.shape)}; "
                "use padding: same in the main path, or give shortcut as a list of layers",
            )
            return None
        conv = Conv(
            out_channels=main.shape[0],
            kernel_size=(1, 1),
            stride=(strides[0] or 1, strides[1] or 1),
        ).model_copy(update={"norm": _last_norm(item.main) or BatchNorm()})
        conv = conv.inheriting(item.inherited)
        return self.single(conv, self.claim(f"{inside.prefix}shortcut", item.place), flow, item.place)

    def join(self, layer: Join, name: str, flows: list[_Flow | None], place: Place) -> _Flow | None:
        known = tuple(flow for flow in flows if flow is not None)
        if len(known) < len(flows):
            return None
        try:
            description = layer.join(tuple(flow.shape for flow in known))
        except ShapeError as error:
            ends = [node for flow in known for node in (flow.sized_by or flow.channels_by,) if node is not None]
            also = [
                (node.place.route, f"{node.name} outputs {format_shape(node.shape)}") for node in dict.fromkeys(ends)
            ]
            self.report(place, f"{name.rpartition('.')[0]}: {error}", also)
            return None
        # Of paths that are repeated along an axis, one that is not sets the distance of the positions.
        main = next((flow for flow in known if flow.shape[1:] == description.shape[1:]), known[0])
        return main.after(self.add(name, layer, known, description, place))

    def scope(self, stem: str, given: str | None, scope: _Scope, place: Place) -> _Scope:
        return _Scope(f"{self.name(stem, given, scope, place)}.")

    def name(self, stem: str, given: str | None, scope: _Scope, place: Place) -> str:
        """The full name of a layer or block. Named layers count too, so that naming one renames no other."""
        scope.counts[stem] += 1
        name = f"{scope.prefix}{given or f'{stem}{scope.counts[stem]}'}"
        if given is not None and (not given.isidentifier() or given.startswith("_") or given in RESERVED):
            self.report(
                place,
                f"invalid name {given}: a name consists of letters, digits and _, starts with a letter, "
                "and is not an attribute of torch modules",
            )
        return self.claim(name, place)

    def claim(self, name: str, place: Place) -> str:
        """Reserve a full name; report it if it is taken."""
        if name in self.names:
            first = (self.names[name].route, "first used here")
            self.report(place, f"duplicate name {name}; rename one of the two", [first])
        self.names.setdefault(name, place)
        return name


def _stride(before: int, after: int) -> int | None:
    """The smallest stride with which a 1x1 convolution maps `before` positions to `after`."""
    return next((stride for stride in range(1, before + 1) if -(-before // stride) == after), None)


def _last_norm(items: Sequence) -> Layer | None:
    """The norm of the last convolution of a path."""
    norms = [getattr(item.layer, "norm", None) for item in items if isinstance(item, Single) and item.layer.has_kernels]
    return norms[-1] if norms else None
