"""Confident learning: by hand on six images, and with cleanlab as the second opinion."""

import numpy as np
import numpy.typing as npt
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues as find_with_cleanlab
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.audit.confident_learning import (
    confidence_thresholds,
    confident_joint,
    estimated_counts,
    find_label_issues,
    margins,
)

# Six images of two classes; the label of the third one is wrong.
LABELS = np.array([0, 0, 0, 1, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.45, 0.55], [0.3, 0.7]])

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def noisy(images: int, classes: int, *, rate: float, seed: int, accuracy: float = 0.95) -> tuple[Labels, Labels, Array]:
    """True labels, labels of which a share is wrong, and probabilities of a fallible network."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, images)
    labels = np.where(random.random(images) < rate, (truth + random.integers(1, classes, images)) % classes, truth)
    wrong = random.random(images) > accuracy
    predicted = np.where(wrong, (truth + random.integers(1, classes, images)) % classes, truth)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), predicted] += random.uniform(1, 6, images)
    exponents = np.exp(logits)
    return truth, labels, exponents / exponents.sum(axis=1, keepdims=True)


def test_by_hand() -> None:
    # Means of the probabilities of the label: (0.9 + 0.8 + 0.1) / 3 and (0.8 + 0.55 + 0.7) / 3.
    assert confidence_thresholds(LABELS, PROBABILITIES) == pytest.approx([0.6, 2.05 / 3])
    # Image 4 reaches neither threshold; image 2, labeled 0, is confidently a 1.
    assert confident_joint(LABELS, PROBABILITIES).tolist() == [[2, 1], [0, 2]]
    assert estimated_counts(LABELS, PROBABILITIES).tolist() == [[2, 1], [0, 3]]
    assert margins(LABELS, PROBABILITIES) == pytest.approx([0.8, 0.6, -0.8, 0.6, 0.1, 0.4])
    assert find_label_issues(LABELS, PROBABILITIES).tolist() == [2]


def test_of_two_confident_classes_the_more_probable_one_counts() -> None:
    labels = np.array([0, 1, 2])
    probabilities = np.array([[0.3, 0.36, 0.34], [0.5, 0.3, 0.2], [0.6, 0.1, 0.3]])
    # The thresholds are 0.3 for every class: image 0 reaches all three, images 1 and 2 reach two.
    assert confident_joint(labels, probabilities).tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]


def test_equal_probabilities_reach_their_mean() -> None:
    labels, probabilities = np.array([0, 1, 1, 1]), np.array([[1.0, 0.0], *[[0.9, 0.1]] * 3])
    assert confidence_thresholds(labels, probabilities)[1] > 0.1, "rounded"
    assert confident_joint(labels, probabilities).tolist() == [[1, 0], [0, 3]]


def test_an_image_that_is_confident_of_nothing_is_not_counted() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    assert confident_joint(labels, probabilities).tolist() == [[1, 0], [0, 1]]
    assert estimated_counts(labels, probabilities).tolist() == [[2, 0], [0, 2]]


def test_a_class_without_images_and_one_whose_images_all_look_wrong() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    probabilities = np.array([[0.9, 0.05, 0.05]] * 3 + [[0.9, 0.08, 0.02]] * 3)
    assert confidence_thresholds(labels, probabilities)[2] == np.inf
    # All three images of class 1 look like class 0; one is kept.
    assert find_label_issues(labels, probabilities).tolist() == [3, 4]


def test_the_only_image_of_a_class_is_kept() -> None:
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.95, 0.05]])
    assert find_label_issues(labels, probabilities).tolist() == []


def test_an_image_whose_label_is_the_most_probable_class_is_not_flagged() -> None:
    labels = np.array([0] * 10 + [1] * 3)
    rows = [[0.1, 0.9, 0.0], [0.95, 0.05, 0.0], *[[0.45, 0.3, 0.25]] * 8, *[[0.05, 0.9, 0.05]] * 3]
    # One of two confident images labeled 0 is a 1: of all ten, five are estimated to be.
    assert estimated_counts(labels, np.array(rows))[0].tolist() == [5, 5, 0]
    assert find_label_issues(labels, np.array(rows)).tolist() == [0]


def test_right_labels_are_not_flagged() -> None:
    truth, _, probabilities = noisy(500, 5, rate=0, seed=0, accuracy=1)
    sure = probabilities.argmax(axis=1) == truth
    assert not set(find_label_issues(truth, probabilities)) & set(np.flatnonzero(sure))


def test_the_most_suspicious_come_first() -> None:
    _, labels, probabilities = noisy(500, 5, rate=0.2, seed=1)
    found = find_label_issues(labels, probabilities)
    assert len(found) > 50
    ranked = get_label_quality_scores(labels, probabilities, method="normalized_margin")[found]
    assert (np.diff(ranked) >= 0).all()


# Always the same examples: that both agree so closely is an observation, not a theorem.
@settings(max_examples=25, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from([0.01, 0.03, 0.1, 0.3]))
def test_the_margins_and_the_joint_are_those_of_cleanlab(seed: int, classes: int, rate: float) -> None:
    _, labels, probabilities = noisy(100 * classes, classes, rate=rate, seed=seed)
    theirs = compute_confident_joint(labels, probabilities, calibrate=False)
    ours = confident_joint(labels, probabilities)
    np.fill_diagonal(ours, np.maximum(ours.diagonal(), 1))
    # cleanlab counts an image above two thresholds for its most probable class, even if that is below its own.
    assert np.abs(ours - theirs).sum() <= 0.02 * len(labels)
    scores = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    assert (margins(labels, probabilities) + 1) / 2 == pytest.approx(scores)


# Likewise.
@settings(max_examples=25, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from([0.01, 0.03, 0.1, 0.3]))
def test_precision_and_recall_are_those_of_cleanlab(seed: int, classes: int, rate: float) -> None:
    truth, labels, probabilities = noisy(300 * classes, classes, rate=rate, seed=seed)
    ours = np.zeros(len(labels), dtype=np.bool_)
    ours[find_label_issues(labels, probabilities)] = True
    theirs = find_with_cleanlab(labels, probabilities, filter_by="both", n_jobs=1)
    wrong = labels != truth
    for flags in (ours, theirs):
        assert flags.any()
    # One image more or less is more than 0.02 of a few flagged images: two may differ.
    ours_found, theirs_found = int((wrong & ours).sum()), int((wrong & theirs).sum())
    assert ours_found / ours.sum() == pytest.approx(theirs_found / theirs.sum(), abs=max(0.02, 2 / ours.sum()))
    assert abs(ours_found - theirs_found) <= max(0.02 * wrong.sum(), 2)
