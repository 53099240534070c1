"""The patches of test images that activate each filter most, as numbers for a page that draws them from pixels.

Letters for shapes: F filters of all layers together, K patches of a filter, M images, (C, H, W) image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cnncli.run import Run
from cnncli.views.units import TopActivations, UnitActivation, images_at_once, layers_with_filters, top_activations

PATCHES = 9
"""Number of patches of a filter, each from another image."""
MOST_BYTES = 256 * 1024
"""Maximum size of the images that are added to a page for their patches, before compression."""

Tops = Mapping[str, Sequence[TopActivations]]


@dataclass(frozen=True, eq=False)
class PatchData:
    """The patches of a page.

    Attributes:
        data: JSON. `layers` has the `name` and number of `filters` of each layer, in the order of the arrays, and as
            `constant` the filters whose output is the same everywhere: [number, output]. `extra` has the numbers of the
            test images that are added to those of the page, `labels` their classes. The patches are the strongest of
            `images` images, which are, as `source`, all `test` images, the `first` of them, or those in the `page`.
        arrays: `patches/units`, float32 (F, K, 2): the position of the image among those of the page and then the added
            ones, -1 where there are fewer than K; and the index of the unit in its map, row by row. `patches/values`,
            float32 (F, K): the output of the unit. `patches/images`, uint8 (M, C, H, W): the added images.
    """

    data: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


def patch_data(run: Run, page_images: Sequence[int], *, searched: int | None = None) -> PatchData:
    """The patches of each convolution, or of the last layer if there is none.

    They are chosen from all test images if the images they are on can be added to the page. If those take more than
    `MOST_BYTES`, the ones with the largest outputs are added, and the patches are chosen from the images in the page.

    Args:
        run: with its test images.
        page_images: the numbers of the test images that are in the page anyway.
        searched: only so many of the first test images are looked at.

    Raises:
        DataError: the data set is unavailable.
    """
    count = min(len(run.test), searched or len(run.test))
    source = "test" if count == len(run.test) else "first"
    tops = _tops(run, range(count))
    present = set(page_images)
    wanted = [number for number in _images(tops) if number not in present]
    extra = wanted[: MOST_BYTES // prod(run.network.input_shape)]
    if len(extra) < len(wanted):
        embedded = sorted(present.union(extra))
        tops, count, source = _tops(run, embedded), len(embedded), "page"
    positions = {number: position for position, number in enumerate([*page_images, *extra])}
    added = run.test.subset(torch.tensor(extra, dtype=torch.int64))
    return PatchData(
        data={
            "layers": [_layer(name, filters) for name, filters in tops.items()],
            "extra": extra,
            "labels": added.labels.tolist(),
            "images": count,
            "source": source,
        },
        arrays={**_patches(run, tops, positions), "patches/images": added.images.cpu().contiguous().numpy()},
    )


def _tops(run: Run, numbers: Sequence[int]) -> Tops:
    """The patches among the test images with these numbers, which ascend."""
    names = [node.name for node in layers_with_filters(run, ())]
    batches = run.batches(indices=torch.tensor(numbers), batch_size=images_at_once(run.network))
    tops = top_activations(run.model, names, (images for images, _ in batches.epoch(1)), count=PATCHES)

    def numbered(unit: UnitActivation) -> UnitActivation:
        return replace(unit, image=numbers[unit.image])

    return {
        name: [replace(top, best=tuple(map(numbered, top.best))) for top in filters] for name, filters in tops.items()
    }


def _images(tops: Tops) -> list[int]:
    """The numbers of the images with patches: those of the first patch of each filter, then of the second, ..."""
    varied = [top.best for filters in tops.values() for top in filters if not top.is_constant]
    ranked = (best[rank].image for rank in range(PATCHES) for best in varied if rank < len(best))
    return list(dict.fromkeys(ranked))


def _layer(name: str, filters: Sequence[TopActivations]) -> dict[str, Any]:
    constant = [[top.filter, top.highest] for top in filters if top.is_constant]
    return {"name": name, "filters": len(filters), "constant": constant}


def _patches(run: Run, tops: Tops, positions: Mapping[int, int]) -> dict[str, npt.NDArray[np.float32]]:
    """The arrays of units and values; see `PatchData`."""
    count = sum(map(len, tops.values()))
    units = np.full((count, PATCHES, 2), -1, dtype=np.float32)
    values = np.zeros((count, PATCHES), dtype=np.float32)
    every = [(name, top) for name, filters in tops.items() for top in filters]
    for row, (name, top) in enumerate(every):
        if top.is_constant:
            continue
        shape = run.node(name).shape
        for rank, unit in enumerate(top.best):
            at = unit.position[0] * shape[2] + unit.position[1] if unit.position else 0
            units[row, rank] = positions[unit.image], at
            values[row, rank] = unit.value
    return {"patches/units": units, "patches/values": values}
