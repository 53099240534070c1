"""The system's Firefox, headless, driven by its Marionette protocol: Playwright drives only a Firefox of its own."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

NAMES = ("firefox-esr", "firefox")
_START, _ANSWER = 60, 120
"""Seconds for the start of the browser, and for an answer."""

_EVALUATE = (
    "const done = arguments[1]; Promise.resolve((FUNCTION)(arguments[0])).then(done, (e) => done(`error: ${e}`));"
)


class Firefox:
    """A connection to a Firefox, with the two methods of a Playwright page that tests of both browsers call."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._read()  # the greeting
        self._call("WebDriver:NewSession")
        self._call("WebDriver:SetTimeouts", script=1000 * _ANSWER)

    def goto(self, url: str) -> None:
        self._call("WebDriver:Navigate", url=url)

    def evaluate(self, function: str, argument: object = None) -> Any:
        """What a JavaScript function returns for an argument, or what its promise becomes."""
        script = _EVALUATE.replace("FUNCTION", function)
        return self._call("WebDriver:ExecuteAsyncScript", script=script, args=[argument], sandbox=None)["value"]

    def _call(self, name: str, **parameters: object) -> Mapping[str, Any]:
        text = json.dumps([0, next(self._numbers), name, parameters])
        self._connection.sendall(f"{len(text)}:{text}".encode())  # ASCII
        _, _, error, result = self._read()
        assert error is None, error
        return result or {}

    def _read(self) -> Any:
        """A message: its length in bytes, a colon, JSON."""
        length = b""
        while (byte := self._connection.recv(1)) != b":":
            assert byte, "Firefox has closed the connection"
            length += byte
        content = bytearray()
        while len(content) < int(length):
            content += self._connection.recv(int(length) - len(content))
        return json.loads(content)


@contextmanager
def start_firefox(folder: Path) -> Iterator[Firefox]:
    """A Firefox with an empty profile in a folder; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    (folder / "user.js").write_text(f'user_pref("marionette.port", {address[1]});\n', encoding="utf-8")
    command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with _connected(address) as connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        process.wait()


def _connected(address: tuple[str, int]) -> socket.socket:
    end = time.monotonic() + _START
    while True:
        try:
            return socket.create_connection(address, timeout=_ANSWER)
        except ConnectionRefusedError:
            assert time.monotonic() < end, "Firefox does not start"
            time.sleep(0.1)
