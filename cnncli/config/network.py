"""The network of a config: its layers in the order of computation, with names, inputs and shapes.

`cnncli.inspection` measures it, `cnncli.module` builds it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction

from cnncli.config.document import Problem, Route
from cnncli.config.model import Block, Branch, Item, Place, Residual, Reuse, Sequence, Single, Skip
from cnncli.errors import did_you_mean
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
from cnncli.limits import MAX_LAYERS
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
    "freeze", "kernels", "layer", "network", "outputs", "tunings", "unfrozen_after", "weights_of",
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
        skip_from: the last of its inputs if that is an earlier node by `skip`.
        reuses: the earlier node whose weights it has by `reuse`; its own description then counts none.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    description: Description
    place: Place
    skip_from: str | None = None
    reuses: str | None = None

    @property
    def weights_of(self) -> str:
        """The node that has its weights."""
        return self.reuses or self.name

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
    image = _Flow(INPUT, input_shape, jumps=(Fraction(1), Fraction(1)))
    layout.outputs[INPUT] = image
    end = layout.sequence(blueprint, image, _Scope())
    layout.report_unknown_names()
    last = None if end is None else layout.nodes.get(end.name)
    if end is not None and last is not None and end.shape != (classes,):
        remedy = "end the layers with logits" if len(end.shape) == 1 else "end the layers with flatten and logits"
        layout.report(
            last.place,
            f"the network ends with {last.name} of shape {format_shape(end.shape)}, but there are {classes} classes; "
            + remedy,
        )
    elif last is not None and last.layer.is_softmax:
        layout.report(last.place, f"the network ends with {last.name}; remove it, the loss contains the softmax")
    nodes = tuple(_with_weights_counted_once(_without_redundant_bias(list(layout.nodes.values()))))
    return Network(input_shape=input_shape, classes=classes, nodes=nodes)


def _without_redundant_bias(nodes: list[Node]) -> Iterator[Node]:
    """Turn off the bias of convolutions whose output only a norm reads, unless the config sets it.

    Nodes with the same weights all have a bias, or none of them has.
    """
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    with_bias = {
        node.weights_of
        for node in nodes
        if [reader.layer.replaces_bias for reader in readers.get(node.name, [])] != [True]
    }
    for node in nodes:
        if node.weights_of not in with_bias:
            layer = node.layer.before_norm()
            if layer is not node.layer:
                node = replace(node, layer=layer, description=layer.describe(node.input_shapes[0]))
        yield node


def _with_weights_counted_once(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        if node.reuses is not None:
            note = f"has the weights of {node.reuses}, which are counted there"
            description = replace(node.description, params=0, frozen=0, buffer_bytes=0, notes=(note,))
            node = replace(node, description=description)
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

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefix, and those of the scopes around it, the outermost last: `a.b.`, `a.` and the empty one."""
        parts = self.prefix.split(".")[:-1]
        return tuple("".join(f"{part}." for part in parts[:count]) for count in range(len(parts), -1, -1))


_Structure = Block | Branch | Residual | Single
"""What has layers inside; a `Single` is a short form of several layers."""


@dataclass(frozen=True)
class _Copy:
    """The layers of `original` again, with its weights, as `name`."""

    name: str
    original: str
    place: Place

    def counterpart(self, name: str) -> str:
        """The layer whose weights the layer `name` of the copy has."""
        return self.original + name.removeprefix(self.name)


@dataclass(frozen=True)
class _UnknownName:
    """A name of no layer or structure before `place`.

    Attributes:
        prefixes: of the names it may mean, see `_Scope.prefixes`.
        known: the names that it could have been.
    """

    name: str
    place: Place
    prefixes: tuple[str, ...]
    known: tuple[str, ...]


