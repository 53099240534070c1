"""Where a run's layer puts images: for TensorBoard's projector, and as a picture."""

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnncli.capture.mode import evaluation_mode
from cnncli.config.network import INPUT
from cnncli.drawing.canvas import FRAME, INK, Box, Canvas, text_width
from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.image import image_pixels
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.tensorboard.projector import Projection
from cnncli.training.evaluate import Batches
from cnncli.views.view import Exhibit

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
    with evaluation_mode(model), torch.inference_mode():
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


TEN: Sequence[Color] = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (240, 130, 200), (125, 125, 125), (200, 200, 40), (40, 200, 220),
)  # fmt: skip
"""Colors that can be told apart: the ten of Tableau, the last four of them further from each other."""

ENLARGED = 2
"""A card of TensorBoard, twice on both axes: shrunk to it, letters of twice the size can still be read."""
TEXT, TITLE, LINE = 20, 22, 24
MARGIN = 8
RADIUS = 3
LONGEST_LABEL = 130

ScatterValues = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def scatter_picture(
    points: ScatterValues,
    labels: Labels,
    ringed: npt.NDArray[np.bool_],
    classes: Sequence[str],
    *,
    title: str,
    caption: str,
) -> Pixels:
    """A dot for each point, both axes on one scale, with a legend on the right.

    Args:
        points: (N, 2), right and up.
        labels: int64 (N,), positions in `classes`.
        ringed: (N,), points that get a dark ring and lie above the others.
        classes: K names.
        title: shortened where it does not fit, as is the caption.
        caption: below it.
    """
    colors = class_colors(len(classes))
    width, height = ENLARGED * WIDTH, ENLARGED * HEIGHT
    canvas = Canvas(width=width, height=height)
    canvas.text(MARGIN, 0, title, width=width - MARGIN, size=TITLE)
    canvas.text(MARGIN, TITLE + 4, caption, width=width - MARGIN, size=TEXT)
    top = TITLE + TEXT + 4 + MARGIN
    legend = _draw_legend(canvas, classes, colors, top=top)
    box = Box(x=MARGIN, y=top, height=height - top - MARGIN, width=legend - 2 * MARGIN, scale=1)
    canvas.frame(box)
    places = placed(points, box)
    for number in np.argsort(ringed, kind="stable").tolist():
        x, y = places[number]
        ring = INK if ringed[number] else None
        canvas.dot(x, y, radius=RADIUS, color=colors[labels[number]], ring=ring)
    return canvas.pixels


def placed(points: ScatterValues, box: Box) -> list[tuple[int, int]]:
    """Where points (N, 2) lie in a box, px (x, y): all of them inside, on one scale, y upwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([box.width, box.height]) - 2 * (RADIUS + 1)
    spread = np.where(high > low, high - low, 1.0)
    scale = float((room / spread).min())
    middle = np.array([box.x + box.width / 2, box.y + box.height / 2])
    offset = (points - (low + high) / 2) * scale * np.array([1, -1])
    return [(round(x), round(y)) for x, y in (middle + offset).tolist()]


def class_colors(count: int) -> Sequence[Color]:
    """Colors for that many classes: the ten above, or, for more, around the wheel of hues, light and dark in turn."""
    if count <= len(TEN):
        return TEN[:count]
    wheel = []
    for number in range(count):
        value = (0.95, 0.6)[number % 2]
        red, green, blue = (round(255 * each) for each in colorsys.hsv_to_rgb(number / count, 0.85, value))
        wheel.append((red, green, blue))
    return wheel


def _draw_legend(canvas: Canvas, classes: Sequence[str], colors: Sequence[Color], *, top: int) -> int:
    """Name the classes on the right, in one column or several; those without room are counted. Returns its left x."""
    rows = (ENLARGED * HEIGHT - top - MARGIN) // LINE
    column = min(max(text_width(name, TEXT) for name in classes), LONGEST_LABEL) + 3 * MARGIN
    columns = min(-(-len(classes) // rows), max(1, ENLARGED * WIDTH // 2 // column))
    left = ENLARGED * WIDTH - columns * column - MARGIN
    shown = len(classes) if len(classes) <= rows * columns else rows * columns - 1
    for number in range(shown):
        x, y = left + number // rows * column, top + number % rows * LINE
        canvas.dot(x + 5, y + LINE // 2, radius=5, color=colors[number], ring=FRAME)
        canvas.text(x + 2 * MARGIN, y, classes[number], width=column - 2 * MARGIN, size=TEXT)
    if shown < len(classes):
        x = left + (columns - 1) * column
        canvas.text(x, top + (rows - 1) * LINE, f"and {len(classes) - shown} more", width=column, size=TEXT)
    return left


COUNT = 2000
"""Test images, if no number is given."""
MANY = 256
"""Components that stand for more features than a browser can take."""


def embedding(run: Run, *, count: int = COUNT, layer: str | None = None) -> Iterator[Exhibit]:
    """Test images as points in the space of a layer's outputs, seen along its two principal components.

    Args:
        run: whose layer it is.
        count: test images, spread evenly over all of them.
        layer: its name; what the last layer reads, if none is given.

    Raises:
        UsageError: there is no such layer.
    """
    name = run.node(layer).name if layer else run.network.nodes[-1].inputs[0]
    number = run.network.numbered().get(name, INPUT)
    chosen = _spread(len(run.test), count)
    images = run.test.subset(chosen)
    vectors = features(run.model, name, run.batches(images))
    wide = vectors.shape[1] > EXACT
    seen = principal_components(vectors, directions=MANY if wide else 2)
    found, at = run.predictions, chosen.numpy()
    right = found.correct[at]
    classes = [run.classes[label] for label in found.labels[at]]
    taken = [run.classes[each] for each in found.predicted[at]]
    first, second = (f"{share:.1%}" for share in seen.shares[:2])
    yield Exhibit(
        tag=f"embedding/{number}",
        title=f"{len(at):,} test images after {name}",
        pixels=scatter_picture(
            seen.coordinates[:, :2],
            found.labels[at],
            ~right,
            run.classes,
            title=f"{len(at):,} test images after {name}",
            caption=f"PCA, {first} and {second} of the variance; ringed: wrong",
        ),
        numbers={"variance_1": float(seen.shares[0]), "variance_2": float(seen.shares[1])},
        lines=[
            f"{len(at):,} of {len(run.test):,} test images, each with {vectors.shape[1]:,} features",
            f"the first two principal components hold {first} and {second} of their variance",
            f"in TensorBoard under Projector, as {number}: {_given(seen) if wide else 'all features'}",
        ],
        projection=Projection(
            name=number,
            vectors=seen.coordinates if wide else vectors,
            columns={
                # The projector labels points by the first column that is no number, and names of classes may be some.
                "answer": [f"{true} -> {answer}" for true, answer in zip(classes, taken, strict=True)],
                "class": classes,
                "predicted": taken,
                "right": ["right" if each else "wrong" for each in right],
                "confidence": [f"{each:.4f}" for each in found.confidence[at]],
                "number": [str(each) for each in at],
            },
            images=image_pixels(images.images),
        ),
    )


def _given(seen: Components) -> str:
    """What the projector gets where there are too many features for a browser."""
    return f"the first {len(seen.shares)} components, which hold {seen.shares.sum():.1%} of the variance"


def _spread(total: int, count: int) -> Tensor:
    """Positions of `count` of `total` images, or of all, at even distances: a folder's are sorted by class."""
    count = min(count, total)
    return torch.arange(count) * total // count
