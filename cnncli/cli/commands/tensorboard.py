"""`cnncli tensorboard`: TensorBoard over runs, with every logged step."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.cli.output import print_line
from cnncli.cli.render.console import show_notice
from cnncli.cli.stopping import catch_stop_signals
from cnncli.options import RUNS_DIR, RunsArgument
from cnncli.runs.summary import find_runs
from cnncli.tensorboard.server import Server, check_runs, links
from cnncli.training.run_directory import RunDirectory

PortOption = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, metavar="N", help="Port; by default 6006 or the next free one."),
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 admits other machines.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open TensorBoard in the browser.")]


def tensorboard(
    runs: RunsArgument = RUNS_DIR,
    port: PortOption = None,
    host: HostOption = "localhost",
    browser: OpenOption = False,
    debug: DebugOption = False,
) -> None:
    """Start TensorBoard on a folder of runs, with every logged step, and print links to its cards.

    New runs and new steps appear as they are written. The server runs until Ctrl-C.

    Examples:

      cnncli tensorboard

      cnncli tensorboard runs/lenet5-20260131-120000 --open

      cnncli tensorboard /data/experiments --host 0.0.0.0 --port 8080
    """
    for run in find_runs(runs):
        RunDirectory(run).check_links()
    has_runs = check_runs(runs)
    with catch_stop_signals(lambda: None) as stop, Server(runs, host=host, port=port) as server:
        address = server.wait_for_answer(stop, runs=has_runs)
        if address is None:
            return
        addresses = {"everything": address, **links(address)}
        width = max(map(len, addresses))
        for name, view_address in addresses.items():
            print_line(f"{name:{width}}  {view_address}")
        if not has_runs:
            show_notice(f"{runs} has no runs yet; reload the page when a run has been written")
        show_notice("Ctrl-C stops TensorBoard")
        if browser:
            import webbrowser

            webbrowser.open(address)
        server.serve(stop)
