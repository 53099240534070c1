"""TensorBoard over runs, as a process of its own: started, waited for, stopped.

The process is `python -m tensorboard.main`, in the environment that runs cnncli. It finds the event files by itself,
and looks for new ones every five seconds.
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

VIEWS: Mapping[str, Mapping[str, str]] = {
    "curves": {"tagFilter": "^(accuracy|loss)/", "smoothing": "0"},  # of few points, which smoothing would bend
    "kernels": {"tagFilter": "^kernels/"},
    "evolution": {"tagFilter": "^evolution/"},
    "feature maps": {"tagFilter": "^feature_maps/"},
    "show": {"runFilter": "(^|/)show$", "tagFilter": "/"},  # without a filter of tags, groups would be folded
}
"""What people look for, and how the Time Series tab is asked for it. Filters are regular expressions."""


def links(address: str) -> dict[str, str]:
    """Name of a view -> its address.

    Args:
        address: of the TensorBoard, with a slash at the end.
    """
    return {name: f"{address}?{urlencode(query, quote_via=quote)}#timeseries" for name, query in VIEWS.items()}


KEPT = 10_000
"""Points of a tag that are kept, of each kind. By default TensorBoard keeps 10 pictures and draws them by lot; that 0
keeps all, as its help says, is not so: it then shows no picture at all."""

_USUAL_PORTS = range(6006, 6016)
_PYTHON = sys.executable
_FIRST = "cnncli train quickstart"
_ADDRESS = re.compile(rb"^TensorBoard \S+ at (http://\S+)", re.MULTILINE)
_DEADLINE = 60.0
_PATIENCE_WITH_RUNS = 10.0
_PATIENCE_AT_THE_END = 5.0
_TICK = 0.1


def has_event_files(folder: Path) -> bool:
    """Whether TensorBoard would find something to show there; it looks into folders at any depth, and so does this."""
    return any(folder.rglob("*tfevents*"))


def check_runs(folder: Path) -> bool:
    """Whether there are runs in a folder. An empty one has none yet, and may have some soon.

    Raises:
        RunError: there is no such folder, or there are other things in it, and no run.
    """
    if not folder.is_dir():
        raise RunError(
            f"{folder} is {'not a folder' if folder.exists() else 'not there'}",
            remedy=f"name a folder of runs, or one run; {_FIRST} makes one in runs",
        )
    if has_event_files(folder):
        return True
    if any(not each.name.startswith(".") for each in folder.iterdir()):
        raise RunError(
            f"{folder}: there are no runs in it, at whatever depth",
            remedy=f"name a folder of runs, or one run; {_FIRST} makes one in runs",
        )
    return False


class Server:
    """A TensorBoard process over runs. Stopped at the end of its `with`, whatever happens inside.

    It is in a session of its own, so that a Ctrl-C on the terminal is heard by its starter alone.

    Args:
        runs: a folder of runs, or one run, which keeps its name in the list of runs.
        host: to listen at.
        port: to listen at; if not given, 6006 or the next that is free.

    Raises:
        UsageError: another program has the port, or the host is not one of this machine.
    """

    def __init__(self, runs: Path, *, host: str = "localhost", port: int | None = None) -> None:
        listened = _port(host, port)
        self._folder = tempfile.TemporaryDirectory(prefix="cnncli-board-")
        self._said = Path(self._folder.name) / "said.txt"
        kept = ",".join(f"{plugin}={KEPT}" for plugin in ("images", "scalars", "histograms", "text"))
        command = [
            *(_PYTHON, "-P", "-m", "tensorboard.main"),  # -P: the working directory may have any names in it
            *("--logdir", str(self._named(runs.resolve())), "--samples_per_plugin", kept),
            *("--host", host, "--port", listened),
        ]
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self) -> Self:
        """The server, which may not answer yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, in peace if it is willing. Its data server ends with it, when its standard input closes."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_AT_THE_END)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._folder.cleanup()

    def wait_for_answer(self, stop: Callable[[], bool], *, runs: bool) -> str | None:
        """Wait until TensorBoard answers, and with `runs` until it has found the first one.

        Returns:
            Its address, with a slash at the end; None where `stop` said to wait no longer.

        Raises:
            ServerError: it ended, or did not answer in a minute.
        """
        deadline = time.monotonic() + _DEADLINE
        while not ((address := self._address()) and (found := _runs_listed(address)) is not None):
            if stop():
                return None
            self._check_alive()
            if time.monotonic() > deadline:
                raise ServerError(f"TensorBoard did not answer within {_DEADLINE:.0f} s{self._words()}")
            time.sleep(_TICK)
        deadline = time.monotonic() + _PATIENCE_WITH_RUNS
        while runs and not found and not stop() and time.monotonic() < deadline:
            time.sleep(_TICK)
            found = _runs_listed(address)
        return address

    def serve(self, stop: Callable[[], bool]) -> None:
        """Do nothing until `stop` says so.

        Raises:
            ServerError: TensorBoard ended by itself.
        """
        while not stop():
            self._check_alive()
            time.sleep(_TICK)

    def _named(self, runs: Path) -> Path:
        """What TensorBoard is told to look through. A run that is named itself would be listed as `.`."""
        if not any(runs.glob("*tfevents*")):
            return runs
        link = Path(self._folder.name) / "runs" / runs.name
        try:
            link.parent.mkdir()
            link.symlink_to(runs, target_is_directory=True)
        except OSError:  # not every system lets everybody make links
            return runs
        return link.parent

    def _address(self) -> str | None:
        """What TensorBoard says where it is, once it says so."""
        found = _ADDRESS.search(self._said.read_bytes())
        return found[1].decode() if found else None

    def _check_alive(self) -> None:
        if (code := self._process.poll()) is not None:
            raise ServerError(
                f"TensorBoard ended with exit code {code}{self._words()}",
                remedy=f"see whether it works alone: {_PYTHON} -m tensorboard.main --version_tb",
            )

    def _words(self) -> str:
        """Its last lines, to be put behind a message."""
        lines = self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n  ".join(["; it said:", *lines[-12:]]) if lines else ""


def _port(host: str, port: int | None) -> str:
    """What TensorBoard is told of the port: the one that is asked for, else one of the usual ones, else any.

    It takes the first of the usual ones that it can have, so that two which start at once do not get into each
    other's way; if it can have none of them, it gives up.
    """
    if port is not None and (refusal := _refusal(host, port)):
        raise UsageError(f"--port {port}: {refusal}", remedy="name another, or leave --port out: a free one is found")
    if port is not None:
        return str(port)
    if refusal := _refusal(host, 0):
        raise UsageError(f"--host {host}: {refusal}", remedy="leave it out for this machine alone")
    return "default" if any(_refusal(host, usual) is None for usual in _USUAL_PORTS) else "0"


def _refusal(host: str, port: int) -> str | None:
    """Why nobody can listen there now; None if one can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as attempt:
            if os.name == "posix":  # elsewhere this would take the port away from its owner
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _runs_listed(address: str) -> list[str] | None:
    """The runs that a TensorBoard has found so far; None where it does not answer yet."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.netloc, timeout=5)  # which knows nothing of proxies
    try:
        connection.request("GET", f"{place.path}data/runs")
        answer = connection.getresponse()
        return list(json.loads(answer.read())) if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
