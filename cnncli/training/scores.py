"""The scores of a network on labeled images: accuracy with its interval, calibration, and the scores of each class.

Letters: K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, sqrt
from statistics import NormalDist, fmean
from typing import Any

from cnncli.config.train import TOP_K
from cnncli.inspection.formatting import Line, Span, align, plain

CONFIDENCE = 0.95
"""Of the interval around the accuracy."""
WORST = 5
"""Number of pairs of classes that are listed."""


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The scores of one class; None where they would divide by zero.

    Attributes:
        precision: the fraction of the images predicted as this class that belong to it.
        recall: the fraction of the images of this class that are predicted as it, which is the accuracy on them.
        f1: the harmonic mean of both.
        support: the number of images of this class.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, kw_only=True)
class Confused:
    """A pair of classes: images of one that are predicted as the other.

    Attributes:
        label, predicted: indices of the classes.
        count: the number of these images.
        support: the number of all images of the class `label`.
    """

    label: int
    predicted: int
    count: int
    support: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """The scores of a network on labeled images. `print()` shows them as a table.

    Attributes:
        loss: mean cross-entropy in nats, without label smoothing.
        confusion: `confusion[label][predicted]`, numbers of images.
        ece: the expected calibration error, see `cnncli.training.calibration.Bins`; None where it is not computed, as
            in training.
        in_top: the number of images whose label has one of the `top_k` largest logits; None where it is not computed.
        top_k: k of the top-k accuracy.
        classes: K names; None where only numbers are needed, as in training.
    """

    loss: float
    confusion: tuple[tuple[int, ...], ...]
    ece: float | None = None
    in_top: int | None = None
    top_k: int = TOP_K
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        assert self.images, "an evaluation needs images"
        assert self.classes is None or len(self.classes) == len(self.confusion), (self.classes, len(self.confusion))

    def __repr__(self) -> str:
        return f"<Evaluation of {self.images:,} images: accuracy {self.accuracy:.2%}, loss {self.loss:.4f}>"

    def __str__(self) -> str:
        return "\n".join(plain(line) for line in evaluation_lines(self))

    @cached_property
    def images(self) -> int:
        """The number of images."""
        return sum(map(sum, self.confusion))

    @property
    def correct(self) -> int:
        """The number of images whose largest logit is that of their label."""
        return sum(row[label] for label, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """The fraction of images that are classified correctly."""
        return self.correct / self.images

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, see `wilson_interval`."""
        return wilson_interval(self.correct, self.images)

    @property
    def top_k_accuracy(self) -> float | None:
        """The fraction of images whose label has one of the k largest logits; None with k classes or fewer."""
        return None if self.in_top is None or len(self.confusion) <= self.top_k else self.in_top / self.images

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the recalls of the classes, without classes that have no images."""
        return _mean(each.recall for each in self.class_scores)

    @property
    def macro_precision(self) -> float:
        """The mean precision of the classes, which is 0 of a class that is never predicted.

        Without classes that have neither images nor predictions.
        """
        return _mean(each.precision or 0.0 for each in self.class_scores if each.f1 is not None)

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes, without classes that have neither images nor predictions."""
        return _mean(each.f1 for each in self.class_scores)

    @property
    def per_class(self) -> tuple[float | None, ...]:
        """The accuracy on the images of each class; None for a class without images."""
        return tuple(each.recall for each in self.class_scores)

    @cached_property
    def class_scores(self) -> tuple[ClassScores, ...]:
        """Precision, recall, F1 and support of each class."""
        predicted = [sum(column) for column in zip(*self.confusion, strict=True)]
        return tuple(
            ClassScores(
                precision=_ratio(row[k], predicted[k]),
                recall=_ratio(row[k], sum(row)),
                f1=_ratio(2 * row[k], predicted[k] + sum(row)),
                support=sum(row),
            )
            for k, row in enumerate(self.confusion)
        )

    def most_confused(self, most: int) -> list[Confused]:
        """Up to `most` pairs of different classes, the most frequent confusions first."""
        pairs = [
            Confused(label=label, predicted=predicted, count=count, support=sum(row))
            for label, row in enumerate(self.confusion)
            for predicted, count in enumerate(row)
            if count and predicted != label
        ]
        return sorted(pairs, key=lambda pair: -pair.count)[:most]

    def named(self, k: int) -> str:
        """The name of a class; its number if the classes have no names."""
        return str(k) if self.classes is None else self.classes[k]

    def as_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """The record in results.json: loss, accuracies, macro averages, and the accuracy of each class by name."""
        return {
            "loss": self.loss,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_precision": self.macro_precision,
            "macro_f1": self.macro_f1,
            "top_k": self.top_k,
            "top_k_accuracy": self.top_k_accuracy,
            "per_class": dict(zip(classes, self.per_class, strict=True)),
        }

    def as_json(self) -> dict[str, Any]:
        """All scores as JSON values; null where a number is not finite or not defined."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "balanced_accuracy": self.balanced_accuracy,
            "macro_precision": self.macro_precision,
            "macro_f1": self.macro_f1,
            "top_k": self.top_k,
            "top_k_accuracy": self.top_k_accuracy,
            "loss": self.loss if isfinite(self.loss) else None,
            "ece": self.ece,
            "per_class": [
                {
                    "class": self.named(k),
                    "precision": scores.precision,
                    "recall": scores.recall,
                    "f1": scores.f1,
                    "support": scores.support,
                }
                for k, scores in enumerate(self.class_scores)
            ],
            "confusion": [list(row) for row in self.confusion],
        }


def _mean(scores: Iterable[float | None]) -> float:
    return fmean(each for each in scores if each is not None)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (Journal of the American Statistical
    Association, 1927). With n trials of which a fraction p succeeded and the normal quantile z, it is

        (p + z² / 2n ± z sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n)

    Unlike p ± z sqrt(p (1 - p) / n), it stays within 0 and 1 and does not vanish where p is 0 or 1.

    Args:
        successes: from 0 to `trials`.
        trials: at least one.
    """
    z, p = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), successes / trials
    center = p + z * z / (2 * trials)
    half = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    low, high = ((center + sign * half) / (1 + z * z / trials) for sign in (-1, 1))
    return (low if successes else 0.0), (high if successes < trials else 1.0)  # exact but for rounding


