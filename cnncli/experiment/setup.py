"""From a config to everything that a run needs in memory.

Letters for shapes: N images, P probe images, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnncli.data.augment import Augmentation
from cnncli.data.batches import Batches, Normalization
from cnncli.data.images import ImageSet
from cnncli.data.load import load_dataset
from cnncli.data.splits import split_of
from cnncli.errors import ConfigError
from cnncli.model import CnnModule, seeded_module
from cnncli.spec.config import Config
from cnncli.spec.data import AugmentSpec
from cnncli.spec.layers import BatchNorm, Conv, ConvTranspose, Linear
from cnncli.spec.network import Network
from cnncli.spec.train import TrainSpec
from cnncli.training.average import WeightAverage
from cnncli.training.device import out_of_memory_explained, repeat_exactly, use_channels_last
from cnncli.training.evaluate import evaluation_batch_size
from cnncli.training.optimizer import build_optimizer
from cnncli.training.schedule import build_schedule
from cnncli.training.state import Training


@dataclass(frozen=True)
class Probes:
    """One test image of each class, whose feature maps are shown.

    Attributes:
        names: of the classes.
        pictures: uint8 (P, C, H, W), as people see them.
        images: float32 (P, C, H, W), as the network gets them.
    """

    names: tuple[str, ...]
    pictures: Tensor
    images: Tensor


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a run needs.

    Attributes:
        config: what was asked for.
        device: where it is computed.
        training: the network in training.
        train: shuffled and augmented.
        train_unchanged: the same images as they are, for the final score.
        validation: or None where nothing is held out.
        test: never learned from, never chosen by.
        probes: for the feature maps.
        normalization: mean and deviation of the images learned from.
        data_files: checksum of each file of the data set.
    """

    config: Config
    device: torch.device
    training: Training
    train: Batches
    train_unchanged: Batches
    validation: Batches | None
    test: Batches
    probes: Probes
    normalization: Normalization
    data_files: dict[str, str]

    @property
    def model(self) -> CnnModule:
        """The network whose weights are to be used: the averaged one, if there is an average."""
        model = self.training.best_model
        assert isinstance(model, CnnModule), "prepare() trains nothing else"
        return model


def prepare(
    config: Config, *, data_dir: Path, device: torch.device, notify: Callable[[str], None] = lambda message: None
) -> Experiment:
    """Load the data, build the network and what trains it.

    Raises:
        DataError: the data set cannot be had, or is damaged, or too small for the validation split.
        ConfigError: the batch size leaves a batch that batch_norm cannot take.
        DeviceError: out of memory.
    """
    spec = config.train
    with out_of_memory_explained(device, remedy="make data.size smaller, or use fewer images"):
        dataset = load_dataset(config.data, data_dir=data_dir, notify=notify)
    channels_last = use_channels_last(spec.channels_last, device, bf16=spec.precision == "bf16")
    with out_of_memory_explained(device):
        learned, test = dataset.train.to(device), dataset.test.to(device)
        kept, held_out = split_of(dataset.train.labels, config.data, seed=spec.seed)
        _check_batches(config.network, len(kept), spec.batch_size)
        channels = learned.images.shape[1]
        normalization = (
            Normalization.of(learned.images, kept) if config.data.normalize else Normalization.none(channels)
        )

        def unshuffled(images: ImageSet, indices: Tensor | None = None) -> Batches:
            return Batches(
                images,
                batch_size=evaluation_batch_size(config.network, device),
                normalization=normalization,
                shuffle=False,
                channels_last=channels_last,
                seed=spec.seed,
                indices=indices,
            )

        train = Batches(
            learned,
            batch_size=spec.batch_size,
            normalization=normalization,
            augment=_augmentation(config.data.augment),
            shuffle=True,
            channels_last=channels_last,
            seed=spec.seed,
            indices=kept,
        )
        return Experiment(
            config=config,
            device=device,
            training=_training(config.network, spec, len(train), device, channels_last=channels_last),
            train=train,
            train_unchanged=unshuffled(learned, kept),
            validation=unshuffled(learned, held_out) if len(held_out) else None,
            test=unshuffled(test),
            probes=_probes(test, config.classes, config.log.probes, unshuffled),
            normalization=normalization,
            data_files=dataset.files,
        )


def _check_batches(network: Network, images: int, batch_size: int) -> None:
    """Batch norm over a single number per channel has no variance: torch refuses it, in the middle of an epoch."""
    last = images % batch_size or batch_size
    for node in network.nodes:
        layer = node.layer
        norm = layer.norm if isinstance(layer, Conv | ConvTranspose | Linear) else layer
        if isinstance(norm, BatchNorm) and all(size == 1 for size in node.shape[1:]) and last == 1:
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
    repeat_exactly(device)
    model = seeded_module(network, spec.seed).to(device)
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    return Training(
        model=model,
        optimizer=build_optimizer(spec.optimizer, model),
        schedule=build_schedule(
            spec.schedule, lr=spec.optimizer.lr, epochs=spec.epochs, steps_per_epoch=steps_per_epoch
        ),
        average=None if spec.ema is None else WeightAverage(model, decay=spec.ema),
    )


def _probes(test: ImageSet, classes: tuple[str, ...], most: int, batches: Callable[[ImageSet], Batches]) -> Probes:
    """The first test image of each class that has one, of the first `most` classes."""
    labels = test.labels.tolist()
    present = [label for label in range(len(classes)) if label in set(labels)][:most]
    chosen = test.subset(
        torch.tensor([labels.index(label) for label in present], dtype=torch.int64, device=test.labels.device)
    )
    names = tuple(classes[label] for label in present)
    if not names:
        return Probes((), chosen.images, chosen.images.float())
    images = torch.cat([images for images, _ in batches(chosen).epoch(1)])
    return Probes(names, chosen.images.cpu(), images)
