"""The playground of a network in training, served on this machine while it trains.

The training calls `LiveTraining.after_step` after each of its steps; there it copies its weights for the pages, and
waits while it is paused. Everything else happens in threads of the server, which draw no random numbers and change no
tensor, so the network ends with the same weights, bit for bit, as without pages.
"""

import json
import logging
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isfinite, isnan
from time import monotonic
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from cnncli.errors import UsageError
from cnncli.report.model_data import Weights
from cnncli.training.progress import Progress, Reading

ADDRESS = "127.0.0.1"
MAX_PAGES = 8
"""Number of connections on which pages can follow a training at the same time."""

_SNAPSHOT_INTERVAL = 0.25
"""Seconds from one copy of the weights to the next, at least."""
_SNAPSHOT_SHARE = 0.01
"""The part of the time that copies of the weights may take."""
_SAMPLE_INTERVAL = 0.25
"""Seconds between two points of the loss curve."""
_POINTS = 600
"""Maximum number of points of the loss curve; beyond it, every two are merged."""
_PAUSE_POLL = 0.1
"""Seconds between two looks for Ctrl-C while the training is paused."""
_CLOSE_POLL = 0.05
"""Seconds between two looks of the server for its end, for which the end of the training waits."""
_HEARTBEAT = 5.0
"""Seconds after which a page gets a line even if nothing has changed, which tells whether it is still there."""
_FAREWELL = 2.0
"""Seconds that pages are given to fetch the final weights."""
_TIMEOUT = 10.0
"""Seconds for a request, and for a page to take what is sent to it."""

_OF_PAGE = re.compile(r"(?P<what>events|weights)/(?P<page>[0-9]{1,10})")
"""The paths of what a page asks for, with the number that it has drawn: 32 bits."""

EndState: TypeAlias = Literal["complete", "interrupted", "failed"]
State: TypeAlias = Literal["running", "pausing", "paused"] | EndState

_log = logging.getLogger(__name__)


