"""What a run's pictures show at the moment: kernels, feature maps, dead filters.

Letters: P probes, C channels, H height, W width.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from cnncli.board.tags import slugs
from cnncli.experiment.evolution import Look
from cnncli.experiment.setup import Experiment
from cnncli.interpret.dead import can_die, dead_channels, dead_in_pictures
from cnncli.model import CnnModule
from cnncli.pictures.feature_maps import CONVOLUTIONS, MAPPED, POOLS, as_maps, feature_map_picture
from cnncli.pictures.grid import Picture
from cnncli.pictures.kernels import kernel_picture
from cnncli.spec.layers.base import Layer
from cnncli.training.evaluate import evaluating


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """The pictures of one moment.

    Attributes:
        pictures: by tag: kernels first, then the maps of one probe after the other.
        looks: what animations are made of, by name: kernels of convolutions, maps of pools for the first probe.
        dead: layer -> share of its filters that are dead, of the layers that can have dead ones.
    """

    pictures: Mapping[str, Picture]
    looks: Mapping[str, Look]
    dead: Mapping[str, float]


class Drawings:
    """Draws the pictures that a config's `log` wants of an experiment.

    Args:
        experiment: whose network, probes and settings these are.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._log = experiment.config.log
        self._numbered = experiment.config.network.numbered()
        self._slugs = slugs(experiment.probes.names)
        self._nodes = [
            node
            for node in experiment.config.network.nodes
            if self._log.layers is None or node.name in self._log.layers
        ]
        mortal = {*can_die(experiment.config.network)} if self._log.dead_filters else ()
        self.mortal = tuple(node.name for node in self._nodes if node.name in mortal)
        """The layers whose dead filters are counted."""

        self.looks: dict[str, str] = {}
        """Name of each look -> its layer. Those of maps name the probe too, which a run that goes on may change."""
        if self._log.evolution and self._log.kernels:
            self.looks |= {name: name for name in self._names(CONVOLUTIONS)}
        if self._log.evolution and self._log.feature_maps and self._slugs:
            self.looks |= {f"{name}/{self._slugs[0]}": name for name in self._names(POOLS)}

    @property
    def animated(self) -> list[str]:
        """The tags of the pictures that are most like the frames of animations."""
        kernels, pools = self._names(CONVOLUTIONS), self._names(POOLS)
        tags = {name: f"kernels/{self._numbered[name]}" for name in kernels}
        tags |= {
            f"{name}/{slug}": f"feature_maps/{self._numbered[name]}/{slug}"
            for slug in self._slugs[:1]
            for name in pools
        }
        return [tags[look] for look in self.looks]

    def draw(self, model: CnnModule) -> Drawn:
        """Everything, of the experiment's model as it is now or as it was."""
        found = dead_channels(model, self._experiment.held_out.epoch(1)) if self.mortal else {}
        outlined = dead_in_pictures(self._experiment.config.network, found)
        shapes = {node.name: node.shape for node in self._nodes}
        pictures: dict[str, Picture] = {}
        looks: dict[str, Look] = {}
        if self._log.kernels:
            self._draw_kernels(model, outlined, pictures, looks)
        if self._log.feature_maps and self._slugs:
            self._draw_maps(model, outlined, pictures, looks)
        return Drawn(
            pictures=pictures,
            looks={name: look for name, look in looks.items() if name in self.looks},
            dead={name: len(found[name]) / shapes[name][0] for name in self.mortal},
        )

    def _names(self, kinds: tuple[type[Layer], ...]) -> list[str]:
        return [node.name for node in self._nodes if isinstance(node.layer, kinds)]

    def _draw_kernels(
        self,
        model: CnnModule,
        dead: Mapping[str, Collection[int]],
        pictures: dict[str, Picture],
        looks: dict[str, Look],
    ) -> None:
        """One picture for each convolution."""
        kernels = model.kernels()
        for name in self._names(CONVOLUTIONS):
            picture = kernel_picture(kernels[name], title=name, dead=dead.get(name))
            pictures[f"kernels/{self._numbered[name]}"] = picture
            looks[name] = Look.of(kernels[name], picture)

    def _draw_maps(
        self,
        model: CnnModule,
        dead: Mapping[str, Collection[int]],
        pictures: dict[str, Picture],
        looks: dict[str, Look],
    ) -> None:
        """One picture for each convolution and pool, and each probe; a global pool's numbers are maps of 1x1."""
        probes = self._experiment.probes
        names, pools = self._names(MAPPED), self._names(POOLS)
        with evaluating(model), torch.inference_mode():
            maps = model.outputs(probes.images, names)  # name -> (P, C, H, W) or (P, C)
        for i, title in enumerate(probes.titles):
            for name in names:
                shown = as_maps(maps[name][i])
                picture = feature_map_picture(
                    shown, image=probes.pictures[i], title=f"{name}, {title}", dead=dead.get(name)
                )
                pictures[f"feature_maps/{self._numbered[name]}/{self._slugs[i]}"] = picture
                if i == 0 and name in pools:
                    looks[f"{name}/{self._slugs[0]}"] = Look.of(shown, picture)
