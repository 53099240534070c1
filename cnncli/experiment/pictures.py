"""The pictures that a run draws at a step: kernels and feature maps, with dead filters outlined.

Letters: P probes, C channels, H height, W width.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cnncli.capture.mode import evaluation_mode
from cnncli.drawing.color import Pixels
from cnncli.drawing.sheet import Drawing
from cnncli.experiment.setup import Experiment
from cnncli.experiment.snapshots import Snapshot
from cnncli.module import CnnModule
from cnncli.tensorboard.event_file import slugs
from cnncli.views.dead_filters import can_be_dead, dead_channels, dead_in_pictures
from cnncli.views.feature_maps import as_maps, feature_map_picture
from cnncli.views.kernels import kernel_picture


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
    """Draws the pictures that the `log` section of a config asks for.

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
        self._convolutions = [node.name for node in self._nodes if node.layer.has_kernels]
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
