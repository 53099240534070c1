"""Signals at any moment, once, twice and mixed; output and terminals that are closed; a clock that jumps.

Afterwards the run is complete, or it is resumed and ends with the files of the run that was not interrupted.
"""

import json
import os
import pty
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from cnncli.training import loop, progress
from cnncli.training.checkpoint import has_checkpoint, load_state
from cnncli.training.run_directory import RunDirectory
from tests.reliability.conftest import Outcomes
from tests.reliability.moments import Place, before_call
from tests.reliability.runs import (
    Ended,
    differences,
    resume_in_child,
    runs_in,
    tiny_config,
    train_in_child,
)

INT, TERM, HUP, QUIT = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT

BEFORE_THE_RUN: dict[str, Place] = {
    "reading the config": ("cnncli.cli.commands.train", "read_config", 1),
    "loading the data": ("cnncli.experiment.setup", "load_dataset", 1),
    "decoding an image": ("cnncli.data.decode", "decode", 3),
    "building the network": ("cnncli.experiment.setup", "initial_model", 1),
}
DURING_THE_RUN: dict[str, Place] = {
    "making the run directory": ("cnncli.training.run_directory.RunDirectory", "create", 1),
    "the first step": ("cnncli.training.step.Step", "take", 1),
    "a later step": ("cnncli.training.step.Step", "take", 5),
    "drawing the first pictures": ("cnncli.experiment.pictures.PicturePlan", "draw", 1),
    "drawing later pictures": ("cnncli.experiment.pictures.PicturePlan", "draw", 3),
    "validating": ("cnncli.training.loop", "evaluate", 1),
    "writing metrics": ("cnncli.training.run_directory.RunDirectory", "append_metrics", 1),
    "writing a checkpoint": ("cnncli.training.checkpoint", "write_file", 2),
    "replacing a checkpoint": ("cnncli.training.checkpoint", "write_file", 12),
    "scoring": ("cnncli.experiment.train", "evaluate", 2),
    "writing the results": ("cnncli.training.run_directory.RunDirectory", "finish", 1),
}
ONCE = [(INT,), (TERM,), (HUP,), (QUIT,)]
MORE = [(INT, INT), (TERM, TERM), (HUP, HUP), (QUIT, QUIT), (INT, TERM), (TERM, INT), (HUP, TERM, HUP), (QUIT, HUP)]

# Images of a folder, so that they are decoded.
FOLDER = """\
name: tiny
data: {name: image-folder, path: FOLDER, channels: 1, size: 8, validation: 0.25}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3, activation: relu}}, {max_pool: 2}, flatten, logits]}
train: {epochs: 2, batch_size: 8, optimizer: {adamw: {lr: 1e-2}}}
log: {probes: 1, steps: [1, 3, 4]}
"""


def names(signals: Sequence[int]) -> str:
    return "+".join(signal.Signals(number).name for number in signals)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that is trained on the images of a folder."""
    folder = tmp_path_factory.mktemp("config")
    images = folder / "images"
    for number in range(40):
        path = images / ("train", "test")[number % 5 == 4] / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number * 6).save(path)
    return tiny_config(folder, text=FOLDER.replace("FOLDER", str(images)))


@pytest.fixture(scope="module")
def reference(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without signals, for reading only."""
    out = tmp_path_factory.mktemp("reference")
    ended = train_in_child(config, out, "--data-dir", out)
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    return run


def send(*signals: int) -> None:
    """Signals to this process, one after the other."""
    for number in signals:
        os.kill(os.getpid(), number)


