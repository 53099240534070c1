"""`cnncli train --dry-run`: what it prints, and that it writes nothing."""

import json
from pathlib import Path

from tests.cli.conftest import Cnncli

DRY_RUN = ("train", "tiny.yaml", "--dry-run", "--threads", 1)


def test_json_is_one_object(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(*DRY_RUN, "--json", "--device", "cpu")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["images"] == {"train": 1150, "val": 288, "test": 359}
    assert (found["name"], found["data"], found["device"]) == ("tiny", "digits", "cpu")
    assert (found["epochs"], found["steps_per_epoch"]) == (3, 9)
    disk = found["disk"]
    assert disk["total"] == sum(size for part, size in disk.items() if part != "total") > 0
    assert found["disk_free"] > disk["total"]
    assert found["memory"] > 4 * 4 * 512  # weights, gradients and both moments of 512 parameters
    _, inspected, _ = run_cnncli("inspect", "tiny.yaml", "--json")
    assert found["network"] == json.loads(inspected)
    assert not Path("runs").exists()


def test_quiet_prints_nothing(run_cnncli: Cnncli) -> None:
    assert run_cnncli(*DRY_RUN, "--quiet") == (0, "", "")
    code, out, err = run_cnncli(*DRY_RUN, "--quiet", "--set", "data.validation=1437")
    assert (code, out, err) == (0, "", "")
    code, out, err = run_cnncli(*DRY_RUN, "--quiet", "--set", "data.validation=1438")
    assert (code, out) == (4, "")
    assert err.startswith("error: data.validation")
