"""Runs that are killed at any moment, and resumed: every file is that of the run that was not interrupted."""

from pathlib import Path

from tests.reliability.runs import differences, runs_in, tiny_config, train_in_child


def test_runs_are_equal_or_their_differences_have_names(tmp_path: Path) -> None:
    """The comparison that the attacks rely on."""
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    for out, seed in ((first, 0), (second, 0), (other, 1)):
        ended = train_in_child(tiny_config(tmp_path, f"train.seed={seed}", "log.steps=[]"), out)
        assert ended.code == 0, ended.output
    runs = [run for out in (first, second, other) for run in runs_in(out)]
    assert differences(runs[0], runs[1]) == []
    found = differences(runs[2], runs[0])
    assert "checkpoints/last/state.pt differs" in found
    assert "metrics.jsonl differs" in found
    assert "events: loss/train differs" in found
    (runs[1] / "checkpoints" / "last.old").mkdir()
    (runs[1] / "checkpoints" / "last.old" / "state.pt").touch()
    next(runs[1].glob("events.out.tfevents.*")).write_bytes(b"")
    found = differences(runs[1], runs[0])
    assert found[0] == "checkpoints/last.old/state.pt is left behind"
    assert "events: loss/train has steps [] instead of [3, 6]" in found
