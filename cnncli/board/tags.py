"""Names as parts of tags: TensorBoard groups its cards by what is before the first slash."""

import re
from collections.abc import Sequence


def slug(text: str) -> str:
    """A text as part of a tag, and of the name of a file."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "x"


def slugs(texts: Sequence[str]) -> list[str]:
    """Several, all different: those that would be the same have their number behind them."""
    made = [slug(text) for text in texts]
    return [each if made.count(each) == 1 else f"{each}-{number}" for number, each in enumerate(made)]
