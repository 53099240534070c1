"""`torchrun --nproc-per-node 2 -m cnncli train`: two processes give the result of one.

The oracle is the same program in one process, which other tests compare with torch.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but not in its `__all__`

from cnncli.cli import processes
from cnncli.training import process_group
from cnncli.training.checkpoint import read_manifest
from cnncli.training.run_directory import RunDirectory
from tests.data.own_digits import write_digits
from tests.forked import Forked, run_program, run_script

Cnncli = Callable[..., tuple[int, str, str]]
Torchrun = Callable[..., subprocess.Popen[str]]
TwoProcesses = Callable[..., tuple[list[int], str]]
ExitCodeOf = Callable[..., int]

EPOCHS, STEPS = 3, 105
FLAGS = ("--threads", 1)
# 1,151 training images: 104 batches of 11 and one of 7, which two processes cannot split evenly.
CONFIG = """\
name: shared
data: {name: digits, size: 8, validation: 287, augment: {shift: 1, noise: 0.1, erase: 0.3, mixup: 0.5}}
model: {layers: [{conv: {out_channels: 4, kernel_size: 3}}, batch_norm, relu, flatten, {dropout: 0.2}, logits]}
train: {epochs: 3, batch_size: 11, optimizer: {sgd: {lr: 1e-2, momentum: 0}}, schedule: one_cycle, ema: 0.99,
        class_weights: {"3": 2}}
log: {images: 3, graph: false, probes: 1}
"""
# Every type of layer, some of them frozen. The last batch is a single image, so one of the two processes gets none.
EVERY_LAYER = """\
name: every-layer
data: {name: digits, size: 8, validation: 287, augment: {rotate: 10, flip: horizontal, elastic: {alpha: 0.5}}}
model:
  layers:
    - conv: {out_channels: 4, kernel_size: 3, padding: same, norm: batch, activation: relu, init: lsuv}
    - residual:
        freeze: {epochs: 1}
        main:
          - conv: {out_channels: 8, kernel_size: 3, padding: same, norm: {group: 2}, activation: silu}
          - drop_path: 0.1
        shortcut: auto
        activation: relu
    - max_pool: 2
    - conv: {out_channels: 8, kernel_size: 3, padding: same, name: shared}
    - skip: {from: max_pool1, merge: mean}
    - reuse: shared
    - branch:
        merge: concat
        paths:
          - [{conv: {out_channels: 4, kernel_size: 1, norm: layer}}]
          - [{avg_pool: {kernel_size: 3, stride: 1, padding: 1}}]
    - conv_transpose: {out_channels: 6, kernel_size: 2, stride: 2, norm: batch, freeze: true}
    - upsample: {scale_factor: 2}
    - dropout2d: 0.1
    - residual: [instance_norm, {self_attention: 2}, rms_norm]
    - adaptive_avg_pool: 3
    - adaptive_max_pool: 2
    - flatten
    - linear: {out_features: 16, norm: layer, activation: gelu, lr_scale: 0.5, weight_decay: 0.01}
    - glu
    - maxout: 2
    - dropout: 0.2
    - logits
train: {epochs: 2, batch_size: 230, accumulate: 2, optimizer: {sgd: {lr: 0.05, momentum: 0}}, clip_norm: 1.0,
        label_smoothing: 0.1, loss: focal, sampling: balanced}
log: {images: 0, graph: false}
"""
# Makes one of the processes differ from the other, or fail before its tenth step: `python broken.py HOW ARGUMENTS`.
BROKEN = """\
import os, signal, sys, time
how = sys.argv.pop(1)
import torch
import cnncli.experiment.setup, cnncli.training.device
from cnncli.cli.app import main
from cnncli.training.process_group import ProcessGroup
from cnncli.training.step import Step
take, close = Step.take, ProcessGroup.close
def fail(self, *batch):
    if self.training.step == 9:
        if how == "memory":
            raise MemoryError
        os.kill(os.getpid(), signal.SIGKILL)
    take(self, *batch)
def late(self):
    time.sleep(2)
    close(self)
if os.environ["RANK"] == "1":
    if how == "device":
        cnncli.training.device.resolve_device = lambda name: torch.device("meta")
    elif how == "precision":
        cnncli.experiment.setup.use_bf16 = lambda *asked: True
    elif how == "late":
        ProcessGroup.close = late
    else:
        Step.take = fail
