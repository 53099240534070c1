"""The pictures that a run draws while it trains: kernels and feature maps at a step, and animations over all steps.

Letters: P probes, O outputs, I inputs, (kh, kw) kernel, C channels, (H, W) map.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnncli.capture.mode import evaluation_mode
from cnncli.drawing.color import Pixels, Scale, Values
from cnncli.drawing.image import animation
from cnncli.drawing.sheet import Drawing
from cnncli.errors import RunError
from cnncli.experiment.setup import Experiment
from cnncli.module import CnnModule
from cnncli.tensorboard.event_file import slugs
from cnncli.training.step_files import StepFiles
from cnncli.views.dead_filters import can_be_dead, dead_channels, dead_in_pictures
from cnncli.views.feature_maps import as_maps, feature_map_picture
from cnncli.views.kernels import kernel_picture

FOLDER = "snapshots"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The values of a layer that its picture shows: the first ones of a larger tensor.

    Attributes:
        shown: kernels (O, I, kh, kw) or maps (C, H, W), float32.
        shape: of the whole tensor.
        extent: its smallest and largest finite value, (2,).
    """

    shown: Tensor
    shape: tuple[int, ...]
    extent: Tensor

    @classmethod
    def of(cls, values: Tensor, picture: Drawing) -> "Snapshot":
        """The part of the values (O, I, kh, kw) or (C, H, W) that a picture of them shows."""
        values = values.detach().float().cpu()
        counts = [1 + max(positions) for positions in zip(*picture.boxes, strict=True)]
        shown = values[tuple(slice(count) for count in counts)]
        finite = values[values.isfinite()]
        extent = torch.stack([finite.min(), finite.max()]) if len(finite) else torch.zeros(2)
        return cls(shown.contiguous(), tuple(values.shape), extent)

    def whole(self) -> Tensor:
        """A tensor of the whole shape; the values that are not shown are arbitrary."""
        values = torch.full(self.shape, float(self.extent[1]))
        values[tuple(map(slice, self.shown.shape))] = self.shown
        return values