def evaluation_lines(evaluation: Evaluation, *, width: int | None = None) -> Iterator[Line]:
    """An evaluation as text: the accuracy, the other numbers, the classes, and the most frequent confusions.

    Args:
        evaluation: the scores.
        width: characters in a row, if names of classes are to be wrapped, and numbers rounded, to make the table fit.
    """
    low, high = evaluation.accuracy_interval
    yield [("accuracy ", ""), (f"{evaluation.accuracy:.2%}", "bold"), (f", 95% interval {low:.2%} to {high:.2%}", "")]
    yield [(f"balanced accuracy {evaluation.balanced_accuracy:.2%}, macro F1 {evaluation.macro_f1:.2%}", "")]
    if evaluation.top_k_accuracy is not None:
        yield [(f"top-{evaluation.top_k} accuracy {evaluation.top_k_accuracy:.2%}", "")]
    ece = "" if evaluation.ece is None else f", expected calibration error {evaluation.ece:.2%}"
    yield [(f"loss {evaluation.loss:.4f}{ece}", "")]
    yield [(f"{evaluation.correct:,} of {evaluation.images:,} images are classified correctly", "")]
    yield []
    table = _class_lines(evaluation, precision="precision", decimals=2, width=width)
    if width is not None and max(len(plain(line)) for line in table) > width:
        table = _class_lines(evaluation, precision="prec.", decimals=1, width=width)
    yield from table
    confused = evaluation.most_confused(WORST)
    if confused:
        yield []
        yield [("most frequent confusions", "bold")]
    for pair in confused:
        yield [(f"  {confusion_text(evaluation, pair)}", "")]


def _class_lines(evaluation: Evaluation, *, precision: str, decimals: int, width: int | None) -> list[Line]:
    """A row for each class; `precision` is the heading of that column."""

    def percent(fraction: float | None) -> str:
        return "" if fraction is None else f"{fraction:.{decimals}%}"

    rows: list[list[Span]] = [
        [
            (evaluation.named(k), ""),
            *((percent(each), "") for each in (scores.precision, scores.recall, scores.f1)),
            (f"{scores.support:,}", ""),
        ]
        for k, scores in enumerate(evaluation.class_scores)
    ]
    headings = ["class", precision, "recall", "F1", "support"]
    return align(headings, rows, numeric=[False, True, True, True, True], width=width)


def confusion_text(evaluation: Evaluation, pair: Confused) -> str:
    """A pair of classes in words."""
    return (
        f"{evaluation.named(pair.label)} predicted as {evaluation.named(pair.predicted)}: {pair.count:,} of "
        f"{pair.support:,} ({pair.count / pair.support:.1%})"
    )
