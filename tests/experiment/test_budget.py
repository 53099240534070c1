"""At which steps and epochs a run logs; the numbers were worked out by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.experiment.tensorboard_log import Budget, histogram_epochs, picture_steps


def test_steps_are_powers_of_the_smallest_base_that_leaves_a_place_free() -> None:
    assert picture_steps(126, 10) == (0, 1, 2, 4, 8, 16, 32, 64, 126)
    # There are twelve powers of 2 below 2,532 and eight of 3: with both ends, no place would be free.
    assert picture_steps(2532, 10) == (0, 1, 4, 16, 64, 256, 1024, 2532)
    assert picture_steps(2, 10) == (0, 1, 2)
    assert picture_steps(1000, 5) == (0, 1, 32, 1000)
    assert picture_steps(1000, 3) == (0, 1, 1000)
    assert picture_steps(1000, 2) == (0, 1000)
    assert picture_steps(1000, 0) == ()


def test_chosen_steps_stand_between_the_first_and_the_last() -> None:
    assert picture_steps(100, 10, chosen=(50, 7, 0, 100, 400)) == (0, 7, 50, 100)
    assert picture_steps(100, 0, chosen=(7,)) == ()


def test_an_extended_run_keeps_to_ten_steps() -> None:
    first = picture_steps(422 * 6, 10)
    longer = picture_steps(422 * 12, 10, done=first)
    assert longer == (*first, 422 * 12)
    longest = picture_steps(422 * 40, 10, done=longer)
    assert longest == (*longer, 422 * 40)
    assert len(longest) == 10
    assert picture_steps(422 * 80, 10, done=longest) == longest


def test_an_interrupted_run_draws_what_it_would_have_drawn() -> None:
    whole = picture_steps(27, 10, chosen=(1, 10, 12, 13, 15, 20))
    for count in range(len(whole) + 1):
        assert picture_steps(27, 10, chosen=(1, 10, 12, 13, 15, 20), done=whole[:count]) == whole
    extended = picture_steps(60, 10, done=picture_steps(27, 10))
    for count in range(len(picture_steps(27, 10)), len(extended) + 1):
        assert picture_steps(60, 10, done=extended[:count]) == extended


@given(last=st.integers(1, 10**6), most=st.integers(2, 10), share=st.floats(0, 1), more=st.integers(1, 10**6))
def test_steps_increase_from_the_first_to_the_last(last: int, most: int, share: float, more: int) -> None:
    steps = picture_steps(last, most)
    assert len(steps) <= most
    assert (steps[0], steps[-1]) == (0, last)
    assert list(steps) == sorted(set(steps))
    done = tuple(step for step in steps if step <= share * last)
    again = picture_steps(last + more, most, done=done)
    assert again[: len(done)] == done
    assert (again[-1] == last + more) == (len(done) < most)
    assert list(again) == sorted(set(again))
    assert len(again) <= most


@pytest.mark.parametrize(
    ("epochs", "limit", "expected"),
    [
        (5, 500, [1, 2, 3, 4, 5]),
        (5, 499, [1, 3, 5]),
        (5, 300, [1, 3, 5]),
        (5, 299, [2, 5]),  # not the first one
        (6, 300, [2, 4, 6]),
        (7, 300, [1, 4, 7]),
        (5, 100, [5]),
        (5, 99, []),
    ],
)
def test_the_last_epoch_has_histograms_and_before_it_every_nth(epochs: int, limit: int, expected: list[int]) -> None:
    """Histograms of 100 bytes per epoch."""
    assert sorted(histogram_epochs(epochs, 100, limit)) == expected


@given(epochs=st.integers(1, 500), size=st.integers(1, 10**6), limit=st.integers(1, 10**8))
def test_histograms_keep_to_their_limit(epochs: int, size: int, limit: int) -> None:
    chosen = histogram_epochs(epochs, size, limit)
    assert size * len(chosen) <= limit
    assert list(chosen)[:1] == ([epochs] if size <= limit else [])


def test_without_histograms_no_epoch_has_any() -> None:
    assert not histogram_epochs(5, 0, 100)


def test_only_event_files_of_a_run_count(tmp_path: Path) -> None:
    """How several of them count is tested where they are written."""
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"x" * 111)
    (tmp_path / "metrics.jsonl").write_bytes(b"xxxx")
    assert Budget(tmp_path, 0.001).left() == 1000 - 111


def test_each_kind_of_content_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    budget = Budget(tmp_path, 0.5)
    for _ in range(2):
        budget.report("pictures", "are omitted from step 4")
        budget.report("histograms", "are omitted from epoch 3")
    assert caplog.messages == [
        "log.budget of 0.5 MB: pictures are omitted from step 4",
        "log.budget of 0.5 MB: histograms are omitted from epoch 3",
    ]
