"""Every broken config in tests/cases/configs has the message beside it, and nothing of it is a traceback.

The expected messages were read by a person: each names the file, the line, the path, what is wrong, and where it helps
what was probably meant.
"""

from pathlib import Path

import pytest

from cnncli.errors import ConfigError
from cnncli.spec.config import read_config

CASES = Path(__file__).parents[1] / "cases" / "configs"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_message(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(CASES)
    with pytest.raises(ConfigError) as caught:
        read_config(f"{name}.yaml", data_dir=tmp_path)
    assert caught.value.message + "\n" == (CASES / f"{name}.txt").read_text(encoding="utf-8")


def test_overrides_are_named_as_the_place(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("data: {name: digits}\nmodel: {layers: [flatten, logits]}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(str(config), data_dir=tmp_path, assignments=["train.epoch=3", "model.layers.0=flaten"])
    assert "--set train.epoch=3: train.epoch: there is no such field; did you mean epochs?" in caught.value.message
    assert "--set model.layers.0=flaten: model.layers.0: there is no layer flaten; did you mean flatten?" in (
        caught.value.message
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lenet", "there is no config lenet; did you mean lenet5?"),
        ("nowhere/x.yaml", "there is no config nowhere/x.yaml"),
    ],
)
def test_a_config_that_is_not_there(argument: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(argument, data_dir=tmp_path)
    assert caught.value.message.startswith(message)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_bytes(b"data: 1\nname: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"c.yaml:2 is not UTF-8 text"):
        read_config(str(config), data_dir=tmp_path)
