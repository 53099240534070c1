"""A trained network with its weights, classes, data and predictions.

Letters: N images, K classes, C channels, (H, W) image.
"""

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from cnncli.config.config import Config, changed_settings, read_config
from cnncli.config.network import Network, Node
from cnncli.data.augment import Transform
from cnncli.data.batches import ImageBatches, Normalization
from cnncli.data.images import ImageSet, PixelRange
from cnncli.data.labeled import load_labeled
from cnncli.data.load import load_dataset
from cnncli.data.preparation import Fit, ImageLike, Invert, Preparation, PreparedImage, split_images
from cnncli.data.preprocessing import Preprocessing
from cnncli.data.tta import Variant, variants
from cnncli.errors import DataError, RunError, UsageError, did_you_mean
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable, inspect_network
from cnncli.layers import format_shape
from cnncli.module import CnnModule, seeded_module
from cnncli.options import preparation_options
from cnncli.training.checkpoint import load_weights
from cnncli.training.device import cpu_threads, room_for_images, set_deterministic, use_bf16, use_channels_last
from cnncli.training.evaluate import Predictions, evaluation_batch_size, mean_predictions, predict
from cnncli.training.run_directory import RunDirectory
from cnncli.training.scores import Evaluation
from cnncli.training.weight_history import WeightHistory

_log = logging.getLogger(__name__)

Split: TypeAlias = Literal["train", "val", "test"]

Splits: TypeAlias = Mapping[Split, tuple[ImageSet, Tensor | None]]
"""The images of each split, and the indices of those that belong to it; None for all."""


