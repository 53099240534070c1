"""Requests to stop: signals that this process sends to itself, and output that nothing reads."""

import os
import pty
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from cnncli.cli.stopping import StopSignal, catch_stop_signals, output_may_close

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """Tests may run in the background, where some signals are ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    announced: list[str] = []
    running = set(threading.enumerate())
    before = [signal.getsignal(each) for each in ALL]
    with catch_stop_signals(lambda: announced.append("yes")) as stop:
        assert (stop(), stop.number, announced) == (False, None, [])
        signal.raise_signal(number)
        assert (stop(), stop.number) == (True, number)
        for thread in set(threading.enumerate()) - running:
            thread.join(timeout=10)
        assert announced == ["yes"]
    assert [signal.getsignal(each) for each in ALL] == before


@pytest.mark.parametrize("first", ALL)
def test_the_second_signal_has_its_default_effect(first: signal.Signals) -> None:
    with catch_stop_signals(lambda: None) as stop:
        signal.raise_signal(first)
        assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGQUIT)] == [signal.SIG_DFL] * 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.number == first


@pytest.mark.parametrize("first", ALL)
def test_a_terminal_that_is_closed_may_say_so_twice(first: signal.Signals) -> None:
    announced: list[str] = []
    running = set(threading.enumerate())
    with catch_stop_signals(lambda: announced.append("yes")) as stop:
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert stop.number == first
    for thread in set(threading.enumerate()) - running:
        thread.join(timeout=10)
    assert announced == ["yes"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    """As by `nohup`, and by shells for programs in the background."""
    signal.signal(number, signal.SIG_IGN)
    with catch_stop_signals(lambda: None) as stop:
        signal.raise_signal(number)
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(number)
    assert stop.number == signal.SIGTERM


# Output


def without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def without_terminal() -> int:
    terminal, program = pty.openpty()
    os.close(terminal)
    return program


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("opened", "number"), [(without_reader, signal.SIGPIPE), (without_terminal, None)], ids=["pipe", "terminal"]
)
def test_output_that_nothing_reads(
    opened: Callable[[], int], number: int | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed pipe requests a stop; a closed terminal does not, because it also sends SIGHUP."""
    stop = StopSignal()
    stream = os.fdopen(opened(), "w", encoding="utf-8")
    monkeypatch.setattr(sys, name, stream)
    with output_may_close(stop):
        for text in ("one", "two"):
            typer.echo(text, err=name == "stderr")
    assert stop.number == number
    typer.echo("three", err=name == "stderr")
    getattr(sys, name).close()
    with pytest.raises(OSError, match=r"Broken pipe|Input/output error"):
        stream.close()  # it has not been read


def test_other_errors_of_the_output_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopSignal()
    stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", stream)
    with output_may_close(stop), pytest.raises(OSError, match="No space left"):
        typer.echo("one")
    assert not stop()
    assert sys.stdout is stream
    with pytest.raises(OSError, match="No space left"):
        stream.close()


def test_output_that_is_read_arrives(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with output_may_close(StopSignal()):
        typer.echo("one")
        typer.echo("two", err=True)
    assert sys.stdout is before
    assert capfd.readouterr() == ("one\n", "two\n")
