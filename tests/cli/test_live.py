"""`cnncli train --live`: the same weights as without, however often pages ask, pause and take single steps."""

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file

from tests.forked import Forked

Cnncli = Callable[..., tuple[int, str, str]]
Start = Callable[..., Forked]

# Dropout and augmentation draw random numbers at every step; 1,150 images in batches of 8 give a page time to ask.
CONFIG = """\
name: long
data: {name: digits, size: 8, validation: 0.2, augment: {shift: 1, noise: 0.1}}
model: {layers: [{conv: {out_channels: 4, kernel_size: 3}}, batch_norm, relu, flatten, {dropout: 0.2}, logits]}
train: {epochs: 2, batch_size: 8, optimizer: {sgd: {lr: 1e-2, momentum: 0.9}}, schedule: one_cycle, ema: 0.99}
log: {images: 2, graph: false}
"""


class Visitor:
    """A page that follows a training."""

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)

    def ask(self, path: str, method: str = "GET") -> bytes:
        connection = HTTPConnection(str(self._address.hostname), int(self._address.port or 0), timeout=30)
        try:
            connection.request(method, self._address.path + path)
            response = connection.getresponse()
            assert response.status in (200, 204), (path, response.status)
            return response.read()
        finally:
            connection.close()

    def wait_for(self, state: str) -> dict[str, object]:
        connection = HTTPConnection(str(self._address.hostname), int(self._address.port or 0), timeout=30)
        try:
            connection.request("GET", f"{self._address.path}events/2")
            for line in connection.getresponse():
                status = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
                if status.get("state") == state:
                    return dict(status)
        finally:
            connection.close()
        raise AssertionError(f"never {state}")


def visitor_of(process: Forked) -> tuple[Visitor, str]:
    """The visitor of a training that has just been started, and what it printed before the address."""
    before = ""
    for line in process.stderr:
        if found := re.fullmatch(r"live: (http://127\.0\.0\.1:\d+/[\w-]+/)\n", line):
            return Visitor(found[1]), before
        before += line
    raise AssertionError(before)


def run_in(out: Path) -> Path:
    (run,) = out.iterdir()
    return run


def same_training(one: Path, other: Path) -> None:
    """All weights and all state of the training bit for bit, and all metrics but the time."""
    for which in ("last", "best"):
        first, second = (load_file(run / "checkpoints" / which / "weights.safetensors") for run in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    states = [torch.load(run / "checkpoints" / "last" / "state.pt", weights_only=True) for run in (one, other)]
    for generator in states[0]["rng_state"]:
        assert torch.equal(states[0]["rng_state"][generator], states[1]["rng_state"][generator])
    records = []
    for run in (one, other):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        records.append([{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines])
    assert records[0] == records[1]
    assert (one / "results.json").read_bytes() == (other / "results.json").read_bytes()
    kept = [{path.name: path.read_bytes() for path in (run / "weights").iterdir()} for run in (one, other)]
    assert kept[0] == kept[1]


def test_the_same_weights_bit_for_bit(folder: Path, start_cnncli: Start, run_cnncli: Cnncli) -> None:
    (folder / "long.yaml").write_text(CONFIG, encoding="utf-8")
    train = ("train", "long.yaml", "--threads", 1, "--quiet")
    process = start_cnncli(*train, "--live", "--out", "live")
    visitor, before = visitor_of(process)
    assert before == ""
    assert b"connect-src 'self'" in visitor.ask("")
    visitor.ask("pause", "POST")
    paused = visitor.wait_for("paused")
    for _ in range(3):
        visitor.ask("step", "POST")
    visitor.ask("resume", "POST")
    asked = 0

    def follow() -> None:
        nonlocal asked
        while process.poll() is None:
            try:
                visitor.ask("weights/1")
                visitor.ask("")
                asked += 1
            except (OSError, HTTPException, AssertionError):  # the program has ended
                return

    followers = [threading.Thread(target=follow) for _ in range(3)]
    for each in followers:
        each.start()
    out, err = process.communicate(timeout=120)
    for each in followers:
        each.join()
    assert (process.returncode, err) == (0, "")
    assert out.strip() == str(Path("live") / run_in(folder / "live").name)
    assert asked > 3, "pages asked while it trained"
    assert isinstance(paused["step"], int)
    assert run_cnncli(*train, "--out", "alone")[0] == 0
    same_training(run_in(folder / "live"), run_in(folder / "alone"))


def test_ctrl_c_during_a_pause(folder: Path, start_cnncli: Start) -> None:
    (folder / "long.yaml").write_text(CONFIG, encoding="utf-8")
    process = start_cnncli("train", "long.yaml", "--threads", 1, "--json", "--live", "--out", "runs")
    visitor, _ = visitor_of(process)
    visitor.ask("pause", "POST")
    paused = visitor.wait_for("paused")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert [json.loads(line)["epoch"] for line in out.splitlines()] in ([], [1])
    manifest = json.loads((run_in(folder / "runs") / "checkpoints" / "last" / "manifest.json").read_text())
    assert manifest["step"] == paused["step"]


def test_without_a_page(folder: Path, run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli("train", "tiny.yaml", "--threads", 1, "--live")
    assert code == 0
    assert re.match(r"live: http://127\.0\.0\.1:\d+/[\w-]+/\n", err), "before the heading of the epochs"
    assert err.count("http") == 1


def test_a_port_that_is_taken(folder: Path, run_cnncli: Cnncli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = run_cnncli("train", "tiny.yaml", "--live", "--live-port", port)
    assert (code, out) == (2, "")
    assert f"--live-port {port}: the page cannot be served there" in err
    assert not (folder / "runs").exists(), "nothing is begun"


def test_a_port_needs_live(run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli("train", "tiny.yaml", "--live-port", 8123)
    assert code == 2
    assert "add --live" in err
