"""Many image files, decoded by as many processes as there are cores.

Processes and not threads: the smaller the images, the more of the work is Python's own, which threads do one at a time.
They are plain processes that speak through a pipe each, and not `concurrent.futures.ProcessPoolExecutor`: its processes
share one pipe for all results, so that one that is killed while it writes (pixels are far more than a pipe takes at
once) leaves the caller waiting for ever. They would also run the caller's main script once more each, hear the Ctrl-C
that is meant for the caller, and live on when the caller is killed.

M: images of a chunk, C: channels, H, W: height and width.
"""

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from threading import Thread
from time import monotonic
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cnncli.data.decode import UnreadableImageError, decode, refusing_bombs

_ALONE = 0.5
"""Seconds that this process decodes by itself: a small folder is done before others would be up."""
_CHUNK_IMAGES, _CHUNK_BYTES = 16, 2**22
"""Images that are handed over at once: at most so many, and of at most so many bytes of pixels."""
_AHEAD = 3
"""Chunks that a process decodes before it waits for them to be fetched."""


@dataclass(frozen=True)
class Target:
    """What images are brought to: 1 (gray) or 3 (RGB) channels, and (height, width)."""

    channels: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Decoded:
    """A chunk of images.

    Attributes:
        pixels: uint8 (M, C, H, W); black where an image cannot be read.
        sums: int64 (M, C, 2): of the pixels of each channel, and of their squares.
        digests: SHA-256 of each file; empty where it cannot be read.
        problems: why not, in a few words; None where it can.
    """

    pixels: NDArray[np.uint8]
    sums: NDArray[np.int64]
    digests: list[bytes]
    problems: list[str | None]


def decode_all(paths: Sequence[Path], target: Target) -> Generator[Decoded]:
    """Decode images in their order; close the generator to end the processes early.

    At most a few chunks for each core are in memory at a time.
    """
    images = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // (target.channels * target.size[0] * target.size[1])))
    chunks = [paths[start : start + images] for start in range(0, len(paths), images)]
    cores, began = _usable_cores(), monotonic()
    for position, chunk in enumerate(chunks):
        if cores > 1 and monotonic() - began > _ALONE:
            yield from _in_processes(chunks[position:], target, cores)
            return
        yield _decode_chunk(chunk, target)


def _usable_cores() -> int:
    """Those that this process may run on, where the system says; its share of them where several train together."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return cores  # `Group.turn` lets the first of a machine decode before the others, who wait
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _decode_chunk(paths: Sequence[Path], target: Target) -> Decoded:
    """In this process."""
    decoded = _black(len(paths), target)
    with refusing_bombs():
        for place, path in enumerate(paths):
            digest, problem = b"", None
            try:
                decoded.pixels[place], digest = decode(path, channels=target.channels, size=target.size)
            except UnreadableImageError as error:
                problem = str(error)
            decoded.digests.append(digest)
            decoded.problems.append(problem)
    for sums, pixels in zip(decoded.sums, decoded.pixels, strict=True):
        values = pixels.astype(np.uint32)
        sums[:, 0], sums[:, 1] = values.sum(axis=(1, 2)), (values * values).sum(axis=(1, 2))
    return decoded


def _black(count: int, target: Target) -> Decoded:
    """Room for `count` images."""
    pixels = np.zeros((count, target.channels, *target.size), dtype=np.uint8)
    return Decoded(pixels, np.zeros((count, target.channels, 2), dtype=np.int64), [], [])


def _in_processes(chunks: Sequence[Sequence[Path]], target: Target, count: int) -> Generator[Decoded]:
    """Each of `count` processes decodes every so manieth chunk; they are fetched in turn, and so in order."""
    processes: list[_Process] = []
    try:
        processes += (_Process() for _ in range(min(count, len(chunks))))
        for turn, process in enumerate(processes):
            process.send(chunks[turn :: len(processes)], target)
        for position, chunk in enumerate(chunks):
            turn = position % len(processes)
            decoded = processes[turn].receive()
            if decoded is None:
                decoded = _one_by_one(chunk, target)
                processes[turn].end()
                processes[turn] = _Process()
                processes[turn].send(chunks[position + len(processes) :: len(processes)], target)
            yield decoded
    finally:
        for process in processes:
            process.end()


def _one_by_one(chunk: Sequence[Path], target: Target) -> Decoded:
    """A chunk that a process has died of, in a process for each image, to find the one that did it."""
    found = []
    for path in chunk:
        process = _Process()
        try:
            process.send([[path]], target)
            found.append(process.receive() or _crashed(target))
        finally:
            process.end()
    return Decoded(
        np.concatenate([each.pixels for each in found]),
        np.concatenate([each.sums for each in found]),
        [digest for each in found for digest in each.digests],
        [problem for each in found for problem in each.problems],
    )


def _crashed(target: Target) -> Decoded:
    return replace(_black(1, target), digests=[b""], problems=["the process that decoded it crashed"])


class _Process:
    """Another Python that is given chunks of paths once, and gives them back decoded, one after the other."""

    def __init__(self) -> None:
        path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
        # One thread each: numpy would start, and keep memory for, one per core.
        environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from cnncli.data.decoding import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0 if sys.platform != "win32" else None,  # Ctrl-C on the terminal is not for it
            creationflags=flags,  # nor there
        )

    def send(self, chunks: Sequence[Sequence[Path]], target: Target) -> None:
        """Say what is to be decoded."""
        assert self._process.stdin is not None
        # A process that is dead already is noticed when its first chunk is fetched.
        with _may_be_broken(), self._process.stdin as pipe:
            pickle.dump(([[str(path) for path in chunk] for chunk in chunks], target), pipe)

    def receive(self) -> Decoded | None:
        """The next chunk; None where the process has died."""
        assert self._process.stdout is not None
        try:
            decoded = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            return None
        assert isinstance(decoded, Decoded)
        return decoded

    def end(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with _may_be_broken():
                pipe.close()
        self._process.wait()


@contextmanager
def _may_be_broken() -> Iterator[None]:
    """Let a pipe be, whose other end is gone; on Windows that is the error EINVAL."""
    try:
        yield
    except BrokenPipeError:
        pass
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def serve() -> None:
    """Be the other Python. It ends with its work, or with whoever wanted it done."""
    with os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(2, 1)  # what a decoder prints is no answer
        chunks, target = pickle.load(sys.stdin.buffer)
        queue: Queue[Decoded | None] = Queue(maxsize=_AHEAD)
        writer = Thread(target=_write, args=(queue, pipe))
        writer.start()
        for chunk in chunks:
            queue.put(_decode_chunk([Path(each) for each in chunk], target))
        queue.put(None)
        writer.join()


def _write(queue: "Queue[Decoded | None]", pipe: BinaryIO) -> None:
    try:
        while decoded := queue.get():
            pickle.dump(decoded, pipe, protocol=pickle.HIGHEST_PROTOCOL)
            pipe.flush()
    except OSError:
        os._exit(1)  # nobody gets the rest, which the other thread is still at
