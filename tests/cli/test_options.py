"""Values of options: choices in any case, and messages without the words of the library that reads them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from cnncli.cli.app import app

ExitCodeOf = Callable[..., int]


def parameters() -> Iterator[tuple[str, Any]]:
    """Every argument and option of every command, with the command's name."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield from ((name, parameter) for parameter in command.params)
        for word, each in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {word}", each)

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]  # it is a group
        yield from walk(name, command.load())


def test_choices_are_accepted_in_any_case() -> None:
    sensitive = []
    count = 0
    for command, parameter in parameters():
        values = getattr(parameter, "type_descriptor", None) or parameter.type  # before typer 0.27, click's type
        if getattr(values, "choices", None):
            count += 1
            sensitive += [(command, parameter.name)] if values.case_sensitive else []
    assert count > 20
    assert sensitive == []


def test_a_choice_in_capitals(
    exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_code_of("inspect", "lenet5", "--format", "CSV") == 0
    capitals = capsys.readouterr().out
    assert exit_code_of("inspect", "lenet5", "--format", "csv") == 0
    assert capitals == capsys.readouterr().out
    monkeypatch.setenv("CNNCLI_DEVICE", "CPU")
    assert exit_code_of("train", "quickstart", "--dry-run") == 0
    assert "cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("inspect", "lenet5", "--format", "bmp"),
            "'--format': 'bmp' is not one of 'table', 'json', 'csv', 'markdown'.",
        ),
        (("show", "kernels", ".", "--format", "bmp"), "'--format': 'bmp' is not one of 'png', 'svg'."),
        (("show", "kernels", ".", "--scale", "99"), "'--scale': must be less than or equal to 10"),
        (("show", "kernels", ".", "--scale", "x"), "'--scale': must be a valid integer"),
        (("train", "lenet5", "--threads", "0"), "'CNNCLI_THREADS'): must be greater than or equal to 1"),
        (("explain", "learn-kernel", "--target", "face"), "'--target': 'face' is not one of 'edge', 'sobel', 'blur'"),
    ],
)
def test_messages_about_values(
    arguments: tuple[str, ...], message: str, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Value error" not in error
    assert "Input should be" not in error
