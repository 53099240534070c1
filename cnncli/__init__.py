"""See what a convolutional network computes, sees and learns."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnncli.library import inspect

__version__ = "0.1.0"
__all__ = ["__version__", "inspect"]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing by itself


def __getattr__(name: str) -> object:
    """`cnncli.inspect` is loaded when it is first asked for: `import cnncli` alone stays light."""
    if name == "inspect":
        from cnncli.library import inspect

        return inspect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