@dataclass(frozen=True)
class Prediction:
    """The prediction of a network for one image.

    Attributes:
        prediction: the name of the most probable class.
        probability: its probability.
        probabilities: class -> probability, the highest first.
        preprocessing: what was done to the image, such as `inverted`; empty if its pixels are unchanged.
    """

    prediction: str
    probability: float
    probabilities: Mapping[str, float]
    preprocessing: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Prediction {self.prediction}: {self.probability:.2%}>"


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image that a network is applied to.

    Attributes:
        name: for people: `test image 3 (class 7)`, or the path of a file.
        argument: as it is written on a command line, followed by the options with which it was prepared.
        slug: for tags and file names: `test-3`, or the file's name without its suffix.
        picture: uint8 (C, H, W).
        image: the network's input, float (C, H, W), normalized.
        label: the index of its class; None for an image file.
    """

    name: str
    argument: str
    slug: str
    picture: Tensor
    image: Tensor
    label: int | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A trained network. Its images are loaded from the data set on first use.

    Attributes:
        path: the run's directory.
        config: the config, with its overrides.
        model: the network with the best weights, in eval mode.
        epoch, step: of the weights.
        preprocessing: of the images, as stored with the weights; None in runs that lack it.
        load_splits: loads the images, with `download` also those that must be downloaded first.
        download: whether a missing data set is downloaded when images are needed.
        data_dir: the folder with the data sets.
        channels_last: the memory layout of weights and images, see `use_channels_last`.
        threads: the number of CPU threads of the training; None if unknown. Evaluated in the same layout with as many
            threads, the network has the same scores as at the end of the training, to the last digit.
    """

    path: Path
    config: Config
    model: CnnModule
    epoch: int
    step: int
    preprocessing: Preprocessing | None
    load_splits: Callable[[bool], Splits]
    download: bool = True
    data_dir: Path = Path("data")
    channels_last: bool = False
    threads: int | None = None

    def __repr__(self) -> str:
        return f"<Run {self.path}: epoch {self.epoch}>"

    def predict(
        self, images: "ImageLike | Sequence[ImageLike]", *, invert: Invert = "auto", fit: Fit = "auto"
    ) -> list[Prediction]:
        """Predict the class of images, which are prepared like the images of the data set.

        Pixels are normalized with the mean and standard deviation of the training images, which the run stores. Runs
        that lack them need the data set.

        Args:
            images: a path, the bytes of an image file, a PIL image or an array, or a sequence of these. Arrays are
                (H, W), (H, W, C) with 1, 3 or 4 channels, or (N, H, W) and (N, H, W, C) for several images; uint8, or
                floating point from 0 to 1.
            invert: with `auto`, an image is inverted if its background is bright and those of the data set are dark, or
                the other way round; see `Preparation.prepare`.
            fit: with `auto`, an image keeps its proportions and is placed as the makers of the data set placed theirs;
                with `none` it is stretched.

        Returns:
            A prediction for each image.

        Raises:
            UsageError: an array has another shape or type.
            DataError: a file cannot be decoded, or the data set is needed and unavailable.
        """
        return self.predict_prepared([self.prepare(each, invert=invert, fit=fit) for each in split_images(images)])

    def prepare(self, image: ImageLike, *, invert: Invert = "auto", fit: Fit = "auto") -> PreparedImage:
        """The pixels that the network sees of an image, and what was done to it; see `predict`."""
        return self.preparation.prepare(image, invert=invert, fit=fit)

    def predict_prepared(self, images: Sequence[PreparedImage]) -> list[Prediction]:
        """Predict the class of images that `prepare` has prepared."""
        if not images:
            return []
        stacked = torch.from_numpy(np.stack([image.pixels for image in images]))  # (N, C, H, W)
        unlabeled = ImageSet(images=stacked, labels=torch.zeros(len(images), dtype=torch.int64))
        probabilities = predict(self.model, self.batches(unlabeled)).probabilities  # (N, K)
        orders = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            Prediction(
                prediction=self.classes[order[0]],
                probability=float(row[order[0]]),
                probabilities={self.classes[k]: float(row[k]) for k in order},
                preprocessing=image.steps,
            )
            for image, row, order in zip(images, probabilities, orders, strict=True)
        ]

    def evaluate(self, split: Split = "test", *, data: str | Path | None = None, tta: bool = False) -> Evaluation:
        """The scores on the images of a split; loss and accuracy are those of `results.json`, to the last digit.

        Needs the data set.

        Args:
            split: `test`, `val` or `train`.
            data: another data set: the name of one, or a folder with one folder of images for each class. Its classes
                are matched by name. It has no split `val`.
            tta: average the probabilities (the softmax) over the flips and shifts of each image that the training used.

        Raises:
            UsageError: there is no such split or data set, or the training used neither flips nor shifts.
            DataError: the data set is unavailable, or has a class that the network does not know.
        """
        return self.predict_labeled(split, data=data, tta=tta).evaluation(self.classes)

    def predict_labeled(
        self,
        split: Split = "test",
        *,
        data: str | Path | None = None,
        tta: bool = False,
    ) -> Predictions:
        """The predictions that `evaluate` scores; see there."""
        if split == "test" and data is None and not tta:
            return self.predictions
        images, indices = self.labeled_images(split, data=data)
        if not tta:
            return self.predict_set(images, indices=indices)
        return mean_predictions([
            self.predict_set(images, indices=indices, transform=variant) for variant in self.test_time_variants
        ])  # fmt: skip

    @property
    def test_time_variants(self) -> list[Variant]:
        """The flips and shifts of an image that the training used, the image itself first.

        Raises:
            UsageError: the training used neither flips nor shifts.
        """
        found = variants(self.config.data.augment)
        if len(found) == 1:
            raise UsageError(
                f"--tta: {self.path} was trained without flips and shifts, so there is nothing to average over",
                remedy="omit --tta, or train with data.augment.flip or data.augment.shift",
            )
        return found

    def labeled_images(
        self, split: Split = "test", *, data: str | Path | None = None
    ) -> tuple[ImageSet, Tensor | None]:
        """The images of a split, and the indices of those that belong to it; None for all. See `evaluate`."""
        if data is None:
            if split not in self.splits:
                raise UsageError(f"{self.path} has no split {split}", remedy=f"one of {', '.join(self.splits)}")
            return self.splits[split]
        images = load_labeled(
            str(data),
            split,
            classes=self.classes,
            input_shape=self.network.input_shape,
            range=self.pixel_range,
            data_dir=self.data_dir,
        )
        return images, None

    def predict_set(
        self, images: ImageSet | None = None, *, indices: Tensor | None = None, transform: Transform | None = None
    ) -> Predictions:
        """Predictions for labeled images, with as many CPU threads as in training; see `batches` for the arguments."""
        with cpu_threads(self.threads if self.device.type == "cpu" else None):
            batches = self.batches(images, indices=indices, transform=transform)
            return predict(self.model, batches, top_k=self.config.train.top_k)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        return self.config.classes if self.preprocessing is None else self.preprocessing.classes

    @property
    def network(self) -> Network:
        """The description from which the model was built."""
        return self.model.network

    @cached_property
    def table(self) -> LayerTable:
        """The layer table of the network."""
        return inspect_network(self.network, "")

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    @property
    def argument(self) -> str:
        """The run as it is written on a command line."""
        return shlex.quote(str(self.path))

    def node(self, layer: str) -> Node:
        """The layer with this name.

        Raises:
            UsageError: there is none.
        """
        nodes = {node.name: node for node in self.network.nodes}
        if layer not in nodes:
            raise UsageError(f"--layer: {self.path} has no layer {layer}{did_you_mean(layer, nodes)}")
        return nodes[layer]

    def receptive_fields(self, node: Node) -> ReceptiveFields:
        """The receptive fields of the units of a layer."""
        fields = self.table.receptive_fields[node.name]
        assert isinstance(fields, ReceptiveFields), "the receptive fields of a config's layers are known"
        return fields

    @property
    def weight_steps(self) -> list[int]:
        """The steps of the training whose weights the run has kept, ascending; see `log.weights`."""
        return WeightHistory(self.path).steps()

    def weights_at(self, step: int) -> dict[str, Tensor]:
        """The weights after a step, by name as in the state dict of `model`; kept in half precision, given as float32.

        Raises:
            RunError: they are not kept, or the file is damaged.
        """
        return WeightHistory(self.path).read(step)

    def untrained(self) -> CnnModule:
        """The network before its first step, in eval mode.

        Initial weights that do not follow from the config, such as those of another network, are taken from the weights
        that the run has kept. If it has kept none, those of the seed take their place.
        """
        model = seeded_module(self.network, self.config.train.seed)
        if not self.config.has_random_weights and 0 in self.weight_steps:
            model.load_state_dict(self.weights_at(0))
        return model.to(self.device).eval()

    def offline(self) -> "Run":
        """The run, without downloads: a missing data set is a DataError when images are needed."""
        return replace(self, download=False) if self.download else self

    @property
    def splits(self) -> Splits:
        """The images of the run.

        Raises:
            DataError: the data set is unavailable. It is looked for once.
        """
        if isinstance(self._loaded, DataError):
            raise self._loaded
        return self._loaded

    @cached_property
    def _loaded(self) -> Splits | DataError:
        try:
            return self.load_splits(self.download)
        except DataError as error:
            return error

    @property
    def test(self) -> ImageSet:
        """The test images."""
        return self.splits["test"][0]

    @cached_property
    def normalization(self) -> Normalization:
        """Mean and standard deviation of the training images, as they were when the network was trained.

        A run that does not store them needs the data set, and is right only if its training images are unchanged.

        Raises:
            DataError: the data set is needed and unavailable.
        """
        if self.preprocessing is not None:
            return self.preprocessing.normalization
        images, kept = self.splits["train"]
        if self.config.data.normalize is True:
            _log.warning(f"{self.path} does not store its normalization: it is computed from the training images")
        return Normalization.as_configured(self.config.data.normalize, images, kept)

    @property
    def pixel_range(self) -> PixelRange | None:
        """The values that become black and white, of pixels of more than 8 bits, as when the network was trained."""
        if self.preprocessing is not None:
            return self.preprocessing.range
        return None if self.config.data.range == "auto" else self.config.data.range

    @cached_property
    def preparation(self) -> Preparation:
        """How images are prepared for the network.

        Raises:
            DataError: the run does not store its normalization, and the data set is unavailable.
        """
        return Preparation.of(self.config.data, self.network.input_shape, self.normalization, range=self.pixel_range)

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions for the test images."""
        return self.predict_set()

    def batches(
        self,
        images: ImageSet | None = None,
        *,
        indices: Tensor | None = None,
        batch_size: int | None = None,
        transform: Transform | None = None,
    ) -> ImageBatches:
        """Images as inputs of the network, in order.

        Args:
            images: the images; the test images by default.
            indices: of the images to use; all by default.
            batch_size: by default the fastest for the network.
            transform: changes the images before they are normalized.
        """
        return ImageBatches(
            self.test if images is None else images,
            batch_size=batch_size or evaluation_batch_size(self.network, self.device),
            normalization=self.normalization,
            augment=transform,
            shuffle=False,
            channels_last=self.channels_last,
            seed=0,
            device=self.device,
            indices=indices,
        )

    def input_image(self, image: str, *, invert: Invert = "auto", fit: Fit = "auto") -> InputImage:
        """A test image, or an image file prepared like the images of the data set; what was done to it is logged.

        Args:
            image: the number of a test image, or the path of a file.
            invert, fit: for a file; see `predict`.

        Raises:
            UsageError: there is no such test image, or an option is given for one.
            DataError: the file cannot be decoded, or the data set is needed and unavailable.
        """
        options = preparation_options(invert=invert, fit=fit)
        if not image.isdecimal():
            prepared = self.prepare(image, invert=invert, fit=fit)
            if prepared.steps:
                _log.info(f"{image}: {', '.join(prepared.steps)}")
            picture = torch.from_numpy(prepared.pixels.copy()).to(self.device)
            argument = f"{shlex.quote(image)} {options}".rstrip()
            return InputImage(image, argument, Path(image).stem, picture, self.as_input(picture), None)
        if options:
            raise UsageError(f"{options} applies only to image files", remedy="omit it for test images")
        number = int(image)
        if number >= len(self.test):
            raise UsageError(f"image {number}: there are {len(self.test):,} test images, 0 to {len(self.test) - 1}")
        picture, label = self.test.images[number], int(self.test.labels[number])
        name = f"test image {number} (class {self.classes[label]})"
        return InputImage(name, image, f"test-{number}", picture, self.as_input(picture), label)

    def as_input(self, picture: Tensor) -> Tensor:
        """The network's input for a uint8 picture (C, H, W): float (C, H, W), normalized."""
        single = ImageSet(images=picture[None], labels=torch.zeros(1, dtype=torch.int64, device=picture.device))
        images, _ = next(self.batches(single).epoch(1))  # (1, C, H, W)
        return images[0]


