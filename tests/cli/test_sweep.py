"""`cnncli sweep`: trials are runs, the best one is evaluated and can be repeated, and a killed sweep is resumed."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from tensorboard.plugins.hparams import plugin_data_pb2  # type: ignore[import-untyped]  # no stubs

import cnncli
from tests.cli.conftest import TINY

ExitCodeOf = Callable[..., int]
Cnncli = Callable[..., tuple[int, str, str]]

CHANNELS = "model.layers.0.conv.out_channels"
RATE = "train.optimizer.adamw.lr"
SHORT = ("--set", "train.epochs=1", "--set", "log.images=0", "--set", "log.histograms=false", "--threads", 1)
GRID = ("--param", f"{CHANNELS}=3,4,9", "--param", f"{RATE}=1e-3,2e-2", "--sampler", "grid", "--limit", "ram=4kB")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A sweep sets the number of threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def swept(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete sweep of six combinations, two of which exceed the limit. For reading only."""
    out = tmp_path_factory.mktemp("swept")
    config = out / "tiny.yaml"
    config.write_text(TINY, encoding="utf-8")
    assert exit_code_of("sweep", config, *GRID, *SHORT, "--out", out / "runs", "--quiet") == 0
    return out / "runs" / "tiny-sweep"


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def test_every_combination_within_the_limit_is_a_run(swept: Path) -> None:
    found = read_json(swept / "trials.json")
    tried = {(trial["values"][CHANNELS], trial["values"][RATE]) for trial in found["trials"]}
    assert tried == {(channels, rate) for channels in (3, 4) for rate in (1e-3, 2e-2)}
    assert len(found["trials"]) == 4
    assert {trial["values"][CHANNELS] for trial in found["rejected"]} == {9}
    assert sorted(trial["rank"] for trial in found["trials"]) == [1, 2, 3, 4]
    for trial in found["trials"]:
        run = Path(trial["run"])
        resolved = cnncli.inspect(run)
        assert (trial["params"], trial["macs"]) == (resolved.params, resolved.macs)
        assert trial["ram"] == resolved.memory.inference
        assert trial["ram"] <= 4 * 1024
        assert read_json(run / "status.json") == {"state": "complete"}
        assert trial["accuracy"] == read_json(run / "results.json")["val"]["accuracy"]
    for trial in found["rejected"]:
        assert trial["ram"] > 4 * 1024
        assert not (swept / f"trial-{trial['trial']:03}").exists()


def test_only_the_best_trial_is_evaluated_on_the_test_images(swept: Path) -> None:
    found = read_json(swept / "trials.json")
    best = found["best"]
    assert best["accuracy"] == max(trial["accuracy"] for trial in found["trials"])
    for trial in found["trials"]:
        results = read_json(Path(trial["run"]) / "results.json")
        assert ("test" in results) == (trial["trial"] == best["trial"])
    assert best["test"] == read_json(Path(best["run"]) / "results.json")["test"]
    assert best["test"]["accuracy"] == cnncli.load_run(best["run"]).evaluate("test").accuracy


def test_the_commands_for_runs_accept_trials(swept: Path, run_cnncli: Cnncli) -> None:
    for trial in read_json(swept / "trials.json")["trials"][:2]:
        code, printed, err = run_cnncli("runs", "verify", trial["run"])
        assert code == 0, printed + err
    code, _, err = run_cnncli("runs", "list", swept)
    assert (code, err) == (0, "")


def test_the_best_config_gives_the_best_value_again(swept: Path, exit_code_of: ExitCodeOf, tmp_path: Path) -> None:
    best = read_json(swept / "trials.json")["best"]
    text = Path(best["config"]).read_text()
    (command,) = (line.partition("Repeat it with: ")[2] for line in text.splitlines() if "Repeat it with" in line)
    program, *words = shlex.split(command)
    assert program == "cnncli"
    assert exit_code_of(*words, "--out", tmp_path / "again", "--quiet") == 0
    (run,) = (tmp_path / "again").iterdir()
    results = read_json(run / "results.json")
    assert results["val"]["accuracy"] == best["accuracy"]
    assert results["val"] == read_json(Path(best["run"]) / "results.json")["val"]
    assert results["test"] == best["test"], "evaluated at the end of the training, not of the sweep"


def test_the_files_of_a_sweep(swept: Path) -> None:
    about = read_json(swept / "sweep.json")
    assert about["params"] == {CHANNELS: "3,4,9", RATE: "1e-3,2e-2"}
    assert about["limits"] == {"ram": 4096}
    assert (about["sampler"], about["trials"], about["name"]) == ("grid", 6, "tiny-sweep")
    assert about["versions"]["optuna"] == optuna.__version__
    assert cnncli.inspect(str(swept / "base.yaml")).params == cnncli.inspect(str(swept.parents[1] / "tiny.yaml")).params
    study = optuna.load_study(
        study_name="tiny-sweep", storage=JournalStorage(JournalFileBackend(str(swept / "journal.log")))
    )
    values = {trial.number: trial.value for trial in study.trials if trial.state == TrialState.COMPLETE}
    assert values == {trial["trial"]: trial["accuracy"] for trial in read_json(swept / "trials.json")["trials"]}


