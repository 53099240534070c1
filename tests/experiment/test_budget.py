"""When pictures are drawn, and what a budget leaves of them; the numbers were worked out by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.experiment.budget import allot, event_bytes, picture_steps, thinned


def test_steps_are_powers_of_the_smallest_number_that_leaves_a_place_free() -> None:
    assert picture_steps(126, 10) == (0, 1, 2, 4, 8, 16, 32, 64, 126)
    # Twos up to 2,531 would be fourteen and threes ten, which leaves none free.
    assert picture_steps(2532, 10) == (0, 1, 4, 16, 64, 256, 1024, 2532)
    assert picture_steps(2, 10) == (0, 1, 2)
    assert picture_steps(1000, 2) == (0, 1000)
    assert picture_steps(1000, 3) == (0, 1, 1000)
    assert picture_steps(1000, 5) == (0, 1, 32, 1000)
    assert picture_steps(1000, 0) == ()


def test_chosen_steps_stand_between_the_first_and_the_last() -> None:
    assert picture_steps(100, 10, chosen=(50, 7, 0, 100, 400)) == (0, 7, 50, 100)
    assert picture_steps(100, 0, chosen=(7,)) == ()


def test_a_run_made_longer_stays_within_ten() -> None:
    first = picture_steps(422 * 6, 10)
    longer = picture_steps(422 * 12, 10, done=first)
    assert longer == (*first, 4096, 422 * 12)
    assert len(longer) == 10
    assert picture_steps(422 * 40, 10, done=longer) == (*longer, 422 * 40)  # the end is drawn whatever there is


@given(last=st.integers(1, 10**6), most=st.integers(2, 10), share=st.floats(0, 1), more=st.integers(1, 10**6))
def test_steps_rise_from_the_first_to_the_last(last: int, most: int, share: float, more: int) -> None:
    steps = picture_steps(last, most)
    assert len(steps) <= most
    assert (steps[0], steps[-1]) == (0, last)
    assert list(steps) == sorted(set(steps))
    done = tuple(step for step in steps if step <= share * last)
    again = picture_steps(last + more, most, done=done)
    assert again[: len(done)] == done
    assert again[-1] == last + more
    assert list(again) == sorted(set(again))
    assert len(again) <= most or len(done) == most


def test_thinned_keeps_both_ends() -> None:
    steps = (0, 1, 2, 4, 8, 16, 32)
    assert thinned(steps, 9) == steps
    assert thinned(steps, 4) == (0, 2, 8, 32)
    assert thinned(steps, 2) == (0, 32)
    assert thinned(steps, 1) == (32,)
    assert thinned(steps, 0) == ()


@pytest.mark.parametrize(
    ("left", "tags", "steps", "every"),
    [
        # Both tags take 100 + 125 + 2 * 200 and 40 + 50 at both ends, 715 in all, and 375 more at each step between:
        # 175 for the pictures, 200 for the frame. Ten epochs of histograms take 1,000.
        (715 + 3 * 375 + 1000, "kernels maps", (0, 1, 2, 4, 8), 1),
        (715 + 3 * 375 + 999, "kernels maps", (0, 1, 2, 4, 8), 2),
        (715 + 3 * 375 + 100, "kernels maps", (0, 1, 2, 4, 8), 10),
        (715 + 3 * 375 + 99, "kernels maps", (0, 1, 2, 4, 8), 0),
        (715 + 3 * 375 - 1, "kernels maps", (0, 1, 4, 8), 3),
        (715, "kernels maps", (0, 8), 0),
        (315, "kernels maps", (0, 8), 0),
        (314, "kernels", (0, 8), 0),
        (224, "maps", (0, 1, 4, 8), 0),
        (89, "", (), 0),
        (-5, "", (), 0),
    ],
)
def test_what_there_is_room_for(left: int, tags: str, steps: tuple[int, ...], every: int) -> None:
    found = allot(
        left,
        pictures={"kernels": 100, "maps": 40},
        animated=["kernels"],
        steps=(0, 1, 2, 4, 8),
        histograms=100,
        epochs=10,
    )
    assert (" ".join(found.tags), tuple(found.steps), found.histograms_every) == (tags, steps, every)


def test_without_pictures_the_steps_stay_for_what_is_counted() -> None:
    assert allot(10**6, pictures={}, animated=(), steps=(0, 1, 9), histograms=0, epochs=3).steps == (0, 1, 9)


def test_all_event_files_of_a_run_count(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"events.out.tfevents.{i}.host").write_bytes(b"x" * 10**i)
    (tmp_path / "metrics.jsonl").write_bytes(b"xxxx")
    assert event_bytes(tmp_path) == 111
