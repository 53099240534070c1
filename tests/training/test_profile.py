"""The profile of a training, which does not change its results."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pytest
import torch

from cnncli.data.batches import Batches
from cnncli.errors import DiskError
from cnncli.training.loop import fit
from cnncli.training.profile import TRACED_STEPS, Profile
from cnncli.training.state import Training
from cnncli.training.step import Step

Make = Callable[..., Training]
CPU = torch.device("cpu")
STEP_PARTS = ("data", "forward", "backward", "optimizer", "moving average")


def trace_of(profile: Profile) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(gzip.decompress(profile.path.read_bytes()))["traceEvents"]
    return events


def profiled(make_training: Make, train: Batches, validation: Batches, path: Path, *, epochs: int) -> Profile:
    profile = Profile(path, CPU)
    training = make_training(ema=0.9, epochs=epochs)
    list(fit(Step(training, profile=profile), train, validation, classes=3, epochs=epochs))
    profile.close()
    return profile


@pytest.fixture(scope="module")
def long_profile(
    make_training: Make, train: Batches, validation: Batches, tmp_path_factory: pytest.TempPathFactory
) -> Profile:
    """Of 30 steps in 10 epochs: the first five are skipped, then 20 are traced."""
    return profiled(make_training, train, validation, tmp_path_factory.mktemp("long") / "trace.json.gz", epochs=10)


def test_the_weights_are_bit_identical_with_a_profile(
    make_training: Make, train: Batches, validation: Batches, tmp_path: Path
) -> None:
    plain = make_training(ema=0.9, epochs=10)  # seeds the generator of dropout
    before = [epoch.train for epoch in fit(Step(plain), train, validation, classes=3, epochs=10)]
    measured, profile = make_training(ema=0.9, epochs=10), Profile(tmp_path / "trace.json.gz", CPU)
    after = [epoch.train for epoch in fit(Step(measured, profile=profile), train, validation, classes=3, epochs=10)]
    assert profile.traced_steps == TRACED_STEPS
    assert after == before
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, measured.model.state_dict()[name]), name
    for name, weight in plain.inference_model.state_dict().items():
        assert torch.equal(weight, measured.inference_model.state_dict()[name]), name


def test_the_trace_is_of_a_few_steps(long_profile: Profile) -> None:
    spans = Counter(event["name"] for event in trace_of(long_profile) if event.get("cat") == "user_annotation")
    assert {part: spans[part] for part in ("forward", "backward", "optimizer", "moving average")} == dict.fromkeys(
        ("forward", "backward", "optimizer", "moving average"), TRACED_STEPS
    )
    # Steps 6 to 25 end in the middle of the ninth epoch; the end of each epoch tries to get one more batch.
    assert spans["validation"] == 7
    assert spans["data"] == TRACED_STEPS + 7
    assert long_profile.path.stat().st_size < 1_000_000
    assert [path.name for path in long_profile.path.parent.iterdir()] == ["trace.json.gz"]


def test_operators_are_counted_per_step(long_profile: Profile) -> None:
    calls = {operator.name: operator.calls for operator in long_profile.operators}
    assert calls["aten::convolution_backward"] == 1
    assert not {*STEP_PARTS, "validation"} & calls.keys()
    seconds = [operator.seconds for operator in long_profile.operators]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > 0


def test_a_short_training_is_traced_to_its_end(
    make_training: Make, train: Batches, validation: Batches, tmp_path: Path
) -> None:
    profile = profiled(make_training, train, validation, tmp_path / "trace.json.gz", epochs=3)
    assert profile.traced_steps == 9 - 5
    assert profile.path.exists()
    shorter = profiled(make_training, train, validation, tmp_path / "none.json.gz", epochs=1)
    assert (shorter.traced_steps, shorter.operators) == (0, ())
    assert not shorter.path.exists()


def test_the_parts_add_up(make_training: Make, train: Batches, validation: Batches, tmp_path: Path) -> None:
    began = perf_counter()
    profile = profiled(make_training, train, validation, tmp_path / "trace.json.gz", epochs=2)
    parts = {part.name: part for part in profile.parts()}
    assert sum(part.seconds for part in parts.values()) == pytest.approx(perf_counter() - began, rel=0.2)
    assert {name: parts[name].times for name in STEP_PARTS} == {
        "data": 8, "forward": 6, "backward": 6, "optimizer": 6, "moving average": 6
    }  # fmt: skip
    assert parts["validation"].times == 2
    assert parts["other"].seconds >= 0


def test_a_span_measures_its_body(tmp_path: Path) -> None:
    profile = Profile(tmp_path / "trace.json.gz", CPU)
    for _ in range(2):
        with profile.span("sleep"):
            sleep(0.05)
    part, other = profile.parts()
    assert (part.name, part.times) == ("sleep", 2)
    assert 0.1 <= part.seconds < 1
    assert other.name == "other"


def test_a_path_that_cannot_be_written(
    make_training: Make, train: Batches, validation: Batches, tmp_path: Path
) -> None:
    with pytest.raises(DiskError, match="nowhere"):
        profiled(make_training, train, validation, tmp_path / "nowhere" / "trace.json.gz", epochs=10)
