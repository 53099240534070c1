"""What a layer makes of images, as points in a space of its features, and that space seen from its widest side.

Letters for shapes: N images, F features, D directions.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from cnncli.model import CnnModule
from cnncli.training.batches import Batches
from cnncli.training.evaluate import evaluating

EXACT = 1024
"""Features up to which components are computed exactly."""
_SPARE = 16
"""Directions computed beyond those wanted, where they are approximated."""

Values: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]


def features(model: CnnModule, layer: str, batches: Batches) -> Features:
    """The outputs of a layer for every image, each in one row: (N, F).

    Args:
        model: left in the mode it was in.
        layer: its name, or `input` for the images themselves; maps (C, H, W) become rows of C * H * W.
        batches: unshuffled and not augmented: the rows come in their order.
    """
    rows = []
    with evaluating(model), torch.inference_mode():
        for images, _ in batches.epoch(1):
            rows.append(model.outputs(images, [layer])[layer].flatten(1).cpu())  # (N, F)
    return torch.cat(rows).numpy()


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """Points seen along the directions in which they vary most.

    Attributes:
        coordinates: (N, D), of the points around their mean; columns beyond the F features are 0.
        shares: (D,), of the whole variance that each direction holds; 0 where all points are one.
    """

    coordinates: Values
    shares: Values


def principal_components(points: Features, *, directions: int) -> Components:
    """The principal components of points (N, F): by singular value decomposition, approximated for many features.

    The approximation is that of Halko, Martinsson and Tropp, "Finding Structure with Randomness" (SIAM Review 2011),
    with the same random numbers every time. A direction has no sign of its own: each is turned so that its largest
    entry is positive.
    """
    around = torch.from_numpy(points).double()
    around -= around.mean(dim=0)  # (N, F)
    if around.shape[1] <= EXACT:
        _, _, axes = torch.linalg.svd(around, full_matrices=False)  # (min(N, F), F)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            kept = min(directions + _SPARE, *around.shape)
            axes = torch.pca_lowrank(around, q=kept, center=False, niter=4)[2].T  # (kept, F)
    axes = axes[:directions]
    axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    coordinates = torch.zeros(len(around), directions, dtype=torch.float64)
    coordinates[:, : len(axes)] = around @ axes.T
    whole = around.square().sum()
    shares = coordinates.square().sum(dim=0) / whole if whole else torch.zeros(directions, dtype=torch.float64)
    return Components(coordinates=coordinates.numpy(), shares=shares.numpy())
