"""SIGINT (Ctrl-C) and SIGTERM as requests to stop."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """The signal that requested a stop; its number is None until one arrives."""

    number: int | None = None

    def __call__(self) -> bool:
        """Whether a signal has arrived."""
        return self.number is not None


@contextmanager
def catch_stop_signals(announce: Callable[[], None], signals: Sequence[int] = _SIGNALS) -> Iterator[StopSignal]:
    """Record the first signal; a second one has its default effect.

    Args:
        announce: called when the first signal arrives, in its own thread, because a handler that prints may interrupt
            a print.
        signals: which to catch.
    """
    stop = StopSignal()

    def record(number: int, frame: FrameType | None) -> None:
        stop.number = number
        for each in signals:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        threading.Thread(target=announce).start()

    before = {each: signal.signal(each, record) for each in signals}
    try:
        yield stop
    finally:
        for each in signals:
            signal.signal(each, before[each])
