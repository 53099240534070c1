"""The measuring, with contenders whose numbers are known."""

import os
from math import inf
from pathlib import Path

import pytest

from benchmarks.measure import Comparison, Contender, Numbers, Settings, compare, in_processes, until_accurate


def test_contenders_take_turns_and_the_first_rounds_do_not_count() -> None:
    order: list[tuple[str, int]] = []

    def contender(name: str) -> Contender:
        def run(turn: int) -> Numbers:
            order.append((name, turn))
            return {"s": len(order)}

        return run

    (found,) = compare("it", {"ours": contender("a"), "theirs": contender("b")}, rounds=2, warmup=1)
    assert order == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert found == Comparison(title="it", unit="s", values={"ours": [3, 5], "theirs": [4, 6]})


def test_every_quantity_is_a_comparison() -> None:
    found = compare("MNIST", {"ours": lambda turn: {"an epoch, s": 1.0, "accuracy, %": 99.0}}, rounds=1, warmup=0)
    assert [(each.title, each.unit) for each in found] == [("MNIST: an epoch", "s"), ("MNIST: accuracy", "%")]


def test_ratios_are_those_within_a_round() -> None:
    """The machine was ten times slower in the last round, which says nothing of the two."""
    found = Comparison(title="it", unit="s", values={"ours": [2, 3, 20], "theirs": [4, 4, 40]})
    assert found.ratios("theirs") == [0.5, 0.75, 0.5]
    first, second = found.markdown().splitlines()[2:]
    assert first == "| ours | 3.00 | 2.50 to 11.5 |  |"
    assert second == "| theirs | 4.00 | 4.00 to 22.0 | 0.500 (0.500 to 0.625) |"


def test_a_goal_that_was_not_reached_is_reported() -> None:
    found = Comparison(title="it", unit="s", values={"ours": [1, 2], "theirs": [1, inf]})
    assert "| theirs | not reached in 1 of 2 rounds |  |  |" in found.markdown()
    assert found.as_record()["values"] == {"ours": [1, 2], "theirs": [1, None]}


@pytest.mark.parametrize(("most_epochs", "trained", "ends_at"), [(9, 3, 99.0), (2, 2, 98.0)])
def test_training_ends_with_the_target_or_the_epochs(most_epochs: int, trained: int, ends_at: float) -> None:
    epochs: list[None] = []
    found = until_accurate(
        0.99, lambda: epochs.append(None), lambda: [0.9, 0.98, 0.99][len(epochs) - 1], most_epochs=most_epochs
    )
    assert len(epochs) == trained
    assert found["accuracy at the end, %"] == pytest.approx(ends_at)
    assert (found["to 99.0% of the test images, s"] < inf) is (ends_at == 99.0)


def process_id(offset: int) -> Contender:
    return lambda turn: {"process": os.getpid(), "number": offset + turn}


def failing() -> Contender:
    raise FileNotFoundError("no data")


def test_each_lives_in_a_process_of_its_own_and_keeps_it() -> None:
    with in_processes({"a": (process_id, (10,)), "b": (process_id, (20,))}, Settings()) as processes:
        rounds = [{name: run(turn) for name, run in processes.items()} for turn in range(2)]
    assert [[numbers["number"] for numbers in each.values()] for each in rounds] == [[10, 20], [11, 21]]
    ids = [{name: numbers["process"] for name, numbers in each.items()} for each in rounds]
    assert ids[0] == ids[1]
    assert len({*ids[0].values(), os.getpid()}) == 3


def test_an_error_there_is_an_error_here() -> None:
    with in_processes({"a": (failing, ())}, Settings()) as processes, pytest.raises(FileNotFoundError, match="no data"):
        processes["a"](0)


def test_settings_of_a_quick_run() -> None:
    assert (Settings().rounds_or(7), Settings(quick=True).rounds_or(7), Settings(rounds=3).rounds_or(7)) == (7, 1, 3)
    assert Settings(data_dir=Path("x")).warmup == 1
