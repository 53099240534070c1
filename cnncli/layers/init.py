"""Initial weights of convolutions and linear layers: distributions, fixed filters, and scales measured on images.

Letters for shapes: O output channels or features, I input channels of a kernel or features, (kh, kw) kernel.
"""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from cnncli.fields import Choice, OneOf, Positive
from cnncli.layers.base import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

Nonlinearity = Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]

_SOBEL = (-1.0, 0.0, 1.0, 2.0, 1.0, 0.0, -1.0, -2.0)
"""The border of the Sobel kernel that finds edges along x, clockwise from its upper left corner."""
_BORDER = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
_SOBEL_TURNS = (0, 2, 1, 3, 4, 6, 5, 7)
"""Eighths of a turn: x, y, the two diagonals, and the four opposite directions."""


class Init(Choice):
    """How the weights of a layer are initialized; its biases are 0 then."""

    needs_images: ClassVar[bool] = False
    """Whether the weights also depend on the first images of the training."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that there are such weights of shape (O, I, kh, kw) or (O, I).

        Raises:
            ShapeError: there are not.
        """

    def fill(self, weight: "Tensor", groups: int) -> None:
        """Set weights (O, I, kh, kw) or (O, I), drawn from torch's random numbers.

        Args:
            weight: the weights.
            groups: of a convolution, into which the O kernels are divided.
        """
        raise NotImplementedError(self.type)


class _Kaiming(Init):
    """Fields of both; names and meanings as in `torch.nn.init`."""

    mode: Literal["fan_in", "fan_out"] = Field(
        default="fan_in", description="what keeps its variance: fan_in: the values; fan_out: the gradients"
    )
    nonlinearity: Nonlinearity = Field(default="leaky_relu", description="what follows the layer")
    a: NonNegativeFloat = Field(default=0.0, description="slope of leaky_relu; 0 is relu")


class KaimingNormal(_Kaiming):
    """`torch.nn.init.kaiming_normal_` (He et al., 2015)."""

    type: Literal["kaiming_normal"] = "kaiming_normal"

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        init.kaiming_normal_(weight, self.a, self.mode, self.nonlinearity)


class KaimingUniform(_Kaiming):
    """`torch.nn.init.kaiming_uniform_` (He et al., 2015)."""

    type: Literal["kaiming_uniform"] = "kaiming_uniform"

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        init.kaiming_uniform_(weight, self.a, self.mode, self.nonlinearity)


class XavierNormal(Init):
    """`torch.nn.init.xavier_normal_` (Glorot and Bengio, 2010)."""

    type: Literal["xavier_normal"] = "xavier_normal"
    principal = "gain"

    gain: PositiveFloat = Field(default=1.0, description="factor of the standard deviation")

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        init.xavier_normal_(weight, self.gain)


class XavierUniform(Init):
    """`torch.nn.init.xavier_uniform_` (Glorot and Bengio, 2010)."""

    type: Literal["xavier_uniform"] = "xavier_uniform"
    principal = "gain"

    gain: PositiveFloat = Field(default=1.0, description="factor of the standard deviation")

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        init.xavier_uniform_(weight, self.gain)


class Orthogonal(Init):
    """`torch.nn.init.orthogonal_` (Saxe et al., 2014): the kernels are orthogonal to each other where there is room."""

    type: Literal["orthogonal"] = "orthogonal"
    principal = "gain"

    gain: PositiveFloat = Field(default=1.0, description="length of each kernel")

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        init.orthogonal_(weight, self.gain)


class Normal(Init):
    """A normal distribution with mean 0."""

    type: Literal["normal"] = "normal"
    principal = "std"

    std: PositiveFloat = Field(default=0.01, description="standard deviation")

    def fill(self, weight: "Tensor", groups: int) -> None:
        weight.normal_(0.0, self.std)


class Uniform(Init):
    """A uniform distribution around 0."""

    type: Literal["uniform"] = "uniform"
    principal = "bound"

    bound: PositiveFloat = Field(default=0.05, description="weights are from -bound to bound")

    def fill(self, weight: "Tensor", groups: int) -> None:
        weight.uniform_(-self.bound, self.bound)


class Zeros(Init):
    """Zeros."""

    type: Literal["zeros"] = "zeros"

    def fill(self, weight: "Tensor", groups: int) -> None:
        weight.zero_()


class Constant(Init):
    """One number."""

    type: Literal["constant"] = "constant"
    principal = "value"

    value: float

    def fill(self, weight: "Tensor", groups: int) -> None:
        weight.fill_(self.value)


class IdentityInit(Init):
    """Each output is the input of the same number, where there is one: `torch.nn.init.dirac_` and `eye_`."""

    type: Literal["identity"] = "identity"

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        if weight.ndim == 2:
            init.eye_(weight)
        else:
            init.dirac_(weight, groups)


