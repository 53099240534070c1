"""The audit of a data set: networks trained on parts of it, the labels that they contradict, and duplicates.

N: images of a split, K: classes.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cnncli.audit.confident_learning import find_label_issues
from cnncli.audit.duplicates import DuplicateGroup, find_duplicates
from cnncli.audit.folds import OutOfSample, predict_out_of_sample
from cnncli.audit.target import Target
from cnncli.config.config import Config, change_config
from cnncli.config.data import DataSpec, relabel_path
from cnncli.config.datasets import STANDARD_DATA, Part
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.load import load_dataset
from cnncli.data.relabel import Corrections, read_corrections, relabel
from cnncli.errors import UsageError
from cnncli.inspection.columns import counted
from cnncli.training.evaluate import Probabilities
from cnncli.training.progress import Progress

_log = logging.getLogger(__name__)

_LEAST_STEPS = 300
"""Steps that each network is trained for, at least: a recipe for 60,000 images learns little from one epoch of 600."""
_LEAST_AGREEMENT = 0.5
"""Networks that agree with fewer labels than this share have not learned the classes."""


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """An image of a data set.

    Attributes:
        split: `train` or `test`; validation images are training images.
        index: its number in the split, from 0.
        file: of an image folder: its path relative to the folder; else None.
        label: the name of its class.
    """

    split: Part
    index: int
    file: str | None
    label: str

    def as_record(self) -> dict[str, Any]:
        """As in JSON; `file` only where there is one."""
        where = {"split": self.split, "index": self.index}
        return {**where, **({} if self.file is None else {"file": self.file}), "label": self.label}


@dataclass(frozen=True, kw_only=True)
class LabelIssue:
    """A label that is probably wrong.

    Attributes:
        image: the image, with the label that it was given.
        suggested: the most probable other class.
        probability: of the suggested class, from networks that were not trained on the image.
        given_probability: of the given label.
    """

    image: ImageRef
    suggested: str
    probability: float
    given_probability: float

    @property
    def margin(self) -> float:
        """The probability of the given label minus that of the suggested one: the lower, the more suspicious."""
        return self.given_probability - self.probability

    def as_record(self) -> dict[str, Any]:
        """As in JSON."""
        record = self.image.as_record()
        given = record.pop("label")
        probabilities = {"probability": self.probability, "given_probability": self.given_probability}
        return {**record, "given": given, "suggested": self.suggested, **probabilities}


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Images that are the same, or look the same; see `find_duplicates`.

    Attributes:
        images: two or more.
        similarity: the lowest correlation that links them; 1 if they are identical.
        identical: whether all pixels are equal.
    """

    images: tuple[ImageRef, ...]
    similarity: float
    identical: bool

    @property
    def labels_differ(self) -> bool:
        """Whether the images have different labels."""
        return len({image.label for image in self.images}) > 1

    @property
    def across_splits(self) -> bool:
        """Whether a test image is also a training image."""
        return len({image.split for image in self.images}) > 1

    def as_record(self) -> dict[str, Any]:
        """As in JSON."""
        return {
            "identical": self.identical,
            "similarity": self.similarity,
            "labels_differ": self.labels_differ,
            "across_splits": self.across_splits,
            "images": [image.as_record() for image in self.images],
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit:
    """What an audit has found.

    Attributes:
        target: the data set.
        dataset: its images, uint8 (N, C, H, W) in the size that they are stored in, with the labels that were audited.
        config: the config of the networks.
        folds: the number of networks.
        probabilities: of these networks.
        issues: the labels that are probably wrong, the most suspicious first.
        duplicates: those with different labels first, then those across training and test images.
        corrections: of `data.relabel`, if the target has them.
        original: the labels before these corrections, by split.
    """

    target: Target
    dataset: Dataset
    config: Config
    folds: int
    probabilities: OutOfSample
    issues: tuple[LabelIssue, ...]
    duplicates: tuple[Duplicates, ...]
    corrections: Corrections | None
    original: Mapping[Part, torch.Tensor]

    def image(self, reference: ImageRef) -> torch.Tensor:
        """The picture of an image, uint8 (C, H, W)."""
        return _part(self.dataset, reference.split).images[reference.index]

    def as_record(self) -> dict[str, Any]:
        """The content of audit.json."""
        train = self.config.train
        return {
            "data": self.target.name,
            "classes": list(self.dataset.classes),
            "images": {"train": len(self.dataset.train), "test": len(self.dataset.test)},
            "files": dict(self.dataset.files),
            "config": self.config.name,
            "folds": self.folds,
            "epochs": train.epochs,
            "seed": train.seed,
            "labels": [issue.as_record() for issue in self.issues],
            "duplicates": [group.as_record() for group in self.duplicates],
        }

    def correction_rows(self) -> Iterator[dict[str, object]]:
        """The rows of labels.csv: the corrections that the target has already, then a row for each label issue."""
        if self.corrections is not None:
            for (split, index), label in self.corrections.labels.items():
                yield self._row(_reference(self.dataset, split, index), self.dataset.classes[label])
        for issue in self.issues:
            yield {**self._row(issue.image, issue.suggested), "probability": round(issue.probability, 4)}

    def _row(self, image: ImageRef, label: str) -> dict[str, object]:
        given = self.dataset.classes[int(self.original[image.split][image.index])]
        where: dict[str, object] = {"split": image.split, "index": image.index}
        named = {"file": image.file} if image.file is not None else {}
        return {**where, **named, "label": label, "given": given, "probability": ""}


def audit(
    target: Target,
    config: Config,
    *,
    folds: int = 5,
    extend: bool = True,
    data_dir: Path,
    device: torch.device,
    progress: Progress | None = None,
) -> Audit:
    """Find the labels of a data set that are probably wrong, and duplicates. The data set is not changed.

    Training images are predicted by the network of the fold that held them out, test images by the mean of all
    networks; both splits are then ranked on their own. Images that `data.relabel` names have been decided and are not
    flagged. The same `train.seed` gives the same result on the same device.

    Args:
        target: the data set.
        config: of the networks that are trained; see `fold_config`.
        folds: networks to train, 2 or more.
        extend: whether networks that would be trained for less than `_LEAST_STEPS` steps are trained longer.
        data_dir: the directory of data sets and downloads.
        device: where to compute.
        progress: updated at every step.

    Raises:
        UsageError: there are fewer images than folds.
        DataError: the data set is unavailable or damaged.
        ConfigError: see `prepare`.
        DivergedError, DeviceError: see `fit`.
    """
    given = load_dataset(config.data.model_copy(update={"relabel": None}), data_dir=data_dir)
    if len(given.train) < folds:
        raise UsageError(f"--folds {folds}: {target.name} has only {len(given.train):,} training images")
    corrections = _corrections(config.data, given, data_dir)
    prepared = given if corrections is None else relabel(given, corrections)
    if extend:
        config = _train_long_enough(config, len(prepared.train), folds, data_dir)
    _log.info(
        f"{target.name}: {len(prepared.train):,} training and {len(prepared.test):,} test images; "
        f"{folds} networks of {config.name}, {counted(config.train.epochs, 'epoch')} each"
    )
    probabilities = predict_out_of_sample(config, prepared, folds=folds, device=device, progress=progress)
    agreement = (probabilities.train.argmax(axis=1) == prepared.train.labels.cpu().numpy()).mean()
    if agreement < _LEAST_AGREEMENT:
        _log.warning(
            f"the networks agree with only {agreement:.1%} of the training labels, so what they flag says little: "
            "train them for longer with --epochs, or choose another config with --config"
        )
    stored = _as_stored(target.data, prepared, data_dir)
    _log.info("looking for duplicates")
    return Audit(
        target=target,
        dataset=stored,
        config=config,
        folds=folds,
        probabilities=probabilities,
        issues=tuple(_label_issues(stored, probabilities, corrections)),
        duplicates=tuple(_duplicates(stored)),
        corrections=corrections,
        original={"train": given.train.labels, "test": given.test.labels},
    )


def _corrections(data: DataSpec, dataset: Dataset, data_dir: Path) -> Corrections | None:
    path = relabel_path(data, data_dir)
    return None if path is None else read_corrections(path, dataset)


def _train_long_enough(config: Config, images: int, folds: int, data_dir: Path) -> Config:
    """The config with as many epochs as `_LEAST_STEPS` take, unless it has more."""
    steps = -(-(images - images // folds) // config.train.batch_size)
    epochs = -(-_LEAST_STEPS // steps)
    if epochs <= config.train.epochs:
        return config
    return change_config(config, [f"train.epochs={epochs}"], data_dir=data_dir)


def _as_stored(data: DataSpec, prepared: Dataset, data_dir: Path) -> Dataset:
    """The data set with its images in the size and channels that they are stored in; own images as prepared."""
    if data.name not in STANDARD_DATA:
        return prepared
    stored = load_dataset(DataSpec(name=data.name, split=data.split), data_dir=data_dir)

    def with_labels(images: ImageSet, labels: torch.Tensor) -> ImageSet:
        return replace(images, labels=labels)

    train, test = with_labels(stored.train, prepared.train.labels), with_labels(stored.test, prepared.test.labels)
    return replace(prepared, train=train, test=test)


def _part(dataset: Dataset, split: Part) -> ImageSet:
    return dataset.train if split == "train" else dataset.test


def _reference(dataset: Dataset, split: Part, index: int) -> ImageRef:
    images = _part(dataset, split)
    file = None if images.paths is None else images.paths[index]
    return ImageRef(split=split, index=index, file=file, label=dataset.classes[int(images.labels[index])])


def _label_issues(dataset: Dataset, probabilities: OutOfSample, corrections: Corrections | None) -> list[LabelIssue]:
    """The issues of both splits, the most suspicious first."""
    decided = set() if corrections is None else corrections.labels.keys()
    splits: dict[Part, Probabilities] = {"train": probabilities.train, "test": probabilities.test}
    issues = []
    for split, rows in splits.items():
        labels = _part(dataset, split).labels.cpu().numpy()
        for index in find_label_issues(labels, rows).tolist():
            if (split, index) in decided:
                continue
            suggested = int(rows[index].argmax())  # another class: else it would not be flagged
            issues.append(
                LabelIssue(
                    image=_reference(dataset, split, index),
                    suggested=dataset.classes[suggested],
                    probability=float(rows[index, suggested]),
                    given_probability=float(rows[index, labels[index]]),
                )
            )
    return sorted(issues, key=lambda issue: issue.margin)


def _duplicates(dataset: Dataset) -> list[Duplicates]:
    """The duplicates of both splits, the most important first."""
    count = len(dataset.train)

    def reference(index: int) -> ImageRef:
        return _reference(dataset, "train", index) if index < count else _reference(dataset, "test", index - count)

    def named(group: DuplicateGroup) -> Duplicates:
        images = tuple(map(reference, group.images))
        return Duplicates(images=images, similarity=group.similarity, identical=group.identical)

    found = [named(group) for group in find_duplicates([dataset.train, dataset.test])]
    return sorted(found, key=lambda each: (not each.labels_differ, not each.across_splits, -each.similarity))
