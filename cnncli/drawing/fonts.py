r"""Fonts of pictures: Pillow's own, which is the same everywhere, and fonts of the system for letters that it lacks.

Pillow's font has hardly more than the letters of English. Other letters are drawn with a font of the system that has
them. Without one, accents are omitted, and other letters are written as code points such as `\u732b`, with a message:
a letter is never drawn as an empty box.
"""

import logging
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont

_NO_CHARACTER = "\U0010ffff"
_TEST_SIZE = 20
_TIMEOUT = 5.0
"""Seconds for fontconfig, which may have to read all fonts first."""
# Names that Pillow finds in the folders of fonts of Windows, macOS and Linux, for systems without fontconfig.
_KNOWN = (
    *("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "NotoSans-Regular.ttf"),
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf"),
    *(
        "msyh.ttc",
        "simsun.ttc",
        "meiryo.ttc",
        "malgun.ttf",
        "PingFang.ttc",
        "Hiragino Sans GB.ttc",
        "Arial Unicode.ttf",
    ),
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FontFile:
    """A font of the system: its file, and its number in it."""

    path: str
    index: int = 0


@cache
def font(size: int, file: FontFile | None = None) -> Font:
    """Pillow's own font, or another one, in a size in px."""
    if file is None:
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(file.path, size=size, index=file.index)


@cache
def runs(text: str) -> Sequence[tuple[FontFile | None, str]]:
    """A text as it can be drawn: parts, each with the font that has all its letters, None for Pillow's own."""
    if text.isascii():
        return [(None, text)]
    letters = [pair for letter in text for pair in _drawable(letter)]
    return [(file, "".join(letter for _, letter in part)) for file, part in groupby(letters, itemgetter(0))]


@lru_cache(maxsize=4096)
def text_length(text: str, size: int) -> float:
    """The width of a text in a size, px."""
    return sum(font(size, file).getlength(part) for file, part in runs(text))


@cache
def _drawable(letter: str) -> list[tuple[FontFile | None, str]]:
    """A letter with its font; if there is none, what stands for it."""
    if _has(None, letter):
        return [(None, letter)]
    for file in _candidates(letter):
        if _has(file, letter):
            return [(file, letter)]
    if plain := "".join(part for part in unicodedata.normalize("NFKD", letter) if part.isascii()):
        return [(None, plain)]
    if unicodedata.category(letter) in ("Mn", "Cf"):
        return []  # an accent, or a mark that is not seen
    _warn()
    return [(None, f"\\u{ord(letter):04x}")]


def _has(file: FontFile | None, letter: str) -> bool:
    """Whether a font has a letter: it draws all that it lacks in the same way."""
    try:
        chosen = font(_TEST_SIZE, file)
        masks = [chosen.getmask(each) for each in (letter, _NO_CHARACTER)]
    except (OSError, UnicodeEncodeError):  # no such file; a font without outlines; Pillow without FreeType
        return False
    return masks[0].size != masks[1].size or bytes(masks[0]) != bytes(masks[1])


def _candidates(letter: str) -> Iterator[FontFile]:
    """Fonts of the system that may have a letter: the one that fontconfig chooses for it, and well-known ones."""
    if shutil.which("fc-match"):
        command = ["fc-match", "--format=%{file}\\t%{index}", f":charset={ord(letter):x}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            _log.debug("fontconfig does not work: %s", error)
        else:
            path, _, index = done.stdout.partition("\t")
            # Beyond 16 bits, the number is that of a variation.
            yield FontFile(path, int(index) & 0xFFFF if index.isdecimal() else 0)
    yield from map(FontFile, _KNOWN)


@cache
def _warn() -> None:
    """Say once that letters are missing."""
    _log.warning(
        "no font of this system has some letters of the names: pictures have code points such as \\u732b instead; "
        "install a font that has them, such as Noto Sans CJK, or use --format svg"
    )
