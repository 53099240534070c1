"""Images decoded by other processes, against Pillow in this one; processes that crash, and that are needed no more."""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli.data import decoding
from cnncli.data.decoding import Target, decode_all

HEIGHT, WIDTH = 9, 7
TARGET = Target(channels=3, size=(HEIGHT, WIDTH))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[decoding._Process]]:
    """Two processes from the first image on; the list of those that were started."""
    every: list[decoding._Process] = []

    class Noted(decoding._Process):
        def __init__(self) -> None:
            super().__init__()
            every.append(self)

    monkeypatch.setattr(decoding, "_Process", Noted)
    monkeypatch.setattr(decoding, "_ALONE", -1.0)
    monkeypatch.setattr(decoding, "_CHUNK_IMAGES", 3)
    monkeypatch.setattr(decoding, "_usable_cores", lambda: 2)
    yield every
    assert all(each._process.returncode is not None for each in every), "all have ended"


def noise(folder: Path, count: int) -> list[Path]:
    numbers = np.random.default_rng(0)
    paths = [folder / f"{number} ü.{'jpg' if number % 2 else 'png'}" for number in range(count)]
    for path in paths:
        Image.fromarray(numbers.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        scaled = image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(scaled).transpose(2, 0, 1)


def test_pixels_and_digests_in_their_order(tmp_path: Path, started: list[decoding._Process]) -> None:
    paths = noise(tmp_path, 20)  # seven chunks, the last with two
    found = list(decode_all(paths, TARGET))
    assert len(started) == 2
    np.testing.assert_array_equal(
        np.concatenate([each.pixels for each in found]), np.stack(list(map(by_pillow, paths)))
    )
    digests = chain.from_iterable(each.digests for each in found)
    assert list(digests) == [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    assert not any(chain.from_iterable(each.problems for each in found))


@pytest.mark.usefixtures("started")
def test_what_cannot_be_read_is_said_in_its_place(tmp_path: Path) -> None:
    paths = noise(tmp_path, 8)
    paths[4].write_bytes(b"")
    paths[6].write_bytes(paths[6].read_bytes()[:-800])
    (tmp_path / "missing.png").unlink(missing_ok=True)
    problems = list(
        chain.from_iterable(each.problems for each in decode_all([*paths, tmp_path / "missing.png"], TARGET))
    )
    assert problems[:4] == [None] * 4
    assert problems[4] == "empty"
    assert "truncated" in str(problems[6])
    assert problems[8] == "No such file or directory"


def test_a_crash_is_laid_to_its_image(
    tmp_path: Path, started: list[decoding._Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder in C can take its process along: here Pillow is made to, in other Pythons than this one."""
    paths = noise(tmp_path, 14)
    paths[4].write_bytes(b"deadly")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, PIL.Image\n"
        "real = PIL.Image.open\n"
        "def open(file):\n"
        "    if file.getvalue() == b'deadly':\n"
        f"        os.kill(os.getpid(), {int(signal.SIGSEGV)})\n"
        "    return real(file)\n"
        "PIL.Image.open = open\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = list(decode_all(paths, TARGET))
    problems = list(chain.from_iterable(each.problems for each in found))
    assert [place for place, problem in enumerate(problems) if problem] == [4]
    assert problems[4] == "the process that decoded it crashed"
    good = [place for place in range(14) if place != 4]
    pixels = np.concatenate([each.pixels for each in found])
    np.testing.assert_array_equal(pixels[good], np.stack([by_pillow(paths[place]) for place in good]))
    assert len(started) == 2 + 3 + 1, "two, one for each image of the chunk, and one that goes on"


def test_closing_early_ends_the_processes(tmp_path: Path, started: list[decoding._Process]) -> None:
    # Each chunk is more than a pipe takes at once, so that neither process gets to its end.
    chunks = decode_all(noise(tmp_path, 40), Target(channels=3, size=(200, 200)))
    assert len(next(chunks).digests) == 3
    assert [each._process.poll() for each in started] == [None, None]
    chunks.close()
    assert [each._process.returncode for each in started] == [-signal.SIGKILL, -signal.SIGKILL]


def test_a_process_that_nobody_listens_to_ends(tmp_path: Path, started: list[decoding._Process]) -> None:
    """As when whoever started it is killed."""
    process = decoding._Process()
    process.send([[path] for path in noise(tmp_path, 200)], Target(channels=3, size=(100, 100)))
    assert process.receive() is not None
    assert process._process.stdout is not None
    process._process.stdout.close()
    assert process._process.wait(timeout=20) == 1
    assert started == [process]


def test_a_small_folder_needs_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_Process", None)
    (found,) = decode_all(noise(tmp_path, 5), TARGET)
    assert found.pixels.shape == (5, 3, HEIGHT, WIDTH)


def test_one_core_needs_none_either(
    tmp_path: Path, started: list[decoding._Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_usable_cores", lambda: 1)
    assert sum(len(each.digests) for each in decode_all(noise(tmp_path, 10), TARGET)) == 10
    assert not started


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first, which decodes while the others wait."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert decoding._usable_cores() == 8
    cores = {}
    for rank, size in ((0, 3), (1, 3), (2, 3), (9, 10)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(size))
        cores[rank, size] = decoding._usable_cores()
    assert cores == {(0, 3): 8, (1, 3): 2, (2, 3): 2, (9, 10): 1}


def test_ctrl_c_on_windows_is_not_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda words, **options: given.update(options))
    decoding._Process()
    assert given["creationflags"] == 0x200
    assert given["process_group"] is None


class Broken(io.RawIOBase):
    """A pipe that gives one error, when it is written to and when what was written is flushed."""

    def __init__(self, error: int) -> None:
        self._error = error

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(self._error, os.strerror(self._error))


def test_a_broken_pipe_is_no_error_whatever_the_system_calls_it(started: list[decoding._Process]) -> None:
    """Windows calls it EINVAL; any other error is one."""
    process = decoding._Process()
    assert process._process.stdin is not None
    process._process.stdin.close()
    for error in (errno.EPIPE, errno.EINVAL):
        process._process.stdin = io.BufferedWriter(Broken(error))
        process.send([[Path("a.png")]], TARGET)
    process._process.stdin = io.BufferedWriter(Broken(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        process.send([[Path("a.png")]], TARGET)
    process.end()
    assert started == [process]


def test_chunks_of_large_images_are_short(tmp_path: Path) -> None:
    large = Target(channels=3, size=(1000, 1000))
    assert [len(each.digests) for each in decode_all(noise(tmp_path, 3), large)] == [1, 1, 1]