def load_run(path: Path, *, data_dir: Path, device: torch.device | None = None) -> Run:
    """Load a run with its best weights; its data set is loaded on first use.

    Args:
        path: the run directory.
        data_dir: the folder with the data sets.
        device: where to compute; the CPU by default.

    Raises:
        RunError: the directory is not a run, or has no intact checkpoint. If only that of the best weights is damaged,
            those of the last epoch are loaded, with a message.
        DataError: the config does not name the classes of its image folder, and the folder is missing.
    """
    run = RunDirectory.open(path)
    config = read_config(str(run.find_config()), data_dir=data_dir)
    model = CnnModule(config.network).eval()
    manifest = load_weights(run.best, model, otherwise=run.last)
    if (trained := manifest.get("config")) and (
        changed := changed_settings(trained, config.resolved(), name=str(run.best))
    ):
        _log.warning(f"{run.resolved} is not the config that the run was trained with: {', '.join(changed)}")
    device = device or torch.device("cpu")
    set_deterministic(device)
    channels_last = use_channels_last(config.train.channels_last, device, bf16=use_bf16(config.train.precision, device))
    return Run(
        path=path,
        config=config,
        model=model.to(device).to(memory_format=torch.channels_last if channels_last else torch.contiguous_format),
        epoch=int(manifest["epoch"]),
        step=int(manifest["step"]),
        preprocessing=_preprocessing(run.best, manifest, config),
        load_splits=partial(_load_splits, run, config, data_dir, device),
        data_dir=data_dir,
        channels_last=channels_last,
        threads=run.threads(),
    )


