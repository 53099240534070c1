"""Disks that are full, too small for a file, without inodes, read-only or slow: nothing is lost, and a run goes on.

File systems in memory are mounted for this, which only root may do.
"""

import errno
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cnncli.experiment import disk_space
from cnncli.training.checkpoint import load_state, read_manifest
from tests.reliability.conftest import Outcomes
from tests.reliability.runs import Ended, differences, program_in_child, runs_in

CASES = 20
LEAST = 64_000
"""Bytes of the smallest disk."""

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system in memory with options such as `size=64k`, in place of the one before."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def unmount() -> None:
        while folder.is_mount():
            subprocess.run(["umount", str(folder)], check=True)

    def mount(options: str) -> Path:
        unmount()
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
        return folder

    yield mount
    unmount()


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def sizes(largest: int, least: int = LEAST) -> list[int]:
    """Sizes at equal distances, from the least to just below the largest."""
    return [least + (largest - least) * number // CASES for number in range(CASES)]


def size_of(run: Path) -> int:
    return sum(path.stat().st_size for path in run.rglob("*") if path.is_file())


def as_if_it_had_room() -> None:
    """Let a training begin whatever the free space, as if the disk was filled later by something else."""
    disk_space.free_bytes = lambda folder: None


def train(config: Path, out: Path, *, attack: Callable[[], None] | None = None) -> Ended:
    """`cnncli train` with its output on another disk."""
    return program_in_child("train", config, "--out", out, "--threads", 1, folder=out.parent, attack=attack)


def resume(run: Path, *, attack: Callable[[], None] | None = None) -> Ended:
    """`cnncli train --resume`, likewise."""
    folder = run.parents[1]
    return program_in_child("train", "--resume", run, "--threads", 1, folder=folder, attack=attack)


def assert_explained(ended: Ended, word: str) -> None:
    assert ended.code == 7, ended.output
    assert "Traceback" not in ended.output
    assert "internal error" not in ended.output
    assert word in ended.output


def assert_intact(run: Path) -> None:
    """What has its final name is complete."""
    for name in ("last", "best"):
        if (run / "checkpoints" / name).exists():
            read_manifest(run / "checkpoints" / name)
            load_state(run / "checkpoints" / name)
    for path in run.glob("*.json"):
        json.loads(path.read_bytes())
    assert not [*run.rglob("*.part")], "an unfinished file would take space"


def resumed(out: Path, config: Path, reference: Path) -> str:
    """Check the run in a folder and resume it, now that there is space; returns the outcome."""
    runs = runs_in(out)
    if not runs:
        ended, words = train(config, out), "exit 7 before there is a run"
    else:
        assert_intact(runs[0])
        ended, words = resume(runs[0]), "exit 7, resumed, same files"
    assert ended.code == 0, ended.output
    assert differences(runs_in(out)[0], reference) == []
    return words


def sampled(numbers: Sequence[int], *chosen: int) -> list[object]:
    """Parameters of which all but the chosen ones are slow."""
    return [
        number if index in chosen else pytest.param(number, marks=pytest.mark.slow)
        for index, number in enumerate(numbers)
    ]


@pytest.mark.parametrize("number", sampled(range(CASES), 12))
def test_full(number: int, config: Path, reference: Path, mount: Mount, outcomes: Outcomes) -> None:
    """At sizes between 64 kB and the size of the run."""
    size = sizes(size_of(reference))[number]
    disk = mount(f"size={size}")
    assert_explained(train(config, disk, attack=as_if_it_had_room), "free some space")
    remount(disk, "size=100m")
    outcomes.add("disk full", resumed(disk, config, reference))


@pytest.mark.parametrize("number", sampled(range(CASES), 5))
def test_full_once_it_is_resumed(number: int, config: Path, mount: Mount, outcomes: Outcomes) -> None:
    """The checkpoint that was there stays, whatever the space for the next one."""
    disk = mount("size=100m")
    ended = train(config, disk)
    assert ended.code == 0, ended.output
    (run,) = runs_in(disk)
    before = [read_manifest(run / "checkpoints" / name) for name in ("last", "best")]
    remount(disk, f"size={shutil.disk_usage(disk).used + number * 4096}")
    arguments = ("train", "--resume", run, "--threads", 1, "--set", "train.epochs=4")
    ended = program_in_child(*arguments, folder=disk.parent, attack=as_if_it_had_room)
    if ended.code == 0:
        outcomes.add("disk full while resuming", "complete")
        return
    assert_explained(ended, "free some space")
    assert_intact(run)
    after = [read_manifest(run / "checkpoints" / name) for name in ("last", "best")]
    assert all(now["step"] >= then["step"] for now, then in zip(after, before, strict=True))
    remount(disk, "size=100m")
    ended = program_in_child(*arguments, folder=disk.parent)
    assert ended.code == 0, ended.output
    outcomes.add("disk full while resuming", "exit 7, resumed")


def test_too_small(config: Path, mount: Mount, outcomes: Outcomes) -> None:
    """Too little free space is noticed before anything is written."""
    disk = mount("size=200k")
    ended = train(config, disk)
    assert_explained(ended, "are free, but the run may write")
    assert "--set log.images=0" in ended.output
    assert [*disk.iterdir()] == []
    outcomes.add("too little free space", "exit 7 before the training")


@pytest.mark.parametrize("number", sampled(range(CASES + 1), 8))
def test_file_size_limit(number: int, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """At sizes between 4 kB and the size of the largest file."""
    largest = max(path.stat().st_size for path in reference.rglob("*") if path.is_file())
    limit = 4096 + (largest - 4096) * number // (CASES + 1)

    def attack() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / "runs"
    assert_explained(train(config, out, attack=attack), "free some space")
    outcomes.add("file size limit", resumed(out, config, reference))


@pytest.mark.parametrize("inodes", sampled(range(3, 37, 2), 9))
def test_no_inodes(inodes: int, config: Path, reference: Path, mount: Mount, outcomes: Outcomes) -> None:
    """A file system that can hold only some files."""
    disk = mount(f"size=100m,nr_inodes={inodes}")
    ended = train(config, disk)
    if ended.code == 0:
        assert differences(runs_in(disk)[0], reference) == []
        outcomes.add("no inodes", "complete")
        return
    assert_explained(ended, "free some space")
    remount(disk, "nr_inodes=1000")
    outcomes.add("no inodes", resumed(disk, config, reference))


def test_read_only(config: Path, reference: Path, mount: Mount, outcomes: Outcomes) -> None:
    disk = mount("size=100m")
    remount(disk, "ro")
    assert_explained(train(config, disk), "check that")
    outcomes.add("read-only disk", "exit 7 before there is a run")
    remount(disk, "rw")
    assert train(config, disk).code == 0
    (run,) = runs_in(disk)
    remount(disk, "ro")
    ended = program_in_child("train", "--resume", run, "--set", "train.epochs=3", folder=disk.parent)
    assert_explained(ended, "check that")
    assert differences(run, reference) == []
    outcomes.add("read-only disk", "exit 7, unchanged")


@pytest.mark.parametrize("number", sampled(range(1, 60, 3), 10))
def test_errors_of_the_disk(number: int, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """From some time on, nothing reaches the disk any more."""

    def attack() -> None:
        synced, sync = 0, os.fsync

        def fail(descriptor: int) -> None:
            nonlocal synced
            synced += 1
            if synced >= number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            sync(descriptor)

        os.fsync = fail  # type: ignore[assignment]

    out = tmp_path / "runs"
    ended = train(config, out, attack=attack)
    assert_explained(ended, "check that")
    outcomes.add("errors of the disk", resumed(out, config, reference))


def test_slow(config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """Every wait for the disk takes longer."""

    def attack() -> None:
        sync = os.fsync

        def slowly(descriptor: int) -> None:
            time.sleep(0.02)
            sync(descriptor)

        os.fsync = slowly  # type: ignore[assignment]

    out = tmp_path / "runs"
    ended = train(config, out, attack=attack)
    assert ended.code == 0, ended.output
    assert differences(runs_in(out)[0], reference) == []
    outcomes.add("slow disk", "same files")
