"""`cnncli help`, and hints for options and commands that do not exist."""

from collections.abc import Callable

import pytest

Cnncli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("command", [(), ("train",), ("show",), ("show", "kernels"), ("explain", "unit"), ("help",)])
def test_it_prints_what_the_option_prints(command: tuple[str, ...], run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("help", *command)
    assert (code, err) == (0, "")
    assert out == run_cnncli(*command, "--help")[1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("trian",), "cnncli has no command trian. Did you mean train?"),
        (("show", "kernel"), "cnncli show has no command kernel. Did you mean kernels?"),
        (("train", "quickstart"), "cnncli train has no commands, so no quickstart"),
    ],
)
def test_an_unknown_command(command: tuple[str, ...], message: str, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("help", *command)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("option", "assignment"),
    [
        ("--epochs", "train.epochs=VALUE"),
        ("--epoch", "train.epochs=VALUE"),
        ("--batch-size", "train.batch_size=VALUE"),
        ("--lr", "train.optimizer.adamw.lr=VALUE"),
        ("--learning-rate", "train.optimizer.adamw.lr=VALUE"),
        ("--seed", "train.seed=VALUE"),
    ],
)
def test_an_option_that_is_a_field_of_the_config(option: str, assignment: str, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("train", "tiny.yaml", option, 3)
    assert (code, out) == (2, "")
    assert f"no such option: {option}" in err
    assert f"--set {assignment}" in err


@pytest.mark.parametrize("arguments", [("schema", "--epochs", 3), ("train", "--nam", "x"), ("train", "--name")])
def test_other_mistakes_are_not_about_fields(arguments: tuple[object, ...], run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*arguments)
    assert (code, out) == (2, "")
    assert "--set" not in err


def test_the_name_of_a_run(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("train", "tiny.yaml", "--name", "a b")
    assert (code, out) == (2, "")
    assert "--name 'a b' is not a valid name" in err
    assert "letters, digits" in err
