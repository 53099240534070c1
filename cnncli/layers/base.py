"""What a layer says of itself: its fields as in `torch.nn`, the shape it gives, what it reads, and what it costs.

Letters for shapes: C channels, H height, W width, F features. Shapes have no batch axis: `(C, H, W)` or `(F,)`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Self

from cnncli.fields import Choice
from cnncli.windows import Window

Shape = tuple[int, ...]


class Reach(Enum):
    """What a unit reads, where it is not a window per axis."""

    SAME = "the same position"
    ALL = "every position"


@dataclass(frozen=True)
class Unknown:
    """What a unit reads cannot be known, and why; nor can then what anything after it sees."""

    reason: str


Reads = Reach | Unknown | tuple[Window, ...]


@dataclass(frozen=True)
class Kernels:
    """The kernels of a convolution: `count` of them, each of `depth` slices of `height` x `width`."""

    count: int
    depth: int
    height: int
    width: int
    biases: int

    @property
    def weights(self) -> int:
        """Numbers in the kernels."""
        return self.count * self.depth * self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a layer does to one input shape.

    Attributes:
        shape: the shape it gives.
        reads: one window per spatial axis, or `Reach`.
        statistics: whether a norm in it takes mean and variance over the whole map, so that every unit depends, besides
            on what it reads, on everything that any unit reads.
        params: trainable parameters.
        macs: multiply-accumulates of convolution and linear layers for one image, bias not counted.
        buffer_bytes: what is saved with the weights but not learned (running means and variances).
        kernels: of a convolution.
        groups: of a convolution.
        notes: what a reader of the table should know.
    """

    shape: Shape
    reads: Reads = Reach.SAME
    statistics: bool = False
    params: int = 0
    macs: int = 0
    buffer_bytes: int = 0
    kernels: Kernels | None = None
    groups: int = 1
    notes: tuple[str, ...] = ()


class ShapeError(Exception):
    """A layer cannot take a shape. Whoever knows where the layer stands turns this into a message with its place.

    Attributes:
        about_channels: whether the number of channels is what does not fit, rather than height and width.
    """

    def __init__(self, message: str, *, about_channels: bool = False) -> None:
        super().__init__(message)
        self.about_channels = about_channels


class Layer(Choice):
    """One layer of a config.

    Attributes:
        name: what the layer is called; `conv1`, `conv2`, ... where it is not given.
    """

    name: str | None = None

    has_kernels: ClassVar[bool] = False
    """Whether it is a convolution, transposed or not: each output channel has a kernel of its own."""
    is_pool: ClassVar[bool] = False
    is_norm: ClassVar[bool] = False
    """Whether it normalizes and adds a bias per channel, so that a bias before it is useless."""
    is_activation: ClassVar[bool] = False
    gives_logits: ClassVar[bool] = False
    """Whether its outputs are the classes."""
    keeps_channels: ClassVar[bool] = False
    """Whether each output channel is made from the input channel of the same number."""
    keeps_zero: ClassVar[bool] = False
    """Whether, besides, a channel that is 0 everywhere stays so."""

    @property
    def has_feature_maps(self) -> bool:
        """Whether its output is drawn while a network trains: convolutions and pools."""
        return self.has_kernels or self.is_pool

    @property
    def can_die(self) -> bool:
        """Whether its outputs can become 0 for good: it ends in an activation that is 0 over half of the line."""
        return False

    @property
    def takes_batch_statistics(self) -> bool:
        """Whether in training it takes mean and variance over the images of a batch."""
        return False

    def followers(self) -> "dict[str, Layer]":
        """The `norm` and the `activation` that are given on the layer, in the order of computation."""
        return {}

    def for_classes(self, classes: int) -> Self:
        """The layer in a network for that many classes."""
        return self

    def before_norm(self) -> Self:
        """The layer where only a norm reads it: without a bias, unless one was asked for."""
        return self

    def describe(self, shape: Shape) -> Description:
        """Say what the layer makes of an input of shape `(C, H, W)` or `(F,)`.

        Raises:
            ShapeError: it cannot take this shape; the message says why and what would help.
        """
        raise NotImplementedError  # abstract; not an abstractmethod, as the shape of logits waits for the classes


def image(shape: Shape, layer: Layer) -> tuple[int, int, int]:
    """`(C, H, W)`, or a ShapeError that says why `layer` needs it."""
    if len(shape) != 3:
        raise ShapeError(
            f"{layer.type} needs an image (channels, height, width), not a row of numbers; "
            "place it before flatten, linear and global pools"
        )
    channels, height, width = shape
    return channels, height, width


def row(shape: Shape, layer: Layer) -> int:
    """`F`, or a ShapeError that says how to get from an image to a row of numbers."""
    if len(shape) != 1:
        raise ShapeError(f"{layer.type} needs a row of numbers, not an image; put flatten or global_avg_pool before it")
    return shape[0]


def format_shape(shape: Shape) -> str:
    """A shape as people write it: `16 x 5 x 5`."""
    return " x ".join(map(str, shape))


def slide(windows: tuple[Window, Window], size: tuple[int, int], what: str) -> tuple[int, int]:
    """Height and width that two windows give, or a ShapeError if nothing is left."""
    height, width = (window.output_size(n) for window, n in zip(windows, size, strict=True))
    if height < 1 or width < 1:
        axis, n, window = ("height", size[0], windows[0]) if height < 1 else ("width", size[1], windows[1])
        raise ShapeError(
            f"{what} does not fit: its window {_spanned(window)}, but the {axis} of its input is {n}; "
            "make it smaller, or keep its input larger with padding: same, fewer pools or data.size"
        )
    return height, width


def _spanned(window: Window) -> str:
    span = getattr(window, "span", None)
    return "leaves nothing" if span is None else f"spans {span}"
