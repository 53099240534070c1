"""`cnncli tensorboard`: how it starts and ends, mostly with a fake TensorBoard."""

import os
import signal
import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.cli.commands import tensorboard as command
from cnncli.errors import ServerError
from cnncli.tensorboard import server as server_module
from cnncli.tensorboard.event_file import EventFile
from tests.forked import Forked

Cnncli = Callable[..., tuple[int, str, str]]
Start = Callable[..., Forked]

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
    """A folder with a run that has logged one number."""
    with EventFile(folder / "runs" / "lenet5") as events:
        events.scalars(0, {"loss/val": 1.0})
    return folder / "runs"


@pytest.fixture
def fake_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a Python program instead of TensorBoard."""

    def replace(program: str) -> None:
        (tmp_path / "program.py").write_text(program)
        interpreter = tmp_path / "python"
        interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/program.py "$@"\n')
        interpreter.chmod(0o700)
        monkeypatch.setattr(server_module, "_PYTHON", str(interpreter))

    return replace


def descendants(pid: int) -> set[int]:
    """The child processes of a process, and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just exited
    all_of_them, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        all_of_them |= new
    return all_of_them


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to see processes in")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_real_one_with_all_its_processes(
    number: signal.Signals, runs: Path, start_cnncli: Start
) -> None:
    process = start_cnncli("tensorboard")  # over the folder `runs`
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
    [("missing", "missing: no such folder"), ("tiny.yaml", "tiny.yaml: not a folder"), (".", ".: no runs")],
)
def test_no_runs(path: str, message: str, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("tensorboard", path)
    assert (code, out) == (5, "")
    assert err.startswith(f"error: {message}")
    assert "cnncli train quickstart" in err


def test_a_port_in_use(runs: Path, run_cnncli: Cnncli) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        code, out, err = run_cnncli("tensorboard", runs, "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --port {port}: Address already in use\n")
    assert "omit --port" in err


def test_default_ports_in_use_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(server_module, "_DEFAULT_PORTS", range(port, port + 1))
        assert server_module._choose_port("localhost", None) == "0", "any free port"
    assert server_module._choose_port("localhost", None) == "default", "the first of them that is free"


def test_a_host_of_another_machine(runs: Path, run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli("tensorboard", runs, "--host", "192.0.2.1")  # RFC 5737: of documentation
    assert code == 2
    assert err.startswith("error: --host 192.0.2.1: ")


@pytest.mark.parametrize("wanted", [True, False])
def test_only_open_opens_the_browser(
    wanted: bool,
    runs: Path,
    run_cnncli: Cnncli,
    fake_tensorboard: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    fake_tensorboard(ANSWERS + "server.serve_forever()")
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(command, "show_notice", lambda text: os.kill(os.getpid(), signal.SIGINT))
    code, out, _ = run_cnncli("tensorboard", runs, *(["--open"] if wanted else []))
    assert code == 0
    assert opened == ([out.split()[1]] if wanted else [])


def test_an_empty_folder_is_accepted(
    folder: Path, run_cnncli: Cnncli, fake_tensorboard: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "soon").mkdir()
    (folder / "soon" / ".gitkeep").touch()
    notices: list[str] = []
    fake_tensorboard(ANSWERS + "server.serve_forever()")

    def show(text: str) -> None:
        notices.append(text)
        if "Ctrl-C" in text:  # the last one
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(command, "show_notice", show)
    code, _, _ = run_cnncli("tensorboard", "soon")
    assert code == 0
    assert notices[0].startswith("soon has no runs yet")


def test_the_output_of_a_tensorboard_that_fails_is_shown(
    runs: Path, run_cnncli: Cnncli, fake_tensorboard: Callable[[str], None]
) -> None:
    fake_tensorboard("import sys; sys.exit('no plugin can be found')")
    code, out, err = run_cnncli("tensorboard", runs)
    assert (code, out) == (1, "")
    assert err.startswith("error: TensorBoard exited with code 1; its output ends with:\n  no plugin can be found\n")
    assert "Traceback" not in err


def test_a_tensorboard_that_exits_later_is_an_error(
    runs: Path, run_cnncli: Cnncli, fake_tensorboard: Callable[[str], None]
) -> None:
    fake_tensorboard(ANSWERS + "server.handle_request(); print('out of memory'); sys.exit(9)")
    code, out, err = run_cnncli("tensorboard", runs)
    assert code == 1
    assert out.startswith("everything ")
    assert "error: TensorBoard exited with code 9; its output ends with:\n" in err
    assert "out of memory" in err


def test_a_tensorboard_that_never_answers(
    runs: Path, fake_tensorboard: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorboard(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('thinking', flush=True)\n"
        "time.sleep(60)"
    )
    monkeypatch.setattr(server_module, "_START_SECONDS", 0.0)
    monkeypatch.setattr(server_module, "_GRACE_SECONDS", 0.1)
    with server_module.Server(runs) as server:
        while not server._output.read_text():
            time.sleep(0.02)
        with pytest.raises(ServerError, match="did not respond within 0 s; its output ends with:\n  thinking"):
            server.wait_for_answer(lambda: False, runs=True)
    assert server._process.poll() == -signal.SIGKILL


def test_it_can_be_stopped_while_it_starts(runs: Path, fake_tensorboard: Callable[[str], None]) -> None:
    fake_tensorboard("import time; time.sleep(60)")
    with server_module.Server(runs) as server:
        assert server.wait_for_answer(lambda: True, runs=True) is None
    assert server._process.poll() == -signal.SIGTERM


def test_a_single_run_keeps_its_name(runs: Path, fake_tensorboard: Callable[[str], None]) -> None:
    """TensorBoard would list it as `.`; it gets a folder with a link to the run."""
    fake_tensorboard("import sys, time; print(*sys.argv, sep='\\n', flush=True); time.sleep(60)")
    with server_module.Server(runs / "lenet5") as server:
        while "--port" not in (words := server._output.read_text().splitlines()):
            time.sleep(0.02)
        folder = Path(words[words.index("--logdir") + 1])
        assert [each.name for each in folder.iterdir()] == ["lenet5"]
        assert (folder / "lenet5").resolve() == (runs / "lenet5").resolve()
    assert (runs / "lenet5").is_dir(), "the link is gone, not the run"
    assert not folder.exists()
