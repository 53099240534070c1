"""Builds from a config everything that a run needs in memory.

Letters for shapes: N images, P probe images, C channels, H height, W width.
"""

import copy
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnncli.config.augment import AugmentSpec
from cnncli.config.config import Config
from cnncli.config.document import Problem, Route, descend
from cnncli.config.network import Network
from cnncli.config.train import Plateau, TrainSpec
from cnncli.data.augment import Augmentation
from cnncli.data.batches import ImageBatches, Normalization
from cnncli.data.images import Dataset, ImageSet, classes_without, noisy_labels
from cnncli.data.load import load_dataset
from cnncli.data.mixing import Mixing
from cnncli.data.preprocessing import Preprocessing
from cnncli.errors import ConfigError, DeviceError, shorten
from cnncli.experiment.initial_weights import LoadedWeights, initial_model
from cnncli.inspection.training_memory import training_memory
from cnncli.module import CnnModule
from cnncli.training.device import (
    device_memory,
    out_of_memory_explained,
    room_for_images,
    set_deterministic,
    use_bf16,
    use_channels_last,
)
from cnncli.training.evaluate import evaluation_batch_size
from cnncli.training.optimizer import build_optimizer, build_schedule
from cnncli.training.process_group import ALONE, ProcessGroup
from cnncli.training.state import EmaWeights, Training

if TYPE_CHECKING:
    from cnncli.run import Run

_log = logging.getLogger(__name__)

DEAD_FILTER_IMAGES = 1000
"""A filter counts as dead if it is 0 on at least this many held-out images, or on all where there are fewer."""


@dataclass(frozen=True)
class Probes:
    """Test images whose feature maps are shown.

    Attributes:
        names: `7` for the first image of class 7, `test-17` for an image chosen by its number.
        titles: for people: `class 7`, `test image 17, class 3`.
        pictures: uint8 (P, C, H, W), as in the data set.
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
        config: the config.
        device: where everything is computed.
        bf16: whether convolutional and linear layers are trained in bfloat16; scores are computed in float32.
        training: the network in training.
        train: the training images, shuffled and augmented.
        train_unchanged: the same images, neither shuffled nor augmented, for the final score.
        validation: the validation images, if any.
        test: the test images, never used for training or choosing weights.
        held_out: images to detect dead filters with: at least `DEAD_FILTER_IMAGES` of the validation images (else of
            the test images), or all where there are fewer.
        probes: for the feature maps.
        normalization: mean and standard deviation of the training images.
        data_files: checksum of each file of the data set.
        loaded: what the network got from another one; None in a resumed run, which has its own weights.
        group: the processes that train it together.
    """

    config: Config
    device: torch.device
    bf16: bool
    training: Training
    train: ImageBatches
    train_unchanged: ImageBatches
    validation: ImageBatches | None
    test: ImageBatches
    held_out: ImageBatches
    probes: Probes
    normalization: Normalization
    data_files: dict[str, str]
    loaded: LoadedWeights | None = None
    group: ProcessGroup = ALONE

    @property
    def model(self) -> CnnModule:
        """The network whose weights are used: the moving average with `train.ema`, otherwise the one in training."""
        model = self.training.inference_model
        assert isinstance(model, CnnModule), "prepare() trains nothing else"
        return model

    def as_run(self, path: Path) -> "Run":
        """The network as it is now as a run, on the CPU: a copy, which the training does not change.

        Its only split is that of the test images.

        Args:
            path: the run directory.
        """
        from cnncli.run import Run  # imports Pillow, which training does not need before its first step

        return Run(
            path=path,
            config=self.config,
            model=copy.deepcopy(self.model).cpu().to(memory_format=torch.contiguous_format).eval(),
            epoch=self.training.epochs_done,
            step=self.training.step,
            preprocessing=self.training.preprocessing,
            load_splits=lambda download: {"test": (self.test.image_set.to("cpu"), None)},
        )


def prepare(
    config: Config,
    *,
    data_dir: Path,
    device: torch.device,
    group: ProcessGroup = ALONE,
    load_initial: bool = True,
) -> Experiment:
    """Load the data, and build the network and its training.

    Args:
        config: the config.
        data_dir: the folder with the data sets.
        device: where to compute.
        group: see `Experiment`.
        load_initial: see `initial_model`.

    Raises:
        RunError: `train.init_from` cannot be read, or none of its weights fits.
        DataError: the data set is unavailable, damaged, or too small for the validation split.
        ConfigError: the last batch is too small for `batch_norm`, or a probe is not one of the test images.
        DeviceError: out of memory.
        UsageError: the processes of the group have different configs, data or precisions.
    """
    require_memory(config, device, images=1)  # before the images are loaded
    dataset = _load(config, data_dir, device, group)
    kept, held_out = dataset.hold_out(config.data.validation, seed=config.train.seed)
    labels = dataset.train.labels
    if len(held_out) and (absent := classes_without(labels[held_out], labels, dataset.classes)):
        _log.warning(f"no validation images of {shorten(absent)}: too few images to hold one out")
    return prepare_split(config, dataset, kept, held_out, device=device, group=group, load_initial=load_initial)


