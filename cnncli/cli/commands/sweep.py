"""`cnncli sweep`: many trainings of a config with other values of its fields."""

import importlib.util
import json
import shlex
import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption
from cnncli.cli.imports import garbage_collector_off
from cnncli.cli.messages import show_log
from cnncli.cli.output import print_line
from cnncli.cli.stopping import StopSignal, catch_stop_signals, output_may_close
from cnncli.config.config import read_config
from cnncli.errors import ConfigError, Stopped, UsageError
from cnncli.inspection.columns import counted
from cnncli.options import (
    DATA_DIR,
    DEVICE,
    MAX_THREADS,
    RUNS_DIR,
    ConfigArgument,
    DataDirOption,
    DeviceOption,
    OutOption,
    SetOption,
)
from cnncli.sweep import PrunerName, SamplerName
from cnncli.sweep.limits import parse_limits
from cnncli.sweep.space import check_grid, check_space, combinations, parse_parameters

if TYPE_CHECKING:
    from cnncli.cli.render.sweep import SweepDisplay
    from cnncli.sweep.results import Summary
    from cnncli.sweep.study import Plan, TrialQueue
    from cnncli.sweep.trial import Place


ParamOption = Annotated[
    list[str],
    typer.Option(
        "--param",
        metavar="PATH=SPEC",
        help="A config field and its values: log:1e-4..1e-1, 0.1..0.9, int:1..8 or a list 4,8,16. Repeatable.",
    ),
]
TrialsOption = Annotated[
    int | None,
    typer.Option("--trials", min=1, metavar="N", help="How many trials; with --sampler grid by default all of them."),
]
LimitOption = Annotated[
    list[str],
    typer.Option(
        "--limit",
        metavar="COST=MOST",
        help="Train only networks within a limit: params=50k, macs=2M, ram=64kB (activations at the peak). Repeatable.",
    ),
]
SamplerOption = Annotated[SamplerName, typer.Option("--sampler", case_sensitive=False, help="How values are proposed.")]
PrunerOption = Annotated[
    PrunerName,
    typer.Option("--pruner", case_sensitive=False, help="How trials with a low validation accuracy are ended early."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the proposals.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=256, metavar="N", help="Trials that are trained at the same time.")
]
TrialThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=MAX_THREADS,
        metavar="N",
        envvar="CNNCLI_THREADS",
        help="CPU threads of each trial. Default: one for a tiny network, else the cores shared by the workers.",
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="FILE|URL",
        help="Where Optuna keeps the trials: a journal file or a database URL. Default: journal.log in the folder.",
    ),
]
SweepNameOption = Annotated[
    str | None, typer.Option("--name", help="Name of the sweep and its folder in --out; default: CONFIG-sweep.")
]
SweepQuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the best config and errors.")]


