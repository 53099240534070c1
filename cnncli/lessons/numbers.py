"""The numbers of the lecture: its examples, classic filters, and the user's own, which are checked before any use."""

import json
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cnncli.errors import UsageError
from cnncli.layers import format_size
from cnncli.lessons.page import Pair, Values

if TYPE_CHECKING:
    from torch import Tensor


X: Values = np.arange(9.0).reshape(3, 3)
"""The input of the lecture's examples, (3, 3)."""
K: Values = np.arange(4.0).reshape(2, 2)
"""Their kernel, (2, 2)."""

MAX_NUMBERS = 65_536
"""More cannot be followed on a terminal, and the loops of the reference operations would take minutes."""
_MAX_BYTES = 32 * MAX_NUMBERS
_MAX_MAGNITUDE = 1e9
"""Sums of larger numbers could overflow."""

_EXAMPLE = {1: "[0,1,2]", 2: "'[[0,1],[2,3]]'", 3: "'[[[0,1],[2,3]],[[4,5],[6,7]]]'", 4: "[[[[0,1],[2,3]]]]"}
_NAMES = {2: "rows of numbers", 3: "channels of rows of numbers", 4: "kernels of channels of rows of numbers"}


def read_numbers(text: str, *, option: str, dimensions: Collection[int]) -> Values:
    """Read the numbers given to an option.

    Args:
        text: nested lists, or the path of a .npy, .csv or image file (gray levels from 0 to 255).
        option: name of the option, for error messages.
        dimensions: the numbers of dimensions that are accepted.

    Returns:
        A float64 array. An image is (H, W), or (C, H, W) where three dimensions are accepted.

    Raises:
        UsageError: the file is missing or unreadable, or the numbers are not finite, ragged, too many, too large, or
            have the wrong number of dimensions.
    """
    path = Path(text)
    if text.lstrip().startswith(("[", "(", "{")):
        values = _from_lists(text, option)
    elif path.suffix.lower() == ".npy":
        values = _from_npy(path, option)
    elif path.suffix.lower() == ".csv":
        values = _from_csv(path, option)
    elif path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".gif"):
        values = _from_image(path, option, color=3 in dimensions)
    else:
        raise _unusable(option, f"{_shorten(text)!r} is neither nested lists of numbers nor a .npy, .csv or .png file")
    _check(values, option, dimensions)
    return values


def read_tensor(text: str | None, option: str, dimensions: Collection[int], default: Values) -> "Tensor":
    """Read the numbers given to an option as a float64 tensor, or take the default where the option is not given.

    Raises:
        UsageError: see `read_numbers`.
    """
    import torch

    values = default if text is None else read_numbers(text, option=option, dimensions=dimensions)
    return torch.from_numpy(values.copy())


def random_input(side: int) -> "Tensor":
    """Uniform random numbers between -1 and 1, (side, side), always the same."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.rand(side, side, generator=generator, dtype=torch.float64) * 2 - 1


def read_pair(text: str, *, option: str, minimum: int) -> Pair:
    """Read one or two integers, such as `2` or `3,2` (height first).

    Raises:
        UsageError: the text is anything else, or a number is less than `minimum`.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < minimum or max(numbers) > MAX_NUMBERS:
        raise UsageError(
            f"{option}: {text!r} is neither an integer of at least {minimum} nor two of them for height and width",
            remedy=f"such as {option} 2 or {option} 3,2",
        )
    return (numbers[0], numbers[-1])


def read_position(text: str, size: Sequence[int], layer: str) -> Pair:
    """Read the (row, column) of a unit, given to `--at`, in a layer of `size` (height, width).

    Raises:
        UsageError: the text is anything else, or the layer has no such unit.
    """
    position = read_pair(text, option="--at", minimum=0)
    if position[0] >= size[0] or position[1] >= size[1]:
        raise UsageError(
            f"--at: {layer} has {format_size(size)} units, so there is none at {text}",
            remedy=f"--at takes a row from 0 to {size[0] - 1} and a column from 0 to {size[1] - 1}",
        )
    return position


def _from_lists(text: str, option: str) -> Values:
    try:
        lists = json.loads(text)
    except json.JSONDecodeError as error:
        raise _unusable(option, f"not nested lists, at character {error.pos + 1}: {_shorten(text)}") from None
    except RecursionError:
        raise _unusable(option, "the lists are nested too deeply") from None
    shape = _list_shape(lists, option, option)
    return np.array(lists, dtype=np.float64).reshape(shape)


def _list_shape(value: Any, option: str, where: str) -> tuple[int, ...]:  # noqa: ANN401  any JSON
    """The shape of nested lists of numbers; raises UsageError where lists differ in shape or hold something else."""
    if not isinstance(value, list):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _unusable(where, f"{_shorten(json.dumps(value))} is not a number")
        if isinstance(value, int) and abs(value) > 2**63:
            raise _unusable(where, "the number is too large")
        return ()
    shapes = [_list_shape(item, option, f"{where}[{i}]") for i, item in enumerate(value)]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise _unusable(
                where,
                f"ragged: item 0 has {_describe_shape(shapes[0])}, item {i} has {_describe_shape(shape)}",
                remedy="give all rows the same length",
            )
    return (len(value), *(shapes[0] if shapes else ()))