main()
"""


@pytest.fixture
def torchrun(environment: dict[str, str]) -> Iterator[Torchrun]:
    """Starts two processes, which share one pipe for stdout and one for stderr with torchrun."""
    with ExitStack() as started:

        def start(*arguments: object, program: tuple[str, ...] = ("-m", "cnncli")) -> subprocess.Popen[str]:
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            command = [*launcher, *program, *map(str, arguments)]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
            started.enter_context(process)
            started.callback(process.terminate)  # has no effect after its end
            return process

        yield start


@pytest.fixture
def two_processes() -> Iterator[TwoProcesses]:
    """Runs a function in two processes as torchrun does, on one machine or on two.

    Returns the exit codes and the combined stderr. The store is that of a torchrun, or belongs to the first process.
    """
    with ExitStack() as started:

        def run(program: Callable[[], object], *, machines: int = 2, own_store: bool = False) -> tuple[list[int], str]:
            store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": str(2 // machines)}
            common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
            if own_store:
                del store  # frees its port
            else:
                common["TORCHELASTIC_USE_AGENT_STORE"] = "True"
            both = []
            for number in "01":
                on_machine, machine = ("0", number) if machines == 2 else (number, "0")
                own = common | {"RANK": number, "LOCAL_RANK": on_machine, "GROUP_RANK": machine}
                both.append(started.enter_context(Forked(program, own)))
            written = [process.communicate(timeout=60)[1] for process in both]
            return [process.wait() for process in both], "".join(written)

        yield run


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "shared.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def only_run(out: Path) -> RunDirectory:
    (run,) = out.iterdir()
    return RunDirectory.open(run)


@pytest.fixture(scope="module")
def single(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run of a single process, for reading only."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "shared.yaml").write_text(CONFIG, encoding="utf-8")
    assert exit_code_of("train", folder / "shared.yaml", *FLAGS, "--quiet", "--out", folder / "runs") == 0
    return only_run(folder / "runs")


def scores(record: dict[str, Any]) -> list[float]:
    return [record[part][name] for part in ("train", "val", "test") if part in record for name in ("loss", "accuracy")]


def assert_the_same(run: RunDirectory, single: RunDirectory, *, atol: float = 1e-5) -> None:
    """Equal up to rounding: batch norm and gradients add the same numbers in another order."""
    for which in ("last", "best"):
        ours, theirs = (load_file(each.path / "checkpoints" / which / "weights.safetensors") for each in (run, single))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=atol)
    assert [line["step"] for line in run.metrics()] == [line["step"] for line in single.metrics()]
    for ours_, theirs_ in zip([*run.metrics(), run.results()], [*single.metrics(), single.results()], strict=True):
        assert scores(ours_) == pytest.approx(scores(theirs_), abs=1e-5)


# Results


@pytest.mark.slow
def test_every_layer_and_a_process_without_images(torchrun: Torchrun, run_cnncli: Cnncli) -> None:
    Path("every.yaml").write_text(EVERY_LAYER, encoding="utf-8")
    # train.compile is ignored; otherwise `Step` would refuse it.
    process = torchrun("train", "every.yaml", *FLAGS, "--out", "two", "--json", "--set", "train.compile=true")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert [json.loads(line)["epoch"] for line in out.splitlines()] == [1, 2], "only process 0 prints"
    assert run_cnncli("train", "every.yaml", *FLAGS, "--out", "one", "--quiet")[0] == 0
    two, one = only_run(Path("two")), only_run(Path("one"))
    # With so many layers, another memory layout changes the weights of a single process as much.
    assert_the_same(two, one, atol=1e-4)
    assert two.metadata()["processes"] == 2
    assert one.metadata()["processes"] == 1
    names = [{re.sub(r"tfevents.*", "", path.name) for path in run.path.rglob("*")} for run in (one, two)]
    assert names[0] == names[1], "each file once"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "npz", "parquet"])
def test_own_images(kind: str, torchrun: Torchrun, folder: Path, single: RunDirectory) -> None:
    """They are the embedded digits, so that the result is that of one process on those."""
    text = CONFIG.replace("name: digits, size: 8", write_digits(folder, kind))
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    process = torchrun("train", "own.yaml", *FLAGS, "--quiet", "--out", "two")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    run = only_run(Path("two"))
    assert run.metadata()["processes"] == 2
    assert_the_same(run, single)


# Interruptions


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal to torchrun after the first epoch; returns its stderr."""
    deadline = time.monotonic() + 60
    while not any(Path("runs").glob("*/checkpoints/best/manifest.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    return process.communicate(timeout=60)[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_an_interrupted_run_is_resumed(
    number: signal.Signals, config: Path, torchrun: Torchrun, run_cnncli: Cnncli, single: RunDirectory
) -> None:
    """By two processes after Ctrl-C, by one after another signal."""
    err = stopped(torchrun("train", config, *FLAGS), number)
    run = only_run(Path("runs"))
    assert run.status().state == "interrupted"
    step = read_manifest(run.last)["step"]
    assert STEPS < step < EPOCHS * STEPS
    assert err.count(f"stopped at step {step};") == 1

    (command,) = re.findall(r"^resume with: (.*)$", err, re.MULTILINE)
    arguments = shlex.split(command)
    assert arguments[:7] == ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "cnncli", "train"]
    assert arguments[7:9] == ["--resume", str(run.path)]
    if number == signal.SIGINT:
        process = torchrun(*arguments[6:])
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    else:
        code, _, err = run_cnncli(*arguments[6:])
        assert code == 0, err
        assert "resuming with processes: 1 (started with 2)" in err
    assert run.status().state == "complete"
    assert_the_same(run, single)


