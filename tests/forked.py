"""The program in forked processes, which have everything imported: Python with torch takes seconds to start.

They run the program as a user does, from its arguments to its exit code. What an own interpreter does on its way there
and back (imports, `-m cnncli`, `atexit`) is tested by commands that import no torch.
"""

import os
import runpy
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TextIO

import pexpect

from cnncli.__main__ import main

FAILED = 70
"""The exit code of a forked process that could not start the program."""


def fork(run: Callable[[], object]) -> int:
    """Call a function in a forked process, which ends with its exit code; returns the number of the process."""
    with warnings.catch_warnings():
        # The threads that Python warns of belong to libraries, and the child starts none of them again.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = FAILED
    try:
        code = exit_code_of(run)
    finally:
        os._exit(code)


def exit_code_of(run: Callable[[], object]) -> int:
    """With which code Python would end after this function."""
    try:
        run()
    except SystemExit as exited:
        if isinstance(exited.code, str):
            sys.stderr.write(f"{exited.code}\n")
        return exited.code if isinstance(exited.code, int) else bool(exited.code)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0


def run_program(*arguments: object) -> None:
    """Run `cnncli ARGUMENTS`; it exits."""
    sys.argv = ["cnncli", *map(str, arguments)]
    main()


def run_script(path: object, *arguments: object) -> None:
    """Run `python PATH ARGUMENTS`."""
    sys.argv = [str(path), *map(str, arguments)]
    runpy.run_path(str(path), run_name="__main__")


def use_streams(out: int, err: int) -> None:
    """Let this process write to other descriptors, buffered as a new one does."""
    for stream, opened in ((1, out), (2, err)):
        os.dup2(opened, stream)
    open_streams()


def open_streams() -> None:
    """Let `sys` have new objects for the descriptors 0, 1 and 2: those of pytest write elsewhere."""
    sys.stdin, sys.stdout = (open(stream, mode, encoding="utf-8", closefd=False) for stream, mode in enumerate("rw"))  # noqa: SIM115  pathlib opens no descriptors
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115  likewise


def on_terminal(
    *arguments: object, environment: Mapping[str, str] | None = None, columns: int = 80, timeout: float = 60
) -> pexpect.spawn:
    """Run `cnncli ARGUMENTS` in a forked process on a terminal of 24 rows.

    Args:
        arguments: of `cnncli`.
        environment: all variables of the process; None for ours.
        columns: of the terminal.
        timeout: seconds after which it fails to wait for an output.
    """

    def run_in_child() -> None:
        os.closerange(3, 1 << 20)  # as `exec` does, for which pexpect waits
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        open_streams()
        os._exit(exit_code_of(partial(run_program, *arguments)))

    return pexpect.spawn(
        sys.executable, preexec_fn=run_in_child, dimensions=(24, columns), encoding="utf-8", timeout=timeout
    )


class Forked:
    """A forked process with pipes for its stdout and stderr, which is used like a `subprocess.Popen`.

    At the end of its context it is killed if it still runs.

    Args:
        run: called in the process, whose exit code is that of Python after it.
        environment: variables that the process has besides ours.
    """

    def __init__(self, run: Callable[[], object], environment: Mapping[str, str] | None = None) -> None:
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()

        def run_in_child() -> object:
            os.environ.update(environment or {})
            use_streams(to_out, to_err)
            return run()

        self.pid = fork(run_in_child)
        self.returncode: int | None = None
        self.stdout: TextIO = open(out, encoding="utf-8")  # noqa: SIM115, PTH123  closed by __exit__
        self.stderr: TextIO = open(err, encoding="utf-8")  # noqa: SIM115, PTH123  likewise
        for each in (to_out, to_err):
            os.close(each)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self.wait()
        for stream in (self.stdout, self.stderr):
            stream.close()

    def poll(self) -> int | None:
        """The exit code, minus the number of the signal that ended it, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end; the exit code as `poll` gives it.

        Raises:
            TimeoutError: it still runs after so many seconds.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} has not ended after {timeout:g} s")
            time.sleep(0.002)
        return code

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """Wait for its end; what it wrote to stdout and stderr."""
        with ThreadPoolExecutor() as pool:
            out, err = (pool.submit(stream.read) for stream in (self.stdout, self.stderr))
            try:
                self.wait(timeout)
            except TimeoutError:
                self.kill()  # ends what is read
                raise
            return out.result(), err.result()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM, if it still runs."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self.send_signal(signal.SIGKILL)
