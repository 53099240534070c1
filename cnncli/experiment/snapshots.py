"""The values that a run's pictures show at each step, kept in its directory until animations are made of them.

Letters: O outputs, I inputs, (kh, kw) kernel, C channels, (H, W) map.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from cnncli.drawing.animation import animation
from cnncli.drawing.color import Scale, Values
from cnncli.drawing.sheet import Drawing
from cnncli.errors import RunError
from cnncli.files import disk_errors_explained, replace_file
from cnncli.views.feature_maps import feature_map_picture
from cnncli.views.kernels import kernel_picture

FOLDER = "snapshots"


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


class Snapshots:
    """The snapshots of a run, one file for each step with pictures.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER

    def steps(self) -> list[int]:
        """The steps that have a file, ascending."""
        return sorted(int(path.stem) for path in self._folder.glob("*.safetensors") if path.stem.isdecimal())

    def delete_after(self, step: int) -> None:
        """Delete the files of later steps, which a resumed run takes again."""
        with disk_errors_explained(self._folder):
            for later in self.steps():
                if later > step:
                    self._file(later).unlink(missing_ok=True)

    def add(self, step: int, snapshots: Mapping[str, Snapshot]) -> None:
        """Write the file of a step.

        Raises:
            DiskError: it cannot be written.
        """
        tensors = {}
        for name, snapshot in snapshots.items():
            tensors[f"{name}:shown"], tensors[f"{name}:extent"] = snapshot.shown, snapshot.extent
            tensors[f"{name}:shape"] = torch.tensor(snapshot.shape)
        with disk_errors_explained(self._folder):
            self._folder.mkdir(exist_ok=True)
        replace_file(self._file(step), safetensors.torch.save(tensors))

    def animations(self, layers: Mapping[str, str], *, image: Tensor | None) -> Iterator[tuple[str, bytes]]:
        """Each layer and its GIF, with a frame for each step.

        Args:
            layers: name of a snapshot -> its layer.
            image: the probe of the feature maps, (c, h, w), if there are any; see `feature_map_picture`.

        Raises:
            RunError: a file is damaged.
        """
        files = {step: self._read(step) for step in self.steps()}
        for name, layer in layers.items():
            of_layer = {step: snapshots[name] for step, snapshots in files.items() if name in snapshots}
            if of_layer:
                yield layer, _animate(layer, of_layer, image)

    def _file(self, step: int) -> Path:
        return self._folder / f"{step}.safetensors"

    def _read(self, step: int) -> dict[str, Snapshot]:
        path = self._file(step)
        try:
            tensors = safetensors.torch.load(path.read_bytes())
            names = [key.removesuffix(":shown") for key in tensors if key.endswith(":shown")]
            return {
                name: Snapshot(
                    tensors[f"{name}:shown"], tuple(tensors[f"{name}:shape"].tolist()), tensors[f"{name}:extent"]
                )
                for name in names
            }
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise RunError(
                f"{path}: cannot be read: {error}", remedy="delete it; the animations then lack its step"
            ) from error


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
