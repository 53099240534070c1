"""`cnncli train` on a terminal: a live line that fits and disappears at the end."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pexpect
import pytest

from tests.forked import on_terminal

Spawn = Callable[..., pexpect.spawn]

CONTROL = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|(.)", re.DOTALL)
LIVE = re.compile(
    r"epoch \d+/20  +(?:\S+  +)?step +\d+/288  +loss \d+\.\d+  +accuracy \d+\.\d%  "
    r"[\d,]+ (?:img|images)/s  +\d+:\d\d left"
)
# With the usual numbers of digits of steps and seconds.
LONG = ("--set", "train.batch_size=4", "--set", "train.epochs=20", "--set", "log.images=0")


class Screen:
    """A simulated terminal of any height, with the control sequences of a progress display.

    Args:
        columns: after which a line is wrapped; None for never.

    Attributes:
        rows: their text.
        cursor_shown: whether the cursor is visible.
        painted: the text of every row when the cursor left it.
    """

    def __init__(self, columns: int | None = None) -> None:
        self._columns = columns
        self.rows = [""]
        self.cursor_shown = True
        self.painted: list[str] = []
        self._x = self._y = 0

    def feed(self, output: str) -> None:
        """Process the output of a program."""
        for argument, command, character in CONTROL.findall(output):
            if command:
                self._control(command, argument)
            elif character in "\r\n":
                self.painted.append(self.rows[self._y])
                self._x = 0
                self._y += character == "\n"
                self.rows += [""] * (self._y - len(self.rows) + 1)
            else:
                self._put(character)

    def _put(self, character: str) -> None:
        assert character.isprintable(), f"{character!r} is not printable"
        if self._x == self._columns:
            self.painted.append(self.rows[self._y])
            self._x, self._y = 0, self._y + 1
            self.rows += [""] * (self._y - len(self.rows) + 1)
        row = self.rows[self._y]
        self.rows[self._y] = row[: self._x].ljust(self._x) + character + row[self._x + 1 :]
        self._x += 1

    def _control(self, command: str, argument: str) -> None:
        if command == "A":
            self._y -= int(argument or 1)
            assert self._y >= 0, "above the first row"
        elif command == "K":
            assert argument == "2"
            self.painted.append(self.rows[self._y])
            self.rows[self._y] = ""
        elif command in "hl" and argument == "25":
            self.cursor_shown = command == "h"
        else:
            assert command == "m", f"unknown: {command} {argument}"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts the program on a terminal of some width."""
    with ExitStack() as started:

        def start(*arguments: object, columns: int) -> pexpect.spawn:
            terminal = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}
            child = on_terminal(*arguments, environment=terminal, columns=columns)
            started.callback(child.close, force=True)
            return child

        yield start


def output_until(child: pexpect.spawn, pattern: object) -> str:
    child.expect(pattern)
    before, matched = child.before, child.after
    assert isinstance(before, str)
    return before + matched if isinstance(matched, str) else before


def exit_code(child: pexpect.spawn) -> object:
    child.wait()
    return child.exitstatus


def test_eighty_columns(spawn: Spawn) -> None:
    child = spawn("train", "tiny.yaml", "--threads", 1, *LONG, columns=80)
    screen = Screen()
    screen.feed(output_until(child, r"\d:\d\d left"))
    time.sleep(0.5)
    child.sendintr()
    screen.feed(output_until(child, pexpect.EOF))
    assert exit_code(child) == 130
    assert any(LIVE.fullmatch(row.rstrip()) for row in screen.painted), screen.painted
    assert max(len(row) for row in screen.painted if row.startswith("epoch ")) <= 80
    assert screen.cursor_shown
    standing = "\n".join(screen.rows)
    assert not re.search(r"step +\d+/", standing), "the live line has disappeared"
    assert "resume with: cnncli train --resume runs/tiny-" in standing
    assert "Traceback" not in standing


def test_fifty_columns(spawn: Spawn) -> None:
    child = spawn("train", "tiny.yaml", "--threads", 1, columns=50)
    screen = Screen()
    screen.feed(output_until(child, pexpect.EOF))
    assert exit_code(child) == 0
    assert 20 < max(len(row) for row in screen.painted if row.startswith("epoch ")) <= 50
    assert screen.cursor_shown
    assert not [row for row in screen.rows if re.search(r"step +\d+/", row)], "the live line has disappeared"
    assert [row.split()[0] for row in screen.rows if re.match(r"\s*\d/3 ", row)] == ["1/3", "2/3", "3/3"]
    assert "cnncli tensorboard runs" in [row.strip() for row in screen.rows]


def test_a_terminal_that_becomes_narrower(spawn: Spawn) -> None:
    child = spawn("train", "tiny.yaml", "--threads", 1, *LONG, "--set", "train.epochs=3", columns=100)
    output_until(child, r"step")
    child.setwinsize(24, 40)
    time.sleep(0.5)  # the display is drawn some times a second
    output_until(child, "\r")
    screen = Screen()
    text = output_until(child, pexpect.EOF)
    assert exit_code(child) == 0
    assert "Traceback" not in text
    screen.feed(re.sub(r"\x1b\[\d*A", "", text))  # where the cursor goes, only the terminal knows after a resize
    assert 20 < max(len(row) for row in screen.painted if row.startswith("epoch ")) <= 40


@pytest.mark.parametrize("columns", [40, 60])
def test_an_epoch_is_one_line_and_the_message_of_ctrl_c_stays(columns: int, spawn: Spawn) -> None:
    child = spawn("train", "tiny.yaml", "--threads", 1, *LONG, "--set", "data.validation=0.9", columns=columns)
    screen = Screen(columns)
    screen.feed(output_until(child, r" 2/20 "))
    child.sendintr()
    screen.feed(output_until(child, pexpect.EOF))
    assert exit_code(child) == 130
    (heading,) = [row for row in screen.rows if "train loss" in row]
    (first,) = [row for row in screen.rows if re.match(r"\s*1/20 ", row)]
    assert len(heading.rstrip()) == len(first.rstrip()) <= columns
    shown = {40: ["epoch", "train", "loss", "val", "loss", "accuracy"]}
    assert columns not in shown or heading.split() == shown[columns]
    assert len(first.split()) == (4 if columns == 40 else 6)
    text = " ".join(" ".join(screen.rows).split())
    assert "stopping after this step, with a checkpoint; press Ctrl-C again to stop immediately" in text
    assert "resume with: cnncli train --resume" in text
