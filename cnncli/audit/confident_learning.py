"""Confident learning: which labels are probably wrong, given probabilities from networks that have not seen the images.

The method is that of C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", Journal of Artificial Intelligence Research 70 (2021): count the images that are confidently in another class
than their label says, scale the counts to the sizes of the classes, and flag about that many.

N: images, K: classes.
"""

import numpy as np
import numpy.typing as npt

from cnncli.training.evaluate import Labels, Probabilities

_ROUNDING = 1e-6
"""An image counts as confident if its probability is at most this much below the threshold: means are rounded."""


def confidence_thresholds(labels: Labels, probabilities: Probabilities) -> Probabilities:
    """The probability from which an image counts as confidently in a class: the mean over the images with that label.

    Args:
        labels: int64 (N,).
        probabilities: float64 (N, K).

    Returns:
        float64 (K,); infinity for a class without images.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=_self_confidence(labels, probabilities), minlength=probabilities.shape[1])
    thresholds: Probabilities = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    return thresholds


def confident_joint(labels: Labels, probabilities: Probabilities) -> Labels:
    """Numbers of images by label (rows) and by the class that they are confidently in (columns).

    An image above the thresholds of several classes counts for the most probable of them; one below all thresholds is
    not counted.

    Args:
        labels: int64 (N,).
        probabilities: float64 (N, K).

    Returns:
        int64 (K, K).
    """
    classes = probabilities.shape[1]
    confident = probabilities >= confidence_thresholds(labels, probabilities) - _ROUNDING  # (N, K)
    counted = confident.any(axis=1)
    likely = np.where(confident, probabilities, -1.0).argmax(axis=1)
    cells = labels[counted] * classes + likely[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def estimated_counts(labels: Labels, probabilities: Probabilities) -> Labels:
    """Estimated numbers of all images by label (rows) and true class (columns): the confident joint, scaled.

    Each row adds up to the number of images with that label. In each class at least one confident image is taken to
    have the right label.

    Args:
        labels: int64 (N,).
        probabilities: float64 (N, K).

    Returns:
        int64 (K, K).
    """
    joint = confident_joint(labels, probabilities)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    sizes = np.bincount(labels, minlength=len(joint))
    return _round_rows(joint / joint.sum(axis=1, keepdims=True) * sizes[:, None], sizes)


def find_label_issues(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """The images whose label is probably wrong, the most suspicious first.

    An image is flagged if two rules of the paper agree ("C + NR"). Prune by noise rate: for each label and each other
    class, as many images as `estimated_counts` gives, those with the largest difference between the two probabilities.
    Prune by class: for each label, as many images as the counts give for all other classes together, those whose label
    has the lowest probability. An image whose label is its most probable class is never flagged, and one image of each
    class is kept. The order is that of `margins`.

    Args:
        labels: int64 (N,).
        probabilities: float64 (N, K), of networks that were not trained on these images.

    Returns:
        int64 (M,), indices of images.
    """
    counts = estimated_counts(labels, probabilities)
    by_noise_rate, by_class = np.zeros((2, len(labels)), dtype=np.bool_)
    for given, row in enumerate(counts):
        images = np.flatnonzero(labels == given)
        confidence = probabilities[images, given]
        wrong = len(images) - max(1, row[given])
        by_class[images[np.argsort(confidence, kind="stable")[: max(0, wrong)]]] = True
        for other in np.flatnonzero(row):
            if other != given:
                differences = confidence - probabilities[images, other]
                by_noise_rate[images[np.argsort(differences, kind="stable")[: row[other]]]] = True
    margin = margins(labels, probabilities)
    suspects = np.flatnonzero(by_noise_rate & by_class & (margin < 0))
    return suspects[np.argsort(margin[suspects], kind="stable")]


def margins(labels: Labels, probabilities: Probabilities) -> Probabilities:
    """The probability of the label minus that of the most probable other class, float64 (N,), from -1 to 1."""
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    margin: Probabilities = _self_confidence(labels, probabilities) - others.max(axis=1)
    return margin


def _self_confidence(labels: Labels, probabilities: Probabilities) -> Probabilities:
    """The probability of the label, float64 (N,)."""
    return probabilities[np.arange(len(labels)), labels]


def _round_rows(numbers: Probabilities, totals: Labels) -> Labels:
    """Whole numbers that add up to `totals` (K,) in each row: the largest remainders of (K, K) are rounded up."""
    rounded = np.floor(numbers).astype(np.int64)
    order = np.argsort(rounded - numbers, axis=1, kind="stable")  # largest remainder first
    for row, total in enumerate(totals):
        rounded[row, order[row, : total - rounded[row].sum()]] += 1
    return rounded
