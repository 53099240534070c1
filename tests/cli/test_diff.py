"""`cnncli diff` as a user types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cnncli.cli.app import app


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["diff", *arguments])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_a_config_against_itself() -> None:
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


def test_differences_below_the_rounding_are_shown(tmp_path: Path) -> None:
    """40,000,000 weights without a bias for each of 40,000 channels, and with one: 40.0M either way."""
    for name, bias in (("without", "false"), ("with", "true")):
        layer = f"linear: {{out_features: 40000, bias: {bias}}}"
        (tmp_path / f"{name}.yaml").write_text(
            f"data: {{name: digits, size: [25, 40]}}\nmodel: {{layers: [flatten, {{{layer}}}, {{linear: 10}}]}}\n"
        )
    text = printed(str(tmp_path / "without.yaml"), str(tmp_path / "with.yaml"))
    assert "40,000,000 -> 40,040,000" in text
    assert "40.0M" in text


@pytest.mark.parametrize("width", [40, 100])
def test_numbers_are_complete_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("cnncli.cli.render.console._PIPED_WIDTH", width)
    text = printed("lenet5", "nin")
    changed = next(line for line in text.splitlines() if "changed" in line)
    assert changed.split()[0:2] == ["changed", "conv1"]
    assert all(number in text for number in ("117,600", "2,416", "48,120"))
