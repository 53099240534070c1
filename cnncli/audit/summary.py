"""What is in a data set: images of each class and split, statistics, duplicates, and pictures of it.

N: images, C: channels, H, W: height and width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from cnncli.audit.duplicates import find_duplicates
from cnncli.audit.target import Target
from cnncli.data.augment import Augmentation
from cnncli.data.batches import Normalization
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.drawing.color import Pixels
from cnncli.drawing.image import image_pixels
from cnncli.drawing.sheet import Cell, Section, draw_sections, fit_panels
from cnncli.drawing.text import Name
from cnncli.experiment.setup import build_augmentation

SplitName = Literal["train", "val", "test"]

_TILE = 48
"""Pixels for the longer side of an image of the sheet."""
_PER_CLASS, _MOST_CLASSES = 16, 40
"""Images of a class, and classes, on the sheet."""
_VARIANTS = 16


@dataclass(frozen=True, kw_only=True)
class DuplicateCounts:
    """Groups of images that are the same, or look the same; see `find_duplicates`.

    Attributes:
        identical: groups of images with equal pixels.
        similar: groups of other images.
        across: groups with images of several splits.
        labels_differ: groups with images of several classes.
    """

    identical: int
    similar: int
    across: int
    labels_differ: int


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSummary:
    """What is in a data set.

    Attributes:
        target: the data set.
        dataset: its images as the network gets them, before augmentation and normalization.
        counts: the number of images of each class, by split.
        normalization: mean and standard deviation of the training images.
        duplicates: of the images as the network gets them.
        augmentation: of the training images.
    """

    target: Target
    dataset: Dataset
    counts: Mapping[SplitName, tuple[int, ...]]
    normalization: Normalization
    duplicates: DuplicateCounts
    augmentation: Augmentation

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        channels, height, width = self.dataset.train.images.shape[1:]
        return channels, height, width

    def as_record(self) -> dict[str, Any]:
        """As in JSON."""
        channels, height, width = self.shape
        duplicates = self.duplicates
        return {
            "data": self.target.name,
            "classes": list(self.dataset.classes),
            "channels": channels,
            "size": [height, width],
            "splits": {
                name: {"images": sum(counts), "per_class": list(counts)} for name, counts in self.counts.items()
            },
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
            "range": None if self.dataset.range is None else list(self.dataset.range),
            "duplicates": {
                "identical": duplicates.identical,
                "similar": duplicates.similar,
                "across_splits": duplicates.across,
                "labels_differ": duplicates.labels_differ,
            },
            "files": dict(self.dataset.files),
        }


def summarize(target: Target, *, data_dir: Path, seed: int = 0) -> DataSummary:
    """Read a data set, and count what is in it.

    Args:
        target: the data set.
        data_dir: the directory of data sets and downloads.
        seed: of the validation split.

    Raises:
        DataError: the data set is unavailable or damaged.
        DiskError: it cannot be stored.
    """
    spec = target.data
    dataset = load_dataset(spec, data_dir=data_dir)
    kept, held_out = dataset.hold_out(spec.validation, seed=seed)
    labels: dict[SplitName, torch.Tensor] = {"train": dataset.train.labels[kept]}
    if len(held_out):
        labels["val"] = dataset.train.labels[held_out]
    labels["test"] = dataset.test.labels
    count = len(dataset.classes)
    return DataSummary(
        target=target,
        dataset=dataset,
        counts={name: tuple(torch.bincount(each, minlength=count).tolist()) for name, each in labels.items()},
        normalization=Normalization.of(dataset.train, kept),
        duplicates=_count_duplicates(dataset, held_out),
        augmentation=build_augmentation(spec.augment),
    )


def _count_duplicates(dataset: Dataset, held_out: torch.Tensor) -> DuplicateCounts:
    border = len(dataset.train)
    splits = np.zeros(border + len(dataset.test), dtype=np.int64)  # 0 training, 1 validation, 2 test
    splits[held_out.numpy()] = 1
    splits[border:] = 2
    labels = torch.cat([dataset.train.labels, dataset.test.labels]).numpy()
    groups = find_duplicates([dataset.train, dataset.test])
    return DuplicateCounts(
        identical=sum(group.identical for group in groups),
        similar=sum(not group.identical for group in groups),
        across=sum(len(set(splits[list(group.images)])) > 1 for group in groups),
        labels_differ=sum(len(set(labels[list(group.images)])) > 1 for group in groups),
    )


def draw_summary(summary: DataSummary) -> Pixels:
    """A contact sheet, (H, W, 3).

    It shows the first training images of each class and, with augmentation, variants of one image.
    """
    dataset = summary.dataset
    labels = dataset.train.labels.numpy()
    sections = []
    if not summary.augmentation.is_identity:
        image = dataset.train.images[:1].float() / 255  # (1, C, H, W)
        batch = image.expand(_VARIANTS, -1, -1, -1).clone()
        variants = summary.augmentation(batch, torch.Generator().manual_seed(0))
        pictures = [dataset.train.images[0], *(variants * 255).round().to(torch.uint8)]
        panels = fit_panels([image_pixels(each) for each in pictures], side=_TILE)
        cells = [Cell(panels=[panel], below=("as it is" if i == 0 else f"{i}",)) for i, panel in enumerate(panels)]
        sections.append(Section(heading="augmentation of one image", cells=cells))
    for label, name in list(enumerate(dataset.classes))[:_MOST_CLASSES]:
        chosen = np.flatnonzero(labels == label)[:_PER_CLASS]
        if len(chosen):
            panels = fit_panels([image_pixels(dataset.train.images[int(i)]) for i in chosen], side=_TILE)
            total = sum(counts[label] for counts in summary.counts.values())
            cells = [Cell(panels=[panel], below=()) for panel in panels]
            sections.append(Section(heading=[Name(name), f", {total:,} images"], cells=cells))
    hidden = len(dataset.classes) - _MOST_CLASSES
    captions = ["The first training images of each class."]
    if hidden > 0:
        captions.append(f"{hidden:,} more classes are not shown.")
    return draw_sections(
        sections, title=f"{summary.target.name}: {len(dataset.classes)} classes", captions=captions
    ).pixels
