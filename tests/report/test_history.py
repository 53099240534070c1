"""The weights of earlier steps in the playground, read from the page by other means than its own."""

import base64
import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.report.arrays import Arrays
from cnncli.report.history import add_drawn_history, add_history
from cnncli.report.model_data import model_data
from cnncli.run import Run, load_run

ExitCodeOf = Callable[..., int]
Numbers = npt.NDArray[Any]


def content_of(page: Path, name: str) -> str:
    found = re.search(rf'<script type="[\w/]+" id="{name}">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def array_of(page: Path, key: str) -> Numbers:
    """An array in the page; the bytes of its numbers are in planes."""
    entry = json.loads(content_of(page, "data"))["arrays"][key]
    binary = zlib.decompress(base64.b64decode(content_of(page, "binary")))
    dtype = np.dtype({"f2": "<f2", "f4": "<f4", "u1": "u1"}[entry["type"]])
    part = binary[entry["offset"] : entry["offset"] + dtype.itemsize * entry["length"]]
    interleaved = bytearray(len(part))
    for plane in range(dtype.itemsize):
        interleaved[plane :: dtype.itemsize] = part[plane * entry["length"] : (plane + 1) * entry["length"]]
    return np.frombuffer(bytes(interleaved), dtype)


@pytest.fixture
def copied(lenet: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lenet, tmp_path / lenet.name))


def test_the_page_has_the_weights_of_every_step_kept(
    copied: Path, lenet_run: Run, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of("play", copied) == 0
    page = copied / "play.html"
    model = json.loads(content_of(page, "data"))["models"][0]
    assert [each["step"] for each in model["steps"]] == lenet_run.weight_steps == [0, 1, 2, 4, 8, 16, 18]
    assert [each["epoch"] for each in model["steps"]] == pytest.approx([0, 1 / 9, 2 / 9, 4 / 9, 8 / 9, 16 / 9, 2])
    assert [each["step"] for each in model["metrics"]] == [9, 18]
    names = [tensor["name"] for tensor in model["model"]["tensors"]]
    for step in lenet_run.weight_steps:
        kept = lenet_run.weights_at(step)
        expected = torch.cat([kept[name].reshape(-1) for name in names]).numpy()
        assert np.array_equal(array_of(page, f"history/0/{step}"), expected)


def test_the_page_with_time_keeps_to_its_size(
    copied: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of("play", copied) == 0
    assert (copied / "play.html").stat().st_size <= 3_000_000


def test_a_damaged_step_is_left_out(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = copied / "weights" / "4.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    run = load_run(copied, data_dir=Path("nowhere"))
    found = add_history(Arrays(), run, 0)
    assert [each["step"] for each in found["steps"]] == [0, 1, 2, 8, 16, 18]
    assert "lacks step 4" in caplog.text


def test_steps_that_are_too_large_are_thinned(
    lenet_run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cnncli.report.history.HISTORY_BYTES", 2 * 61_706 * 4 + 100)
    found = add_history(Arrays(), lenet_run, 0)
    assert [each["step"] for each in found["steps"]] == [0, 2, 8, 18]
    assert "lacks 3 of 7 steps" in caplog.text


def test_a_run_without_weights_of_steps(copied: Path) -> None:
    shutil.rmtree(copied / "weights")
    found = add_history(Arrays(), load_run(copied, data_dir=Path("nowhere")), 0)
    assert found["steps"] == []
    assert len(found["metrics"]) == 2


def test_numbers_too_large_for_half_precision(lenet_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {name: torch.full_like(each, 1e6) for name, each in lenet_run.model.state_dict().items()}
    monkeypatch.setattr(Run, "weights_at", lambda run, step: weights)
    arrays = Arrays()
    add_history(arrays, lenet_run, 0)
    assert {each["type"] for each in arrays.index.values()} == {"f4"}


def drawn(arrays: Arrays, run: Run) -> dict[str, Any] | None:
    network = model_data(run.model, classes=run.classes, normalization=run.normalization)
    return add_drawn_history(arrays, run, network)


DRAWN_NUMBERS = (6 * 25 + 6) + (16 * 6 * 25 + 16)
"""Of conv1 and conv2, counted by hand; the linear layers after them are not drawn."""


def test_the_report_has_the_weights_that_are_drawn(lenet_run: Run) -> None:
    arrays = Arrays()
    found = drawn(arrays, lenet_run)
    assert found == {"steps": [0, 1, 2, 4, 8, 16, 18], "of": 7, "layers": ["conv1", "avg_pool1", "conv2", "avg_pool2"]}
    assert {each["length"] for each in arrays.index.values()} == {DRAWN_NUMBERS}


def test_the_report_leaves_out_steps_between(lenet_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.report.history.DRAWN_BYTES", 3 * 2 * DRAWN_NUMBERS)
    found = drawn(Arrays(), lenet_run)
    assert found is not None
    assert (found["steps"], found["of"]) == ([0, 4, 18], 7)
    monkeypatch.setattr("cnncli.report.history.DRAWN_BYTES", 2 * 2 * DRAWN_NUMBERS - 1)
    assert drawn(Arrays(), lenet_run) is None
