"""The server of a training: who may ask for what, its events, pauses and single steps, with Python's HTTP client."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.errors import UsageError
from cnncli.report.live import MAX_PAGES, LiveServer, LiveTraining, check_port, serve
from cnncli.training.progress import Progress, Sums

PAGE = b"<!doctype html><title>training</title>"


class Trained:
    """A training of two weights, both equal to the number of steps; its loss falls by the step."""

    def __init__(self, *, can_pause: bool = True) -> None:
        self.step = 0
        self.stopped = False
        self.progress = Progress()
        self.live = LiveTraining(
            lambda: np.full(2, self.step, np.float32), lambda: self.step, self.progress, can_pause=can_pause
        )
        self._sums = Sums.zero(torch.device("cpu"))
        self.progress.begin(epoch=1, epochs=3, step=0, steps=1_000_000, sums=self._sums)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopped = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self.live.after_step(lambda: self.stopped):
            time.sleep(0.001)
            self.step += 1
            self._sums = self._sums.plus(torch.tensor(1 / self.step), torch.tensor(1), 2)
            self.progress.write(self.step, self._sums)


@pytest.fixture
def trained() -> Iterator[Trained]:
    training = Trained()
    yield training
    training.stopped = True


@pytest.fixture
def server(trained: Trained) -> Iterator[LiveServer]:
    with serve(trained.live, PAGE) as started:
        yield started
        trained.live.end("complete")
        started.close(at_once=True)
        started.close = lambda **how: None  # type: ignore[method-assign]  # it is closed


Ask = Callable[..., HTTPResponse]


@pytest.fixture
def ask(server: LiveServer) -> Iterator[Ask]:
    """Sends a request to a path in the folder of the token; headers that are None are not sent."""
    address = urlsplit(server.address)
    connections: list[HTTPConnection] = []

    def request(path: str, method: str = "GET", *, token: bool = True, **headers: str | None) -> HTTPResponse:
        connection = HTTPConnection(str(address.hostname), int(address.port or 0), timeout=10)
        connections.append(connection)
        sent = {"Host": address.netloc, "Content-Length": "0" if method == "POST" else None}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, (address.path if token else "/") + path, skip_host=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()

    yield request
    for connection in connections:
        connection.close()


def events_of(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    assert response.getheader("Content-Type") == "text/event-stream"
    for line in response:
        if line.startswith(b"data: "):
            yield dict(json.loads(line.removeprefix(b"data: ")))


def wait_for(events: Iterator[dict[str, Any]], state: str) -> dict[str, Any]:
    return next(event for event in events if event["state"] == state)


def test_the_page(ask: Ask, server: LiveServer) -> None:
    response = ask("")
    assert (response.status, response.read()) == (200, PAGE)
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert response.getheader("Cache-Control") == "no-store"
    assert response.getheader("Referrer-Policy") == "no-referrer"
    assert response.getheader("Content-Security-Policy") == "frame-ancestors 'none'"
    assert response.getheader("Access-Control-Allow-Origin") is None
    assert server.address.startswith("http://127.0.0.1:")
    assert len(server.token) >= 22  # 128 random bits


@pytest.mark.parametrize("path", ["", "x/", "weights/1", "events/1", "..//", "%2e/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_answered_without_the_token(path: str, method: str, ask: Ask) -> None:
    response = ask(path, method, token=False)
    assert response.status == 403
    assert PAGE not in response.read()


def test_a_token_that_is_only_similar(ask: Ask, server: LiveServer) -> None:
    for token in (server.token[:-1], server.token + "x", server.token.swapcase(), ""):
        assert ask(f"{token}/", token=False).status == 403
    assert ask(server.token, token=False).status == 404, "without the slash, addresses in the page would be others"
    assert ask(f"{server.token}/?x=1", token=False).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "attacker.example:80"}, 403),
        ({"Host": "127.0.0.1.attacker.example:80"}, 403),
        ({"Host": None}, 403),
        ({"Host": "localhost:8888"}, 200),  # a forwarded port
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
    ],
)
def test_other_hosts_and_origins_are_refused(headers: dict[str, str | None], status: int, ask: Ask) -> None:
    assert ask("", **headers).status == status
    assert ask("pause", "POST", **headers).status == (204 if status == 200 else status)


def test_the_own_origin_is_accepted(ask: Ask, server: LiveServer) -> None:
    origin = server.address.removesuffix(f"/{server.token}/")
    assert ask("pause", "POST", Origin=origin).status == 204
    assert ask("pause", "POST", Origin=origin.replace("http", "https")).status == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "pause", 405),
        ("GET", "step", 405),
        ("POST", "", 405),
        ("POST", "weights/1", 405),
        ("GET", "other", 404),
        ("GET", "weights", 404),
        ("GET", "weights/x", 404),
        ("GET", "weights/", 404),
        ("GET", "events/-1", 404),
        ("GET", "events/1/2", 404),
        ("GET", "weights/" + 5000 * "9", 404),  # more digits than int() takes
        ("GET", "events/" + 5000 * "9", 404),
        ("GET", "events/%D9%A1", 404),
        ("POST", "other", 404),
        ("GET", "../../../etc/passwd", 404),
        ("PUT", "pause", 501),
        ("DELETE", "", 501),
        ("OPTIONS", "", 501),
        ("HEAD", "", 501),
    ],
)
def test_methods_and_paths(method: str, path: str, status: int, ask: Ask) -> None:
    assert ask(path, method).status == status


def test_a_request_with_content_is_refused(ask: Ask, trained: Trained) -> None:
    assert ask("pause", "POST", Content_Length="5").status == 413
    assert trained.live.state == "running"


def test_weights_are_the_newest(ask: Ask, trained: Trained) -> None:
    trained.start()
    steps = []
    for _ in range(4):
        response = ask("weights/1")
        step, weights = int(str(response.getheader("X-Step"))), np.frombuffer(response.read(), "<f4")
        assert weights.tolist() == [step, step]
        steps.append(step)
        time.sleep(0.3)
    assert steps == sorted(set(steps)), "newer each time"


def test_weights_are_copied_only_for_pages() -> None:
    copies: list[int] = []

    def weights() -> npt.NDArray[np.float32]:
        copies.append(1)
        return np.zeros(1, np.float32)

    live = LiveTraining(weights, lambda: 0, Progress())
    for _ in range(1000):
        live.after_step(lambda: False)
    assert len(copies) == 2, "at the beginning, and after the first step"
    began = time.monotonic()
    for _ in range(1000):
        live.weights()  # a page that asks after every step
        live.after_step(lambda: False)
    assert len(copies) <= 3 + 4 * (time.monotonic() - began), "four times a second"


def test_pause_single_steps_and_resume(ask: Ask, trained: Trained) -> None:
    trained.start()
    events = events_of(ask("events/1"))
    assert next(events)["state"] == "running"
    assert ask("pause", "POST").status == 204
    paused = wait_for(events, "paused")
    at = trained.step
    time.sleep(0.1)
    assert trained.step == at == paused["weights"]
    for number in (1, 2, 3):
        assert ask("step", "POST").status == 204
        assert next(event for event in events if event["weights"] == at + number)["state"] == "paused"
        response = ask("weights/1")
        assert np.frombuffer(response.read(), "<f4").tolist() == [at + number] * 2
        assert trained.step == at + number
    assert ask("resume", "POST").status == 204
    wait_for(events, "running")
    time.sleep(0.1)
    assert trained.step > at + 3


def test_resume_during_a_single_step(ask: Ask, trained: Trained) -> None:
    trained.live.pause()
    trained.live.take_single_step()
    trained.live.resume()
    assert trained.live.state == "running"
    trained.start()
    time.sleep(0.1)
    assert trained.step > 1


def test_a_stop_ends_a_pause(trained: Trained) -> None:
    trained.live.pause()
    trained.start()
    time.sleep(0.15)
    assert (trained.live.state, trained.step) == ("paused", 0)
    trained.stop()


def test_a_training_that_cannot_be_paused() -> None:
    training = Trained(can_pause=False)
    training.live.pause()
    assert training.live.state == "running"
    assert next(training.live.statuses())["can_pause"] is False  # type: ignore[index]  # the first is no heartbeat


def test_the_loss_curve(ask: Ask, trained: Trained) -> None:
    """The means of the losses 1, 1/2, 1/3, ... between two points."""
    trained.start()
    events = events_of(ask("events/1"))
    points = [tuple(point) for event in (next(events) for _ in range(6)) for point in event["points"]]
    assert len(points) >= 2
    for (before, _), (after, loss) in pairwise(points):
        losses = [1 / step for step in range(before + 1, after + 1)]
        # A step may be taken between the reading of the sums and of the number of the step.
        assert loss == pytest.approx(np.mean(losses), rel=0.1)
    trained.live.pause()
    wait_for(events, "paused")
    first = next(events_of(ask("events/2")))
    assert first["first"] is True
    assert [tuple(point) for point in first["points"]][: len(points)] == points


def test_a_long_curve_is_merged(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.report.live._POINTS", 10)
    sums = Sums.zero(torch.device("cpu"))
    for step in range(1, 40):
        sums = sums.plus(torch.tensor(2.0), torch.tensor(0), 1)
        trained.step = step
        trained.progress.write(step, sums)
        trained.live.sample()
    status = next(trained.live.statuses())
    assert status is not None
    assert 4 <= len(status["points"]) <= 10
    assert {loss for _, loss in status["points"]} == {2.0}
    assert status["points"][-1][0] == 39


def test_the_curve_of_a_training_that_returns_to_an_earlier_step(trained: Trained) -> None:
    sums = Sums.zero(torch.device("cpu"))
    for step in (1, 2, 3, 4, 2, 3):
        sums = sums.plus(torch.tensor(float(step)), torch.tensor(0), 1)
        trained.step = step
        trained.progress.write(step, sums)
        trained.live.sample()
    status = next(trained.live.statuses())
    assert status is not None
    assert [step for step, _ in status["points"]] == [1, 2, 3]


def test_epochs_are_told_once(ask: Ask, trained: Trained) -> None:
    record = {"epoch": 1, "step": 9, "train": {"loss": 0.5, "accuracy": 0.8}, "val": None}
    events = events_of(ask("events/1"))
    next(events)
    trained.live.add_epoch({**record, "seconds": 1.0})
    assert next(event for event in events if event["metrics"])["metrics"] == [record]
    trained.live.pause()
    assert next(event for event in events if event["state"] == "pausing")["metrics"] == []
    assert next(events_of(ask("events/2")))["metrics"] == [record]


def test_a_resumed_training_has_its_earlier_epochs() -> None:
    """They are read when its state has been restored, which is so after its first step."""
    metrics = [
        {"epoch": epoch, "step": 10 * epoch, "train": {"loss": 1 / epoch, "accuracy": 0.5}, "val": None}
        for epoch in (1, 2, 3)
    ]
    live = LiveTraining(
        lambda: np.zeros(1, np.float32),
        lambda: 25,
        Progress(),
        earlier=lambda: [{**record, "seconds": 1.0} for record in metrics],
    )
    page = live.statuses()
    before = next(page)
    assert before is not None
    assert (before["metrics"], before["points"]) == ([], [])
    del metrics[2]  # the run was killed before the checkpoint of this epoch
    for _ in range(3):
        live.after_step(lambda: False)
    live.add_epoch({"epoch": 3, "step": 30, "train": {"loss": 0.1, "accuracy": 0.6}, "val": None})
    for status in (next(page), next(live.statuses())):
        assert status is not None
        assert [each["epoch"] for each in status["metrics"]] == [1, 2, 3]
        assert status["metrics"][:2] == metrics
        assert status["points"] == [(10, 1.0), (20, 0.5)]


def test_connections_are_counted_rather_than_pages(ask: Ask) -> None:
    """A page that opens its events again and again, each on a connection of its own."""
    responses = [ask("events/7") for _ in range(MAX_PAGES)]
    assert {response.status for response in responses} == {200}
    assert ask("events/7").status == 503
    assert ask("events/8").status == 503
    assert ask("weights/8").status == 200


def test_pages_that_go_away(ask: Ask, server: LiveServer, trained: Trained) -> None:
    trained.start()
    responses = [ask(f"events/{number}") for number in range(MAX_PAGES)]
    for response in responses:
        next(events_of(response))
    assert ask("events/99").status == 503
    address = urlsplit(server.address)
    responses[0].close()
    for response in responses:
        response.close()
    del response, responses
    with socket.create_connection((address.hostname, address.port)) as rude:
        rude.sendall(f"GET {address.path}events/7 HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        rude.recv(10)
    before = trained.step
    time.sleep(0.2)
    assert trained.step > before


def test_the_end(ask: Ask, server: LiveServer, trained: Trained) -> None:
    events = events_of(ask("events/5"))
    next(events)
    trained.step = 70
    trained.live.end("complete")
    last = wait_for(events, "complete")
    assert last["weights"] == 70
    began = time.monotonic()
    closing = threading.Thread(target=server.close)
    closing.start()
    time.sleep(0.2)
    response = ask("weights/5")
    assert np.frombuffer(response.read(), "<f4").tolist() == [70, 70]
    closing.join(5)
    assert not closing.is_alive()
    assert time.monotonic() - began < 1.9, "it waits no longer than the page needs"
    with pytest.raises(ConnectionRefusedError):
        ask("")


def test_an_error_in_the_training(trained: Trained) -> None:
    began = time.monotonic()

    def fail() -> None:
        with serve(trained.live, PAGE):
            raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        fail()
    assert trained.live.state == "failed"
    assert time.monotonic() - began < 1.9


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--live-port {port}: .*in use"):
            check_port(port)
    check_port(0)