def test_tensorboard_compares_the_trials(swept: Path) -> None:
    """Read as TensorBoard's plugin reads it: the values of a session, and its metric."""
    for trial in read_json(swept / "trials.json")["trials"]:
        events = EventAccumulator(trial["run"]).Reload()
        data = plugin_data_pb2.HParamsPluginData.FromString(
            events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        )
        hparams = data.session_start_info.hparams
        assert hparams[CHANNELS].number_value == trial["values"][CHANNELS]
        assert hparams[RATE].number_value == trial["values"][RATE]
        assert events.Scalars("accuracy/val")[-1].value == pytest.approx(trial["accuracy"])
        tested = "test/accuracy" in events.Tags()["scalars"]
        assert tested == (trial["trial"] == read_json(swept / "trials.json")["best"]["trial"])


def test_the_same_command_changes_nothing_and_another_is_refused(swept: Path, run_cnncli: Cnncli) -> None:
    config, out = swept.parents[1] / "tiny.yaml", swept.parent
    before = read_json(swept / "trials.json")
    times = {path: path.stat().st_mtime_ns for path in swept.rglob("trial-*/results.json")}
    code, printed, err = run_cnncli("sweep", config, *GRID, *SHORT, "--out", out, "--json")
    assert (code, json.loads(printed)) == (0, before), err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    code, printed, err = run_cnncli("sweep", config, *GRID[:-1], "ram=5kB", *SHORT, "--out", out)
    assert (code, printed) == (2, "")
    assert "is a sweep with other settings: limits (was ram=4096)" in err


def test_the_table(swept: Path, run_cnncli: Cnncli) -> None:
    code, printed, err = run_cnncli("sweep", swept.parents[1] / "tiny.yaml", *GRID, *SHORT, "--out", swept.parent)
    assert code == 0
    lines = printed.splitlines()
    assert lines[0].split() == [
        "rank",
        "trial",
        "out_channels",
        "lr",
        "val",
        "accuracy",
        "params",
        "MACs",
        "RAM",
        "epochs",
        "status",
    ]
    best = read_json(swept / "trials.json")["best"]
    assert lines[2].split()[:5] == [
        "1",
        str(best["trial"]),
        str(best["values"][CHANNELS]),
        f"{best['values'][RATE]:g}",
        f"{best['accuracy']:.2%}",
    ]
    assert "not counted: 2 infeasible proposals" in printed
    assert f"test accuracy {best['test']['accuracy']:.2%}" in printed
    assert "continuing after 4 trials" in err


@pytest.mark.parametrize(("width", "last"), [(200, "status"), (80, "status"), (40, "accuracy")])
def test_a_narrow_terminal_shows_fewer_columns(
    width: int, last: str, swept: Path, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnncli.cli.render.console._PIPED_WIDTH", width)
    _, printed, _ = run_cnncli("sweep", swept.parents[1] / "tiny.yaml", *GRID, *SHORT, "--out", swept.parent)
    table = printed.splitlines()[:6]
    assert max(map(len, table)) <= width
    assert table[0].split()[-1] == last
    assert {"trial", "out_channels", "lr"} <= {*table[0].split()}


def test_a_trial_that_diverges_counts(run_cnncli: Cnncli) -> None:
    """At a learning rate of 1e30, weights are infinite after some steps."""
    code, printed, err = run_cnncli(
        "sweep", "tiny.yaml", "--param", "train.optimizer.sgd.lr=1e-2,1e30", "--sampler", "grid", *SHORT, "--json",
        *("--set", "train.optimizer=sgd"),
    )  # fmt: skip
    assert code == 0, err
    statuses = {trial["values"]["train.optimizer.sgd.lr"]: trial for trial in json.loads(printed)["trials"]}
    assert statuses[1e-2]["status"] == "complete"
    assert statuses[1e30]["status"] == "diverged"
    assert "training diverged at step" in statuses[1e30]["reason"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "--param is missing"),
        (("--param", f"{RATE}=1e-3..1"), 2, "--trials is missing"),
        (("--param", "train.epochs=1,2", "--trials", "3"), 2, "only 2 combinations"),
        (("--param", "train.epoch=1,2", "--trials", "2"), 3, "Did you mean epochs?"),
        (("--param", "train.epochs=1,2", "--set", "data.validation=0", "--trials", "2"), 3, "data.validation is 0"),
        (("--param", "train.epochs=1,2", "--limit", "flops=1M", "--trials", "2"), 2, "unknown cost flops"),
    ],
)
def test_wrong_arguments(words: tuple[str, ...], code: int, message: str, run_cnncli: Cnncli) -> None:
    found, printed, err = run_cnncli("sweep", "tiny.yaml", *words)
    assert (found, printed) == (code, "")
    assert message in err
    assert not Path("runs").exists()


