"""The weights kept from steps, read by safetensors itself; which steps are kept; and damaged files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from cnncli.errors import DiskError, RunError
from cnncli.training.weight_history import WeightHistory, bytes_of, steps_to_keep

WEIGHTS = {
    "conv1.conv.weight": torch.linspace(-1, 1, 45).reshape(5, 1, 3, 3),
    "conv1.norm.running_var": torch.tensor([1.0, 1e6]),
    "conv1.norm.num_batches_tracked": torch.tensor(70_000),
    "logits1.bias": torch.tensor([float("nan"), float("inf"), 0.5]),
}


def test_weights_are_kept_in_half_precision(tmp_path: Path) -> None:
    history = WeightHistory(tmp_path)
    assert history.steps() == []
    history.add(16, WEIGHTS)
    stored = load_file(tmp_path / "weights" / "16.safetensors")
    expected = WEIGHTS["conv1.conv.weight"].numpy().astype(np.float16)
    assert np.array_equal(stored["conv1.conv.weight"], expected)
    read = history.read(16)
    assert read.keys() == WEIGHTS.keys()
    assert {each.dtype for each in read.values()} == {torch.float32, torch.int64}
    assert np.array_equal(read["conv1.conv.weight"].numpy(), expected.astype(np.float32))


def test_numbers_that_are_too_large_for_half_precision_stay(tmp_path: Path) -> None:
    WeightHistory(tmp_path).add(0, WEIGHTS)
    read = WeightHistory(tmp_path).read(0)
    for name in ("conv1.norm.running_var", "conv1.norm.num_batches_tracked", "logits1.bias"):
        assert torch.equal(read[name].nan_to_num(9), WEIGHTS[name].nan_to_num(9))


def test_other_layouts_are_kept_too(tmp_path: Path) -> None:
    weight = torch.arange(36.0).reshape(2, 2, 3, 3).to(memory_format=torch.channels_last)
    WeightHistory(tmp_path).add(1, {"weight": weight})
    assert torch.equal(WeightHistory(tmp_path).read(1)["weight"], weight)


def test_the_size_is_not_underestimated(tmp_path: Path) -> None:
    history = WeightHistory(tmp_path)
    weights = {name: tensor for name, tensor in WEIGHTS.items() if name != "conv1.norm.running_var"}
    history.add(3, weights)
    assert history.file(3).stat().st_size <= bytes_of(weights) == 2 * (45 + 3) + 8 + 4 * 200


def test_other_steps_are_deleted(tmp_path: Path) -> None:
    history = WeightHistory(tmp_path)
    for step in (0, 2, 16, 128):
        history.add(step, WEIGHTS)
    (tmp_path / "weights" / "notes.txt").touch()
    (tmp_path / "weights" / ".7.safetensors.0f.part").touch()
    history.keep_only([0, 16, 64])
    assert history.steps() == [0, 16]
    assert {path.name for path in history.folder.iterdir()} == {"0.safetensors", "16.safetensors", "notes.txt"}


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    history = WeightHistory(tmp_path)
    history.add(4, WEIGHTS)
    intact = history.file(4).read_bytes()
    for position in range(0, len(intact), 7):
        content = bytearray(intact)
        content[position] ^= 0x01
        history.file(4).write_bytes(content)
        with pytest.raises(RunError, match=r"4\.safetensors: ") as caught:
            history.read(4)
        assert caught.value.remedy
    history.file(4).write_bytes(intact[:-20])
    with pytest.raises(RunError, match="cannot be read"):
        history.read(4)


def test_a_step_that_is_not_kept(tmp_path: Path) -> None:
    history = WeightHistory(tmp_path)
    history.add(0, WEIGHTS)
    with pytest.raises(RunError, match="step 7 are not kept") as caught:
        history.read(7)
    assert "these steps: 0" in str(caught.value.remedy)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(DiskError):
        WeightHistory(tmp_path).add(0, WEIGHTS)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(9, (0, 1, 2, 4, 8, 16, 24)), (7, (0, 1, 2, 4, 8, 16, 24)), (4, (0, 2, 8, 24)), (2, (0, 24)), (1, ()), (0, ())],
)
def test_the_first_the_last_and_some_between(most: int, expected: tuple[int, ...]) -> None:
    assert steps_to_keep([0, 1, 2, 4, 8, 16, 24], most) == expected


def test_an_extended_run_keeps_what_it_has() -> None:
    assert steps_to_keep([0, 1, 2, 4, 8, 16, 24, 48], 8, kept=[0, 1, 2, 4, 8, 16, 24]) == (0, 1, 2, 4, 8, 16, 24, 48)
    assert steps_to_keep([0, 1, 2, 4, 8, 16, 24, 48], 4, kept=[0, 4, 24]) == (0, 4, 24, 48)
    assert steps_to_keep([0, 1, 2, 4, 8, 16, 24, 48], 2, kept=[0, 4, 24]) == (0, 4, 24)


@given(steps=st.sets(st.integers(1, 500), max_size=12), most=st.integers(0, 14), stopped=st.integers(0, 500))
def test_a_resumed_run_keeps_the_same_steps(steps: set[int], most: int, stopped: int) -> None:
    planned = [0, *sorted(steps)]
    whole = steps_to_keep(planned, most)
    assert len(whole) <= most
    assert not whole or (whole[0], whole[-1]) == (0, planned[-1])
    assert steps_to_keep(planned, most, kept=[step for step in whole if step <= stopped]) == whole
