"""`cnncli train --find-lr`: what it prints and writes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Cnncli

TEST = ("train", "tiny.yaml", "--find-lr", "--threads", 1)


def test_it_leaves_a_picture_and_no_run(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*TEST, "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["field"] == "train.optimizer.adamw.lr"
    assert len(record["learning_rates"]) == len(record["losses"]) == len(record["smoothed"])
    assert [path.name for path in Path("runs").iterdir()] == ["tiny-find-lr.png"]
    with Image.open(record["picture"]) as picture:
        assert picture.width > 1000
    code, out, _ = run_cnncli(*TEST)
    assert code == 0
    suggestion = f"{record['suggestion']:.2g}"
    assert f"--set train.optimizer.adamw.lr={suggestion}\n" in out
    assert "learning rate 1e-6" in out
    (lowest,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["lowest"]]
    assert float(lowest[3]) == pytest.approx(min(record["smoothed"]), abs=1e-4)
    assert run_cnncli(*TEST, "--quiet")[1] == f"{suggestion}\n"


@pytest.mark.parametrize("option", ["--dry-run", "--profile", "--live"])
def test_options_without_effect(option: str, run_cnncli: Cnncli) -> None:
    code, _, err = run_cnncli(*TEST, option)
    assert code == 2
    assert f"--find-lr trains no run: {option} has no effect" in err
