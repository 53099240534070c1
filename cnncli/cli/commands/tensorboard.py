"""`cnncli board`: TensorBoard over runs, with every step that they have logged."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.cli.render.console import show_notice
from cnncli.cli.stopping import stop_wish
from cnncli.tensorboard.server import Server, check_runs, links

RunsArgument = Annotated[Path, typer.Argument(metavar="[RUNS]", help="A folder of runs, or the directory of one run.")]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", min=1, max=65535, metavar="N", help="Listen here; if not given, at 6006 or the next free port."
    ),
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Listen at this address; 0.0.0.0 lets other machines in.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def board(
    runs: RunsArgument = Path("runs"),
    port: PortOption = None,
    host: HostOption = "localhost",
    browser: OpenOption = False,
    debug: DebugOption = False,
) -> None:
    """Start TensorBoard over runs, with every step they have logged, and print where to find what.

    It finds new runs and new steps as they are written, and runs until Ctrl-C.

    Examples:

      cnncli board

      cnncli board runs/lenet5-20260131-120000 --open

      cnncli board /data/experiments --host 0.0.0.0 --port 8080
    """
    there = check_runs(runs)
    with stop_wish(lambda: None, _ends()) as stop, Server(runs, host=host, port=port) as server:
        address = server.wait_for_answer(stop, runs=there)
        if address is None:
            return
        places = {"everything": address, **links(address)}
        width = max(map(len, places))
        for name, place in places.items():
            typer.echo(f"{name:{width}}  {place}")
        if not there:
            show_notice(f"{runs} has no runs yet; they appear when they are written and the page is loaded again")
        show_notice("Ctrl-C stops TensorBoard")
        if browser:
            import webbrowser

            webbrowser.open(address)
        server.serve(stop)


def _ends() -> list[signal.Signals]:
    """The signals that end it: also that the terminal is closed, unless that is to be ignored, as under `nohup`."""
    ends = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    return ends
