"""TensorBoard in a separate process: start it, wait until it responds, terminate it.

The process is `cnncli.tensorboard.checked`, in the Python environment of cnncli. It finds the event files on its own
and checks for new ones every five seconds.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

from cnncli.errors import RunError, ServerError, UsageError
from cnncli.tensorboard import checked

_TRAINING = {"runFilter": "^(?!(.*/)?show$)"}
"""Without the pictures of `cnncli show`, which would repeat the cards of the same tags."""

VIEWS: Mapping[str, Mapping[str, str]] = {
    # Smoothing would distort curves of few points.
    "curves": {**_TRAINING, "tagFilter": "^(accuracy|loss)/", "smoothing": "0"},
    "kernels": {**_TRAINING, "tagFilter": "^kernels/"},
    "snapshots": {**_TRAINING, "tagFilter": "^snapshots/"},
    "feature maps": {**_TRAINING, "tagFilter": "^feature_maps/"},
    "show": {"runFilter": "(^|/)show$", "tagFilter": "/"},  # without a tag filter, groups would be collapsed
}
"""Name -> query of TensorBoard's Time Series tab. Filters are regular expressions."""


def links(address: str) -> dict[str, str]:
    """Name of a view -> its address.

    Args:
        address: of the TensorBoard, with a slash at the end.
    """
    return {name: f"{address}?{urlencode(query, quote_via=quote)}#timeseries" for name, query in VIEWS.items()}


SAMPLES = 10_000
"""Points per tag that TensorBoard keeps, for each plugin. By default it keeps 10 pictures, chosen at random; with 0,
which its help documents as "all", it shows no pictures."""

_DEFAULT_PORTS = range(6006, 6016)
_PYTHON = sys.executable
_ADDRESS = re.compile(rb"^TensorBoard \S+ at (http://\S+)", re.MULTILINE)
_START_SECONDS = 60.0
_FIRST_RUN_SECONDS = 10.0
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_NO_RUNS = "give a folder of runs, or one run; cnncli train quickstart writes a run to the folder runs"


def check_runs(folder: Path) -> bool:
    """Whether a folder has event files at any depth. An empty folder has none yet.

    Raises:
        RunError: there is no such folder, or it has other files and no run.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}", remedy=_NO_RUNS)
    if any(folder.rglob("*tfevents*")):
        return True
    if any(not each.name.startswith(".") for each in folder.iterdir()):
        raise RunError(f"{folder}: no runs in this folder or below it", remedy=_NO_RUNS)
    return False


class Server:
    """A TensorBoard process for a folder of runs, terminated at the end of the `with` block.

    It has its own session, so that Ctrl-C in the terminal reaches only the process that started it.

    Args:
        runs: a folder of runs, or one run, which keeps its name in the list of runs.
        host: the address to listen at.
        port: the port to listen at; by default 6006 or the next free one.

    Raises:
        UsageError: another program has the port, or the host is not an address of this machine.
    """

    def __init__(self, runs: Path, *, host: str = "localhost", port: int | None = None) -> None:
        chosen_port = _choose_port(host, port)
        self._folder = tempfile.TemporaryDirectory(prefix="cnncli-tensorboard-")
        self._output = Path(self._folder.name) / "output.txt"
        samples = ",".join(f"{plugin}={SAMPLES}" for plugin in ("images", "scalars", "histograms", "text"))
        command = [
            *(_PYTHON, "-P", checked.__file__),  # -P: no imports from the folder of the file
            *("--logdir", str(self._log_directory(runs.resolve())), "--samples_per_plugin", samples),
            *("--host", host, "--port", chosen_port),
        ]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self) -> Self:
        """The server, which may not answer yet."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Terminate, then kill after a grace period. TensorBoard's data server ends when its standard input closes."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._folder.cleanup()

    def wait_for_answer(self, stop: Callable[[], bool], *, runs: bool) -> str | None:
        """Wait until TensorBoard answers and, with `runs`, until it has found the first run.

        Returns:
            Its address, with a slash at the end; None if `stop` returned true first.

        Raises:
            ServerError: it exited, or did not respond within a minute.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not ((address := self._address()) and (names := _list_runs(address)) is not None):
            if stop():
                return None
            self._check_alive()
            if time.monotonic() > deadline:
                raise ServerError(f"TensorBoard did not respond within {_START_SECONDS:.0f} s{self._last_lines()}")
            time.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + _FIRST_RUN_SECONDS
        while runs and not names and not stop() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            names = _list_runs(address)
        return address

    def serve(self, stop: Callable[[], bool]) -> None:
        """Wait until `stop` returns true.

        Raises:
            ServerError: TensorBoard exited.
        """
        while not stop():
            self._check_alive()
            time.sleep(_POLL_SECONDS)

    def _log_directory(self, runs: Path) -> Path:
        """The `--logdir`; for a single run a folder with a link to it, because its own name would be shown as `.`."""
        if not any(runs.glob("*tfevents*")):
            return runs
        link = Path(self._folder.name) / "runs" / runs.name
        try:
            link.parent.mkdir()
            link.symlink_to(runs, target_is_directory=True)
        except OSError:  # on Windows only some users may create links
            return runs
        return link.parent

    def _address(self) -> str | None:
        """The address that TensorBoard has printed, if it has."""
        match = _ADDRESS.search(self._output.read_bytes())
        return match[1].decode() if match else None

    def _check_alive(self) -> None:
        if (code := self._process.poll()) is not None:
            raise ServerError(
                f"TensorBoard exited with code {code}{self._last_lines()}",
                remedy=f"check that it works on its own: {_PYTHON} -m tensorboard.main --version_tb",
            )

    def _last_lines(self) -> str:
        """The end of TensorBoard's output, to be appended to a message."""
        lines = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n  ".join(["; its output ends with:", *lines[-12:]]) if lines else ""


def _choose_port(host: str, port: int | None) -> str:
    """The value of TensorBoard's `--port`: the given port, "default" while one of the default ports is free, else "0".

    With "default" TensorBoard itself takes the first free one, so that two that start together do not collide; it
    exits if none is free.
    """
    if port is not None and (reason := _why_not_listen(host, port)):
        raise UsageError(f"--port {port}: {reason}", remedy="choose another, or omit --port to use a free one")
    if port is not None:
        return str(port)
    if reason := _why_not_listen(host, 0):
        raise UsageError(f"--host {host}: {reason}", remedy="omit --host to serve only this machine")
    return "default" if any(_why_not_listen(host, usual) is None for usual in _DEFAULT_PORTS) else "0"


def _why_not_listen(host: str, port: int) -> str | None:
    """The system's reason why this process cannot listen there now; None if it can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as attempt:
            if os.name == "posix":  # on Windows this option would take the port from its owner
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _list_runs(address: str) -> list[str] | None:
    """The runs that TensorBoard has found so far; None if it does not answer yet."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)  # unlike urllib, it ignores proxy settings
    try:
        connection.request("GET", f"{parts.path}data/runs")
        answer = connection.getresponse()
        return list(json.loads(answer.read())) if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
