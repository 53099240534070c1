"""Text from outside, made safe to show: control characters, and characters that no one sees, as escapes.

A terminal obeys escape sequences wherever they come from; a carriage return hides what stands before it, and
characters that change the direction of writing make a name read as another.
"""

import re

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x09\x0b-\x1f\x7f-\x9f"  # control characters, except the end of a line
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, or direction of writing
    "\U000e0000-\U000e007f"  # invisible tags
    "\ud800-\udfff"  # bytes of a file name that are not text
    "]"
)


def printable(text: str) -> str:
    r"""The text with escapes such as `\x1b` and `\u202e` for such characters; ends of lines stay."""
    return _UNPRINTABLE.sub(_escape, text)


def printable_name(name: str) -> str:
    """The same for a name, which takes one line."""
    return printable(name).replace("\n", "\\x0a")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
