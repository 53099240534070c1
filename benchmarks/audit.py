"""The audit of labels: how many planted errors are found, compared with cleanlab on the same probabilities.

In 1, 3 and 10 % of the training and test images, chosen at random, the label is replaced by another class. Precision is
the share of planted errors among the flagged labels (errors that the data set had before count as wrong), recall the
share of planted errors that are flagged. Each round has its own flips and its own networks; the number of the round is
the seed. cleanlab (`pip install cleanlab`) flags labels with the same rule, `filter_by="both"`. The time is that of the
whole audit, without reading the files and without duplicates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.measure import Comparison, Contender, Missing, Numbers, Settings, compare
from cnncli.audit.confident_learning import find_label_issues
from cnncli.audit.folds import predict_out_of_sample
from cnncli.audit.target import find_target, fold_config
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.load import load_dataset
from cnncli.training.evaluate import Probabilities

RATES = (0.01, 0.03, 0.1)
FOLDS = 5

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Planted:
    """A split with planted errors: which labels were replaced, the labels, and probabilities for the images."""

    flipped: Flags
    labels: npt.NDArray[np.int64]
    probabilities: Probabilities


def run(settings: Settings) -> list[Comparison]:
    """Precision, recall and time for each data set and share of errors."""
    if find_spec("cleanlab") is None:
        raise Missing("cleanlab")
    torch.set_num_threads(settings.threads)
    return [
        comparison
        for name in (["digits"] if settings.quick else ["mnist", "fashion-mnist"])
        for rate in RATES
        for comparison in _compare(name, rate, settings)
    ]


def _compare(name: str, rate: float, settings: Settings) -> list[Comparison]:
    rounds: dict[int, list[Planted]] = {}
    seconds: list[float] = []

    def ours(turn: int) -> Numbers:
        began = perf_counter()
        rounds[turn] = _audited(name, rate, turn, settings)
        flagged = [_as_flags(find_label_issues(part.labels, part.probabilities), part) for part in rounds[turn]]
        seconds.append(perf_counter() - began)
        return _scores(rounds[turn], flagged)

    def theirs(turn: int) -> Numbers:
        from cleanlab.filter import find_label_issues as find_with_cleanlab

        parts = rounds[turn]
        flagged = [find_with_cleanlab(part.labels, part.probabilities, filter_by="both", n_jobs=1) for part in parts]
        return _scores(parts, flagged)

    title = f"{name}, {rate:.0%} of the labels wrong"
    contenders: Mapping[str, Contender] = {"cnncli": ours, "cleanlab": theirs}
    scores = compare(title, contenders, rounds=settings.rounds_or(1), warmup=0)
    return [*scores, Comparison(title=f"{title}: time", unit="s", values={"cnncli": seconds})]


def _audited(name: str, rate: float, seed: int, settings: Settings) -> list[Planted]:
    """The training and the test images with planted errors."""
    target = find_target(name, data_dir=settings.data_dir)
    epochs = 1 if settings.quick else None
    config = fold_config(target, settings.config, seed=seed, epochs=epochs, data_dir=settings.data_dir)
    dataset = load_dataset(config.data, data_dir=settings.data_dir)
    random = np.random.default_rng(seed)
    train, test = (_flip(part, rate, len(dataset.classes), random) for part in (dataset.train, dataset.test))
    planted: Dataset = replace(dataset, train=train, test=test)
    folds = predict_out_of_sample(config, planted, folds=FOLDS, device=torch.device("cpu"))
    return [
        Planted((new.labels != old.labels).numpy(), new.labels.numpy(), probabilities)
        for old, new, probabilities in ((dataset.train, train, folds.train), (dataset.test, test, folds.test))
    ]


def _flip(images: ImageSet, rate: float, classes: int, random: np.random.Generator) -> ImageSet:
    """The images with a share of the labels replaced by other classes, all equally likely."""
    labels = images.labels.numpy().copy()
    chosen = random.choice(len(labels), round(rate * len(labels)), replace=False)
    labels[chosen] = (labels[chosen] + random.integers(1, classes, len(chosen))) % classes
    return replace(images, labels=torch.from_numpy(labels))


def _as_flags(indices: npt.NDArray[np.int64], part: Planted) -> Flags:
    flags = np.zeros(len(part.labels), dtype=np.bool_)
    flags[indices] = True
    return flags


def _scores(parts: list[Planted], flagged: list[Flags]) -> Numbers:
    found = sum(int((part.flipped & flags).sum()) for part, flags in zip(parts, flagged, strict=True))
    flags = sum(int(each.sum()) for each in flagged)
    return {
        "precision, %": 100 * found / max(1, flags),
        "recall, %": 100 * found / sum(int(part.flipped.sum()) for part in parts),
    }