def _load_splits(run: RunDirectory, config: Config, data_dir: Path, device: torch.device, download: bool) -> Splits:
    dataset = load_dataset(config.data, data_dir=data_dir, download=download)
    if changed := run.changed_data(dataset.files):
        _log.warning(
            f"the data has changed since this run was trained ({', '.join(changed[:5])}): test images may be numbered "
            "differently, and some may have been trained on"
        )
    kept, held_out = dataset.hold_out(config.data.validation, seed=config.train.seed)
    splits: dict[Split, tuple[ImageSet, Tensor | None]] = {"train": (dataset.train, kept)}
    if len(held_out):
        splits["val"] = (dataset.train, held_out)
    splits["test"] = (dataset.test.to(device, room=room_for_images(device)), None)
    return splits


def _preprocessing(checkpoint: Path, manifest: Mapping[str, Any], config: Config) -> Preprocessing | None:
    """The preprocessing in a manifest, which has been read strictly; its sizes are those of the network."""
    if (record := manifest.get("preprocessing")) is None:
        return None
    found, network = Preprocessing.from_record(record), config.network
    normalization = found.normalization
    channels = {found.input_shape[0], len(normalization.mean), len(normalization.std), network.input_shape[0]}
    if len(channels) > 1 or found.input_shape != network.input_shape or len(found.classes) != network.classes:
        raise RunError(
            f"{checkpoint}: the preprocessing in manifest.json is of another network: images of shape "
            f"{format_shape(found.input_shape)}, {len(found.classes)} classes",
            remedy="restore the checkpoint from a copy, or train again",
        )
    return found