class _Filters(Init):
    """Fixed filters of one channel. A kernel is the same in all channels, divided by their number."""

    def fill(self, weight: "Tensor", groups: int) -> None:
        filters = self._filters(len(weight), (weight.shape[2], weight.shape[3]))
        weight.copy_(weight.new_tensor(filters)[:, None] / weight.shape[1])

    def _filters(self, count: int, size: tuple[int, int]) -> list[list[list[float]]]:
        """(count, kh, kw)."""
        raise NotImplementedError(self.type)


class Sobel(_Filters):
    """The kernels of Sobel: edges along x, along y, along the two diagonals, and in the four opposite directions."""

    type: Literal["sobel"] = "sobel"

    def check(self, shape: tuple[int, ...]) -> None:
        if shape[2:] != (3, 3):
            raise ShapeError("init: sobel needs kernels of 3 x 3; set kernel_size: 3 in a convolution")
        if shape[0] > len(_SOBEL_TURNS):
            raise ShapeError(
                f"init: sobel has {len(_SOBEL_TURNS)} directions, but the layer has {shape[0]} kernels; use fewer "
                "out_channels, or init: gabor"
            )

    def _filters(self, count: int, size: tuple[int, int]) -> list[list[list[float]]]:
        filters = []
        for turn in _SOBEL_TURNS[:count]:
            kernel = [[0.0] * 3 for _ in range(3)]
            for place, (row, column) in enumerate(_BORDER):
                kernel[row][column] = _SOBEL[place - turn]
            filters.append(kernel)
        return filters


class Gabor(_Filters):
    """A bank of Gabor filters: a plane wave under a Gaussian, without its mean, of length 1.

    The orientations come first, then the same with a sine in place of the cosine, then both with a wavelength that is
    shorter by the square root of 2, and so on.
    """

    type: Literal["gabor"] = "gabor"
    principal = "orientations"

    orientations: Positive = Field(default=4, description="number of directions, evenly over half a turn from x on")
    wavelength: Annotated[float, Field(ge=2)] | None = Field(
        default=None, description="the longest wavelength in pixels; default: the smaller side of the kernel"
    )
    sigma: PositiveFloat = Field(default=0.5, description="standard deviation of the Gaussian, in wavelengths")

    def check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 4 or min(shape[2:]) < 3:
            raise ShapeError("init: gabor needs kernels of 3 x 3 or more; use it in a convolution with such kernels")
        if self._wavelengths(shape[0], (shape[2], shape[3]))[-1] < 2:
            raise ShapeError(
                f"init: gabor with {self.orientations} orientations has no {shape[0]} filters of {shape[2]} x "
                f"{shape[3]} with wavelengths of at least 2 pixels; use more orientations, larger kernels or fewer "
                "out_channels",
                about_channels=True,
            )

    def _wavelengths(self, count: int, size: tuple[int, int]) -> list[float]:
        longest = self.wavelength or float(min(size))
        return [longest / math.sqrt(2) ** step for step in range(-(-count // (2 * self.orientations)))]

    def _filters(self, count: int, size: tuple[int, int]) -> list[list[list[float]]]:
        waves = [
            (wavelength, phase, math.pi * number / self.orientations)
            for wavelength in self._wavelengths(count, size)
            for phase in (0.0, math.pi / 2)
            for number in range(self.orientations)
        ]
        return [self._filter(*wave, size) for wave in waves[:count]]

    def _filter(self, wavelength: float, phase: float, angle: float, size: tuple[int, int]) -> list[list[float]]:
        middle, sigma = [(length - 1) / 2 for length in size], self.sigma * wavelength
        kernel = []
        for row in range(size[0]):
            y = row - middle[0]
            xs = [column - middle[1] for column in range(size[1])]
            along = [x * math.cos(angle) + y * math.sin(angle) for x in xs]
            kernel.append([
                math.exp(-(x * x + y * y) / (2 * sigma**2)) * math.cos(2 * math.pi * distance / wavelength + phase)
                for x, distance in zip(xs, along, strict=True)
            ])  # fmt: skip
        mean = sum(map(sum, kernel)) / (size[0] * size[1])
        centered = [[value - mean for value in values] for values in kernel]
        length = math.sqrt(sum(value * value for values in centered for value in values))
        return [[value / length for value in values] for values in centered]


class Lsuv(Init):
    """Layer-sequential unit variance (Mishkin and Matas, 2016).

    Orthogonal weights, divided by the standard deviation of the layer's outputs for the first batch of the training.
    """

    type: Literal["lsuv"] = "lsuv"
    needs_images = True

    def fill(self, weight: "Tensor", groups: int) -> None:
        from torch.nn import init

        init.orthogonal_(weight)


_TYPES: tuple[type[Init], ...] = (
    KaimingNormal,
    KaimingUniform,
    XavierNormal,
    XavierUniform,
    Orthogonal,
    Normal,
    Uniform,
    Zeros,
    Constant,
    IdentityInit,
    Sobel,
    Gabor,
    Lsuv,
)
INITS: dict[str, type[Init]] = {each.type_name(): each for each in _TYPES}
"""The name in a config -> the class."""

InitChoice = Annotated[Init, OneOf("init", *_TYPES)]