class LiveTraining:
    """A training as its pages see it, and what they ask of it: to pause, to resume and to take a single step.

    Args:
        weights: a copy of the weights that are evaluated, in the order of the engine.
        step: the number of steps taken.
        progress: of the training.
        earlier: the metrics of the epochs before this training, which a resumed run has; see `add_epoch`. They are
            read after the first step: before it, there may be metrics of an epoch that is trained again.
        can_pause: whether pages may pause it: several processes would wait for each other too long.
    """

    def __init__(
        self,
        weights: Callable[[], Weights],
        step: Callable[[], int],
        progress: Progress,
        *,
        earlier: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
        can_pause: bool = True,
    ) -> None:
        self._read_weights = weights
        self._read_step = step
        self._progress = progress
        self._read_earlier = earlier
        self.can_pause = can_pause
        self._changed = threading.Condition()
        # All below is read and written while `_changed` is held.
        self._version = 0
        self._ended: EndState | None = None
        self._has_begun = False
        self._is_paused = False  # by a page; the training stops after its current step
        self._has_stopped = False  # for this pause
        self._single_steps = 0  # to be taken during this pause
        self._wanted = True
        self._due = 0.0
        self._weights: tuple[int, Weights] = (step(), weights())
        self._epochs: list[Mapping[str, Any]] = []
        self._points: list[tuple[int, float]] = []
        self._sampled = Reading()
        self._fetched_final: set[int] = set()

    # Called by the training

    def after_step(self, stop: Callable[[], bool]) -> bool:
        """Copy the weights if a page is waiting for them, and wait while the training is paused.

        Args:
            stop: whether the training is to stop, which also ends a pause.

        Returns:
            What `stop` returns.
        """
        if not self._has_begun:
            self._add_earlier()
        if self._wanted and monotonic() >= self._due:
            self._copy_weights()
        if self._is_paused:
            self._wait(stop)
        return stop()

    def add_epoch(self, record: Mapping[str, Any]) -> None:
        """Show the metrics of an epoch: `epoch`, `step`, `train`, `val`."""
        with self._changed:
            self._epochs.append({key: record.get(key) for key in ("epoch", "step", "train", "val")})
            self._notify()

    def _add_earlier(self) -> None:
        """Show the epochs before this training: their metrics, and their losses as the first points of the curve."""
        earlier = self._read_earlier()
        with self._changed:
            self._has_begun = True
            self._points[:0] = [(each["step"], each["train"]["loss"]) for each in earlier]
        for record in earlier:
            self.add_epoch(record)

    def end(self, state: EndState) -> None:
        """Show the final weights, and that the training has ended."""
        self._copy_weights()
        with self._changed:
            self._ended = state
            self._notify()

    def _copy_weights(self) -> None:
        began = monotonic()
        copied = (self._read_step(), self._read_weights())
        ended = monotonic()
        with self._changed:
            self._weights, self._wanted = copied, False
            self._due = ended + max(_SNAPSHOT_INTERVAL, (ended - began) / _SNAPSHOT_SHARE)
            self._notify()

    def _wait(self, stop: Callable[[], bool]) -> None:
        """Wait until the training is resumed, may take a single step, or is to stop."""
        if self._weights[0] != self._read_step():
            self._copy_weights()
        with self._changed:
            self._has_stopped = True
            self._notify()
            while self._is_paused and not self._single_steps and not stop():
                self._changed.wait(_PAUSE_POLL)  # a signal is handled between two waits
            if self._single_steps:
                self._single_steps -= 1

    # Called by the threads of the server

    def pause(self) -> None:
        """Pause after the current step."""
        with self._changed:
            if self.can_pause and not self._is_paused:
                self._is_paused, self._has_stopped, self._single_steps = True, False, 0
                self._notify()

    def resume(self) -> None:
        """Train on after a pause."""
        with self._changed:
            self._is_paused, self._single_steps = False, 0
            self._notify()

    def take_single_step(self) -> None:
        """Take one step, and pause again."""
        with self._changed:
            if self._is_paused:
                self._single_steps += 1
                self._changed.notify_all()

    def weights(self, page: int = 0) -> tuple[int, Weights]:
        """The step and the weights of the newest copy; there will be a newer one soon.

        Args:
            page: the number of the page that asks.
        """
        with self._changed:
            self._wanted = True
            if self._ended:
                self._fetched_final.add(page)
                self._changed.notify_all()
            return self._weights

    def sample(self) -> None:
        """Add a point to the loss curve: the mean loss of the steps since the last one."""
        reading = self._progress.read()
        before, self._sampled = self._sampled, reading
        if reading.sums is None or not reading.sums.images:
            return
        loss, images = float(reading.sums.loss), reading.sums.images
        if before.sums is not None and before.epoch == reading.epoch:
            loss, images = loss - float(before.sums.loss), images - before.sums.images
        if images <= 0 or not isfinite(loss):
            return
        with self._changed:
            step = self._read_step()
            while self._points and self._points[-1][0] >= step:  # the training has returned to an earlier step
                self._points.pop()
            self._points.append((step, loss / images))
            if len(self._points) > _POINTS:
                self._points = [_merged(*pair) for pair in zip(self._points[::2], self._points[1::2], strict=False)]
            self._notify()

    def statuses(self) -> Iterator[dict[str, Any] | None]:
        """The status of the training whenever it has changed, first of all now; None if it has not for a while.

        The `first` has all `points` of the loss curve and `metrics` of the epochs, later ones those that are new. It
        ends with the training.
        """
        version, epochs, last_step, is_first = -1, 0, -1, True
        while True:
            with self._changed:
                changed = self._version != version or self._changed.wait(_HEARTBEAT)
                version, ended = self._version, self._ended
                points = [point for point in self._points if point[0] > last_step]
                new_epochs, epochs = self._epochs[epochs:], len(self._epochs)
                status = {**self._status(), "first": is_first, "points": points, "metrics": new_epochs}
            last_step, is_first = points[-1][0] if points else last_step, False
            yield status if changed else None
            if ended:
                return

    def wait_for_farewell(self, pages: set[int]) -> None:
        """Wait until these pages have the final weights, but not long."""
        with self._changed:
            self._changed.wait_for(lambda: pages <= self._fetched_final, _FAREWELL)

    @property
    def state(self) -> State:
        """What the training is doing."""
        if self._ended:
            return self._ended
        if not self._is_paused:
            return "running"
        return "paused" if self._has_stopped else "pausing"

    def _status(self) -> dict[str, Any]:
        reading = self._progress.read()
        score = reading.score
        return {
            "state": self.state,
            "can_pause": self.can_pause,
            "step": self._read_step(),
            "weights": self._weights[0],
            "epoch": reading.epoch,
            "epochs": reading.epochs,
            "step_in_epoch": reading.step,
            "steps": reading.steps,
            "loss": score.loss if isfinite(score.loss) else None,
            "accuracy": None if isnan(score.accuracy) else score.accuracy,
        }

    def _notify(self) -> None:
        """Tell the pages that something has changed."""
        self._version += 1
        self._changed.notify_all()


def _merged(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
    return other[0], (one[1] + other[1]) / 2


class LiveServer:
    """Serves the page of a training, and its events, on the loopback address.

    The address has a random token, without which nothing is answered. A request must name this machine as its host, so
    that another website cannot reach the server under its own name, and may not come from a page of another origin.

    Args:
        training: what is served.
        page: the HTML, which is in the folder of the token.
        port: the port; 0 for any that is free.

    Raises:
        UsageError: see `check_port`.
    """

    def __init__(self, training: LiveTraining, page: bytes, *, port: int = 0) -> None:
        self.training = training
        self.page = page
        self.token = secrets.token_urlsafe(16)
        self._pages: Counter[int] = Counter()  # number of a page -> its open connections
        self._pages_lock = threading.Lock()
        self.closing = threading.Event()
        with _port_errors_explained(port):
            self._http = _HttpServer((ADDRESS, port), _Handler)
        self._http.live = self
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(_CLOSE_POLL,), name="live server", daemon=True),
            threading.Thread(target=self._sample, name="loss curve", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self._http.server_address[1]}/{self.token}/"

    def close(self, *, at_once: bool = False) -> None:
        """Stop serving; before, the pages have a moment to fetch the final weights, except with `at_once`."""
        if not at_once:
            with self._pages_lock:
                pages = set(self._pages)
            self.training.wait_for_farewell(pages)
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def connection(self, page: int) -> Iterator[bool]:
        """A connection on which a page follows the training; whether there may be one more."""
        with self._pages_lock:
            is_free = self._pages.total() < MAX_PAGES
            self._pages[page] += is_free
        try:
            yield is_free
        finally:
            with self._pages_lock:
                self._pages[page] -= is_free
                self._pages += Counter()  # drops pages without a connection

    def _sample(self) -> None:
        while not self.closing.wait(_SAMPLE_INTERVAL):
            self.training.sample()


