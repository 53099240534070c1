"""`cnncli train`: from a config to a trained network and the pictures of it."""

import json
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.cli.app import torch_uncollected
from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, SetOption
from cnncli.cli.notices import show_log
from cnncli.cli.processes import are_several, one_voice
from cnncli.config.config import Config, read_config
from cnncli.errors import Interrupted, RunError, Terminated, UsageError
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import inspect_graph

if TYPE_CHECKING:
    from cnncli.cli.render.training import TrainingDisplay
    from cnncli.experiment.setup import Experiment
    from cnncli.training.run_directory import RunDirectory


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


ConfigOrNone = Annotated[
    str | None,
    typer.Argument(metavar="CFG", help="A YAML config, or the name of a bundled one; with --resume not needed."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Where run directories are made.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the run instead of the config's.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads; unless given, one for a tiny network, else all cores."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the run directory and errors.")]
EpochsAsJsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per epoch on stdout.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check config, data and device; print the layers; train nothing.")
]
ProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile", help="Print where the time went; write a trace of some steps into the run, for ui.perfetto.dev."
    ),
]
ResumeOption = Annotated[
    Path | None, typer.Option("--resume", metavar="RUN", help="Go on with the run in this directory.")
]


def train(
    config: ConfigOrNone = None,
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    data_dir: DataDirOption = DATA_DIR,
    out: OutOption = Path("runs"),
    name: NameOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    as_json: EpochsAsJsonOption = False,
    dry_run: DryRunOption = False,
    profile: ProfileOption = False,
    resume: ResumeOption = None,
    debug: DebugOption = False,
) -> None:
    """Train a network and write its kernels and feature maps to TensorBoard event files.

    Examples:

      cnncli train quickstart

      cnncli train my.yaml --set train.epochs=3 --set data.name=digits

      cnncli train --resume runs/lenet5-20260131-120000
    """
    if config is None and resume is None:
        raise UsageError("name a config to train", remedy="cnncli train quickstart trains the bundled first example")
    read = _read(config, resume, assignments, name, data_dir)
    # torch takes seconds to import: by now everything has been said that can be wrong with a config.
    with torch_uncollected():
        import torch

        from cnncli.cli.render import training as results
        from cnncli.cli.render.training import TrainingDisplay, loudness
        from cnncli.experiment.setup import prepare
        from cnncli.training.device import keep_freed_memory, resolve_device, useful_threads
        from cnncli.training.process_group import ALONE

    with one_voice() if are_several() else nullcontext(ALONE) as group:
        torch.set_num_threads(threads or useful_threads(_macs_per_step(read) // group.size))
        display = TrainingDisplay(loudness(quiet=quiet, as_json=as_json) if group.is_first else "quiet")
        with show_log(display.notice):
            run = _to_go_on_with(resume, read) if resume and group.is_first else None
            used = group.start(resolve_device(device.value))
            experiment = prepare(read, data_dir=data_dir, device=used, group=group)
            if dry_run:
                if group.is_first:
                    results.show_dry_run(experiment)
                return
            keep_freed_memory()
            if not group.is_first:
                _take_part(experiment, resumed=resume is not None)
                return
            data, flags = _data_flag(data_dir), _given_again(device, threads)
            run = _train(experiment, run, display, out=out, flags=[*data, *flags], profiled=profile)
            if display.speaks:
                results.show_results(run.results())
                results.show_next(run.path, experiment.training.epochs_done, data=data, training=flags)
            elif quiet and not as_json:
                typer.echo(str(run.path))


def _read(
    config: str | None, resume: Path | None, assignments: Sequence[str], name: str | None, data_dir: Path
) -> Config:
    """The config as given, else the run's own, with `--name` and `--set` put in."""
    if config is None:
        assert resume is not None
        from cnncli.training.run_directory import RunDirectory

        run = RunDirectory.open(resume)
        if not run.resolved.exists():
            raise RunError(f"{resume} ended before its first step", remedy="train again, without --resume")
        config = str(run.resolved)
    named = [*assignments, *([f"name={json.dumps(name)}"] if name is not None else [])]
    return read_config(config, data_dir=data_dir, assignments=named)


def _macs_per_step(read: Config) -> int:
    return inspect_graph(graph_of(read.network, read.name)).macs * read.train.batch_size


def _to_go_on_with(resume: Path, read: Config) -> "RunDirectory":
    """The run in a directory, if it can be resumed with a config."""
    from cnncli.experiment.resume import check_resumable
    from cnncli.training.run_directory import RunDirectory

    run = RunDirectory.open(resume)
    check_resumable(read, run)
    return run


def _data_flag(data_dir: Path) -> list[str]:
    return ["--data-dir", str(data_dir)] if data_dir != DATA_DIR else []


def _given_again(device: Device, threads: int | None) -> list[str]:
    """The flags that a run has to be given again when it is resumed."""
    flags = {"--device": (device.value, "auto"), "--threads": (threads, None)}
    return [str(word) for flag, (given, default) in flags.items() if given != default for word in (flag, given)]


def _train(
    experiment: "Experiment",
    resumed: "RunDirectory | None",
    display: "TrainingDisplay",
    *,
    out: Path,
    flags: Sequence[str],
    profiled: bool,
) -> "RunDirectory":
    """Train to the end, or until somebody asks to stop; `flags` are what a resumed run has to be given again."""
    from cnncli.cli.render.training import show_profile
    from cnncli.cli.stopping import stop_wish
    from cnncli.experiment.train import train_run
    from cnncli.training.profile import Profile
    from cnncli.training.run_directory import RunDirectory

    def announce() -> None:
        display.notice("stopping after this step, with a checkpoint; once more stops at once")

    with stop_wish(announce) as stop:
        run = resumed or RunDirectory.create(out, experiment.config.name, datetime.now().astimezone())
        profile = Profile(run.trace, experiment.device) if profiled else None
        display.start(experiment, run.path)
        with display.shown():
            for epoch in train_run(
                experiment,
                run,
                command=["cnncli", *sys.argv[1:]],
                resumed=resumed is not None,
                progress=display.progress,
                stop=stop,
                profile=profile,
            ):
                display.epoch(epoch)
    if profile is not None and display.speaks:
        show_profile(profile)
    if run.status().state == "interrupted":
        kind = Terminated if stop.signal == signal.SIGTERM else Interrupted
        raise kind(
            f"stopped at step {experiment.training.step}; the checkpoint is in {run.last}",
            remedy="go on with: "
            + shlex.join([*experiment.group.launcher, "train", "--resume", str(run.path), *flags]),
        )
    return run


def _take_part(experiment: "Experiment", *, resumed: bool) -> None:
    """Train together with the process that has the run directory."""
    from cnncli.cli.stopping import stop_wish
    from cnncli.experiment.train import train_worker

    with stop_wish(lambda: None) as stop:
        train_worker(experiment, resumed=resumed, stop=stop)
