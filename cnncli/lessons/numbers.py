"""The user's own numbers: nested lists on the command line, or a file, checked before anything is computed."""

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnncli.data.decode import UnreadableImageError, decode, decoder_warnings
from cnncli.errors import UsageError
from cnncli.lessons.page import Values

MOST_NUMBERS = 65_536
"""More cannot be followed on a terminal, and the loops of the definition would take minutes."""
_MOST_BYTES = 32 * MOST_NUMBERS
_LARGEST = 1e9
"""Larger numbers tell no more, and their sums could overflow."""

_EXAMPLE = {1: "[0,1,2]", 2: "'[[0,1],[2,3]]'", 3: "'[[[0,1],[2,3]],[[4,5],[6,7]]]'", 4: "[[[[0,1],[2,3]]]]"}
_NAMES = {2: "rows of numbers", 3: "channels of rows of numbers", 4: "kernels of channels of rows of numbers"}


def read_numbers(text: str, *, option: str, dimensions: Collection[int]) -> Values:
    """The numbers that an option gives.

    Args:
        text: nested lists, or the path of a .npy, .csv or image file (gray levels from 0 to 255).
        option: its name, for messages.
        dimensions: how many dimensions they may have.

    Raises:
        UsageError: they are not there, not numbers, not finite, ragged, too many, or of other dimensions.
    """
    path = Path(text)
    if text.lstrip().startswith(("[", "(", "{")):
        values = _from_lists(text, option)
    elif path.suffix.lower() == ".npy":
        values = _from_npy(path, option)
    elif path.suffix.lower() == ".csv":
        values = _from_csv(path, option)
    elif path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".gif"):
        values = _from_picture(path, option, color=3 in dimensions)
    else:
        raise _unusable(option, f"{_cut(text)!r} is neither nested lists of numbers nor a .npy, .csv or .png file")
    return _checked(values, option, dimensions)


def _from_lists(text: str, option: str) -> Values:
    try:
        lists = json.loads(text)
    except json.JSONDecodeError as error:
        raise _unusable(option, f"not nested lists of numbers, at character {error.pos + 1}: {_cut(text)}") from None
    except RecursionError:
        raise _unusable(option, "the lists are nested too deep") from None
    shape = _list_shape(lists, option, ())
    return np.array(lists, dtype=np.float64).reshape(shape)


def _list_shape(value: Any, option: str, route: tuple[int, ...]) -> tuple[int, ...]:  # noqa: ANN401  any JSON
    """The shape of nested lists that are all as long as their neighbors, and end in numbers."""
    where = option + "".join(f"[{each}]" for each in route)
    if not isinstance(value, list):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _unusable(where, f"{_cut(json.dumps(value))} is not a number")
        if isinstance(value, int) and abs(value) > 2**63:
            raise _unusable(where, "the number is too large")
        return ()
    shapes = [_list_shape(each, option, (*route, i)) for i, each in enumerate(value)]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise _unusable(
                where,
                f"ragged: item 0 has {_counted(shapes[0])}, item {i} has {_counted(shape)}",
                remedy="make all rows of one length",
            )
    return (len(value), *(shapes[0] if shapes else ()))


def _counted(shape: tuple[int, ...]) -> str:
    return (
        f"the shape {'x'.join(map(str, shape))}" if len(shape) > 1 else f"{shape[0]} numbers" if shape else "1 number"
    )


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
    if path.stat().st_size > _MOST_BYTES:
        raise _too_many(option, f"{path} is {path.stat().st_size:,} bytes long")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError):
        raise _unusable(option, f"{path} is not text that can be read") from None
    rows: list[list[float]] = []
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append([float(cell) for cell in line.split(",")])
        except ValueError:
            raise _unusable(option, f"{path}, line {i}: not numbers with commas between them: {_cut(line)}") from None
        if len(rows[-1]) != len(rows[0]):
            raise _unusable(
                option, f"{path}, line {i}: ragged: {len(rows[-1])} numbers, but {len(rows[0])} in the first row"
            )
    return np.array(rows, dtype=np.float64)


def _from_picture(path: Path, option: str, *, color: bool) -> Values:
    """Gray levels (H, W) or, where a color picture may be one, (3, H, W)."""
    width, height, mode = picture_size(path, option)
    _check_count(width * height, option, f"{path} has {width} x {height} pixels,")
    channels = 3 if color and mode not in ("1", "L", "LA", "I", "I;16", "F") else 1
    try:
        pixels, _ = decode(path, channels=channels, size=(height, width))
    except UnreadableImageError as error:
        raise _unusable(option, f"{path}: {error}") from None
    values = pixels.astype(np.float64)
    return values if color else values[0]


def picture_size(path: Path, option: str) -> tuple[int, int, str]:
    """Width, height and mode of a picture, from its header alone.

    Raises:
        UsageError: it is not there, or is no picture.
    """
    _check_file(path, option)
    try:
        with decoder_warnings(), Image.open(path) as image:
            return image.width, image.height, image.mode
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many(option, f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError):
        raise _unusable(option, f"{path} is not a picture") from None


def _check_file(path: Path, option: str) -> None:
    try:
        there = path.is_file()
    except OSError:  # such as a name that is too long
        there = False
    if not there:
        raise _unusable(option, f"there is no file {path}")


def _checked(values: Values, option: str, dimensions: Collection[int]) -> Values:
    """The values, if they can be computed with."""
    if values.ndim not in dimensions:
        wanted = " or ".join(f"{_NAMES[each]}, such as {_EXAMPLE[each]}" for each in sorted(dimensions))
        raise _unusable(option, f"has {values.ndim} dimension{'s' * (values.ndim != 1)}", remedy=f"give {wanted}")
    if not values.size:
        raise _unusable(option, "there are no numbers in it")
    _check_count(values.size, option, "has")
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        place = "".join(f"[{i}]" for i in wrong[0])
        shown = "NaN" if math.isnan(values[tuple(wrong[0])]) else "infinite"
        raise _unusable(option + place, f"is {shown}", remedy="give finite numbers only")
    if np.abs(values).max() > _LARGEST:
        raise _unusable(option, f"has numbers beyond {_LARGEST:,.0f}", remedy="scale them down")
    return values


def _check_count(count: int, option: str, what: str) -> None:
    if count > MOST_NUMBERS:
        raise _too_many(option, f"{what} {count:,} numbers")


def _too_many(option: str, what: str) -> UsageError:
    return _unusable(
        option,
        f"{what}: more than can be followed by hand",
        remedy=f"give at most {MOST_NUMBERS:,} numbers, such as a picture of 256 x 256 pixels",
    )


def _unusable(where: str, what: str, *, remedy: str | None = None) -> UsageError:
    return UsageError(f"{where}: {what}", remedy=remedy or f"such as {where.partition('[')[0]} {_EXAMPLE[2]}")


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