def _describe_shape(shape: tuple[int, ...]) -> str:
    if len(shape) > 1:
        return f"the shape {format_size(shape)}"
    return f"{shape[0]} numbers" if shape else "1 number"


def _from_npy(path: Path, option: str) -> Values:
    _check_file(path, option)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unusable(option, f"{path} is not a .npy file of numbers: {error}") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise _unusable(option, f"{path} does not hold real numbers")
    _check_count(values.size, option, f"{path} holds")
    return values.astype(np.float64)


def _from_csv(path: Path, option: str) -> Values:
    _check_file(path, option)
    if path.stat().st_size > _MAX_BYTES:
        raise _too_many(option, f"{path} is {path.stat().st_size:,} bytes long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is refused below
            return np.loadtxt(path, delimiter=",", ndmin=2, comments=None, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _unusable(option, f"{path} is not a readable text file") from None
    except (ValueError, OSError) as error:
        reason = str(error).partition(";")[0]  # after it, numpy explains its own parameters
        raise _unusable(option, f"{path} is not rows of comma-separated numbers: {reason}") from None


def _from_image(path: Path, option: str, *, color: bool) -> Values:
    """Gray levels (H, W); with `color` (1, H, W), or (3, H, W) for a color image."""
    from PIL import Image

    from cnncli.data.decode import UnreadableImageError, decode, decoder_warnings

    _check_file(path, option)
    try:
        with decoder_warnings(), Image.open(path) as image:  # reads the header only
            width, height, mode = image.width, image.height, image.mode
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many(option, f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError):
        raise _unusable(option, f"{path} is not an image") from None
    _check_count(width * height, option, f"{path} has {width} x {height} pixels,")
    channels = 3 if color and mode not in ("1", "L", "LA", "I", "I;16", "F") else 1
    try:
        pixels = decode(path, channels=channels, size=(height, width)).pixels
    except UnreadableImageError as error:
        raise _unusable(option, f"{path}: {error}") from None
    values = pixels.astype(np.float64)
    return values if color else values[0]


def _check_file(path: Path, option: str) -> None:
    try:
        exists = path.is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise _unusable(option, f"file not found: {path}")


def _check(values: Values, option: str, dimensions: Collection[int]) -> None:
    """Raise UsageError unless the values can be used."""
    if values.ndim not in dimensions:
        expected = " or ".join(f"{_NAMES[each]}, such as {_EXAMPLE[each]}" for each in sorted(dimensions))
        raise _unusable(option, f"has {values.ndim} dimension{'s' * (values.ndim != 1)}", remedy=f"give {expected}")
    if not values.size:
        raise _unusable(option, "has no numbers")
    _check_count(values.size, option, "has")
    not_finite = np.argwhere(~np.isfinite(values))
    if len(not_finite):
        index = "".join(f"[{i}]" for i in not_finite[0])
        name = "NaN" if math.isnan(values[tuple(not_finite[0])]) else "infinite"
        raise _unusable(option + index, f"is {name}", remedy="give finite numbers only")
    if np.abs(values).max() > _MAX_MAGNITUDE:
        raise _unusable(option, f"has numbers beyond {_MAX_MAGNITUDE:,.0f}", remedy="scale them down")


def _check_count(count: int, option: str, what: str) -> None:
    if count > MAX_NUMBERS:
        raise _too_many(option, f"{what} {count:,} numbers")


def _too_many(option: str, what: str) -> UsageError:
    return _unusable(
        option,
        f"{what}: too large to follow by hand",
        remedy=f"give at most {MAX_NUMBERS:,} numbers, such as an image of 256 x 256 pixels",
    )


def _unusable(where: str, what: str, *, remedy: str | None = None) -> UsageError:
    return UsageError(f"{where}: {what}", remedy=remedy or f"such as {where.partition('[')[0]} {_EXAMPLE[2]}")


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


Filter: TypeAlias = tuple[tuple[float, ...], ...]

EDGE: Filter = ((1, -1),)
"""The difference of two neighbors: 1 where bright is left of dark, -1 where dark is left of bright."""

SOBEL_X: Filter = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
"""Vertical edges: right minus left (Sobel and Feldman, 1968)."""

SOBEL_Y: Filter = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))
"""Horizontal edges: below minus above."""

BLUR: Filter = ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))
"""A binomial (approximately Gaussian) blur; the weights add up to one."""

SHARPEN: Filter = ((0, -1, 0), (-1, 5, -1), (0, -1, 0))
"""The pixel minus the Laplacian: it adds how much the pixel differs from its four neighbors."""

EMBOSS: Filter = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
"""The pixel plus the slope toward the lower right, as if light came from the side."""

CLASSIC_FILTERS: Mapping[str, Filter] = MappingProxyType(
    {
        "vertical edges": SOBEL_X,
        "horizontal edges": SOBEL_Y,
        "blur": BLUR,
        "sharpen": SHARPEN,
        "emboss": EMBOSS,
    }
)
"""Effect -> filter."""
