"""How often each position of an input is read: what the border loses, and what strides and dilation skip."""

from cnncli.geometry import Window


def readings(window: Window, size: int) -> tuple[int, ...]:
    """For each of `size` positions along an axis, how many units of a window read it."""
    counts = [0] * size
    for unit in range(window.output_size(size)):
        for position in window.reads(unit, size):
            if 0 <= position < size:
                counts[position] += 1
    return tuple(counts)


def readings_of_pixels(windows: tuple[Window, Window], size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """For each pixel of an input (H, W), how many units read it: rows of columns."""
    rows, columns = (readings(window, n) for window, n in zip(windows, size, strict=True))
    return tuple(tuple(row * column for column in columns) for row in rows)
