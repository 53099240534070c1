"""What shell completion offers for arguments: configs, runs, layers, data sets, hints, devices, commands.

What an argument is follows from its metavar, or from the name of an option. Where nothing is offered, shells complete
the names of files.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from cnncli.options import DATA_DIR, RUNS_DIR
from cnncli.printable import printable

Finder = Callable[[typer.Context, str], Iterable[str]]
"""The candidates for an incomplete word; those that start otherwise are left out afterwards."""


@dataclass(frozen=True)
class Completion:
    """A candidate, with the attributes that typer's shells read."""

    value: str
    help: str | None = None
    type: str = "plain"


def add_completion(command: Any) -> None:  # noqa: ANN401  typer does not export the class of its commands
    """Let the arguments and options of a command, and of the commands in it, offer what they may be."""
    for parameter in command.params:
        finder = _finder(parameter)
        if finder is not None:
            parameter.shell_complete = partial(complete, finder)
    for each in getattr(command, "commands", {}).values():
        add_completion(each)


def complete(finder: Finder, context: typer.Context, incomplete: str) -> list[Completion]:
    """The candidates that start with the incomplete word, without those that would need quotes."""
    words = dict.fromkeys(finder(context, incomplete))
    plain = (word for word in words if word == printable(word) and not any(map(str.isspace, word)))
    return [Completion(word) for word in plain if word.startswith(incomplete)]


def _finder(parameter: Any) -> Finder | None:  # noqa: ANN401  likewise
    by_option = next((_OPTIONS[name] for name in parameter.opts if name in _OPTIONS), None)
    return by_option or _METAVARS.get(parameter.metavar or "")


def configs(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The bundled configs, and YAML files."""
    from cnncli.config.config import named_configs

    yield from named_configs()
    yield from (str(path) for path in _paths(incomplete) if path.suffix in (".yaml", ".yml"))


def data_sets(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The names of data sets."""
    from cnncli.config.datasets import STANDARD_DATA

    yield from STANDARD_DATA


def audited(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Data sets, configs and runs."""
    yield from data_sets(context, incomplete)
    yield from targets(context, incomplete)


def runs(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The runs in the folder of runs, and other directories that are runs."""
    for path in [*_folder_of_runs(), *_paths(incomplete)]:
        if (path / "config.yaml").is_file() and (path / "status.json").is_file():
            yield str(path)


def _folder_of_runs() -> list[Path]:
    folder = Path(os.environ.get("CNNCLI_OUT") or RUNS_DIR)
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _paths(incomplete: str) -> list[Path]:
    """The paths that start with the incomplete word; without `./`, like it."""
    head, _, tail = incomplete.rpartition("/")
    folder = Path(f"{head}/" if "/" in incomplete else ".")
    return sorted(folder.glob(f"{glob.escape(tail)}*")) if folder.is_dir() else []


def targets(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Configs and runs."""
    yield from configs(context, incomplete)
    yield from runs(context, incomplete)


def layers(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The names of the layers of the config or run among the other arguments."""
    from cnncli.config.config import read_config

    names = ("run", "target", "config", "resume", "before")
    given = next((str(value) for name in names if (value := context.params.get(name)) is not None), None)
    if given is None:
        return
    resolved = Path(given) / "resolved.yaml"
    config = read_config(str(resolved) if resolved.is_file() else given, data_dir=_data_dir(context))
    yield from (node.name for node in config.network.nodes)


def _data_dir(context: typer.Context) -> Path:
    return Path(context.params.get("data_dir") or DATA_DIR)


def hints(context: typer.Context, incomplete: str) -> Iterable[str]:
    """The names of the hints of inspect."""
    from cnncli.inspection.hints import HINTS

    return HINTS


def devices(context: typer.Context, incomplete: str) -> Iterable[str]:
    """The types of devices; torch, which knows which there are, takes seconds to import."""
    return ("auto", "cpu", "cuda", "mps")


def commands(context: typer.Context, incomplete: str) -> Iterable[str]:
    """The commands of the program, or those of the command named before."""
    command: Any = context.find_root().command
    for name in context.params.get("commands") or ():
        command = getattr(command, "commands", {}).get(name)
        command = command.load() if hasattr(command, "load") else command
    return getattr(command, "commands", {})


_METAVARS: dict[str, Finder] = {
    "CFG": configs,
    "TARGET": targets,
    "A": targets,
    "B": targets,
    "DATA": audited,
    "NAME|DIR": data_sets,
    "RUN": runs,
    "RUNS": runs,
    "LAYER": layers,
    "HINT": hints,
    "DEVICE": devices,
    "COMMAND": commands,
}
_OPTIONS: dict[str, Finder] = {"--layer": layers}
