"""A network that somebody trained, and the images that it is asked about.

Letters: N images, C channels, (H, W) image.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cnncli.analysis.graph import graph_of
from cnncli.analysis.receptive_field import Fields
from cnncli.analysis.rows import Inspection, Row, inspect_graph
from cnncli.data.batches import Batches, Normalization
from cnncli.data.decode import UnreadableImageError, decode, original_of, refusing_bombs
from cnncli.data.images import ImageSet
from cnncli.data.load import load_dataset
from cnncli.data.splits import split_of
from cnncli.errors import UsageError
from cnncli.interpret.predictions import Predictions, predict
from cnncli.model import CnnModule, seeded_module
from cnncli.spec.config import read_config
from cnncli.spec.network import Network, Node
from cnncli.spec.problems import did_you_mean
from cnncli.training.checkpoint import load_weights
from cnncli.training.device import room_for_images
from cnncli.training.evaluate import evaluation_batch_size
from cnncli.training.run_directory import RunDirectory


@dataclass(frozen=True, eq=False)
class Seen:
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
class TrainedRun:
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
    def inspection(self) -> Inspection:
        """What `cnncli inspect` says of the network."""
        return inspect_graph(graph_of(self.network, ""))

    def row(self, node: Node) -> Row:
        """What `cnncli inspect` says of a layer."""
        row = self.inspection.row(node.name)
        assert row is not None, "every layer of a config has a row"
        return row

    def fields(self, node: Node) -> Fields:
        """What the units of a layer see."""
        fields = self.inspection.fields[node.name]
        assert isinstance(fields, Fields), "every layer of a config is known"
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

    def seen(self, image: str, *, invert: bool = False) -> Seen:
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
            return Seen(image, argument, Path(image).stem, picture, self.as_input(picture), None, notes)
        number = int(image)
        if number >= len(self.test):
            raise UsageError(f"image {number}: there are {len(self.test):,} test images, 0 to {len(self.test) - 1}")
        picture, label = self.test.images[number], int(self.test.labels[number])
        name = f"test image {number} (class {self.classes[label]})"
        return Seen(name, image, f"test-{number}", picture, self.as_input(picture), label)

    def as_input(self, picture: Tensor) -> Tensor:
        """A uint8 picture (C, H, W) as the network gets it, normalised."""
        single = ImageSet(images=picture[None], labels=torch.zeros(1, dtype=torch.int64, device=picture.device))
        images, _ = next(self.batches(single).epoch(1))  # (1, C, H, W)
        return images[0]

    def _from_file(self, path: Path, *, invert: bool) -> tuple[Tensor, tuple[str, ...]]:
        """A picture (C, H, W) and notes on it."""
        channels, height, width = self.network.input_shape
        try:
            with refusing_bombs():
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
        if original.coloured and channels == 1:
            notes.append(f"{path}: in colour, and the network sees grey")
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


def open_run(
    path: Path, *, data_dir: Path, notify: Callable[[str], None], device: torch.device | None = None
) -> TrainedRun:
    """The network of a run with its best weights.

    Args:
        path: the run's directory.
        data_dir: where its data set is: the images learned from say how pictures are normalised.
        notify: as for `load_dataset`; also told where the data is not what was learned from.
        device: where to compute; the CPU, if not given.

    Raises:
        RunError: it is no run, or has no checkpoint that can be used.
        DataError: the data set cannot be had.
    """
    run = RunDirectory.open(path)
    config = read_config(str(run.resolved), data_dir=data_dir)
    model = CnnModule(config.network).eval()
    manifest = load_weights(run.best, model)
    dataset = load_dataset(config.data, data_dir=data_dir, notify=notify)
    if changed := run.changed_data(dataset.files):
        notify(
            f"the data has changed since this run began ({', '.join(changed[:5])}): test images may have other "
            "numbers, and some may have been learned from"
        )
    kept, _ = split_of(dataset.train.labels, config.data, seed=config.train.seed)
    device = device or torch.device("cpu")
    return TrainedRun(
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