def prepare_split(
    config: Config,
    dataset: Dataset,
    kept: Tensor,
    held_out: Tensor,
    *,
    device: torch.device,
    group: ProcessGroup = ALONE,
    load_initial: bool = True,
) -> Experiment:
    """Build the network and its training on a data set, whatever `data.validation` says.

    Args:
        config: the config; its shapes and classes are those of the data set.
        dataset: the images.
        kept: indices of the training images to train on, int64 (M,).
        held_out: indices of those for validation, int64; may be empty.
        device: where to compute.
        group: see `Experiment`.
        load_initial: see `initial_model`.

    Raises:
        ConfigError, DeviceError, RunError, UsageError: see `prepare`.
    """
    spec = config.train
    require_memory(config, device, images=len(kept))
    bf16 = use_bf16(spec.precision, device)
    group.check_same("precision", "bf16" if bf16 else "fp32")
    if spec.compile and group.size > 1:
        _log.warning("train.compile has no effect with several processes")
    channels_last = use_channels_last(spec.channels_last, device, bf16=bf16)
    with out_of_memory_explained(device):
        images, test = (_to_device(part, device) for part in (dataset.train, dataset.test))
        _check_batches(config.network, spec, len(kept))
        normalization = Normalization.as_configured(config.data.normalize, images, kept)
        preprocessing = Preprocessing(
            input_shape=config.network.input_shape,
            normalization=normalization,
            classes=config.classes,
            range=dataset.range,
        )
        batches = partial(
            ImageBatches, normalization=normalization, channels_last=channels_last, seed=spec.seed, device=device
        )
        unshuffled = partial(batches, batch_size=evaluation_batch_size(config.network, device), shuffle=False)
        noise = config.data.label_noise
        train = batches(
            replace(images, labels=noisy_labels(images.labels, kept, noise, len(config.classes), seed=spec.seed)),
            batch_size=spec.batch_size,
            augment=build_augmentation(config.data.augment),
            mixing=_mixing(config.data.augment, len(config.classes)),
            shuffle=True,
            balanced=spec.sampling == "balanced",
            indices=kept,
        )
        _name_small_classes(train.labels, config.classes)
        validation = unshuffled(images, indices=held_out) if len(held_out) else None
        unseen, positions = (images, held_out) if validation else (test, torch.arange(len(test)))
        # Every n-th image, because folders list their images class by class.
        positions = positions[:: max(1, len(positions) // DEAD_FILTER_IMAGES)]
        set_deterministic(device)
        model, loaded = initial_model(config, train, load=load_initial)
        group.check_same("weights", loaded.sha256 if loaded else "")
        if loaded:
            _log.info(str(loaded))
        return Experiment(
            config=config,
            device=device,
            bf16=bf16,
            training=_training(config, preprocessing, model, len(train), device, channels_last=channels_last),
            train=train,
            train_unchanged=unshuffled(images, indices=kept),
            validation=validation,
            test=unshuffled(test),
            held_out=unshuffled(unseen, indices=positions),
            probes=_probes(test, config, unshuffled),
            normalization=normalization,
            data_files=dataset.files,
            loaded=loaded,
            group=group,
        )


def require_memory(config: Config, device: torch.device, *, images: int) -> None:
    """Check that a training fits in the memory, before anything is allocated.

    Raises:
        DeviceError: the weights, their gradients and states, and the activations of a batch are larger.
    """
    what = "this machine" if device.type != "cuda" else str(device)
    needed = training_memory(config.network, config.train, images=images)
    if problem := needed.exceeds(device_memory(device), what):
        raise DeviceError(
            f"{config.name}: {problem}",
            remedy="use fewer channels or features, a smaller train.batch_size or a smaller data.size",
        )


def _load(config: Config, data_dir: Path, device: torch.device, group: ProcessGroup) -> Dataset:
    """The data set; one process of each machine reads or downloads it before the others. All must have the same."""
    with (
        group.local_main_first(),
        out_of_memory_explained(device, remedy="make data.size smaller, or use fewer images"),
    ):
        dataset = load_dataset(config.data, data_dir=data_dir)
    group.check_same("config", config.resolved())
    group.check_same("data", json.dumps(dataset.files, sort_keys=True))
    return dataset


def _to_device(images: ImageSet, device: torch.device) -> ImageSet:
    """The images on the device if they fit there, otherwise unchanged."""
    room = room_for_images(device)
    moved = images.to(device, room=room)
    if moved is images and room is not None and images.images.device.type != device.type:
        size = images.images.nbytes
        _log.info(
            f"{device.type} can hold {room / 1e9:.2f} GB of images: "
            f"{len(images):,} images of {size / 1e9:.2f} GB are copied to it batch by batch"
        )
    return moved


def _name_small_classes(labels: Tensor, classes: Sequence[str]) -> None:
    """Name the classes that have at most one image among those that are trained on."""
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    for few, what in ((0, "no training images"), (1, "only one training image")):
        names = [name for name, count in zip(classes, counts, strict=True) if count == few]
        if names:
            which = "class" if len(names) == 1 else "each of the classes"
            _log.warning(f"{what} of {which} {shorten(names)}")


def _check_batches(network: Network, spec: TrainSpec, images: int) -> None:
    """Refuse a batch with one value per channel before a batch norm: torch would raise in the middle of an epoch."""
    last, parts = images % spec.batch_size or spec.batch_size, spec.accumulate
    if last != 1 and (parts == 1 or last // parts > 1):
        return
    for node in network.nodes:
        if not (node.layer.takes_batch_statistics and all(size == 1 for size in node.shape[1:])):
            continue
        cannot = f"{node.name} cannot compute a variance from one value per channel"
        if last == 1:
            raise ConfigError(
                f"train.batch_size: {spec.batch_size} leaves a last batch of one image of {images:,}, but {cannot}",
                remedy=f"--set train.batch_size={spec.batch_size + 1}, or another size that does not leave one image",
            )
        raise ConfigError(
            f"train.accumulate: {parts} parts of a batch of {last} images leave a part of one image, but {cannot}",
            remedy="set train.accumulate to a smaller number, or choose another train.batch_size",
        )


def build_augmentation(spec: AugmentSpec) -> Augmentation:
    """The augmentation that a section describes."""
    return Augmentation(
        shift=spec.shift,
        rotate=spec.rotate,
        scale=spec.scale,
        shear=spec.shear,
        flip_horizontal=spec.flip in ("horizontal", "both"),
        flip_vertical=spec.flip in ("vertical", "both"),
        elastic_alpha=spec.elastic.alpha,
        elastic_sigma=spec.elastic.sigma,
        crop_area=spec.crop.area,
        crop_ratio=spec.crop.ratio,
        rand_magnitude=spec.rand_augment.magnitude,
        rand_operations=spec.rand_augment.operations,
        brightness=spec.brightness,
        contrast=spec.contrast,
        saturation=spec.saturation,
        hue=spec.hue,
        gamma=spec.gamma,
        blur_sigma=spec.blur.sigma,
        blur_probability=spec.blur.probability,
        cutout_size=spec.cutout.size,
        cutout_probability=spec.cutout.probability,
        fill=spec.fill_values,
        border=spec.border,
        erase_probability=spec.erase.probability,
        erase_area=spec.erase.area,
        noise=spec.noise,
    )


def _mixing(spec: AugmentSpec, classes: int) -> Mixing:
    return Mixing(
        classes=classes,
        mixup_alpha=spec.mixup.alpha,
        mixup_probability=spec.mixup.probability,
        cutmix_alpha=spec.cutmix.alpha,
        cutmix_probability=spec.cutmix.probability,
    )


def _training(
    config: Config,
    preprocessing: Preprocessing,
    model: CnnModule,
    steps_per_epoch: int,
    device: torch.device,
    *,
    channels_last: bool,
) -> Training:
    spec = config.train
    model.to(device).to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    return Training(
        model=model,
        optimizer=build_optimizer(spec.optimizer, model),
        schedule=build_schedule(
            spec.schedule, lr=spec.optimizer.lr, epochs=spec.epochs, steps_per_epoch=steps_per_epoch
        ),
        ema=None if spec.ema is None else EmaWeights(model, decay=spec.ema),
        plateau=spec.schedule if isinstance(spec.schedule, Plateau) else None,
        can_roll_back=spec.on_nan == "rollback",
        preprocessing=preprocessing,
        config=config.resolved(),
    )


def _probes(test: ImageSet, config: Config, batches: Callable[[ImageSet], ImageBatches]) -> Probes:
    """The first test image of each of the first classes, and the test images chosen by number."""
    spec, labels = config.log.probes, test.labels.tolist()
    _check_numbers(config, len(labels))
    firsts = test.first_of_each_class(spec.classes)
    chosen = test.subset(torch.tensor([*firsts, *spec.images], dtype=torch.int64))
    classes = [config.classes[labels[position]] for position in firsts]
    names = (*classes, *(f"test-{number}" for number in spec.images))
    titles = (
        *(f"class {name}" for name in classes),
        *(f"test image {number}, class {config.classes[labels[number]]}" for number in spec.images),
    )
    if not names:
        return Probes((), (), chosen.images, chosen.images.float())
    images = torch.cat([images for images, _ in batches(chosen).epoch(1)])
    return Probes(names, titles, chosen.images.cpu(), images)


def _check_numbers(config: Config, count: int) -> None:
    """Refuse a probe that is not one of the `count` test images, with its place in the config."""
    route: Route = ("log", "probes")
    if isinstance(descend(config.document.data, route), dict):
        route = (*route, "images")
    config.document.raise_problems(
        Problem((*route, i), f"no test image {number}; there are {count:,}, numbered 0 to {count - 1}")
        for i, number in enumerate(config.log.probes.images)
        if number >= count
    )