@contextmanager
def serve(training: LiveTraining, page: bytes, *, port: int = 0) -> Iterator[LiveServer]:
    """A server that runs within the context; an exception there ends the training as failed."""
    server = LiveServer(training, page, port=port)
    try:
        yield server
    except BaseException:
        training.end("failed")
        server.close(at_once=True)
        raise
    server.close()


def check_port(port: int) -> None:
    """Check that the page can be served at a port; 0 is any that is free.

    Raises:
        UsageError: the port is in use, or may not be used.
    """
    with _port_errors_explained(port):
        _HttpServer((ADDRESS, port), _Handler).server_close()


@contextmanager
def _port_errors_explained(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"--live-port {port}: the page cannot be served there: {error.strerror or error}",
            remedy="choose another port, or omit --live-port for a free one",
        ) from error


class _HttpServer(ThreadingHTTPServer):
    """The server of a `LiveServer`."""

    daemon_threads = True
    block_on_close = False
    live: LiveServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that has gone away is no error of the training."""
        _log.debug("a request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    server: _HttpServer
    timeout = _TIMEOUT
    server_version = "cnncli"
    sys_version = ""

    _ACTIONS: ClassVar[dict[str, Callable[[LiveTraining], None]]] = {
        "pause": LiveTraining.pause,
        "resume": LiveTraining.resume,
        "step": LiveTraining.take_single_step,
    }

    def do_GET(self) -> None:
        """The page, its events, or the weights."""
        path = self._checked_path()
        if path is None:
            return
        if path == "":
            self._send(HTTPStatus.OK, self.server.live.page, "text/html; charset=utf-8")
        elif match := _OF_PAGE.fullmatch(path):
            send = self._send_events if match["what"] == "events" else self._send_weights
            send(int(match["page"]))
        else:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED if path in self._ACTIONS else HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Pause, resume, or take a single step."""
        path = self._checked_path()
        if path is None:
            return
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif path not in self._ACTIONS:
            known = path == "" or path.partition("/")[0] in ("events", "weights")
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND)
        else:
            self._ACTIONS[path](self.server.live.training)
            self._send(HTTPStatus.NO_CONTENT, b"", None)

    def _checked_path(self) -> str | None:
        """The path in the folder of the token, without parameters; None if the request has been refused."""
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        if host.rpartition(":")[0] not in (ADDRESS, "localhost"):
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        if (origin is not None and origin != f"http://{host}") or self.headers.get("Sec-Fetch-Site", "none") not in (
            "none",
            "same-origin",
        ):
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        before, token, *path = f"{self.path.partition('?')[0]}/".split("/", 2)
        has_token = secrets.compare_digest(token.encode(), self.server.live.token.encode())
        if before or not has_token:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        if not path[0]:  # without a slash, addresses in the page would be others
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return path[0].removesuffix("/")

    def _send_weights(self, page: int) -> None:
        """The newest copy of the weights."""
        step, weights = self.server.live.training.weights(page)
        self._send(HTTPStatus.OK, weights.astype("<f4").tobytes(), "application/octet-stream", {"X-Step": str(step)})

    def _send_events(self, page: int) -> None:
        """Server-sent events: the status of the training whenever it changes."""
        live = self.server.live
        with live.connection(page) as is_free:
            if not is_free:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            with suppress(OSError):  # the page has gone away
                self._send_head(HTTPStatus.OK, "text/event-stream", {})
                for status in live.training.statuses():
                    line = ":" if status is None else f"data: {json.dumps(status, allow_nan=False)}"
                    self.wfile.write(f"{line}\n\n".encode())
                    self.wfile.flush()
                    if status is not None and status["state"] in get_args(EndState):
                        live.closing.wait(_FAREWELL)

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(status, f"{status.phrase}\n".encode(), "text/plain; charset=utf-8")

    def _send(
        self, status: HTTPStatus, content: bytes, media_type: str | None, headers: Mapping[str, str] | None = None
    ) -> None:
        with suppress(OSError):  # the page has gone away
            self._send_head(status, media_type, {**(headers or {}), "Content-Length": str(len(content))})
            self.wfile.write(content)

    def _send_head(self, status: HTTPStatus, media_type: str | None, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        always = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if media_type is not None:
            always["Content-Type"] = media_type
        for name, value in (always | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not printed: the terminal belongs to the training."""
