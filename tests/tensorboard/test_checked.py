"""Which hosts TensorBoard answers for, asked as a WSGI server asks."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cnncli.tensorboard.checked import checked


def answer(host: str | None, *names: str | None) -> tuple[str, bytes]:
    """Status and content for a request with this `Host`."""
    statuses: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"runs"]

    environ = {} if host is None else {"HTTP_HOST": host}
    content = b"".join(checked(application, *names)(environ, lambda status, headers: statuses.append(status)))
    (status,) = statuses
    return status, content


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:6006", "LOCALHOST:6006", "localhost.:6006"),
        *("127.0.0.1:6006", "127.0.0.1", "192.168.1.7:80", "0.0.0.0:6006", "[::1]:6006", "[::1]"),
        *(f"{socket.gethostname()}:6006", "Chosen.example:6006"),
    ],
)
def test_this_machine(host: str) -> None:
    assert answer(host, "chosen.example", socket.gethostname(), None) == ("200 OK", b"runs")


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", ":6006", "attacker.example", "attacker.example:6006", "localhost.attacker.example:6006"),
        *("127.0.0.1.attacker.example", "attacker.example:127.0.0.1", "localhost:6006:x", "1:attacker", "x@127.0.0.1"),
        "notlocalhost:6006",
    ],
)
def test_other_names(host: str | None) -> None:
    status, content = answer(host, "chosen.example")
    assert status == "403 Forbidden"
    assert b"runs" not in content