class Snapshots(StepFiles):
    """The snapshots of a run, one file for each step with pictures.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        super().__init__(run / FOLDER)

    def add(self, step: int, snapshots: Mapping[str, Snapshot]) -> None:
        """Write the file of a step.

        Raises:
            DiskError: it cannot be written.
        """
        tensors = {}
        for name, snapshot in snapshots.items():
            tensors[f"{name}:shown"], tensors[f"{name}:extent"] = snapshot.shown, snapshot.extent
            tensors[f"{name}:shape"] = torch.tensor(snapshot.shape)
        self.write(step, tensors)

    def animations(self, layers: Mapping[str, str], *, image: Tensor | None) -> Iterator[tuple[str, bytes]]:
        """Each layer and its GIF, with a frame for each step.

        Args:
            layers: name of a snapshot -> its layer.
            image: the probe of the feature maps, (c, h, w), if there are any; see `feature_map_picture`.

        A damaged file is skipped, with a message.
        """
        files = {}
        for step in self.steps():
            try:
                files[step] = self._snapshots(step)
            except RunError as error:
                _log.warning(f"{error.message}: the animations lack this step")
        for name, layer in layers.items():
            of_layer = {step: snapshots[name] for step, snapshots in files.items() if name in snapshots}
            if of_layer:
                yield layer, _animate(layer, of_layer, image)

    def _snapshots(self, step: int) -> dict[str, Snapshot]:
        tensors = self.read(step)
        names = [key.removesuffix(":shown") for key in tensors if key.endswith(":shown")]
        try:
            return {
                name: Snapshot(
                    tensors[f"{name}:shown"], tuple(tensors[f"{name}:shape"].tolist()), tensors[f"{name}:extent"]
                )
                for name in names
            }
        except KeyError as error:
            raise RunError(f"{self.file(step)}: has no tensor {error}") from error


def _animate(layer: str, snapshots: Mapping[int, Snapshot], image: Tensor | None) -> bytes:
    """A frame for each step, all on the scale of the largest magnitude of all steps."""
    extents: Values = torch.cat([snapshot.extent for snapshot in snapshots.values()]).double().numpy()
    kernels = all(len(snapshot.shape) == 4 for snapshot in snapshots.values())
    scale = Scale.symmetric(extents) if kernels or np.any(extents < 0) else Scale.from_zero(extents)
    frames = []
    for step, snapshot in snapshots.items():
        title = f"{layer}, step {step:,}"
        if kernels:
            frames.append(kernel_picture(snapshot.whole(), title=title, scale=scale).pixels)
        else:
            assert image is not None, "maps are of an image"
            frames.append(feature_map_picture(snapshot.whole(), image=image, title=title, scale=scale).pixels)
    return animation(frames, scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class StepPictures:
    """The pictures of one step.

    Attributes:
        pictures: tag -> pixels: kernels first, then the feature maps of one probe after the other.
        snapshots: name -> the values in a frame of an animation.
        dead: layer -> fraction of its filters that are dead, for the layers that can have dead filters.
    """

    pictures: Mapping[str, Pixels]
    snapshots: Mapping[str, Snapshot]
    dead: Mapping[str, float]


class PicturePlan:
    """Draws the pictures that the `log` section of a config requests.

    Args:
        experiment: whose network, probes and settings these are.

    Attributes:
        can_be_dead: the layers whose dead filters are counted.
        animated: name of a snapshot -> its layer. A snapshot of feature maps is also named after the probe, which may
            change when a run is resumed.
    """

    def __init__(self, experiment: Experiment) -> None:
        log, network = experiment.config.log, experiment.config.network
        self._experiment = experiment
        self._numbered = network.numbered()
        self._probes = slugs(experiment.probes.names) if log.feature_maps else []
        self._nodes = [node for node in network.nodes if log.layers is None or node.name in log.layers]
        self._convolutions = [node.name for node in self._nodes if node.layer.has_kernels and node.reuses is None]
        self._mapped = [node.name for node in self._nodes if node.layer.has_feature_maps]
        able = can_be_dead(network) if log.dead_filters else ()
        self.can_be_dead = tuple(node.name for node in self._nodes if node.name in able)
        self.animated: dict[str, str] = {}
        if log.snapshots and log.kernels:
            self.animated |= {name: name for name in self._convolutions}
        if log.snapshots and self._probes:
            self.animated |= {f"{node.name}/{self._probes[0]}": node.name for node in self._nodes if node.layer.is_pool}

    def draw(self, model: CnnModule) -> StepPictures:
        """All pictures of a model, which is the experiment's or a copy of it."""
        dead = dead_channels(model, self._experiment.held_out.epoch(1)) if self.can_be_dead else {}
        outlined = dead_in_pictures(self._experiment.config.network, dead)
        channels = {node.name: node.shape[0] for node in self._nodes}
        pictures: dict[str, Pixels] = {}
        snapshots: dict[str, Snapshot] = {}
        for tag, name, values, picture in (*self._kernels(model, outlined), *self._maps(model, outlined)):
            pictures[tag] = picture.pixels
            if name in self.animated:
                snapshots[name] = Snapshot.of(values, picture)
        fractions = {name: len(dead[name]) / channels[name] for name in self.can_be_dead}
        return StepPictures(pictures=pictures, snapshots=snapshots, dead=fractions)

    def _kernels(
        self, model: CnnModule, dead: Mapping[str, Collection[int]]
    ) -> Iterator[tuple[str, str, Tensor, Drawing]]:
        """For each convolution the tag, the name of its snapshot, the kernels (O, I, kh, kw) and their picture."""
        kernels = model.kernels() if self._experiment.config.log.kernels else {}
        for name in self._convolutions if kernels else ():
            picture = kernel_picture(kernels[name], title=name, dead=dead.get(name))
            yield f"kernels/{self._numbered[name]}", name, kernels[name], picture

    def _maps(
        self, model: CnnModule, dead: Mapping[str, Collection[int]]
    ) -> Iterator[tuple[str, str, Tensor, Drawing]]:
        """The same for the feature maps (C, H, W) of each convolution and pool; a global pool has maps of 1x1."""
        if not self._probes:
            return
        probes = self._experiment.probes
        with evaluation_mode(model), torch.inference_mode():
            outputs = model.outputs(probes.images, self._mapped)  # name -> (P, C, H, W) or (P, C)
        for i, (probe, title) in enumerate(zip(self._probes, probes.titles, strict=True)):
            for name in self._mapped:
                maps = as_maps(outputs[name][i])
                picture = feature_map_picture(
                    maps, image=probes.pictures[i], title=f"{name}, {title}", dead=dead.get(name)
                )
                yield f"feature_maps/{self._numbered[name]}/{probe}", f"{name}/{probe}", maps, picture
