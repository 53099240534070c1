"""Ctrl-C and SIGTERM as wishes that the training loop grants after its current step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Which signal asked for an end, if any.

    Args:
        announce: called once, when the loop first asks after a signal: to print in the handler could cut into a print.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self.signal: int | None = None
        self._announce = announce
        self._announced = False

    def __call__(self) -> bool:
        """Whether an end is wished for."""
        if self.signal is None:
            return False
        if not self._announced:
            self._announced = True
            self._announce()
        return True


@contextmanager
def stop_wish(announce: Callable[[], None]) -> Iterator[StopWish]:
    """Listen for signals; the second one acts at once, as if nobody listened."""
    wish = StopWish(announce)

    def hear(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        for each in _SIGNALS:
            signal.signal(each, before[each])

    before = {each: signal.signal(each, hear) for each in _SIGNALS}
    try:
        yield wish
    finally:
        for each in _SIGNALS:
            signal.signal(each, before[each])
