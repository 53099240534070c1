"""The list of commands and their modules."""

import pkgutil
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from cnncli.cli import commands
from cnncli.cli.app import COMMANDS, LazyCommand, app

LISTED = {name: summary for panel in COMMANDS.values() for name, summary in panel.items()}

# Modules that are not commands.
SHARED = {"options"}


def test_every_command_is_listed() -> None:
    assert {module.name for module in pkgutil.iter_modules(commands.__path__)} - SHARED == set(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_a_summary_is_the_first_line_of_the_help_of_its_command(name: str) -> None:
    listed = getattr(typer.main.get_command(app), "commands")[name]  # noqa: B009  typer's type does not say so
    assert isinstance(listed, LazyCommand)
    assert listed.load().help.split("\n\n")[0] == LISTED[name]


def test_the_help_shows_every_summary_in_its_panel() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    text = " ".join(shown.split())
    headings = [text.index(f"{panel}: ") for panel in COMMANDS]
    assert headings == sorted(headings)
    for name, summary in LISTED.items():
        assert f"{name} {summary}" in text


def test_only_the_command_that_runs_is_imported() -> None:
    program = "import atexit, sys; atexit.register(lambda: print('loaded:', *sys.modules)); "
    program += "from cnncli.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "schema"], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    prefix = "cnncli.cli.commands."
    assert {name.removeprefix(prefix) for name in loaded if name.startswith(prefix)} - SHARED == {"schema"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspct"], "No such command 'inspct'. Did you mean 'inspect'"),
        (["inspect"], "Missing argument 'TARGET'"),
        (["inspect", "--wid", "lenet5"], "No such option: --wid"),
        (["explain", "poling"], "No such command 'poling'"),
    ],
)
def test_a_typing_error_exits_with_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_completion_knows_commands_and_their_options() -> None:
    def completed(words: str) -> str:
        environment = {"_CNNCLI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return CliRunner().invoke(app, [], prog_name="cnncli", env=environment).stdout

    assert completed("cnncli insp").split() == ["inspect"]
    assert "--strict" in completed("cnncli inspect --str").split()
    assert completed("cnncli explain poo").split() == ["pooling"]