def test_without_optuna(run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, printed, err = run_cnncli("sweep", "tiny.yaml", "--param", "train.epochs=1,2", "--trials", 2)
    assert (code, printed) == (2, "")
    assert 'pip install "cnncli[sweep]"' in err


# In processes of their own

EPOCHS = 15
SWEEP = (
    *("sweep", "tiny.yaml", "--name", "s", "--param", f"{RATE}=log:1e-4..1e-1", "--param", f"{CHANNELS}=3,4,9"),
    *("--limit", "ram=4kB", "--trials", "12", "--workers", "2", "--pruner", "none", "--threads", "1"),
    *("--set", "log.images=0", "--set", f"train.epochs={EPOCHS}"),
)


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    """A sweep in a process group of its own."""
    command = [sys.executable, "-m", "cnncli", *SWEEP]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def is_half_way(run: Path) -> bool:
    """Whether a run has an epoch, and not all of them."""
    metrics = run / "metrics.jsonl"
    return metrics.exists() and 1 <= len(metrics.read_text().splitlines()) < EPOCHS - 3


def wait_for_trials(count: int, process: subprocess.Popen[str]) -> None:
    """Wait until some trials are complete and another one is half-way."""
    assert process.stderr is not None
    while not process.stderr.readline().startswith(f"{count}/12"):
        assert process.poll() is None
    while not any(map(is_half_way, Path("runs/s").glob("trial-*"))):
        assert process.poll() is None
        time.sleep(0.01)


def finished_trials() -> tuple[list[TrialState], dict[int, float | None]]:
    study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend("runs/s/journal.log")))
    return [trial.state for trial in study.trials], {
        trial.number: trial.value for trial in study.trials if trial.state == TrialState.COMPLETE
    }


@pytest.mark.slow
def test_a_sweep_whose_processes_are_killed_has_exactly_as_many_trials(
    environment: dict[str, str], run_cnncli: Cnncli
) -> None:
    process = start(environment)
    wait_for_trials(5, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    states, before = finished_trials()
    assert 1 <= states.count(TrialState.RUNNING) <= 2
    assert 5 <= len(before) < 12

    again = start(environment)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    states, values = finished_trials()
    assert states.count(TrialState.COMPLETE) == 12
    assert states.count(TrialState.RUNNING) == 0
    assert {number: values[number] for number in before} == before
    assert len([*Path("runs/s").glob("trial-*/results.json")]) == 12
    found = read_json(Path("runs/s/trials.json"))
    assert {trial["trial"] for trial in found["trials"]} == values.keys()
    for trial in found["trials"]:
        assert trial["epochs"] == EPOCHS
        code, table, _ = run_cnncli("inspect", trial["run"], "--json")
        assert code == 0
        assert json.loads(table)["totals"]["memory"]["inference"] <= 4096
    code, _, err = run_cnncli("train", "runs/s/best.yaml", "--threads", 1, "--out", "again", "--quiet")
    assert code == 0, err
    (run,) = Path("again").iterdir()
    assert read_json(run / "results.json")["val"]["accuracy"] == max(filter(None, values.values()))


@pytest.mark.slow
def test_one_worker_is_killed(environment: dict[str, str]) -> None:
    """Its trial is resumed by another worker; the sweep goes on."""
    process = start(environment)
    wait_for_trials(2, process)
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"spawn_main" in path.read_bytes() and os.getpgid(int(path.parent.name)) == process.pid
    ]
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "was killed by signal 9; the trial is resumed" in err
    states, values = finished_trials()
    assert (len(values), states.count(TrialState.RUNNING)) == (12, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_sweep_is_continued(number: signal.Signals, code: int, environment: dict[str, str]) -> None:
    process = start(environment)
    wait_for_trials(3, process)
    os.killpg(process.pid, number) if number != signal.SIGTERM else process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "trials; the others have checkpoints" in err
    (command,) = (line for line in err.splitlines() if line.startswith("continue with: cnncli "))
    assert shlex.split(command)[3:] == [*SWEEP]
    interrupted = [
        path.parent for path in Path("runs/s").glob("*/status.json") if read_json(path)["state"] == "interrupted"
    ]
    assert interrupted
    assert all((run / "checkpoints/last/manifest.json").exists() for run in interrupted)
    again = start(environment)
    assert again.communicate(timeout=300)
    assert again.returncode == 0
    assert len(finished_trials()[1]) == 12
