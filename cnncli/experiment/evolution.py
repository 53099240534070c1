"""What a layer looked like at each logged step, kept in the run directory until the training ends.

A step has one file, written whole when the step is drawn, which holds the values that its pictures show. So a run that
was interrupted has those from before, and at the end all of a layer's can be drawn on one scale.

Letters: O output channels (filters), I input channels, (kh, kw) kernel; C channels, (H, W) map.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from cnncli.errors import RunError
from cnncli.pictures.animation import animation
from cnncli.pictures.colour import Scale, Values
from cnncli.pictures.feature_maps import feature_map_picture
from cnncli.pictures.grid import Picture
from cnncli.pictures.kernels import kernel_picture
from cnncli.training.durable import disk_errors_explained, replace_file

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
    def of(cls, values: Tensor, picture: Picture) -> "Look":
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
