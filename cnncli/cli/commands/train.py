"""`cnncli train`: train the network of a config."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.cli.imports import garbage_collector_off
from cnncli.cli.messages import show_log
from cnncli.cli.output import print_line
from cnncli.cli.processes import in_process_group, process_group
from cnncli.cli.stopping import StopSignal, catch_stop_signals, output_may_close
from cnncli.config.config import STDIN, Config, check_name, read_config
from cnncli.errors import Stopped, UsageError
from cnncli.inspection.table import inspect_network
from cnncli.options import (
    DATA_DIR,
    DEVICE,
    RUNS_DIR,
    DataDirOption,
    DeviceOption,
    OutOption,
    SetOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from cnncli.cli.render.training import TrainingDisplay
    from cnncli.experiment.setup import Experiment
    from cnncli.report.live import LiveTraining
    from cnncli.training.run_directory import RunDirectory


ConfigOrNone = Annotated[
    str | None,
    typer.Argument(
        metavar="CFG", help="A YAML config, the name of a bundled one, or - for stdin; not needed with --resume."
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the run; default: name of the config.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run directory and errors.")]
EpochsAsJsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per epoch on stdout.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check config, data and device and print the layers, without training.")
]
FindLrOption = Annotated[
    bool,
    typer.Option(
        "--find-lr",
        help="Learning-rate range test: train some steps with a rising learning rate, suggest one, and leave no run.",
    ),
]
ProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile", help="Print where the time goes, and write a trace of some steps to the run for ui.perfetto.dev."
    ),
]
LiveOption = Annotated[
    bool,
    typer.Option("--live", help="Serve the playground of the network on this machine while it trains."),
]
LivePortOption = Annotated[
    int | None,
    typer.Option("--live-port", metavar="PORT", min=1, max=65535, help="The port for --live; default: any free one."),
]
ResumeOption = Annotated[
    Path | None, typer.Option("--resume", metavar="RUN", help="Resume or extend the run in this directory.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="With --resume, allow another learning rate and schedule from there on.")
]


def train(
    context: typer.Context,
    config: ConfigOrNone = None,
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    data_dir: DataDirOption = DATA_DIR,
    out: OutOption = RUNS_DIR,
    name: NameOption = None,
    device: DeviceOption = DEVICE,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    as_json: EpochsAsJsonOption = False,
    dry_run: DryRunOption = False,
    find_lr: FindLrOption = False,
    profile: ProfileOption = False,
    live: LiveOption = False,
    live_port: LivePortOption = None,
    resume: ResumeOption = None,
    force: ForceOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a network and write its kernels and feature maps to TensorBoard event files.

    Examples:

      cnncli train quickstart

      cnncli train my.yaml --set train.epochs=3 --set data.name=digits

      cnncli init - | cnncli train -

      cnncli train lenet5 --find-lr

      cnncli train lenet5 --live

      cnncli train --resume runs/lenet5-20260131-120000
    """
    if config is None and resume is None:
        raise UsageError("a config is missing", remedy="cnncli train quickstart trains the first bundled example")
    if config == STDIN and in_process_group():
        raise UsageError("several processes cannot share stdin", remedy="write the config to a file")
    if resume is not None and _is_typed(context, "out"):
        raise UsageError(
            "--out is for a new run: a resumed run stays in its directory",
            remedy="omit --out, or copy the run and resume the copy",
        )
    if force and resume is None:
        raise UsageError("--force is for --resume: a new run may have any settings", remedy="omit --force")
    if live_port is not None and not live:
        raise UsageError("--live-port is the port of --live", remedy="add --live, or omit --live-port")
    if find_lr:
        _check_range_test(resume=resume is not None, dry_run=dry_run, profile=profile, live=live)
    read = _read(config, resume, assignments, name, data_dir)
    # Importing torch takes seconds: errors in the config have been reported by now.
    with garbage_collector_off():
        import torch

        from cnncli.cli.render.training import (
            TrainingDisplay,
            dry_run_record,
            output_mode,
            show_dry_run,
            show_next,
            show_results,
            show_rollbacks,
        )
        from cnncli.experiment.resume import begins_again
        from cnncli.experiment.setup import prepare
        from cnncli.training.device import keep_freed_memory, resolve_device, useful_threads

    with process_group() as group:
        display = TrainingDisplay(output_mode(quiet=quiet, as_json=as_json) if group.is_first else "quiet")
        with show_log(display.notice):
            torch.set_num_threads(threads or useful_threads(_macs_per_step(read) // group.size))
            run = _resumable(resume, read, force=force) if resume and group.is_first else None
            experiment = prepare(
                read,
                data_dir=data_dir,
                device=group.connect(resolve_device(device)),
                group=group,
                load_initial=resume is None or (run is not None and begins_again(run)),
            )
            if dry_run:
                if group.is_first:
                    resumed = run.path if run else None
                    if as_json:
                        print_line(json.dumps(dry_run_record(experiment, out, resumed), allow_nan=False))
                    elif not quiet:
                        show_dry_run(experiment, out, resumed)
                return
            keep_freed_memory()
            if find_lr:
                _find_lr(experiment, out, quiet=quiet, as_json=as_json)
                return
            if not group.is_first:
                _train_worker(experiment, resumed=resume is not None)
                return
            data_options, options = _data_options(data_dir), _options(device, threads)
            run = _train(
                experiment,
                run,
                display,
                out=out,
                options=[*data_options, *options],
                profiled=profile,
                live_port=(live_port or 0) if live else None,
            )
        with output_may_close(StopSignal()):  # the run is complete, whether or not this can be read
            if display.for_people:
                show_results(run.results())
                show_rollbacks(experiment.training.rollbacks)
                show_next(run.path, experiment, data=data_options, training=options)
            elif quiet and not as_json:
                print_line(run.path)


def _check_range_test(**options: bool) -> None:
    """Refuse options that have no effect with `--find-lr`."""
    for name, is_on in options.items():
        if is_on:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--find-lr trains no run: {option} has no effect", remedy=f"omit {option}")
    if in_process_group():
        raise UsageError("--find-lr uses one process", remedy="run it without torchrun")


def _find_lr(experiment: "Experiment", out: Path, *, quiet: bool, as_json: bool) -> None:
    """Print a learning-rate range test, and save its picture in the folder of the runs."""
    from cnncli.cli.render.training import show_range_test
    from cnncli.drawing.curves import SCALE, draw_curves
    from cnncli.drawing.image import png
    from cnncli.experiment.find_lr import find_learning_rate
    from cnncli.files import disk_errors_explained, replace_file

    with catch_stop_signals(lambda: None) as stop:
        test = find_learning_rate(experiment, stop=stop)
    if stop():
        raise Stopped("stopped before the end of the range test", number=stop.number or signal.SIGINT)
    picture = out / f"{experiment.config.name}-find-lr.png"
    with disk_errors_explained(picture):
        out.mkdir(parents=True, exist_ok=True)
        replace_file(picture, png(draw_curves([test.chart()]).enlarged(SCALE)))
    if as_json:
        print_line(json.dumps({**test.as_record(), "picture": str(picture)}, allow_nan=False))
    elif quiet:
        print_line(f"{test.suggestion:.2g}")
    else:
        show_range_test(test, picture)


def _read(
    config: str | None, resume: Path | None, assignments: Sequence[str], name: str | None, data_dir: Path
) -> Config:
    """The given config or that of the resumed run, changed by `--set` and `--name`."""
    if name is not None:
        check_name(name)
    if config is None:
        assert resume is not None
        from cnncli.training.run_directory import RunDirectory

        config = str(RunDirectory.open(resume).find_config())
    all_assignments = [*assignments, *([f"name={json.dumps(name)}"] if name is not None else [])]
    return read_config(config, data_dir=data_dir, assignments=all_assignments)


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line, rather than by an environment variable or its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _macs_per_step(read: Config) -> int:
    return inspect_network(read.network, read.name).macs * read.train.batch_size


def _resumable(resume: Path, read: Config, *, force: bool) -> "RunDirectory":
    """The run directory, after checking that the run can be resumed with the config."""
    from cnncli.experiment.resume import check_resumable
    from cnncli.training.run_directory import RunDirectory

    run = RunDirectory.open(resume)
    check_resumable(read, run, force=force)
    return run


def _data_options(data_dir: Path) -> list[str]:
    return _repeated("--data-dir", data_dir, DATA_DIR, variable="CNNCLI_DATA")


def _options(device: str, threads: int | None) -> list[str]:
    """The options that must be repeated when the run is resumed."""
    return [
        *_repeated("--device", device, DEVICE, variable="CNNCLI_DEVICE"),
        *_repeated("--threads", threads, None, variable="CNNCLI_THREADS"),
    ]


def _repeated(option: str, value: object, default: object, *, variable: str) -> list[str]:
    """An option as a later command needs it, whether or not the environment variable is set there as it is here."""
    return [] if value == default and not os.environ.get(variable) else [option, str(value)]


def _train(
    experiment: "Experiment",
    resumed: "RunDirectory | None",
    display: "TrainingDisplay",
    *,
    out: Path,
    options: Sequence[str],
    profiled: bool,
    live_port: int | None,
) -> "RunDirectory":
    """Train to the end or until a signal.

    `options` are those that the command to resume must repeat; `live_port` is where the playground is served, 0 for a
    free port and None for nowhere.
    """
    from cnncli.cli.render.training import show_profile
    from cnncli.experiment.disk_space import check_disk_space
    from cnncli.experiment.train import train_run
    from cnncli.training.profile import Profile
    from cnncli.training.run_directory import RunDirectory

    def announce() -> None:
        display.notice("stopping after this step, with a checkpoint; press Ctrl-C again to stop immediately")

    if live_port is not None:
        from cnncli.report.live import check_port

        check_port(live_port)
    with catch_stop_signals(announce) as stop, output_may_close(stop):
        check_disk_space(experiment, out, resumed.path if resumed else None)
        run = resumed or RunDirectory.create(out, experiment.config.name, datetime.now().astimezone())
        profile = Profile(run.trace, experiment.device) if profiled else None
        with _served(experiment, run, display, live_port) as live:
            display.start(experiment, run.path)  # ends with the heading of the epochs
            with display.live():
                for epoch in train_run(
                    experiment,
                    run,
                    command=["cnncli", *sys.argv[1:]],
                    resumed=resumed is not None,
                    progress=display.progress,
                    stop=partial(live.after_step, stop) if live else stop,
                    profile=profile,
                ):
                    display.epoch(epoch)
                    if live:
                        live.add_epoch(epoch.as_record())
                if live:
                    live.end("complete" if run.status().state == "complete" else "interrupted")
    if profile is not None and display.for_people:
        show_profile(profile)
    if run.status().state == "interrupted":
        command = [*experiment.group.launcher, "train", "--resume", str(run.path), *options]
        raise Stopped(
            f"{stop.cause}stopped at step {experiment.training.step}; the checkpoint is in {run.last}",
            remedy=f"resume with: {shlex.join(command)}",
            number=stop.number or signal.SIGINT,  # another process of the group has the number
        )
    return run


@contextmanager
def _served(
    experiment: "Experiment",
    run: "RunDirectory",
    display: "TrainingDisplay",
    port: int | None,
) -> Iterator["LiveTraining | None"]:
    """The training with its playground served at a port, or None without a port. The address is printed to stderr."""
    if port is None:
        yield None
        return
    import torch

    from cnncli.report.live import LiveTraining, serve
    from cnncli.report.model_data import weights_of
    from cnncli.report.playground import training_page

    training = experiment.training
    with torch.random.fork_rng(devices=[]):  # a module is built, which draws weights
        page = training_page(experiment.as_run(run.path)).encode()
    live = LiveTraining(
        lambda: weights_of(experiment.model),
        lambda: training.step,
        display.progress,
        earlier=run.metrics,
        can_pause=experiment.group.size == 1,
    )
    with serve(live, page, port=port) as server:
        typer.echo(f"live: {server.address}", err=True)
        yield live


def _train_worker(experiment: "Experiment", *, resumed: bool) -> None:
    """Train together with process 0, which has the run directory."""
    from cnncli.experiment.train import train_worker

    with catch_stop_signals(lambda: None) as stop:
        train_worker(experiment, resumed=resumed, stop=stop)
