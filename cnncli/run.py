"""A network that somebody trained, and the images that it is asked about.

Letters: N images, C channels, (H, W) image.
"""

import logging
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnncli.config.config import read_config
from cnncli.config.network import Network, Node
from cnncli.data.batches import Batches, Normalization
from cnncli.data.decode import UnreadableImageError, decode, decoder_warnings, original_of
from cnncli.data.images import ImageSet
from cnncli.data.load import load_dataset
from cnncli.data.splits import split_of
from cnncli.errors import UsageError, did_you_mean
from cnncli.inspection.graph import graph_of
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable, Row, inspect_graph
from cnncli.module import CnnModule, seeded_module
from cnncli.training.checkpoint import load_weights
from cnncli.training.device import room_for_images
from cnncli.training.evaluate import confusion_counts, evaluating, evaluation_batch_size
from cnncli.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)

Labels: TypeAlias = npt.NDArray[np.int64]
Shares: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Every single answer; `training.evaluate` sums answers up where they are computed, and keeps none.

    Attributes:
        labels: int64 (N,), what the images show.
        predicted: int64 (N,), the class of the largest logit.
        probabilities: float64 (N, K), the softmax of the logits.
    """

    labels: Labels
    predicted: Labels
    probabilities: Shares

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """K, how many classes there are."""
        return int(self.probabilities.shape[1])

    @property
    def confidence(self) -> Shares:
        """float64 (N,), the probability of the class that was predicted."""
        return self.probabilities[np.arange(len(self)), self.predicted]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """bool (N,), whether the prediction is the label."""
        return np.equal(self.labels, self.predicted)

    @property
    def accuracy(self) -> float:
        """The share of images that are right."""
        return float(self.right.mean())

    @property
    def confusion(self) -> Labels:
        """int64 (K, K), `confusion[label, predicted]` numbers of images."""
        counts = confusion_counts(torch.from_numpy(self.labels), torch.from_numpy(self.predicted), self.classes)
        return counts.numpy()


def predict(model: nn.Module, batches: Batches) -> Predictions:
    """Run a model over every batch in eval mode, without gradients.

    Args:
        model: gives logits (N, K); left in the mode it was in.
        batches: unshuffled and not augmented: the answers come in their order.
    """
    labels, logits = [], []
    with evaluating(model), torch.inference_mode():
        for images, truth in batches.epoch(1):
            labels.append(truth)
            logits.append(model(images))  # (N, K)
    return answers(torch.cat(logits), torch.cat(labels))


def answers(logits: Tensor, labels: Tensor) -> Predictions:
    """Logits (N, K) and int64 labels (N,), on any device, as predictions."""
    # In double precision on the CPU (MPS has none), so that the surest answers do not all round to 1.
    exact = logits.detach().cpu().double()
    return Predictions(
        labels=labels.cpu().numpy(),
        predicted=exact.argmax(dim=1).numpy(),
        probabilities=exact.softmax(dim=1).numpy(),
    )


@dataclass(frozen=True, eq=False)
class InputImage:
    """A picture: as people see it, uint8 (C, H, W), as the network gets it, float (C, H, W), and what it is called.

    Attributes:
        name: for people: `test image 3 (class 7)`, or the path of a file.
        argument: as it is written on a command line, with `--invert` behind it where it was inverted.
        slug: for tags and file names: `test-3`, or the file's name without its ending.
        label: position of its class; None for a picture of one's own.
        notes: what was done to a picture of one's own, and what may be wrong with it, a sentence each.
    """

    name: str
    argument: str
    slug: str
    picture: Tensor
    image: Tensor
    label: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """The best weights of a run in their network, its test images, and how it prepares images.

    Attributes:
        path: the run's directory.
        model: in evaluation mode.
        classes: their names, in the order of the labels.
        test: images that were never learned from, never chosen by.
        normalization: that of the training.
        seed: of the training; the weights before the first step follow from it.
        epoch, step: of the weights.
    """

    path: Path
    model: CnnModule
    classes: tuple[str, ...]
    test: ImageSet
    normalization: Normalization
    seed: int
    epoch: int
    step: int

    @property
    def argument(self) -> str:
        """The run as it is written on a command line."""
        return shlex.quote(str(self.path))

    @property
    def network(self) -> Network:
        """What the model was built from."""
        return self.model.network

    @property
    def device(self) -> torch.device:
        """Where the weights are; the test images too, if there is room for them."""
        return next(self.model.parameters()).device

    def node(self, layer: str) -> Node:
        """The layer of that name.

        Raises:
            UsageError: there is none.
        """
        nodes = {node.name: node for node in self.network.nodes}
        if layer not in nodes:
            raise UsageError(f"--layer: {self.path} has no layer {layer}{did_you_mean(layer, nodes)}")
        return nodes[layer]

    @cached_property
    def table(self) -> LayerTable:
        """The layer table of the network."""
        return inspect_graph(graph_of(self.network, ""))

    def row(self, node: Node) -> Row:
        """The row of a layer in the table."""
        return self.table[node.name]

    def fields(self, node: Node) -> ReceptiveFields:
        """What the units of a layer see."""
        fields = self.table.receptive_fields[node.name]
        assert isinstance(fields, ReceptiveFields), "every layer of a config is known"
        return fields

    @cached_property
    def predictions(self) -> Predictions:
        """What the network takes each test image for, computed once."""
        return predict(self.model, self.batches())

    def untrained(self) -> CnnModule:
        """The network as it was before its first step, in evaluation mode."""
        return seeded_module(self.network, self.seed).to(self.device).eval()

    def batches(self, images: ImageSet | None = None, *, batch_size: int | None = None) -> Batches:
        """Images as the network gets them, in their order; the test images unless others are given.

        Args:
            images: to cut into batches.
            batch_size: as many at a time as the network is fastest with, unless given.
        """
        return Batches(
            self.test if images is None else images,
            batch_size=batch_size or evaluation_batch_size(self.network, self.device),
            normalization=self.normalization,
            shuffle=False,
            channels_last=False,
            seed=0,
            device=self.device,
        )

    def seen(self, image: str, *, invert: bool = False) -> InputImage:
        """A test image by its number, or a picture file, brought to the size and channels of the network.

        Args:
            image: a number, or the path of a file.
            invert: turn black to white in a picture of one's own, as for ink on paper where the network knows the
                opposite.

        Raises:
            UsageError: there is no such image, or the file cannot be used.
        """
        if not image.isdecimal():
            picture, notes = self._from_file(Path(image), invert=invert)
            argument = shlex.quote(image) + " --invert" * invert
            return InputImage(image, argument, Path(image).stem, picture, self.as_input(picture), None, notes)
        number = int(image)
        if number >= len(self.test):
            raise UsageError(f"image {number}: there are {len(self.test):,} test images, 0 to {len(self.test) - 1}")
        picture, label = self.test.images[number], int(self.test.labels[number])
        name = f"test image {number} (class {self.classes[label]})"
        return InputImage(name, image, f"test-{number}", picture, self.as_input(picture), label)

    def as_input(self, picture: Tensor) -> Tensor:
        """A uint8 picture (C, H, W) as the network gets it, normalized."""
        single = ImageSet(images=picture[None], labels=torch.zeros(1, dtype=torch.int64, device=picture.device))
        images, _ = next(self.batches(single).epoch(1))  # (1, C, H, W)
        return images[0]

    def _from_file(self, path: Path, *, invert: bool) -> tuple[Tensor, tuple[str, ...]]:
        """A picture (C, H, W) and notes on it."""
        channels, height, width = self.network.input_shape
        try:
            with decoder_warnings():
                pixels, _ = decode(path, channels=channels, size=(height, width))
                original = original_of(path)
        except UnreadableImageError as error:
            raise UsageError(
                f"image {path}: {error}", remedy="give the number of a test image, or a picture file such as a PNG"
            ) from None
        picture = torch.from_numpy(pixels.copy()).to(self.device)
        notes = []
        if original.size != (height, width):
            stretched = original.size[0] * width != original.size[1] * height
            before, now = (f"{size[1]}x{size[0]}" for size in (original.size, (height, width)))
            notes.append(f"{path}: {before} pixels brought to {now}" + (", in other proportions" if stretched else ""))
        if original.colored and channels == 1:
            notes.append(f"{path}: in color, and the network sees gray")
        if invert:
            picture = 255 - picture
        brightness, usual = (each.double().mean().item() / 255 for each in (picture, self.test.images[:_LOOKED_AT]))
        if (brightness - 0.5) * (usual - 0.5) < 0:
            how, others = ("bright", "dark") if brightness > usual else ("dark", "bright")
            again = "without" if invert else "with"
            notes.append(f"{path}: {how}, while the images of the data set are {others}: try {again} --invert")
        return picture, tuple(notes)


_LOOKED_AT = 1000
"""Test images that say how bright images of a data set are."""


def load_run(path: Path, *, data_dir: Path, device: torch.device | None = None) -> Run:
    """The network of a run with its best weights.

    Args:
        path: the run's directory.
        data_dir: where its data set is: the images learned from say how pictures are normalized.
        device: where to compute; the CPU, if not given.

    Raises:
        RunError: it is no run, or has no checkpoint that can be used.
        DataError: the data set cannot be had.
    """
    run = RunDirectory.open(path)
    config = read_config(str(run.resolved), data_dir=data_dir)
    model = CnnModule(config.network).eval()
    manifest = load_weights(run.best, model)
    dataset = load_dataset(config.data, data_dir=data_dir)
    if changed := run.changed_data(dataset.files):
        _log.warning(
            f"the data has changed since this run began ({', '.join(changed[:5])}): test images may have other "
            "numbers, and some may have been learned from"
        )
    kept, _ = split_of(dataset.train.labels, config.data, seed=config.train.seed)
    device = device or torch.device("cpu")
    return Run(
        path=path,
        model=model.to(device),
        classes=config.classes,
        test=dataset.test.to(device, room=room_for_images(device)),
        normalization=Normalization.of(dataset.train, kept)
        if config.data.normalize
        else Normalization.none(dataset.train.images.shape[1]),
        seed=config.train.seed,
        epoch=int(manifest["epoch"]),
        step=int(manifest["step"]),
    )
