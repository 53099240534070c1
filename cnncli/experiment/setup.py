"""From a config to everything that a run needs in memory.

Letters for shapes: N images, P probe images, C channels, H height, W width.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cnncli.config.config import Config
from cnncli.config.data import AugmentSpec
from cnncli.config.document import Problem, Route, descend
from cnncli.config.network import Network
from cnncli.config.train import TrainSpec
from cnncli.data.augment import Augmentation
from cnncli.data.batches import Batches, Normalization
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.load import load_dataset
from cnncli.data.splits import split_of
from cnncli.errors import ConfigError
from cnncli.module import CnnModule, seeded_module
from cnncli.training.device import (
    out_of_memory_explained,
    room_for_images,
    set_deterministic,
    use_bf16,
    use_channels_last,
)
from cnncli.training.evaluate import evaluation_batch_size
from cnncli.training.optimizer import build_optimizer
from cnncli.training.process_group import ALONE, Group
from cnncli.training.schedule import build_schedule
from cnncli.training.state import EmaWeights, Training

_log = logging.getLogger(__name__)

DEAD_FILTER_IMAGES = 1000
"""Held-out images that must all leave a filter at 0 before it is called dead, where there are so many."""


@dataclass(frozen=True)
class Probes:
    """Test images whose feature maps are shown.

    Attributes:
        names: the class, of the first image of each class; `test-17`, of one that was chosen by its number.
        titles: for people: `class 7`, `test image 17, class 3`.
        pictures: uint8 (P, C, H, W), as people see them.
        images: float32 (P, C, H, W), as the network gets them.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    pictures: Tensor
    images: Tensor


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a run needs.

    Attributes:
        config: what was asked for.
        device: where it is computed.
        bf16: whether convolutions and linears learn in bfloat16; scores are made in float32.
        training: the network in training.
        train: shuffled and augmented.
        train_unchanged: the same images as they are, for the final score.
        validation: or None where nothing is held out.
        test: never learned from, never chosen by.
        held_out: images that are not learned from, to look for dead filters in: at least `DEAD_FILTER_IMAGES` of the
            validation images, else of the test images, or all of them where there are fewer.
        probes: for the feature maps.
        normalization: mean and deviation of the images learned from.
        data_files: checksum of each file of the data set.
        group: the processes that train it together.
    """

    config: Config
    device: torch.device
    bf16: bool
    training: Training
    train: Batches
    train_unchanged: Batches
    validation: Batches | None
    test: Batches
    held_out: Batches
    probes: Probes
    normalization: Normalization
    data_files: dict[str, str]
    group: Group = ALONE

    @property
    def model(self) -> CnnModule:
        """The network whose weights are to be used: the averaged one, if there is an average."""
        model = self.training.best_model
        assert isinstance(model, CnnModule), "prepare() trains nothing else"
        return model


def prepare(
    config: Config,
    *,
    data_dir: Path,
    device: torch.device,
    group: Group = ALONE,
) -> Experiment:
    """Load the data, build the network and what trains it.

    Raises:
        DataError: the data set cannot be had, or is damaged, or too small for the validation split.
        ConfigError: the batch size leaves a batch that batch_norm cannot take, or a probe is no test image.
        DeviceError: out of memory.
        UsageError: the processes of the group have different configs, data or precisions.
    """
    spec = config.train
    dataset = _loaded(config, data_dir, device, group)
    bf16 = use_bf16(spec.precision, device)
    group.check_same("precision", "bf16" if bf16 else "fp32")
    if spec.compile and group.size > 1:
        _log.warning("train.compile is left out where several processes train together")
    channels_last = use_channels_last(spec.channels_last, device, bf16=bf16)
    with out_of_memory_explained(device):
        learned, test = (_placed(part, device) for part in (dataset.train, dataset.test))
        kept, held_out = split_of(dataset.train.labels, config.data, seed=spec.seed)
        _check_batches(config.network, len(kept), spec.batch_size)
        normalization = _normalization(learned, kept, wanted=config.data.normalize)

        batches = partial(
            Batches, normalization=normalization, channels_last=channels_last, seed=spec.seed, device=device
        )
        unshuffled = partial(batches, batch_size=evaluation_batch_size(config.network, device), shuffle=False)
        train = batches(
            learned,
            batch_size=spec.batch_size,
            augment=_augmentation(config.data.augment),
            shuffle=True,
            indices=kept,
        )
        return Experiment(
            config=config,
            device=device,
            bf16=bf16,
            training=_training(config.network, spec, len(train), device, channels_last=channels_last),
            train=train,
            train_unchanged=unshuffled(learned, indices=kept),
            validation=unshuffled(learned, indices=held_out) if len(held_out) else None,
            test=unshuffled(test),
            held_out=_witnesses(unshuffled, learned, held_out, test),
            probes=_probes(test, config, unshuffled),
            normalization=normalization,
            data_files=dataset.files,
            group=group,
        )


def _loaded(config: Config, data_dir: Path, device: torch.device, group: Group) -> Dataset:
    """The data, which one process of a machine reads or downloads before the others; all must have the same."""
    with group.turn(), out_of_memory_explained(device, remedy="make data.size smaller, or use fewer images"):
        dataset = load_dataset(config.data, data_dir=data_dir)
    group.check_same("config", config.resolved())
    group.check_same("data", json.dumps(dataset.files, sort_keys=True))
    return dataset


def _placed(images: ImageSet, device: torch.device) -> ImageSet:
    """On the device where it has room for them, else where they are."""
    room = room_for_images(device)
    placed = images.to(device, room=room)
    if placed is images and room is not None and images.images.device.type != device.type:
        size = images.images.nbytes
        _log.info(
            f"{device.type} has room for {room / 1e9:.2f} GB of images: "
            f"{len(images):,} images of {size / 1e9:.2f} GB are sent to it a batch at a time"
        )
    return placed


def _normalization(images: ImageSet, kept: Tensor, *, wanted: bool) -> Normalization:
    """That of the images that are learned from; of none, if none is wanted."""
    return Normalization.of(images, kept) if wanted else Normalization.none(images.images.shape[1])


def _check_batches(network: Network, images: int, batch_size: int) -> None:
    """Batch norm over a single number per channel has no variance: torch refuses it, in the middle of an epoch."""
    last = images % batch_size or batch_size
    for node in network.nodes:
        if node.layer.takes_batch_statistics and all(size == 1 for size in node.shape[1:]) and last == 1:
            raise ConfigError(
                f"train.batch_size: {batch_size} leaves a last batch of one image of {images:,}, over which "
                f"{node.name} cannot take a mean and a variance",
                remedy=f"--set train.batch_size={batch_size + 1}, or another size that does not leave one image over",
            )


def _augmentation(spec: AugmentSpec) -> Augmentation:
    return Augmentation(
        shift=spec.shift,
        rotate=spec.rotate,
        scale=spec.scale,
        shear=spec.shear,
        flip_horizontal=spec.flip in ("horizontal", "both"),
        flip_vertical=spec.flip in ("vertical", "both"),
        elastic_alpha=spec.elastic.alpha,
        elastic_sigma=spec.elastic.sigma,
        erase_probability=spec.erase.probability,
        erase_area=spec.erase.area,
        noise=spec.noise,
    )


def _training(
    network: Network, spec: TrainSpec, steps_per_epoch: int, device: torch.device, *, channels_last: bool
) -> Training:
    set_deterministic(device)
    model = seeded_module(network, spec.seed).to(device)
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    return Training(
        model=model,
        optimizer=build_optimizer(spec.optimizer, model),
        schedule=build_schedule(
            spec.schedule, lr=spec.optimizer.lr, epochs=spec.epochs, steps_per_epoch=steps_per_epoch
        ),
        average=None if spec.ema is None else EmaWeights(model, decay=spec.ema),
    )


def _witnesses(batches: Callable[..., Batches], learned: ImageSet, held_out: Tensor, test: ImageSet) -> Batches:
    """`Experiment.held_out`: every so manieth of them, as folders have their images class by class."""
    images, positions = (learned, held_out) if len(held_out) else (test, torch.arange(len(test)))
    return batches(images, indices=positions[:: max(1, len(positions) // DEAD_FILTER_IMAGES)])


def _probes(test: ImageSet, config: Config, batches: Callable[[ImageSet], Batches]) -> Probes:
    """The first test image of each class that has one, of the first so many classes, and those chosen by number."""
    wanted, labels = config.log.probes, test.labels.tolist()
    _check_numbers(config, len(labels))
    firsts = test.first_of_each_class(wanted.classes)
    chosen = test.subset(torch.tensor([*firsts, *wanted.images], dtype=torch.int64))
    classes = [config.classes[labels[position]] for position in firsts]
    names = (*classes, *(f"test-{number}" for number in wanted.images))
    titles = (
        *(f"class {name}" for name in classes),
        *(f"test image {number}, class {config.classes[labels[number]]}" for number in wanted.images),
    )
    if not names:
        return Probes((), (), chosen.images, chosen.images.float())
    images = torch.cat([images for images, _ in batches(chosen).epoch(1)])
    return Probes(names, titles, chosen.images.cpu(), images)


def _check_numbers(config: Config, count: int) -> None:
    """Refuse, at its place in the config, a probe that is not among the `count` test images."""
    route: Route = ("log", "probes")
    if isinstance(descend(config.document.data, route), dict):
        route = (*route, "images")
    missing = f"there are {count:,} test images, 0 to {count - 1}"
    config.document.raise_problems(
        Problem((*route, i), f"there is no test image {number}; {missing}")
        for i, number in enumerate(config.log.probes.images)
        if number >= count
    )