def sweep(
    config: ConfigArgument,
    params: ParamOption = [],  # noqa: B006  typer reads the default, nothing changes it
    trials: TrialsOption = None,
    limits: LimitOption = [],  # noqa: B006  likewise
    sampler: SamplerOption = "tpe",
    pruner: PrunerOption = "median",
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    threads: TrialThreadsOption = None,
    storage: StorageOption = None,
    assignments: SetOption = [],  # noqa: B006  likewise
    data_dir: DataDirOption = DATA_DIR,
    out: OutOption = RUNS_DIR,
    name: SweepNameOption = None,
    device: DeviceOption = DEVICE,
    quiet: SweepQuietOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a config many times with other values of its fields, and find the best.

    Every trial is a run in the folder of the sweep. The best one has the highest accuracy on the validation images;
    it alone is evaluated on the test images, at the end. The same command resumes a sweep that was stopped or killed.

    Examples:

      cnncli sweep quickstart --param train.optimizer.adamw.lr=log:1e-4..1e-1 --trials 20

      cnncli sweep lenet5 --param model.layers.0.conv.out_channels=4,8,16 --sampler grid --limit params=50k
    """
    base = read_config(config, data_dir=data_dir, assignments=assignments)
    parameters, limited = parse_parameters(params), parse_limits(limits)
    if not parameters:
        raise UsageError("--param is missing", remedy="for example --param train.optimizer.adamw.lr=log:1e-4..1e-1")
    if not base.data.validation:
        raise ConfigError(
            "a sweep compares accuracies on validation images, but data.validation is 0",
            remedy="--set data.validation=0.1",
        )
    check_space(base, parameters, data_dir=data_dir)
    if sampler == "grid":
        check_grid(parameters)
    planned = _planned(trials, combinations(parameters), sampler)
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("a sweep needs Optuna, which is not installed", remedy='pip install "cnncli[sweep]"')
    with garbage_collector_off():
        import torch

        from cnncli.cli.render.sweep import SweepDisplay, show_sweep
        from cnncli.cli.render.training import output_mode
        from cnncli.sweep.folder import open_sweep
        from cnncli.sweep.results import write_trials
        from cnncli.sweep.study import Plan
        from cnncli.sweep.trial import Place
        from cnncli.training.device import resolve_device

    resolve_device(device)
    folder = out / (name or f"{base.name}-sweep")
    plan = Plan(
        config=base,
        data_dir=data_dir,
        parameters=parameters,
        limits=limited,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        trials=planned,
    )
    command = ("cnncli", *sys.argv[1:])
    place = Place(
        folder=folder,
        data_dir=data_dir,
        device=device,
        threads=threads,
        share=max(1, torch.get_num_threads() // workers),
        command=command,
    )
    display = SweepDisplay(output_mode(quiet=quiet, as_json=as_json), plan)
    with (
        show_log(display.notice),
        closing(open_sweep(folder, plan, storage=storage, command=command)) as queue,
        catch_stop_signals(lambda: display.notice(_STOPPING)) as stop,
        output_may_close(stop),
    ):
        summary = _train(queue, plan, place, display, workers=workers, stop=stop)
        if stop():
            raise Stopped(
                f"{stop.cause}stopped after {queue.finished()} of {planned} trials; the others have checkpoints",
                remedy=f"continue with: {shlex.join(command)}",
                number=stop.number or signal.SIGINT,
            )
        write_trials(summary)
    if as_json:
        typer.echo(json.dumps(summary.as_json(), indent=2))
    elif not quiet:
        show_sweep(summary)
    elif summary.results is not None:
        print_line(summary.best_config)


_STOPPING = "stopping after this step, with a checkpoint of each run; press Ctrl-C again to stop immediately"


def _planned(trials: int | None, count: int | None, sampler: SamplerName) -> int:
    """The number of trials.

    Raises:
        UsageError: it is missing, or there are fewer combinations of values.
    """
    if trials is None and (sampler != "grid" or count is None):
        raise UsageError("--trials is missing", remedy="say how many trials to train, such as --trials 20")
    if trials is None:
        assert count is not None
        return count
    if count is not None and trials > count:
        raise UsageError(
            f"--trials {trials}: there are only {count} combinations of values",
            remedy=f"--sampler grid trains each of them once; or use at most --trials {count}",
        )
    return trials


def _train(
    queue: "TrialQueue", plan: "Plan", place: "Place", display: "SweepDisplay", *, workers: int, stop: StopSignal
) -> "Summary":
    """Train until there are enough trials or a signal arrives; then evaluate the best."""
    from cnncli.sweep.results import finish_sweep, summarize, write_trials
    from cnncli.sweep.workers import train_trials

    display.start(place.folder, queue.finished(), workers=workers)
    with display.live():
        for event in train_trials(queue, place, workers=workers, stop=stop):
            display.event(event, queue.finished())
            if event.outcome is not None:
                write_trials(summarize(queue, plan, place))
    summary = summarize(queue, plan, place)
    if stop():
        return summary
    if queue.given_up is not None and queue.finished() < plan.trials:
        display.notice(f"ended after {queue.finished()} of {plan.trials} trials: {queue.given_up}")
    if running := queue.running_elsewhere():
        hosts = sorted({str(trial.user_attrs.get("host")) for trial in running})
        display.notice(
            f"another process on {', '.join(hosts)} still trains {counted(len(running), 'trial')}, and evaluates the "
            "best one at the end; if it was killed, run its command again"
        )
        return summary
    return finish_sweep(summary, place)
