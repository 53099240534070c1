"""The base class of layer types: config fields, shapes, costs, the torch module, and the arithmetic of one unit.

Letters for shapes: C channels, H height, W width, F features. Shapes have no batch axis: `(C, H, W)` or `(F,)`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, Flag
from math import prod
from typing import TYPE_CHECKING, ClassVar, Self, cast

from cnncli.fields import Choice
from cnncli.layers.operation import Operation, Role
from cnncli.layers.tuning import InheritedFields, TrainedFields, Tuning
from cnncli.layers.unit import Stage, Trace, Unit
from cnncli.windows import Window

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, ...]


class Reach(Enum):
    """What a unit reads, if it is not a window per axis."""

    SAME = "the same position"
    ALL = "every position"


@dataclass(frozen=True)
class Unknown:
    """What a unit reads cannot be known, and why. The receptive fields of all later layers are unknown, too."""

    reason: str


Reads = Reach | Unknown | tuple[Window, ...]


class Saved(Flag):
    """What autograd saves for the gradient of an operation, except weights."""

    NOTHING = 0
    INPUT = 1
    OUTPUT = 2


@dataclass(frozen=True)
class Part:
    """One of the operations that a layer consists of.

    Attributes:
        type: as in configs; as in ATen where configs have no name for it.
        numbers: in its output for one image; None where unknown.
        saved: for its gradient; None where unknown.
        item_bytes: of one number of its output.
        saved_bytes: what is saved in addition to its input and its output, for one image: masks, intermediate results.
        index_bytes: of the positions of maxima, which are made in inference too, for one image.
        alias: whether its output shares the memory of its input in training.
        inplace: whether it writes over its input, or is a view of it.
        aside: whether it works on some of the numbers before it while the others are read as well.
        trained: whether training changes weights of it; None: as for the layer as a whole.
    """

    type: str
    numbers: int | None
    saved: Saved | None
    item_bytes: int = 4
    saved_bytes: int = 0
    index_bytes: int = 0
    alias: bool = False
    inplace: bool = False
    aside: bool = False
    trained: bool | None = None


@dataclass(frozen=True)
class Kernels:
    """The kernels of a convolution: `count` of them, each of `depth` slices of `height` x `width`.

    Attributes:
        transposed: whether each kernel is multiplied once for each position of the input, rather than of the output.
    """

    count: int
    depth: int
    height: int
    width: int
    biases: int
    transposed: bool = False

    @property
    def weights(self) -> int:
        """Numbers in the kernels."""
        return self.count * self.depth * self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Description:
    """The output, windows and costs of a layer for one input shape.

    Attributes:
        shape: of its output.
        reads: one window per spatial axis, or `Reach`.
        statistics: whether a norm takes mean and variance over the whole map, so that every unit depends not only
            on what it reads, but on everything that any unit reads.
        params: parameters.
        frozen: those of them that training never changes.
        macs: multiply-accumulates of convolution and linear layers for one image, bias not counted.
        buffer_bytes: what is saved with the weights but not learned (running means and variances).
        kernels: of a convolution.
        groups: of a convolution.
        parts: the operations that run, in order; by default the layer itself as one.
        view: whether its output in inference shares the memory of its input.
        notes: for the reader of the layer table.
    """

    shape: Shape
    reads: Reads = Reach.SAME
    statistics: bool = False
    params: int = 0
    frozen: int = 0
    macs: int = 0
    buffer_bytes: int = 0
    kernels: Kernels | None = None
    groups: int = 1
    parts: tuple[Part, ...] = ()
    view: bool = False
    notes: tuple[str, ...] = ()

    def followed_by(self, other: "Description") -> "Description":
        """The description of a layer with another one, number by number, behind it."""
        assert (other.shape, other.reads) == (self.shape, Reach.SAME), "a norm or an activation changes no position"
        return replace(
            self,
            statistics=self.statistics or other.statistics,
            params=self.params + other.params,
            frozen=self.frozen + other.frozen,
            macs=self.macs + other.macs,
            buffer_bytes=self.buffer_bytes + other.buffer_bytes,
            parts=self.parts + other.parts,
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
        )


class ShapeError(Exception):
    """A layer cannot take a shape. The caller knows the position of the layer and adds its name and position.

    Attributes:
        about_channels: whether the number of channels is what does not fit, rather than height and width.
    """

    def __init__(self, message: str, *, about_channels: bool = False) -> None:
        super().__init__(message)
        self.about_channels = about_channels


class Layer(Choice):
    """One layer of a config: everything that depends on its type.

    Subclasses implement `_describe`, `_trace` and `_operations`, and `build` or `torch_class`. A subclass may have the
    fields `norm` and `activation`: this class adds these followers to its description, its trace and its operations,
    and `build` uses `build_followers`.

    Attributes:
        name: what the layer is called; `conv1`, `conv2`, ... where it is not given.
    """

    name: str | None = None

    torch_class: ClassVar[str] = ""
    """The class in `torch.nn` that takes the fields as its arguments, where there is one."""
    has_kernels: ClassVar[bool] = False
    """Whether it is a convolution, transposed or not: each output channel has its own kernel."""
    is_pool: ClassVar[bool] = False
    is_norm: ClassVar[bool] = False
    """Whether it normalizes, and may be the `norm` of another layer."""
    replaces_bias: ClassVar[bool] = False
    """Whether a bias before it is useless: it subtracts the bias with a mean, and may add its own."""
    is_activation: ClassVar[bool] = False
    gives_logits: ClassVar[bool] = False
    """Whether its outputs are the logits of the classes."""
    is_softmax: ClassVar[bool] = False
    """Whether its outputs are probabilities, which the loss does not expect: it contains a softmax."""
    keeps_channels: ClassVar[bool] = False
    """Whether each output channel is made from the input channel of the same number."""
    keeps_zero: ClassVar[bool] = False
    """Whether, in addition, a channel that is 0 everywhere stays 0 for any values of the fields."""
    saved: ClassVar[Saved | None] = None
    """What autograd saves for its gradient; None: unknown, and with it the memory that training needs."""

    @classmethod
    def names_elsewhere(cls) -> tuple[str, ...]:
        return (*([cls.torch_class] if cls.torch_class else []), *cls.other_names)

    @property
    def has_feature_maps(self) -> bool:
        """Whether its output is drawn while a network trains: convolutions and pools."""
        return self.has_kernels or self.is_pool

    @property
    def can_die(self) -> bool:
        """Whether its outputs can become 0 for good: it ends in an activation that is 0 over a half-line."""
        return any(each.can_die for each in self.followers().values())

    @property
    def takes_batch_statistics(self) -> bool:
        """Whether in training it takes mean and variance over the images of a batch."""
        return any(each.takes_batch_statistics for each in self.followers().values())

    def for_classes(self, classes: int) -> Self:
        """The layer in a network with the given number of classes."""
        return self

    def before_norm(self) -> Self:
        """The layer where only a norm reads it: without a bias, unless one was asked for."""
        return self

    def followers(self) -> "dict[str, Layer]":
        """The `norm` and the `activation` that are given on the layer, in the order of computation."""
        given = {name: getattr(self, name, None) for name in ("norm", "activation")}
        return {name: layer.inheriting(self) for name, layer in given.items() if layer is not None}

    def tuning(self, parameter: str) -> Tuning:
        """How a parameter of its module is trained.

        Args:
            parameter: its name in the module, such as `conv.weight` or `norm.bias`.
        """
        role, dot, _ = parameter.partition(".")
        tuning = (self.followers().get(role, self) if dot else self)._tuning()
        assert tuning is not None, f"{self.type} has no parameter {parameter}"
        return tuning

    def tunings(self) -> list[Tuning]:
        """How its parameters and those of its followers are trained; empty without parameters."""
        each = (layer._tuning() for layer in (self, *self.followers().values()))
        return [tuning for tuning in each if tuning is not None]

    def _tuning(self) -> Tuning | None:
        """How the parameters of the layer without its followers are trained; None if it has none."""
        return None

    @property
    def is_trained(self) -> bool:
        """Whether training changes parameters of the layer without its followers."""
        tuning = self._tuning()
        return tuning is not None and not tuning.never_trained

    def inheriting(self, outer: "Layer | InheritedFields") -> Self:
        """The layer with those `InheritedFields` that it has and does not set taken from what is around it."""
        own = [name for name in InheritedFields.model_fields if getattr(self, name, self) is None]
        taken = {name: value for name in own if (value := getattr(outer, name, None)) is not None}
        return self.model_copy(update=taken) if taken else self

    def describe(self, shape: Shape) -> Description:
        """The effect of the layer, its norm and its activation on an input of shape `(C, H, W)` or `(F,)`.

        Raises:
            ShapeError: it cannot take this shape; the message has the reason and a remedy.
        """
        return self._with_followers(self._describe(shape))

    def _with_followers(self, own: Description) -> Description:
        total = own if own.parts else replace(own, parts=(self._part(own.shape),))
        if (tuning := self._tuning()) is not None:
            frozen = own.params if tuning.never_trained else 0
            total = replace(total, frozen=frozen, notes=(*total.notes, *tuning.notes()))
        for follower in self.followers().values():
            total = total.followed_by(follower.describe(total.shape))
        return total

    def _describe(self, shape: Shape) -> Description:
        """The description of the layer without its followers."""
        raise NotImplementedError(self.type)

    def _part(self, shape: Shape, *, saved_bytes: int = 0, index_bytes: int = 0, alias: bool = False) -> Part:
        """The layer as one operation with an output of this shape; see `Part`."""
        return Part(
            self.type,
            prod(shape),
            self._saved(),
            saved_bytes=saved_bytes,
            index_bytes=index_bytes,
            alias=alias,
            trained=self.is_trained,
        )

    def _saved(self) -> Saved | None:
        """What autograd saves for its gradient, with the fields as they are."""
        return self.saved

    def build(self, shape: Shape) -> "nn.Module":
        """The torch module of the layer and its followers, for batches of inputs of this shape."""
        from torch import nn

        arguments = {name: getattr(self, name) for name in type(self).model_fields if name not in ("type", "name")}
        module: nn.Module = getattr(nn, self.torch_class)(**arguments)
        return module

    def build_portable(self, shape: Shape) -> "nn.Module":
        """The same module as `build`, with the same weights, in operators that ONNX has as well."""
        return self.build(shape)

    @property
    def init_needs_images(self) -> bool:
        """Whether its initial weights also depend on the first images of the training."""
        return False

    def initialize(self, module: "nn.Module") -> None:
        """Set the weights of its module as the layer says; what it does not say stays as torch initialized it."""

    def core_of(self, module: "nn.Module") -> "nn.Module":
        """The part of the module of a layer with kernels or a matrix that has these, without what follows."""
        raise NotImplementedError(self.type)

    def build_followers(self, shape: Shape) -> "dict[str, nn.Module]":
        """The modules of the followers for an output of this shape, by name: `norm`, `activation`."""
        return {name: layer.build(shape) for name, layer in self.followers().items()}

    def kernels_of(self, module: "nn.Module") -> "Tensor":
        """The kernels in the module of a convolution, (O, C / groups, kh, kw)."""
        raise NotImplementedError(self.type)

    def operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        """The arithmetic of the layer and its followers in inference; empty where its output equals its input.

        Args:
            shapes: of its inputs, (C, H, W) or (F,) each; only layers that join paths have several.
        """
        operations = self._operations(shapes)
        for name, layer in self.followers().items():
            shape = operations[-1].shape if operations else shapes[0]
            operations += tuple(each.within(cast(Role, name)) for each in layer.operations((shape,)))
        return operations

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        """The operations of the layer without its followers."""
        raise NotImplementedError(self.type)

    def trace(
        self,
        inputs: "Sequence[Tensor]",
        weights: "Mapping[str, Tensor]",
        unit: Unit,
        *,
        before_norm: "Tensor | None" = None,
    ) -> Trace:
        """Compute one unit in double precision, in evaluation mode: batch norm uses its running statistics.

        No torch module runs: that the result is the network's is a check because it is computed in another way.

        Args:
            inputs: what the layer reads, (C, H, W) or (F,) each; only layers that join paths have several.
            weights: the state dict of its module.
            unit: an index into its output.
            before_norm: the input of the norm given on the layer, (O, OH, OW) or (O,), if there is one: group norm and
                layer norm take mean and variance over other units too.
        """
        weights = {name: tensor.double() for name, tensor in weights.items()}
        trace = self._trace([each.double() for each in inputs], weights, unit)
        for name, layer in self.followers().items():
            own = {key.removeprefix(f"{name}."): each for key, each in weights.items() if key.startswith(f"{name}.")}
            maps = before_norm.double() if before_norm is not None else None
            trace = replace(trace, stages=(*trace.stages, layer.stage(trace.value, maps, own, unit)))
        return trace

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        """The trace of the layer without its followers; everything is double."""
        raise NotImplementedError(self.type)

    def stage(self, before: float, maps: "Tensor | None", weights: "Mapping[str, Tensor]", unit: Unit) -> Stage:
        """The effect of a norm or an activation on one value.

        Args:
            before: the number.
            maps: all values of the layer, (C, H, W) or (F,); None if they are not known. Norms need them.
            weights: the state dict of the module.
            unit: the index of the number in the maps.
        """
        raise NotImplementedError(self.type)


class WeightedLayer(Layer, TrainedFields):
    """A layer with weights."""

    def _tuning(self) -> Tuning | None:
        return Tuning(self.frozen_epochs, self.lr_scale or 1.0)


def image(shape: Shape, layer: Choice) -> tuple[int, int, int]:
    """`(C, H, W)`.

    Raises:
        ShapeError: it is not the shape of an image, which `layer` needs.
    """
    if len(shape) != 3:
        raise ShapeError(
            f"{layer.type} needs an image (channels, height, width), not a vector; "
            "put it before flatten, linear and global pools"
        )
    channels, height, width = shape
    return channels, height, width


def vector(shape: Shape, layer: Choice) -> int:
    """`F`.

    Raises:
        ShapeError: it is not the shape of a vector, which `layer` needs.
    """
    if len(shape) != 1:
        raise ShapeError(f"{layer.type} needs a vector, not an image; put flatten or global_avg_pool before it")
    return shape[0]


def format_shape(shape: Iterable[int]) -> str:
    """A shape in a sentence: `16 x 5 x 5`."""
    return " x ".join(map(str, shape))


def format_size(sizes: Iterable[object]) -> str:
    """A shape or a size in a cell or a formula: `16x5x5`."""
    return "x".join(map(str, sizes))


def per_axis(values: Iterable[object], separator: str = "x") -> str:
    """One value if the axes agree, else `height x width`, by default without spaces; empty without values."""
    texts = [str(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else separator.join(texts)


def output_size(windows: tuple[Window, Window], size: tuple[int, int], what: str) -> tuple[int, int]:
    """Height and width of the output of two windows.

    Raises:
        ShapeError: nothing is left.
    """
    height, width = (window.output_size(n) for window, n in zip(windows, size, strict=True))
    if height < 1 or width < 1:
        axis, n, window = ("height", size[0], windows[0]) if height < 1 else ("width", size[1], windows[1])
        span = getattr(window, "span", None)
        spanned = "leaves nothing" if span is None else f"spans {span}"
        raise ShapeError(
            f"{what} does not fit: its window {spanned}, but the {axis} of its input is {n}; "
            "make it smaller, or keep its input larger with padding: same, fewer pools or data.size"
        )
    return height, width