@dataclass
class _Layout:
    """The nodes so far.

    Attributes:
        names: where each name has been given: of layers, and of blocks and other structures, also unfinished ones.
        outputs: by name, those of layers and finished structures.
        structures: the finished blocks, residuals, branches and short forms by name.
        copy: the structure whose layers are laid out again, if one is.
    """

    classes: int
    problems: list[Problem]
    nodes: dict[str, Node] = field(default_factory=dict)
    names: dict[str, Place] = field(default_factory=dict)
    outputs: dict[str, _Flow] = field(default_factory=dict)
    structures: dict[str, _Structure] = field(default_factory=dict)
    unknown: list[_UnknownName] = field(default_factory=list)
    copy: _Copy | None = None
    bounds: Bounds = field(default_factory=Bounds)

    def report(
        self, place: Place, message: str, also: Iterable[tuple[Route, str]] = (), *, at_key: bool = True
    ) -> None:
        notes = [*also, *place.uses_as_notes()]
        if self.copy is not None and self.copy.place != place:
            notes.append((self.copy.place.route, "reused here"))
        self.problems.append(Problem(place.route, message, at_key=at_key, also=tuple(notes)))

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
                    return self.structure(item, flow, name)
                return flow and self.single(item.layer, name, flow, item.place)
            case Skip():
                return self.skip(item, flow, scope)
            case Reuse():
                return self.reuse(item, flow, scope)
            case Block():
                return self.structure(item, flow, self.name(item.block, item.name, scope, item.place))
            case Branch():
                return self.structure(item, flow, self.name("branch", item.name, scope, item.place))
            case Residual():
                return self.structure(item, flow, self.name("residual", item.name, scope, item.place))

    def structure(self, item: _Structure, flow: _Flow | None, name: str) -> _Flow | None:
        """Lay out a structure whose name has been given."""
        inside = _Scope(f"{name}.")
        match item:
            case Single():
                assert isinstance(item.layer, ShortForm), "other layers are no structures"
                end = flow and self.short_form(item.layer, name, flow, item.place)
            case Block():
                end = self.sequence(item.items, flow, inside)
            case Branch():
                end = self.branch(item, flow, inside)
            case Residual():
                end = self.residual(item, flow, inside)
        if end is not None:
            self.outputs[name] = end
        self.structures[name] = item
        return end

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
        return self.add(name, layer, (flow,), description, place)

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

    def add(
        self,
        name: str,
        layer: Layer,
        flows: tuple[_Flow, ...],
        description: Description,
        place: Place,
        *,
        main: int = 0,
        skip_from: str | None = None,
    ) -> _Flow | None:
        """Add a node; `main` is the number of the input that the positions of its output correspond to."""
        node = Node(
            name=name,
            layer=layer,
            inputs=tuple(flow.name for flow in flows),
            input_shapes=tuple(flow.shape for flow in flows),
            description=description,
            place=place,
            skip_from=skip_from,
        )
        if self.copy is not None and description.params:
            original = self.nodes.get(self.copy.counterpart(name))
            if original is None or original.description.params != description.params:
                self.report_other_weights(self.copy, node, original)
                return None
            node = replace(node, reuses=original.weights_of)
        self.nodes[name] = node
        self.outputs[name] = flows[main].after(node)
        return self.outputs[name]

    def report_other_weights(self, copy: _Copy, node: Node, original: Node | None) -> None:
        """Report that a node cannot have the weights of its counterpart."""
        shape = node.input_shapes[0]
        receives = f"{node.name} receives {format_shape(shape)} from {node.inputs[0]}"
        if original is None:  # a shortcut that is the identity there
            self.report(copy.place, f"{receives}, and needs weights, but {copy.original} has none in this place")
            return
        its_shape = format_shape(original.input_shapes[0])
        remedy = f"give both the same number of {'channels' if len(shape) == 3 else 'features'}"
        message = f"{receives}, but the weights of {original.name} are for an input of {its_shape}; {remedy}"
        self.report(copy.place, message, [(original.place.route, f"{original.name} is here")])

    def branch(self, item: Branch, flow: _Flow | None, inside: _Scope) -> _Flow | None:
        ends = [self.sequence(path, flow, _Scope(f"{inside.prefix}path{i}.")) for i, path in enumerate(item.paths, 1)]
        join = MERGES[item.merge]()
        return self.join(join, self.claim(f"{inside.prefix}{item.merge}", item.place), ends, item.place)

    def residual(self, item: Residual, flow: _Flow | None, inside: _Scope) -> _Flow | None:
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

    def skip(self, item: Skip, flow: _Flow | None, scope: _Scope) -> _Flow | None:
        source = None if flow is None else self.find(item.source, item.place.inside("from"), scope)
        name = self.name("skip", item.name, scope, item.place)
        start = self.outputs.get(source or "")
        if flow is None or start is None:
            return None
        if start.name == flow.name:
            self.report(item.place, f"{name} receives {flow.name} already; from is the name of an earlier layer")
            return None
        return self.join(MERGES[item.merge](), name, [flow, start], item.place, skip_from=start.name)

    def reuse(self, item: Reuse, flow: _Flow | None, scope: _Scope) -> _Flow | None:
        original = None if flow is None else self.find(item.layer, item.place.inside("layer"), scope)
        name = self.name("reuse", item.name, scope, item.place)
        if flow is None or original is None:
            return None
        structure = self.structures.get(original)
        if structure is None:
            nodes = [node for node in (self.nodes.get(original),) if node is not None]
        else:
            nodes = [node for node in self.nodes.values() if f"{node.name}.".startswith(f"{original}.")]
        if not any(node.description.params for node in nodes):
            self.report(item.place, f"{original} has no weights to reuse; write its layers again")
            return None
        if len(self.nodes) + len(nodes) > MAX_LAYERS:
            self.report(item.place, f"more than {MAX_LAYERS:,} layers, reused ones included")
            return None
        with self.copying(_Copy(name, original, item.place)):
            if structure is not None:
                return self.structure(structure, flow, name)
            layer = nodes[0].layer
            if not isinstance(layer, Join):
                return self.single(layer, name, flow, item.place)
        self.report(item.place, f"{original} joins several inputs; reuse {original.rpartition('.')[0]}")
        return None

    @contextmanager
    def copying(self, copy: _Copy) -> Iterator[None]:
        """The nodes that are added have the weights of their counterparts."""
        outer, self.copy = self.copy, copy
        yield
        self.copy = outer

    def find(self, name: str, place: Place, scope: _Scope) -> str | None:
        """The full name of what is called `name` before this place, in the innermost scope that has it.

        None if there is no such layer or structure, which is reported later, or if it is around the place.
        """
        for prefix in scope.prefixes:
            full = prefix + name
            if scope.prefix.startswith(f"{full}."):
                self.report(place, f"{full} is around this place; name a layer before it", at_key=False)
                return None
            if full in self.names or full == INPUT:
                return full
        known = (
            next(each.removeprefix(prefix) for prefix in scope.prefixes if each.startswith(prefix))
            for each in self.names
        )
        self.unknown.append(_UnknownName(name, place, scope.prefixes, tuple(known)))
        return None

    def report_unknown_names(self) -> None:
        """Report the names that were not found, when all names are known."""
        for each in self.unknown:
            later = next((prefix + each.name for prefix in each.prefixes if prefix + each.name in self.names), None)
            if later is not None:
                message = f"{later} is not before this place; name an earlier layer"
            else:
                message = f"unknown layer: {each.name}{did_you_mean(each.name, each.known)}"
            self.report(each.place, message, at_key=False)

    def join(
        self, layer: Join, name: str, flows: list[_Flow | None], place: Place, *, skip_from: str | None = None
    ) -> _Flow | None:
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
            if skip_from is None:
                self.report(place, f"{name.rpartition('.')[0]}: {error}", also)
            else:
                self.report(place, f"{name} joins {known[0].name} and {skip_from}: {error}{_remedy(*known)}", also)
            return None
        # Of paths that are repeated along an axis, one that is not sets the distance of the positions.
        main = next((i for i, flow in enumerate(known) if flow.shape[1:] == description.shape[1:]), 0)
        if skip_from is not None:
            description = replace(description, notes=(*description.notes, f"joins {known[0].name} and {skip_from}"))
        return self.add(name, layer, known, description, place, main=main, skip_from=skip_from)

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


def _remedy(flow: _Flow, start: _Flow) -> str:
    """How to make the output of the layer before a skip fit that of the earlier layer."""
    if len(flow.shape) != len(start.shape):
        return ""
    if flow.shape[1:] != start.shape[1:]:
        return f"; for the same size, put upsample: {{size: {list(start.shape[1:])}}} before it"
    return f"; for the same channels, put conv: {{out_channels: {start.shape[0]}, kernel_size: 1}} before it"


def _stride(before: int, after: int) -> int | None:
    """The smallest stride with which a 1x1 convolution maps `before` positions to `after`."""
    return next((stride for stride in range(1, before + 1) if -(-before // stride) == after), None)


def _last_norm(items: Sequence) -> Layer | None:
    """The norm of the last convolution of a path."""
    norms = [getattr(item.layer, "norm", None) for item in items if isinstance(item, Single) and item.layer.has_kernels]
    return norms[-1] if norms else None
