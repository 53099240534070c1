"""Python's garbage collector, kept away from what is imported.

What is imported stays, and there is much of it: looking for garbage in it is a tenth of the time of a short command, a
fifth of that of `import torch`, and a pause of a tenth of a second whenever the collector goes through everything.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def collect_from_now_on() -> None:
    """Turn the collector on; it will not look at what is there already."""
    gc.freeze()
    gc.enable()


@contextmanager
def torch_uncollected() -> Iterator[None]:
    """Import torch, and what is built on it, with the collector off; where torch is there already, nothing changes."""
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        collect_from_now_on()
