"""`cnncli diff` as a user types it."""

import json

from typer.testing import CliRunner

from cnncli.cli.app import app


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["diff", *arguments])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_a_config_and_itself() -> None:
    text = printed("lenet5", "lenet5")
    assert "no layer differs" in text
    assert "parameters: 61,706, both" in text


def test_two_configs() -> None:
    text = printed("lenet5", "nin")
    assert "lenet5 -> nin" in text
    assert "removed" in text
    assert "parameters: 61,706 -> " in text


def test_another_input_for_both_as_json() -> None:
    differences = json.loads(printed("lenet5", "lenet5", "--input", "1x32x32", "--json"))
    assert differences["changes"] == []
    assert differences["before"]["input_shape"] == [1, 32, 32]