# Errors


def sets(*assignments: str) -> list[str]:
    return [word for each in assignments for word in ("--set", each)]


def errors_in(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.lower().startswith("error:")]


def exit_codes_in(err: str) -> list[int]:
    """The exit codes of the processes, as torchrun reports them."""
    return [int(code) for code in re.findall(r"^ *exitcode *: (-?\d+)", err, re.MULTILINE)]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere.yaml",), 3, "error: config not found: nowhere.yaml"),
        (("shared.yaml", "--epochs", "3"), 2, "no such option: --epochs"),
        (
            ("shared.yaml", *sets("train.optimizer.sgd.lr=1e30", "log.steps=[1]", "data.augment.mixup=0")),
            6,
            "error: training diverged at step 2",
        ),
    ],
)
def test_an_error_of_all_processes_is_printed_once(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    config: Path,
    two_processes: TwoProcesses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if code != 6:  # the silent process waits until torchrun ends it
        monkeypatch.setattr(processes, "_TIMEOUT", 1.0)
    codes, err = two_processes(partial(run_program, "train", *arguments, *FLAGS), machines=1)
    assert codes == [code, code]
    assert len(errors_in(err)) == 1
    assert err.count(message) == 1
    if code == 6:
        assert "the checkpoint of step 1 is good" in err
        assert only_run(Path("runs")).status().state == "failed"
    else:
        assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("memory", 8, "error: cpu is out of memory"),
        ("killed", -signal.SIGKILL, "error: another training process ended without an error message"),
    ],
)
@pytest.mark.slow
def test_when_one_process_fails_all_end(
    how: str, code: int, message: str, config: Path, torchrun: Torchrun, folder: Path
) -> None:
    (folder / "broken.py").write_text(BROKEN, encoding="utf-8")
    process = torchrun("train", config, *FLAGS, program=("broken.py", how))
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert [line.startswith(message) for line in errors_in(err)] == [True], err
    assert code in exit_codes_in(err)
    status = only_run(Path("runs")).status()
    assert status.state == "failed"
    assert "another training process ended" in str(status.reason)


@pytest.mark.slow
def test_a_closed_output_stops_all_processes(config: Path, torchrun: Torchrun) -> None:
    """As `| head -1` does."""
    process = torchrun("train", config, *FLAGS, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["epoch"] == 1
    process.stdout.close()
    err = process.stderr.read()
    assert errors_in(err) == []
    assert err.count("nothing reads the output any more: stopped at step") == 1
    assert process.wait(timeout=60) != 0, "as torchrun says for any failure"
    assert only_run(Path("runs")).status().state == "interrupted"


@pytest.mark.slow
def test_the_others_do_not_wait_after_an_error_of_process_0(single: RunDirectory, two_processes: TwoProcesses) -> None:
    codes, err = two_processes(partial(run_program, "train", "--resume", single.path, *FLAGS))
    assert codes == [2, 2], err
    (error,) = errors_in(err)
    assert "already has 3 epochs and is complete" in error


@pytest.mark.parametrize("how", ["device", pytest.param("precision", marks=pytest.mark.slow)])
def test_all_processes_must_have_the_same_device_and_precision(
    how: str, config: Path, two_processes: TwoProcesses, folder: Path
) -> None:
    (folder / "broken.py").write_text(BROKEN, encoding="utf-8")
    codes, err = two_processes(partial(run_script, "broken.py", how, "train", config, *FLAGS, "--dry-run"))
    assert codes == [2, 2], err
    assert errors_in(err) == [f"error: the {how} of process 1 differs from that of process 0"]


@pytest.mark.slow
def test_process_0_leaves_last_if_it_holds_the_store(config: Path, two_processes: TwoProcesses, folder: Path) -> None:
    (folder / "broken.py").write_text(BROKEN, encoding="utf-8")
    words = ("train", config, *FLAGS, "--set", "train.compile=true", "--dry-run")
    codes, err = two_processes(partial(run_script, "broken.py", "late", *words), own_store=True)
    assert codes == [0, 0], err
    assert err.count("train.compile has no effect with several processes") == 1


def test_a_port_in_use(config: Path, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as taken:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", **where}.items():
            monkeypatch.setenv(name, value)
        code, _, err = run_cnncli("train", config, *FLAGS)
    assert code == 8
    assert f"the processes cannot connect at 127.0.0.1:{where['MASTER_PORT']}: " in err
    assert "--master-port" in err


# A single process


def test_a_single_process_needs_no_group(
    exit_code_of: ExitCodeOf, monkeypatch: pytest.MonkeyPatch, config: Path, folder: Path
) -> None:
    monkeypatch.setattr(process_group.ProcessGroup, "of_torchrun", None)  # calling it fails
    assert not processes.in_process_group()
    assert exit_code_of("train", config, *FLAGS, "--quiet", "--set", "train.epochs=1") == 0
    monkeypatch.setattr(os, "environ", {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"})
    assert not processes.in_process_group(), "torchrun with one process"
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    assert processes.in_process_group()
