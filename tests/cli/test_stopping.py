"""Signals as wishes, sent by this process to itself."""

import signal
import threading

import pytest

from cnncli.cli.stopping import stop_wish

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_is_a_wish(number: signal.Signals) -> None:
    heard: list[str] = []
    before = [signal.getsignal(each) for each in BOTH]
    with stop_wish(lambda: heard.append("yes")) as wish:
        assert (wish(), wish.signal, heard) == (False, None, [])
        signal.raise_signal(number)
        assert (wish(), wish.signal) == (True, number)
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            thread.join(timeout=10)
        assert heard == ["yes"]
    assert [signal.getsignal(each) for each in BOTH] == before


def test_the_second_one_acts_at_once() -> None:
    with stop_wish(lambda: None) as wish:
        signal.raise_signal(signal.SIGTERM)
        assert wish()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
