"""What a run's pictures show at the moment: kernels, feature maps, dead filters.

Letters: P probes, C channels, H height, W width.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from cnncli.drawing.animation import animation
from cnncli.drawing.color import Scale, Values
from cnncli.drawing.grid import Drawing
from cnncli.errors import RunError
from cnncli.experiment.setup import Experiment
from cnncli.files import disk_errors_explained, replace_file
from cnncli.module import CnnModule
from cnncli.tensorboard.event_file import slugs
from cnncli.training.evaluate import evaluating
from cnncli.views.dead_filters import can_be_dead, dead_channels, dead_in_pictures
from cnncli.views.feature_maps import as_maps, feature_map_picture
from cnncli.views.kernels import kernel_picture

FOLDER = "evolution"


@dataclass(frozen=True, eq=False)
class Look:
    """The values of a layer that its picture shows: the first ones of a larger tensor.

    Attributes:
        shown: (O, I, kh, kw) kernels or (C, H, W) maps, float32.
        shape: of the whole.
        extent: the least and the greatest finite value of the whole, (2,).
    """

    shown: Tensor
    shape: tuple[int, ...]
    extent: Tensor

    @classmethod
    def of(cls, values: Tensor, picture: Drawing) -> "Look":
        """What of the values (O, I, kh, kw) or (C, H, W) a picture of them has room for."""
        values = values.detach().float().cpu()
        counts = [1 + max(places) for places in zip(*picture.boxes, strict=True)]
        shown = values[tuple(slice(count) for count in counts)]
        finite = values[values.isfinite()]
        extent = torch.stack([finite.min(), finite.max()]) if len(finite) else torch.zeros(2)
        return cls(shown.contiguous(), tuple(values.shape), extent)

    def whole(self) -> Tensor:
        """As large as the layer's own tensor; what is not shown has a value that does not matter."""
        values = torch.full(self.shape, float(self.extent[1]))
        values[tuple(map(slice, self.shown.shape))] = self.shown
        return values


