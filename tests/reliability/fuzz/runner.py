"""Runs cases in forked processes with limits on time and memory, and judges how they ended."""

import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cnncli.printable import printable, printable_name
from tests.reliability.fuzz.case import RUN, Case

SECONDS = 5.0
"""CPU time of a case."""
_WALL_SECONDS = 60.0
"""Time of a case on a clock: a busy machine gives it less than a core, a case that waits for ever uses no CPU time."""
MEMORY = 2 * 2**30
"""Bytes of address space that a case may add."""
DOCUMENTED = {0: "done", 2: "usage", 3: "config", 4: "data", 5: "run", 6: "diverged", 7: "disk", 8: "device or memory"}
_MAX_OUTPUT = 100_000


@dataclass(frozen=True)
class Result:
    """How a case ended.

    Attributes:
        outcome: as it is counted: `done`, `refused, exit 3` ...
        failure: what is wrong with that; empty if nothing is. Equal for failures of one kind.
        output: the end of what it has printed.
        seconds: CPU time.
    """

    outcome: str
    failure: str = ""
    output: str = ""
    seconds: float = 0.0


def run_cases(cases: Sequence[Case], run: Path) -> Iterator[Result]:
    """The result of each case. A forked process runs them one after the other; after one that fails, a new one.

    Args:
        cases: the cases.
        run: a trained run, which is copied where a case needs one.
    """
    done = 0
    while done < len(cases):
        for result in _run_some(cases[done:], run):
            yield result
            done += 1


def _run_some(cases: Sequence[Case], run: Path) -> Iterator[Result]:
    """Results of the first cases, until the process has ended."""
    with tempfile.TemporaryDirectory(prefix="cnncli-fuzz-") as folder:
        reading, writing = os.pipe()
        sys.stdout.flush()
        child = os.fork()
        if not child:
            os.close(reading)
            _work(cases, run, Path(folder), os.fdopen(writing, "w", encoding="utf-8"))
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as results:
            killed = ""
            for _ in cases:
                killed = _wait_for_line(child, reading)
                line = "" if killed else results.readline()
                if not line:
                    break
                result = Result(**json.loads(line))
                yield result
                if result.failure:
                    break
            else:
                os.waitpid(child, 0)
                return
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if killed:
            yield Result("hangs", killed)
        elif not line:
            yield Result("killed", f"the process ended with {status}")


def _wait_for_line(child: int, pipe: int) -> str:
    """Wait for the next result; the reason if there is none in time."""
    import select

    began, used = time.monotonic(), _cpu_seconds(child)
    while not select.select([pipe], [], [], 0.25)[0]:
        if _cpu_seconds(child) - used > SECONDS + 1:
            return f"takes more than {SECONDS:g} s of CPU time"
        if time.monotonic() - began > _WALL_SECONDS:
            return f"waits for more than {_WALL_SECONDS:g} s"
    return ""


def _cpu_seconds(process: int) -> float:
    """CPU seconds of a process and its children that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _work(cases: Sequence[Case], run: Path, folder: Path, results: IO[str]) -> None:
    """The body of the forked process, which writes one line per case and never returns."""
    try:
        output = os.open(folder / "output", os.O_RDWR | os.O_CREAT)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.environ["NO_COLOR"] = "1"
        _limit_memory()
        for number, case in enumerate(cases):
            place = folder / str(number)
            place.mkdir()
            if case.run:
                shutil.copytree(run, place / RUN)
            _write(case, place)
            os.chdir(place)
            os.ftruncate(output, 0)
            os.lseek(output, 0, os.SEEK_SET)
            began = time.process_time()
            code, failure = _program(case.arguments)
            seconds = time.process_time() - began
            os.chdir(folder)
            shutil.rmtree(place, ignore_errors=True)
            size = os.fstat(output).st_size
            shown = os.pread(output, _MAX_OUTPUT, max(0, size - _MAX_OUTPUT)).decode(errors="replace")
            result = judge(case, code, failure, shown, seconds)
            results.write(json.dumps(vars(result)) + "\n")
            results.flush()
            if result.failure:
                break
    finally:
        os._exit(0)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _write(case: Case, place: Path) -> None:
    for name, content in case.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)


def _program(arguments: Sequence[str]) -> tuple[int, str]:
    """Run the program here: its exit code, and what it raised that it should not have."""
    from cnncli.cli.app import main

    sys.stdout, sys.stderr = (
        open(stream, "w", encoding="utf-8", errors="strict" if stream == 1 else "backslashreplace", closefd=False)  # noqa: SIM115
        for stream in (1, 2)
    )
    sys.argv = ["cnncli", *arguments]
    code, failure = 0, ""
    try:
        main()
    except SystemExit as exited:
        code = exited.code if isinstance(exited.code, int) else 0 if exited.code is None else 1
    except BaseException as error:
        code, failure = 1, f"raises {type(error).__name__}"
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return code, failure


def judge(case: Case, code: int, failure: str, shown: str, seconds: float) -> Result:
    """Whether a case ended as it should: a documented exit code, a message that names the place, nothing else."""
    if not failure and "internal error" in shown:
        failure = shown.partition("internal error: ")[2].partition(":")[0].strip() or "internal error"
        failure = f"internal error: {failure}"
    if not failure and "Traceback" in shown:
        failure = "prints a traceback"
    if not failure and code not in DOCUMENTED:
        failure = f"exit code {code}"
    if not failure and printable(shown) != shown:
        failure = "prints control characters"
    if not failure and code and not names_the_place(case, shown):
        words = re.findall(r"[a-z]{3,}", shown.lower().partition("error:")[2])
        failure = f"names no place: {' '.join(words[:4])}"
    if not failure and seconds > SECONDS:
        failure = f"takes more than {SECONDS:g} s of CPU time"
    outcome = "done" if code == 0 else f"refused, exit {code}"
    return Result("fails" if failure else outcome, failure, shown[-3000:], seconds)


def names_the_place(case: Case, shown: str) -> bool:
    """Whether a message says what it is about: a file, an option with its value, or an argument."""
    words = [*case.arguments[1:], *case.files, RUN, *(["<stdin>"] if "-" in case.arguments else [])]
    names = [name for word in words for name in _parts(word) if name.strip("-./")]
    return bool(shown.strip()) and any(printable_name(name)[:40] in shown for name in names)


def _parts(word: str) -> tuple[str, ...]:
    """A word as messages may quote it: whole, up to a sign, or the last part of a path."""
    word = word or repr(word)
    return (
        word,
        word[:2] if word[0:1] == "-" else word,
        word.partition("=")[0],
        word.partition(",")[0],
        Path(word).name,
    )
