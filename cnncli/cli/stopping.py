"""Requests to stop: SIGINT (Ctrl-C), SIGTERM, SIGHUP (the terminal was closed), SIGQUIT, and output without a reader.

A training stops after its current step, with a checkpoint.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO, cast

from cnncli.signals import FROM_TERMINAL, SIGHUP, SIGPIPE


class StopSignal:
    """The signal that requested a stop; its number is None until one arrives."""

    number: int | None = None

    def __call__(self) -> bool:
        """Whether a signal has arrived."""
        return self.number is not None

    def request(self, number: int) -> None:
        """Request a stop, as if signal `number` had arrived."""
        if self.number is None:
            self.number = number

    @property
    def cause(self) -> str:
        """How a message about the stop begins, if the user has not just pressed Ctrl-C or sent a signal."""
        return "nothing reads the output any more: " if self.number == SIGPIPE else ""


@contextmanager
def catch_stop_signals(announce: Callable[[], None]) -> Iterator[StopSignal]:
    """Record the first signal; a second one has its default effect.

    SIGHUP and SIGQUIT stay ignored if they are, as under `nohup`. A further SIGHUP is ignored: a terminal that is
    closed may send more than one.

    Args:
        announce: called when the first signal arrives, in its own thread, because a handler that prints may interrupt
            a print.
    """
    stop = StopSignal()
    signals = _to_catch()

    def record(number: int, frame: FrameType | None) -> None:
        if stop() and number == SIGHUP:
            return
        stop.request(number)
        for each in signals:
            if each != SIGHUP:
                signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        threading.Thread(target=announce).start()

    before = {each: signal.signal(each, record) for each in signals}
    try:
        yield stop
    finally:
        for each in signals:
            signal.signal(each, before[each])


def _to_catch() -> list[int]:
    """SIGINT, SIGTERM, and the others unless they are ignored."""
    always = [signal.SIGINT, signal.SIGTERM]
    others = [each for each in FROM_TERMINAL if each not in always]
    return [*always, *(each for each in others if signal.getsignal(each) != signal.SIG_IGN)]


@contextmanager
def output_may_close(stop: StopSignal) -> Iterator[None]:
    """Inside, output that cannot be delivered raises no error, and is discarded from then on.

    The end of a reader (`| head`) requests a stop. The end of a terminal does not: if it is to stop the program, SIGHUP
    does.
    """
    streams = [(name, _Output(getattr(sys, name), stop)) for name in ("stdout", "stderr")]
    for name, stream in streams:
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in streams:
            setattr(sys, name, stream.stream)


class _Output:
    """A text stream whose `write` and `flush` raise no error for a reader or a terminal that is gone."""

    def __init__(self, stream: TextIO, stop: StopSignal) -> None:
        self.stream = stream
        self._stop = stop

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._discard(error)

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def _discard(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:
            self._stop.request(SIGPIPE)
        elif error.errno != errno.EIO:  # which is said of a terminal that is gone
            raise error
        self.stream = cast(TextIO, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  until the process ends
