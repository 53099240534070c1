"""`cnncli runs`: many runs, listed, compared, verified and deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.app import PanelGroup, command_group
from cnncli.cli.commands.options import DebugOption, JsonOption, check_output
from cnncli.cli.imports import garbage_collector_off
from cnncli.errors import RunError, UsageError, did_you_mean, nearest
from cnncli.options import DATA_DIR, RUNS_DIR, DataDirOption, RunArgument, RunsArgument

StatusOption = Annotated[
    list[str],
    typer.Option(
        "--status",
        metavar="STATE",
        help="Only runs in this state: complete, running, interrupted, failed, damaged. Repeatable.",
    ),
]
FilterOption = Annotated[
    list[str],
    typer.Option(
        "--filter",
        metavar="CONDITION",
        help="Only runs that fulfill a condition, such as data=mnist, 'name=lenet5*' or 'accuracy>0.98'. Repeatable.",
    ),
]
SortOption = Annotated[
    str, typer.Option("--sort", metavar="KEY", help="Sort by accuracy, name, size or another key of --json.")
]


class _ListByDefault(PanelGroup):
    """`cnncli runs DIR` is `cnncli runs list DIR`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # click's own
        """Put `list` in front of what is not a command."""
        if ctx.resilient_parsing and not args:  # a shell asks for completions
            return super().parse_args(ctx, args)
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            if first and not Path(first).exists() and nearest(first, self.commands):
                raise UsageError(f"there is no command runs {first}{did_you_mean(first, self.commands)}")
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = command_group(_ListByDefault, epilog="Start with: cnncli runs")


@app.callback()
def _runs() -> None:
    """List, show, compare, verify and delete runs.

    Without a command, the runs are listed; cnncli runs list --help explains how to sort and filter them.

    Examples:

      cnncli runs

      cnncli runs --sort accuracy --status complete

      cnncli runs compare runs/lenet5-20260131-120000 runs/nin-20260131-130000
    """


@app.command("list")
def list_runs(
    folder: RunsArgument = RUNS_DIR,
    sort: SortOption = "started",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    conditions: FilterOption = [],  # noqa: B006  typer reads the default, nothing changes it
    status: StatusOption = [],  # noqa: B006  likewise
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """The runs in a folder, one in a row: status, accuracy, costs and the course of the validation accuracy.

    Text is sorted from A to Z; numbers and times from the largest. Keys for --sort and --filter: name, status, config,
    data, epochs, accuracy (on the test images), val_accuracy (the best epoch), params, seconds, size, started.

    Examples:

      cnncli runs list

      cnncli runs --sort accuracy --filter data=mnist --filter 'params<50k'

      cnncli runs /data/experiments --status failed --json
    """
    from cnncli.runs.selection import check_states, parse_condition, sort_runs
    from cnncli.runs.summary import summarize_all

    fulfilled = [parse_condition(text) for text in conditions]
    states = check_states(status)
    found = summarize_all(folder)
    runs = [run for run in found if run.status in states and all(condition(run) for condition in fulfilled)]
    runs = sort_runs(runs, sort, reverse=reverse)
    if as_json:
        typer.echo(json.dumps([run.as_record() for run in runs], indent=2, allow_nan=False))
        return
    from cnncli.cli.render.console import show_notice
    from cnncli.cli.render.runs import show_runs

    if runs:
        show_runs(runs)
    else:
        show_notice(f"none of the {len(found)} runs in {folder} is selected" if found else f"no runs in {folder}")


@app.command()
def show(
    run: RunArgument,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Everything about a run: status, config, results, curves, what it depends on, and its files.

    Examples:

      cnncli runs show runs/lenet5-20260131-120000
    """
    from cnncli.runs.details import read_details

    details = read_details(run, data_dir=data_dir)
    if as_json:
        typer.echo(json.dumps(details.as_record(), indent=2, allow_nan=False))
        return
    from cnncli.cli.render.runs import show_run

    show_run(details)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="The directories of two runs or more.")],
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also draw the curves to a file that ends in .png or .svg."),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Compare runs: the settings that differ, results, classes, costs, how far the weights have moved, and the curves.

    Examples:

      cnncli runs compare runs/lenet5-20260131-120000 runs/nin-20260131-130000

      cnncli runs compare runs/lenet5-* --plot curves.svg
    """
    check_output(plot, ".svg", ".png", option="--plot")
    with garbage_collector_off():
        from cnncli.runs.compare import compare_runs

    comparison = compare_runs(runs, data_dir=data_dir)
    if plot is not None:
        from cnncli.runs.compare import save_curves

        save_curves(comparison, plot)
    if as_json:
        typer.echo(json.dumps(comparison.as_record(), indent=2, allow_nan=False))
        return
    from cnncli.cli.render.runs import show_comparison

    show_comparison(comparison)


@app.command()
def verify(
    run: RunArgument,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Check that the files of a run are intact and agree, and compute its scores again.

    Hashes of the checkpoints, checksums of the event files, metrics without gaps, results that fit them. The scores
    need the data set; without it, everything else is checked. Exits with 5 if there is a problem.

    Examples:

      cnncli runs verify runs/lenet5-20260131-120000
    """
    from cnncli.cli.render.runs import shown_checks
    from cnncli.inspection.columns import counted
    from cnncli.runs.verify import verify_run

    checks = verify_run(run, data_dir=data_dir)
    found = list(checks if as_json else shown_checks(checks))
    problems = sum(check.outcome == "problem" for check in found)
    if as_json:
        record = {"run": str(run), "intact": not problems, "checks": [vars(check) for check in found]}
        typer.echo(json.dumps(record, indent=2))
    if problems:
        raise RunError(f"{run}: {counted(problems, 'problem')}")


@app.command()
def prune(
    folder: RunsArgument = RUNS_DIR,
    status: StatusOption = [],  # noqa: B006  typer reads the default, nothing changes it
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Only runs started before, such as 30d or 12h.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", help="Keep the newest N runs of each config.")
    ] = None,
    only: Annotated[
        list[str],
        typer.Option(
            "--only",
            metavar="PART",
            help="Delete only a part of complete runs: snapshots, weights, or last, the checkpoint for more epochs; "
            "repeatable.",
        ),
    ] = [],  # noqa: B006  likewise
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only print what would be deleted.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print which runs would be deleted, and how much space they take; with --yes, delete them.

    Without conditions, these are the runs that ended before their first checkpoint. With several conditions, a run must
    meet all of them. Runs that are training, damaged runs (without --status damaged) and links are never deleted.

    Examples:

      cnncli runs prune

      cnncli runs prune --keep 3 --older-than 30d

      cnncli runs prune --only snapshots --yes
    """
    from cnncli.cli.render.runs import deleted_with_progress, show_deletions
    from cnncli.runs.prune import Selection, check_parts, plan_deletions
    from cnncli.runs.selection import check_states, parse_age

    selection = Selection(
        states=check_states(status) if status else (),
        older_than=None if older_than is None else parse_age(older_than),
        keep=keep,
    )
    plan = plan_deletions(folder, selection, check_parts(only))
    if yes:
        plan = deleted_with_progress(plan)
    if as_json:
        total = sum(each.size for each in plan)
        record = {"deleted": yes, "size": total, "directories": [each.as_record() for each in plan]}
        typer.echo(json.dumps(record, indent=2))
    else:
        show_deletions(plan, folder, done=yes)
