"""Short runs in forked processes, for attacks on them, and the comparison of two run directories.

A forked process has everything imported, so that a case takes a fraction of a second; see tests/forked.py.
"""

import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]  # no stubs
    LegacyEventFileLoader,
)
from tensorboard.compat.proto.graph_pb2 import GraphDef  # type: ignore[import-untyped]  # generated, no stubs

from cnncli.config.config import read_config
from tests.forked import fork, run_program, use_streams

for _late in (
    *("cnncli.cli.commands.train", "cnncli.cli.render.training", "cnncli.experiment.train", "cnncli.layers.modules"),
    *("cnncli.experiment.tensorboard_log", "filelock", "numpy.random", "PIL.GifImagePlugin", "PIL.PngImagePlugin"),
):
    importlib.import_module(_late)  # the program imports it while it runs, and every forked process again

TINY = """\
name: tiny
data: {name: digits, size: 8}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3, activation: relu}}, {max_pool: 2}, flatten, logits]}
train: {epochs: 2, batch_size: 512, optimizer: {adamw: {lr: 1e-2}}}
log: {probes: 1, steps: [1, 3, 4]}
"""
"""1,294 training images: three steps an epoch. Pictures belong to the steps 0, 1, 3, 4 and 6."""

TIMES = ("seconds", "images_per_second")
"""The keys of metrics.jsonl that differ between two runs of the same config."""


def tiny_config(folder: Path, *assignments: str, text: str = TINY) -> Path:
    """A config file of a network that trains in a fraction of a second, changed like by `--set`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    config = read_config(str(path), data_dir=folder, assignments=assignments)
    path.write_text(config.resolved(), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, or minus the number of the signal that killed it.
        output: what it has written to stdout and stderr.
    """

    code: int
    output: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


def program_in_child(
    *arguments: object, folder: Path, attack: Callable[[], None] | None = None, seconds: float = 120
) -> Ended:
    """Run the program in a forked process.

    Args:
        arguments: of `cnncli`.
        folder: is the process's working directory, and takes its output.
        attack: called in the process before the program starts.
        seconds: after which the process counts as hanging; the test fails then.
    """
    output = folder / "output.txt"

    def run_in_child() -> None:
        opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        use_streams(opened, opened)
        os.chdir(folder)
        if attack is not None:
            attack()
        run_program(*arguments)

    child = fork(run_in_child)
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"{arguments} has not ended after {seconds:g} s: {output.read_text()}")
        time.sleep(0.002)
    _, status = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), output.read_text(encoding="utf-8"))


def train_in_child(config: Path, out: Path, *options: object, attack: Callable[[], None] | None = None) -> Ended:
    """`cnncli train CONFIG --out OUT`."""
    out.mkdir(parents=True, exist_ok=True)
    return program_in_child("train", config, "--out", out, "--threads", 1, *options, folder=out, attack=attack)


def resume_in_child(run: Path, *options: object, attack: Callable[[], None] | None = None) -> Ended:
    """`cnncli train --resume RUN`."""
    return program_in_child("train", "--resume", run, "--threads", 1, *options, folder=run.parent, attack=attack)


def runs_in(out: Path) -> list[Path]:
    """The run directories in the folder of `train_in_child`: usually one, and none if it was killed before."""
    return sorted(path for path in out.iterdir() if (path / "status.json").is_file())


def differences(run: Path, reference: Path) -> list[str]:
    """In what a run differs from the same one that was not interrupted, times and metadata aside; empty if in nothing.

    Compared are the names of all files, checkpoints with weights, optimizer and random numbers, metrics, results,
    snapshots, kept weights, configs, and every value of the event files in the order in which TensorBoard reads it.
    """
    return list(_differences(run, reference))


def _differences(run: Path, reference: Path) -> Iterator[str]:
    ours, theirs = (_names(each) for each in (run, reference))
    yield from (f"{name} is left behind" for name in sorted(ours - theirs))
    yield from (f"{name} is missing" for name in sorted(theirs - ours))
    for name in sorted(ours & theirs):
        if content_of(run / name) != content_of(reference / name):
            yield f"{name} differs"
    events, expected = (_events(each) for each in (run, reference))
    if events != expected:
        yield from _event_differences(events, expected)
    times = [event.wall_time for event in _read_events(run)]
    if times != sorted(times):
        yield "the wall times of the event files decrease"


def _names(run: Path) -> set[str]:
    """The files of a run by name; those of event files contain the time."""
    files = (path.relative_to(run).as_posix() for path in run.rglob("*") if not path.is_dir())
    return {name for name in files if not name.startswith("events.out.tfevents.") and name != "lock"}


def content_of(file: Path) -> object:
    """What has to be the same in a file."""
    if file.suffix == ".safetensors":
        return {name: _plain(tensor) for name, tensor in load_file(file).items()}
    if file.name == "state.pt":
        state = torch.load(file, weights_only=True)
        return _plain({key: value for key, value in state.items() if key not in TIMES})
    if file.name == "manifest.json":
        manifest = json.loads(file.read_bytes())
        return manifest["epoch"], manifest["step"]
    if file.name == "metrics.jsonl":
        lines = [json.loads(line) for line in file.read_bytes().splitlines()]
        return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
    return None if file.name == "metadata.json" else file.read_bytes()


def _plain(value: object) -> object:
    """A value that can be compared with `==`, bit by bit."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _read_events(run: Path) -> Iterator[Any]:
    """All events of a run, in the order in which TensorBoard reads them."""
    for path in sorted(run.glob("events.out.tfevents.*")):
        yield from LegacyEventFileLoader(str(path)).Load()


def _events(run: Path) -> list[tuple[int, str, bytes]]:
    """Step, tag and value of each event, except the wall times, the speed, and the versions of the files."""
    found = []
    for event in _read_events(run):
        if event.HasField("graph_def"):
            graph = GraphDef.FromString(event.graph_def)  # protobuf writes maps in the order of a process
            found.append((event.step, "graph", graph.SerializeToString(deterministic=True)))
        for value in event.summary.value:
            known = value.tag != "training/images_per_second" and not value.tag.startswith("_hparams_/session")
            found.append((event.step, value.tag, value.SerializeToString() if known else b""))
    return found


def _event_differences(events: list[tuple[int, str, bytes]], expected: list[tuple[int, str, bytes]]) -> Iterator[str]:
    """The differences of the event files by tag and steps, and one line if there is only another order."""
    tags = sorted({tag for _, tag, _ in (*events, *expected)})
    count = 0
    for tag in tags:
        ours, theirs = ([event for event in each if event[1] == tag] for each in (events, expected))
        if ours != theirs:
            count += 1
            steps, right = ([step for step, _, _ in each] for each in (ours, theirs))
            yield f"events: {tag} has steps {steps} instead of {right}" if steps != right else f"events: {tag} differs"
    if not count:
        yield "events: another order"
