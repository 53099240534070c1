"""Ctrl-C and SIGTERM as wishes that the training loop grants after its current step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Which signal asked for an end, if any."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Whether an end is wished for."""
        return self.signal is not None


@contextmanager
def stop_wish(announce: Callable[[], None]) -> Iterator[StopWish]:
    """Listen for signals; the second one acts at once, as it does by default.

    Args:
        announce: says that the first signal was heard. It is called in a thread of its own, because a handler that
            prints may have cut into a print.
    """
    wish = StopWish()

    def hear(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=announce).start()

    before = {each: signal.signal(each, hear) for each in _SIGNALS}
    try:
        yield wish
    finally:
        for each in _SIGNALS:
            signal.signal(each, before[each])
