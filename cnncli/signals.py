"""The signals that ask a program to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGHUP: int = getattr(signal, "SIGHUP", 1)
"""The terminal was closed; Windows has no such signal."""
SIGPIPE: int = getattr(signal, "SIGPIPE", 13)
"""The reader of the output has closed it; likewise."""

FROM_TERMINAL = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
"""Those that a terminal sends to all of its processes: Ctrl-C, its end, and Ctrl-\\."""


def leave_to_parent() -> None:
    """Ignore what a terminal sends: the process that has started this one stops it."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def left_to_parent() -> Iterator[None]:
    """A process that is started inside ignores these signals from its first instruction."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in FROM_TERMINAL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