def without_core() -> None:
    """SIGQUIT writes no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (INT, TERM, HUP, QUIT):  # tests may run in the background, where some are ignored
        signal.signal(number, signal.default_int_handler if number == INT else signal.SIG_DFL)


def train(config: Path, out: Path, attack: Callable[[], None], *options: object) -> Ended:
    return train_in_child(config, out, "--data-dir", out, *options, attack=attack)


def resumed(out: Path, reference: Path, *options: object) -> str:
    """Resume the run in a folder if it is not complete, and compare it; returns the outcome."""
    (path,) = runs_in(out)
    run = RunDirectory.open(path)
    for checkpoint in (run.last, run.best):
        if has_checkpoint(checkpoint):
            load_state(checkpoint)
    words = "complete, same files"
    if (state := run.status().state) != "complete":
        assert state == "interrupted"
        ended = resume_in_child(path, "--data-dir", out, *options)
        assert ended.code == 0, ended.output
        words = "resumed, same files"
    assert differences(path, reference) == []
    return words


def sampled(
    places: dict[str, Place], signals: Sequence[Sequence[int]], chosen: Sequence[tuple[str, Sequence[int]]]
) -> list[object]:
    """All combinations as parameters, all but the chosen ones slow."""
    return [
        pytest.param(
            place, numbers, id=f"{place}-{names(numbers)}", marks=[] if (place, numbers) in chosen else pytest.mark.slow
        )
        for place in places
        for numbers in signals
    ]


@pytest.mark.parametrize(("place", "signals"), sampled(BEFORE_THE_RUN, ONCE, [("loading the data", (INT,))]))
def test_before_there_is_a_run(
    place: str, signals: Sequence[int], config: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """There is nothing to save: the signal ends the program."""

    def attack() -> None:
        without_core()
        before_call(BEFORE_THE_RUN[place], lambda: send(*signals))

    ended = train(config, tmp_path, attack)
    assert ended.code == (130 if signals == (INT,) else -signals[0]), ended.output
    assert "Traceback" not in ended.output
    assert runs_in(tmp_path) == []
    assert not [*tmp_path.rglob("*.part")]
    outcomes.add("signal before there is a run", f"exit code {128 + signals[0]}, no run")


@pytest.mark.parametrize(
    ("place", "signals"),
    sampled(DURING_THE_RUN, ONCE, [("writing a checkpoint", (TERM,)), ("scoring", (INT,))]),
)
def test_once(
    place: str, signals: Sequence[int], config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """The training stops after a step, with a checkpoint, or it ends before the next step."""

    def attack() -> None:
        without_core()
        before_call(DURING_THE_RUN[place], lambda: send(*signals))

    ended = train(config, tmp_path, attack)
    assert "Traceback" not in ended.output
    (run,) = runs_in(tmp_path)
    if ended.code:
        assert ended.code == 128 + signals[0], ended.output
        assert "stopped at step" in ended.output
        assert f"resume with: cnncli train --resume {run}" in ended.output
        assert has_checkpoint(run / "checkpoints" / "last")
    assert (ended.code == 0) == (place in ("scoring", "writing the results"))
    outcomes.add(f"signal during {place}", resumed(tmp_path, reference))


# tests/cli/test_interrupt.py sends SIGINT twice
@pytest.mark.parametrize(("place", "signals"), sampled(DURING_THE_RUN, MORE, []))
def test_several(
    place: str, signals: Sequence[int], config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """The second one has its default effect, except SIGHUP."""

    def attack() -> None:
        without_core()
        before_call(DURING_THE_RUN[place], lambda: send(*signals))

    ended = train(config, tmp_path, attack)
    assert "Traceback" not in ended.output
    second = next((number for number in signals[1:] if number != HUP), None)
    if place == "making the run directory" and second is not None:
        assert ended.code == (130 if second == INT else -second)
        assert runs_in(tmp_path) == []
        outcomes.add("several signals", "stopped before there is a run")
        return
    if second is not None:
        assert ended.code == (130 if second == INT else -second), ended.output
    outcomes.add("several signals", resumed(tmp_path, reference))


@pytest.mark.parametrize("second", [INT, pytest.param(TERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("written", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in (2, 3, 4, 5, 6))])
def test_the_second_one_while_the_checkpoint_is_written(
    written: int, second: int, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """The checkpoint before it stays."""

    def attack() -> None:
        without_core()

        def first() -> None:
            send(TERM)
            before_call(("cnncli.training.checkpoint", "write_file", written), lambda: send(second))

        before_call(("cnncli.training.step.Step", "take", 5), first)

    ended = train(config, tmp_path, attack)
    assert ended.code in (130 if second == INT else -second, 143), ended.output
    assert "Traceback" not in ended.output
    outcomes.add("second signal while a checkpoint is written", resumed(tmp_path, reference))


# Output


def as_pipe_without_reader(stream: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, stream)


@pytest.mark.parametrize("stream", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_closed_pipe(stream: int, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """As by `| head -1`."""
    ended = train(config, tmp_path, lambda: as_pipe_without_reader(stream), *["--json"] * (stream == 1))
    assert ended.code == 141, ended.output
    if stream == 1:
        assert "nothing reads the output any more: stopped at step" in ended.output
        assert "resume with: cnncli train --resume" in ended.output
        assert "Traceback" not in ended.output
    outcomes.add("closed pipe", resumed(tmp_path, reference))


@pytest.mark.parametrize("hangup", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_closed_terminal(hangup: bool, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """While the live line is drawn; with SIGHUP, twice, and without it, as under `setsid`."""

    def attack() -> None:
        without_core()
        terminal, program = pty.openpty()
        for stream in (0, 1, 2):
            os.dup2(program, stream)
        os.close(program)
        for name, stream in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, open(stream, "w", encoding="utf-8", closefd=False))  # noqa: SIM115  pathlib opens no descriptors

        def close() -> None:
            os.close(terminal)
            if hangup:
                send(HUP, HUP)
            time.sleep(0.3)  # the live line is drawn again

        before_call(("cnncli.training.step.Step", "take", 2), close)

    ended = train(config, tmp_path, attack)
    assert ended.code == (129 if hangup else 0), ended.output
    outcomes.add("closed terminal", resumed(tmp_path, reference))


def test_nohup(config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    def attack() -> None:
        without_core()
        signal.signal(HUP, signal.SIG_IGN)
        before_call(DURING_THE_RUN["a later step"], lambda: send(HUP))

    ended = train(config, tmp_path, attack)
    assert ended.code == 0, ended.output
    outcomes.add("closed terminal under nohup", resumed(tmp_path, reference))


# Clocks


@pytest.mark.parametrize("seconds", [3600, pytest.param(-86_400, marks=pytest.mark.slow)])
def test_clock(
    seconds: int,
    config: Path,
    reference: Path,
    tmp_path: Path,
    outcomes: Outcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped for an hour, which every clock shows; or the clock of the system is set back by a day."""

    def attack() -> None:
        def jump() -> None:
            clock, timer = time.time, time.perf_counter
            time.time = lambda: clock() + seconds
            if seconds > 0:
                for module in (loop, progress):
                    monkeypatch.setattr(module, "perf_counter", lambda: timer() + seconds)

        before_call(DURING_THE_RUN["a later step"], jump)

    ended = train(config, tmp_path, attack)
    assert ended.code == 0, ended.output
    (run,) = runs_in(tmp_path)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["seconds"] > 1000 for line in lines] == [False, seconds > 0]
    assert all(line["seconds"] >= 0 and line["images_per_second"] >= 0 for line in lines)
    assert differences(run, reference) == []
    outcomes.add("stopped for an hour" if seconds > 0 else "clock set back by a day", "complete, same files")