class Evolution:
    """The steps that were logged so far.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER

    def steps(self) -> list[int]:
        """Ascending."""
        return sorted(int(path.stem) for path in self._folder.glob("*.safetensors") if path.stem.isdecimal())

    def forget_after(self, step: int) -> None:
        """Take away the later steps, which will be taken once more."""
        with disk_errors_explained(self._folder):
            for later in self.steps():
                if later > step:
                    self._file(later).unlink(missing_ok=True)

    def add(self, step: int, looks: Mapping[str, Look]) -> None:
        """Write down what the layers look like after a step.

        Raises:
            DiskError: it cannot be written.
        """
        tensors = {}
        for name, look in looks.items():
            tensors[f"{name}:shown"], tensors[f"{name}:extent"] = look.shown, look.extent
            tensors[f"{name}:shape"] = torch.tensor(look.shape)
        with disk_errors_explained(self._folder):
            self._folder.mkdir(exist_ok=True)
        replace_file(self._file(step), safetensors.torch.save(tensors))

    def animations(self, looks: Mapping[str, str], *, image: Tensor | None) -> Iterator[tuple[str, bytes]]:
        """The name of each layer and its GIF.

        Args:
            looks: name of a look -> the layer it is of.
            image: (c, h, w), which maps are of, if there are any; see `feature_map_picture`.

        Raises:
            RunError: a file is damaged.
        """
        steps = {step: self._read(step) for step in self.steps()}
        for name, layer in looks.items():
            found = {step: looks[name] for step, looks in steps.items() if name in looks}
            if found:
                yield layer, _animated(layer, found, image)

    def _file(self, step: int) -> Path:
        return self._folder / f"{step}.safetensors"

    def _read(self, step: int) -> dict[str, Look]:
        path = self._file(step)
        try:
            tensors = safetensors.torch.load(path.read_bytes())
            names = [key.removesuffix(":shown") for key in tensors if key.endswith(":shown")]
            return {
                name: Look(
                    tensors[f"{name}:shown"], tuple(tensors[f"{name}:shape"].tolist()), tensors[f"{name}:extent"]
                )
                for name in names
            }
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise RunError(
                f"{path}: cannot be read: {error}", remedy="delete it; the animations will do without its step"
            ) from error


def _animated(layer: str, looks: Mapping[int, Look], image: Tensor | None) -> bytes:
    """All steps of a layer on the scale that the largest magnitude of all of them needs."""
    extents: Values = torch.cat([look.extent for look in looks.values()]).double().numpy()
    kernels = all(len(look.shape) == 4 for look in looks.values())
    scale = Scale.symmetric(extents) if kernels or np.any(extents < 0) else Scale.from_zero(extents)
    frames = []
    for step, look in looks.items():
        title = f"{layer}, step {step:,}"
        if kernels:
            frames.append(kernel_picture(look.whole(), title=title, scale=scale).pixels)
        else:
            assert image is not None, "maps are of an image"
            frames.append(feature_map_picture(look.whole(), image=image, title=title, scale=scale).pixels)
    return animation(frames, scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """The pictures of one moment.

    Attributes:
        pictures: by tag: kernels first, then the maps of one probe after the other.
        looks: what animations are made of, by name: kernels of convolutions, maps of pools for the first probe.
        dead: layer -> share of its filters that are dead, of the layers that can have dead ones.
    """

    pictures: Mapping[str, Drawing]
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
        self._convolutions = [node.name for node in self._nodes if node.layer.has_kernels]
        self._pools = [node.name for node in self._nodes if node.layer.is_pool]
        mortal = {*can_be_dead(experiment.config.network)} if self._log.dead_filters else ()
        self.mortal = tuple(node.name for node in self._nodes if node.name in mortal)
        """The layers whose dead filters are counted."""

        self.looks: dict[str, str] = {}
        """Name of each look -> its layer. Those of maps name the probe too, which a run that goes on may change."""
        if self._log.evolution and self._log.kernels:
            self.looks |= {name: name for name in self._convolutions}
        if self._log.evolution and self._log.feature_maps and self._slugs:
            self.looks |= {f"{name}/{self._slugs[0]}": name for name in self._pools}

    @property
    def animated(self) -> list[str]:
        """The tags of the pictures that are most like the frames of animations."""
        tags = {name: f"kernels/{self._numbered[name]}" for name in self._convolutions}
        tags |= {
            f"{name}/{slug}": f"feature_maps/{self._numbered[name]}/{slug}"
            for slug in self._slugs[:1]
            for name in self._pools
        }
        return [tags[look] for look in self.looks]

    def draw(self, model: CnnModule) -> Drawn:
        """Everything, of the experiment's model as it is now or as it was."""
        found = dead_channels(model, self._experiment.held_out.epoch(1)) if self.mortal else {}
        outlined = dead_in_pictures(self._experiment.config.network, found)
        shapes = {node.name: node.shape for node in self._nodes}
        pictures: dict[str, Drawing] = {}
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

    def _draw_kernels(
        self,
        model: CnnModule,
        dead: Mapping[str, Collection[int]],
        pictures: dict[str, Drawing],
        looks: dict[str, Look],
    ) -> None:
        """One picture for each convolution."""
        kernels = model.kernels()
        for name in self._convolutions:
            picture = kernel_picture(kernels[name], title=name, dead=dead.get(name))
            pictures[f"kernels/{self._numbered[name]}"] = picture
            looks[name] = Look.of(kernels[name], picture)

    def _draw_maps(
        self,
        model: CnnModule,
        dead: Mapping[str, Collection[int]],
        pictures: dict[str, Drawing],
        looks: dict[str, Look],
    ) -> None:
        """One picture for each convolution and pool, and each probe; a global pool's numbers are maps of 1x1."""
        probes = self._experiment.probes
        names = [node.name for node in self._nodes if node.layer.has_feature_maps]
        with evaluating(model), torch.inference_mode():
            maps = model.outputs(probes.images, names)  # name -> (P, C, H, W) or (P, C)
        for i, title in enumerate(probes.titles):
            for name in names:
                shown = as_maps(maps[name][i])
                picture = feature_map_picture(
                    shown, image=probes.pictures[i], title=f"{name}, {title}", dead=dead.get(name)
                )
                pictures[f"feature_maps/{self._numbered[name]}/{self._slugs[i]}"] = picture
                if i == 0 and name in self._pools:
                    looks[f"{name}/{self._slugs[0]}"] = Look.of(shown, picture)
