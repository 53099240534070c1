"""Text as it is measured, and shortened where it does not fit: names in their middle, numbers never."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from cnncli.drawing.fonts import text_length

TEXT_SIZE = 10
"""Size of labels, px; smaller ones are not legible in a TensorBoard card."""
LEAST_NAME = 5
"""Characters that are left of a shortened name, with its ellipsis."""
ELLIPSIS = "…"


class Name(str):
    """A name in a line of text, such as that of a class: the part that is shortened where the line does not fit."""

    __slots__ = ()


Words: TypeAlias = str | Sequence[str]
"""A line of text, or its parts, of which some are a `Name`."""


def space(size: int) -> int:
    """Between words, px; the font's own space vanishes in small text, because glyphs are placed at whole pixels."""
    return max(3, round(0.28 * size))


def text_width(words: Words, size: int = TEXT_SIZE) -> int:
    """Width of a line of text, px."""
    parts = joined(words).split()
    return sum(round(text_length(word, size)) + space(size) for word in parts) - space(size) * bool(parts)


def joined(words: Words) -> str:
    """A line in one piece."""
    return words if isinstance(words, str) else "".join(words)


def shortened(name: str, characters: int) -> str:
    """A name of at most this many characters: its start and its end, with an ellipsis between them."""
    if len(name) <= characters:
        return name
    start, end = (characters - 1 + 1) // 2, (characters - 1) // 2
    return f"{name[:start].rstrip()}{ELLIPSIS}{name[len(name) - end :].lstrip()}"


def fit(words: Words, width: int, size: int = TEXT_SIZE) -> str:
    """A line that is at most this many pixels wide, if that is possible.

    The names in it are shortened in their middle. Where that is not enough, or there are none, words are omitted from
    the end, each as a whole, so that no number loses digits. A single word is shortened like a name.
    """
    text = joined(words)
    if text_width(text, size) <= width:
        return text
    if not isinstance(words, str):
        text = _with_names(words, LEAST_NAME)
        if text_width(text, size) <= width:
            longest = max(len(part) for part in words if isinstance(part, Name))
            return next(
                line
                for characters in range(longest, 0, -1)
                if text_width(line := _with_names(words, characters), size) <= width
            )
    first, *rest = text.split()
    while rest:
        rest.pop()
        if text_width(line := " ".join([first, *rest, ELLIPSIS]), size) <= width:
            return line
    return fit_name(first, width, size)


def fit_name(name: str, width: int, size: int = TEXT_SIZE) -> str:
    """A name, shortened in its middle to this many pixels, but not below `LEAST_NAME` characters."""
    for characters in range(len(name), LEAST_NAME, -1):
        if text_width(line := shortened(name, characters), size) <= width:
            return line
    return shortened(name, LEAST_NAME)


def least_width(words: Words, size: int = TEXT_SIZE) -> int:
    """The width of a line whose names are as short as they can be, px."""
    return text_width(words if isinstance(words, str) else _with_names(words, LEAST_NAME), size)


def _with_names(words: Sequence[str], characters: int) -> str:
    return "".join(shortened(part, characters) if isinstance(part, Name) else part for part in words)


def wrap(words: Words, width: int, size: int = TEXT_SIZE) -> Iterator[str]:
    """The lines of a text, each at most this many pixels wide.

    It is one line if shortening its names is enough for that. A single word that is wider than a line is shortened.
    """
    if not isinstance(words, str) and least_width(words, size) <= width:
        yield fit(words, width, size)
        return
    line = ""
    for word in joined(words).split():
        part = fit_name(word, width, size)
        longer = f"{line} {part}".strip()
        if line and text_width(longer, size) > width:
            yield line
            longer = part
        line = longer
    if line:
        yield line
