"""Ctrl-C and SIGTERM as wishes that the training loop grants after its current step."""

import signal
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
def stop_wish(on_wish: Callable[[], None]) -> Iterator[StopWish]:
    """Listen for signals; the second one acts at once, as if nobody listened.

    Args:
        on_wish: called at the first signal, to say that it was heard.
    """
    wish = StopWish()

    def hear(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        for each in _SIGNALS:
            signal.signal(each, before[each])
        on_wish()

    before = {each: signal.signal(each, hear) for each in _SIGNALS}
    try:
        yield wish
    finally:
        for each in _SIGNALS:
            signal.signal(each, before[each])
