"""See what a convolutional network computes, sees and learns."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnncli.library import inspect, load_run, train

__version__ = "0.1.0"
__all__ = ["__version__", "inspect", "load_run", "train"]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing by itself


def __getattr__(name: str) -> object:
    """Import a function of the library on first use, so that `import cnncli` stays light."""
    if name in __all__:
        from cnncli import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
