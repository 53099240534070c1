"""Signals as requests to stop, sent by this process to itself."""

import signal
import threading

import pytest

from cnncli.cli.stopping import catch_stop_signals

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    announced: list[str] = []
    running = set(threading.enumerate())
    before = [signal.getsignal(each) for each in BOTH]
    with catch_stop_signals(lambda: announced.append("yes")) as stop:
        assert (stop(), stop.number, announced) == (False, None, [])
        signal.raise_signal(number)
        assert (stop(), stop.number) == (True, number)
        for thread in set(threading.enumerate()) - running:
            thread.join(timeout=10)
        assert announced == ["yes"]
    assert [signal.getsignal(each) for each in BOTH] == before


def test_the_second_signal_has_its_default_effect() -> None:
    with catch_stop_signals(lambda: None) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
