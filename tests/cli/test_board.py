"""`cnncli board`: how it begins and ends, mostly with something that only poses as TensorBoard."""

import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.cli.commands import tensorboard as command
from cnncli.errors import ServerError
from cnncli.tensorboard import server as launch
from cnncli.tensorboard.event_file import EventFile

Cnncli = Callable[..., tuple[int, str, str]]
Start = Callable[..., subprocess.Popen[str]]

ANSWERS = """\
import http.server, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'["lenet5"]' if self.path == "/data/runs" else b"?")
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(f"TensorBoard 2 at http://127.0.0.1:{server.server_port}/ (Press CTRL+C to quit)", flush=True)
"""


@pytest.fixture
def runs(folder: Path) -> Path:
    """A folder with a run in it, which has logged one number."""
    with EventFile(folder / "runs" / "lenet5") as board:
        board.scalars(0, {"loss/val": 1.0})
    return folder / "runs"


@pytest.fixture
def pose_as_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a Python program in TensorBoard's place."""

    def pose(program: str) -> None:
        (tmp_path / "program.py").write_text(program)
        interpreter = tmp_path / "python"
        interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/program.py "$@"\n')
        interpreter.chmod(0o700)
        monkeypatch.setattr(launch, "_PYTHON", str(interpreter))

    return pose


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to see processes in")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_real_one_ends_in_peace_and_leaves_nothing_behind(
    number: signal.Signals, runs: Path, start_cnncli: Start
) -> None:
    process = start_cnncli("board")  # as the documentation has it: over the folder `runs` where one is
    assert process.stderr is not None
    assert process.stderr.readline() == "Ctrl-C stops TensorBoard\n"
    started = descendants(process.pid)
    assert started
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()][:3] == ["everything", "curves", "kernels"]
    deadline = time.monotonic() + 10
    while alive := set(filter(is_alive, started)):
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("path", "message"),
    [("missing", "missing is not there"), ("tiny.yaml", "tiny.yaml is not a folder"), (".", ".: there are no runs")],
)
def test_no_runs(path: str, message: str, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("board", path)
    assert (code, out) == (5, "")
    assert err.startswith(f"error: {message}")
    assert "cnncli train quickstart" in err


def test_a_port_that_is_taken(runs: Path, run_cnncli: Cnncli) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        code, out, err = run_cnncli("board", runs, "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --port {port}: Address already in use\n")
    assert "leave --port out" in err


def test_usual_ports_are_left_to_who_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(launch, "_USUAL_PORTS", range(port, port + 1))
        assert launch._port("localhost", None) == "0", "TensorBoard then takes any"
    assert launch._port("localhost", None) == "default", "it then takes the first of them that is free"


def test_a_host_that_is_elsewhere(runs: Path, run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli("board", runs, "--host", "192.0.2.1")  # RFC 5737: an address that nobody has
    assert code == 2
    assert err.startswith("error: --host 192.0.2.1: ")


@pytest.mark.parametrize("wanted", [True, False])
def test_the_browser_is_opened_only_if_asked(
    wanted: bool,
    runs: Path,
    run_cnncli: Cnncli,
    pose_as_tensorboard: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    pose_as_tensorboard(ANSWERS + "server.serve_forever()")
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(command, "show_notice", lambda text: os.kill(os.getpid(), signal.SIGINT))  # heard at the end
    code, out, _ = run_cnncli("board", runs, *(["--open"] if wanted else []))
    assert code == 0
    assert opened == ([out.split()[1]] if wanted else [])


def test_an_empty_folder_is_waited_in(
    folder: Path, run_cnncli: Cnncli, pose_as_tensorboard: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "soon").mkdir()
    (folder / "soon" / ".gitkeep").touch()
    said: list[str] = []
    pose_as_tensorboard(ANSWERS + "server.serve_forever()")

    def say(text: str) -> None:
        said.append(text)
        if "Ctrl-C" in text:  # the last that is said
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(command, "show_notice", say)
    code, _, _ = run_cnncli("board", "soon")
    assert code == 0
    assert said[0].startswith("soon has no runs yet")


def test_a_tensorboard_that_fails_is_quoted(
    runs: Path, run_cnncli: Cnncli, pose_as_tensorboard: Callable[[str], None]
) -> None:
    pose_as_tensorboard("import sys; sys.exit('no plugin can be found')")
    code, out, err = run_cnncli("board", runs)
    assert (code, out) == (1, "")
    assert err.startswith("error: TensorBoard ended with exit code 1; it said:\n  no plugin can be found\n")
    assert "Traceback" not in err


def test_a_tensorboard_that_ends_later_is_noticed(
    runs: Path, run_cnncli: Cnncli, pose_as_tensorboard: Callable[[str], None]
) -> None:
    pose_as_tensorboard(ANSWERS + "server.handle_request(); print('out of memory'); sys.exit(9)")
    code, out, err = run_cnncli("board", runs)
    assert code == 1
    assert out.startswith("everything ")
    assert "error: TensorBoard ended with exit code 9; it said:\n" in err
    assert "out of memory" in err


def test_a_tensorboard_that_never_answers(
    runs: Path, pose_as_tensorboard: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('thinking', flush=True)"
    pose_as_tensorboard(f"{stubborn}; time.sleep(60)")
    monkeypatch.setattr(launch, "_DEADLINE", 0.0)
    monkeypatch.setattr(launch, "_PATIENCE_AT_THE_END", 0.1)
    with launch.Server(runs) as server:
        while not server._said.read_text():
            time.sleep(0.02)
        with pytest.raises(ServerError, match="did not answer within 0 s; it said:\n  thinking"):
            server.wait_for_answer(lambda: False, runs=True)
    assert server._process.poll() == -signal.SIGKILL, "it ignores SIGTERM"


def test_who_asks_it_to_stop_while_it_starts_is_heard(runs: Path, pose_as_tensorboard: Callable[[str], None]) -> None:
    pose_as_tensorboard("import time; time.sleep(60)")
    with launch.Server(runs) as server:
        assert server.wait_for_answer(lambda: True, runs=True) is None
    assert server._process.poll() == -signal.SIGTERM


def test_a_run_alone_keeps_its_name(runs: Path, pose_as_tensorboard: Callable[[str], None]) -> None:
    """TensorBoard would list it as `.`, so it is given a folder with the run in it."""
    pose_as_tensorboard("import sys, time; print(*sys.argv, sep='\\n', flush=True); time.sleep(60)")
    with launch.Server(runs / "lenet5") as server:
        while "--port" not in (words := server._said.read_text().splitlines()):
            time.sleep(0.02)
        folder = Path(words[words.index("--logdir") + 1])
        assert [each.name for each in folder.iterdir()] == ["lenet5"]
        assert (folder / "lenet5").resolve() == (runs / "lenet5").resolve()
    assert (runs / "lenet5").is_dir(), "the link is gone, not the run"
    assert not folder.exists()
