"""Scores against scikit-learn, an interval against its definition, and how an evaluation prints."""

import warnings
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    precision_score,
)

from cnncli.inspection.formatting import plain
from cnncli.training.scores import Evaluation, evaluation_lines, wilson_interval

CONFUSION = ((5, 1, 0, 0), (2, 3, 0, 0), (0, 4, 0, 0), (0, 0, 0, 0))
NAMES = ("cat", "[red]dog", "emu", "fox")


def evaluation(loss: float = 0.5) -> Evaluation:
    return Evaluation(loss=loss, confusion=CONFUSION, ece=0.125, classes=NAMES)


def test_scores_of_each_class_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    labels, predicted = generator.integers(0, 7, 400), generator.integers(0, 7, 400)
    predicted[:200] = labels[:200]
    confusion = confusion_matrix(labels, predicted)
    found = Evaluation(loss=0.0, confusion=tuple(map(tuple, confusion.tolist()))).class_scores
    expected = precision_recall_fscore_support(labels, predicted)
    for k, scores in enumerate(found):
        assert (scores.precision, scores.recall, scores.f1) == pytest.approx([row[k] for row in expected[:3]])
        assert scores.support == expected[3][k]


def test_macro_averages_are_those_of_scikit_learn() -> None:
    """Class 5 has no images, but predictions; class 6 has neither."""
    generator = np.random.default_rng(4)
    labels = generator.choice(5, 300, p=[0.7, 0.2, 0.06, 0.03, 0.01])
    predicted = np.where(generator.random(300) < 0.7, labels, generator.integers(0, 6, 300))
    confusion = confusion_matrix(labels, predicted, labels=range(7))
    found = Evaluation(loss=0.0, confusion=tuple(map(tuple, confusion.tolist())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a predicted class without images
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found.macro_precision == pytest.approx(precision_score(labels, predicted, average="macro"))
    assert found.balanced_accuracy < found.accuracy - 0.01


def test_what_would_divide_by_zero_is_none() -> None:
    """Nothing is predicted as an emu; there is no image of a fox."""
    _, _, emu, fox = evaluation().class_scores
    assert (emu.precision, emu.recall, emu.f1, emu.support) == (None, 0.0, 0.0, 4)
    assert (fox.precision, fox.recall, fox.f1, fox.support) == (None, None, None, 0)


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_proportions_that_a_score_test_accepts(drawn: tuple[int, int]) -> None:
    """Its ends are where |p - q| is 1.96 standard errors of q; within 0 and 1, and around p."""
    successes, trials = drawn
    low, high = wilson_interval(successes, trials)
    p = successes / trials
    assert 0 <= low <= p <= high <= 1
    for end, extreme in ((low, 0), (high, trials)):
        if successes != extreme:
            assert abs(p - end) / sqrt(end * (1 - end) / trials) == pytest.approx(1.959964, rel=1e-4)


def test_a_published_interval() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe, "Two-sided confidence intervals for the single proportion", 1998)."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_numbers_of_the_whole() -> None:
    found = evaluation()
    assert (found.images, found.correct, found.accuracy) == (15, 8, 8 / 15)
    assert found.per_class == (5 / 6, 3 / 5, 0.0, None)


def test_the_most_frequent_confusions_come_first() -> None:
    pairs = [(pair.label, pair.predicted, pair.count, pair.support) for pair in evaluation().most_confused(2)]
    assert pairs == [(2, 1, 4, 4), (1, 0, 2, 5)]
    assert len(evaluation().most_confused(9)) == 3, "classes that are never confused are not listed"


def test_json_has_null_for_what_is_no_number() -> None:
    record = evaluation(loss=inf).as_json()
    assert record["loss"] is None
    assert record["per_class"][3] == {"class": "fox", "precision": None, "recall": None, "f1": None, "support": 0}
    assert record["confusion"] == [list(row) for row in CONFUSION]
    assert (record["images"], record["ece"]) == (15, 0.125)


def test_it_prints_as_a_table() -> None:
    lines = str(evaluation()).splitlines()
    assert lines[0] == "accuracy 53.33%, 95% interval 30.12% to 75.19%"
    assert lines[1] == "balanced accuracy 47.78%, macro F1 41.03%"  # recalls 5/6, 3/5 and 0; F1 10/13, 6/13 and 0
    assert lines[2] == "loss 0.5000, expected calibration error 12.50%"
    assert lines[5].split() == ["class", "precision", "recall", "F1", "support"]
    assert lines[7].split() == ["cat", "71.43%", "83.33%", "76.92%", "6"]
    assert lines[9].split() == ["emu", "0.00%", "0.00%", "4"]
    assert lines[-3] == "  emu predicted as [red]dog: 4 of 4 (100.0%)"
    assert repr(evaluation()) == "<Evaluation of 15 images: accuracy 53.33%, loss 0.5000>"


def test_the_table_fits_into_40_columns() -> None:
    lines = [plain(line) for line in evaluation_lines(evaluation(), width=40)]
    table = lines[5:11]
    assert max(map(len, table)) <= 40
    assert table[0].split() == ["class", "prec.", "recall", "F1", "support"]
    assert table[2].split() == ["cat", "71.4%", "83.3%", "76.9%", "6"]
