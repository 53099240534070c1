"""Ctrl-C and SIGTERM as wishes, which a training grants after its current step and a server at once."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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
def stop_wish(announce: Callable[[], None], signals: Sequence[int] = _SIGNALS) -> Iterator[StopWish]:
    """Listen for signals; the second one acts at once, as it does by default.

    Args:
        announce: says that the first signal was heard. It is called in a thread of its own, because a handler that
            prints may have cut into a print.
        signals: to listen for.
    """
    wish = StopWish()

    def hear(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        for each in signals:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        threading.Thread(target=announce).start()

    before = {each: signal.signal(each, hear) for each in signals}
    try:
        yield wish
    finally:
        for each in signals:
            signal.signal(each, before[each])
