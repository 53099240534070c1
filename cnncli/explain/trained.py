"""A network that somebody trained, and the pictures that it is asked about.

Letters: C channels, (H, W) picture.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnncli.data.batches import Batches, Normalization
from cnncli.data.decode import UnreadableImageError, decode
from cnncli.data.images import ImageSet
from cnncli.data.load import load_dataset
from cnncli.errors import UsageError
from cnncli.explain.numbers import picture_size
from cnncli.model import CnnModule
from cnncli.spec.config import read_config
from cnncli.spec.network import Node
from cnncli.spec.problems import did_you_mean
from cnncli.training.checkpoint import load_weights
from cnncli.training.run_directory import RunDirectory

_MOST_PIXELS = 50_000_000
"""A photograph has fewer."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture: as people see it, uint8 (C, H, W), as the network gets it, float (C, H, W), and what it is called."""

    name: str
    picture: Tensor
    image: Tensor


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """The best weights of a run in their network, its test images, and how it prepares images."""

    path: Path
    model: CnnModule
    classes: tuple[str, ...]
    test: ImageSet
    normalization: Normalization

    @property
    def argument(self) -> str:
        """The run as it is written on a command line."""
        return shlex.quote(str(self.path))

    def node(self, layer: str) -> Node:
        """The layer of that name.

        Raises:
            UsageError: there is none.
        """
        nodes = {node.name: node for node in self.model.network.nodes}
        if layer not in nodes:
            raise UsageError(f"--layer: {self.path} has no layer {layer}{did_you_mean(layer, nodes)}")
        return nodes[layer]

    def seen(self, image: str) -> Seen:
        """A test image by its number, or a picture file, brought to the size and channels of the network.

        Raises:
            UsageError: there is no such image, or the file cannot be used.
        """
        if image.isdecimal():
            number = int(image)
            if number >= len(self.test):
                raise UsageError(f"--image: there are {len(self.test):,} test images, 0 to {len(self.test) - 1}")
            picture = self.test.images[number]
            name = f"test image {number} (class {self.classes[int(self.test.labels[number])]})"
        else:
            picture, name = self._from_file(Path(image)), image
        single = ImageSet(images=picture[None], labels=torch.zeros(1, dtype=torch.int64))
        batches = Batches(
            single, batch_size=1, normalization=self.normalization, shuffle=False, channels_last=False, seed=0
        )
        images, _ = next(batches.epoch(1))  # (1, C, H, W)
        return Seen(name, picture, images[0])

    def _from_file(self, path: Path) -> Tensor:
        channels, height, width = self.model.network.input_shape
        columns, rows, _ = picture_size(path, "--image")
        if columns * rows > _MOST_PIXELS:
            raise UsageError(f"--image: {path} has {columns:,} x {rows:,} pixels", remedy="scale it down first")
        try:
            pixels, _ = decode(path, channels=channels, size=(height, width))
        except UnreadableImageError as error:
            raise UsageError(f"--image: {path}: {error}") from None
        return torch.from_numpy(pixels.copy())


def open_run(path: Path, *, data_dir: Path, notify: Callable[[str], None]) -> TrainedRun:
    """The network of a run with its best weights, on the CPU.

    Args:
        path: the run's directory.
        data_dir: where its data set is: its training images say how pictures are normalised.
        notify: as for `load_dataset`.

    Raises:
        RunError: it is no run, or has no checkpoint that can be used.
        DataError: the data set cannot be had.
    """
    run = RunDirectory.open(path)
    config = read_config(str(run.resolved), data_dir=data_dir)
    model = CnnModule(config.network).eval()
    load_weights(run.best, model)
    dataset = load_dataset(config.data, data_dir=data_dir, notify=notify)
    images = dataset.train.images
    normalization = Normalization.of(images) if config.data.normalize else Normalization.none(images.shape[1])
    return TrainedRun(path, model, config.classes, dataset.test, normalization)
