"""Test images as points in the space of a layer's outputs: for TensorBoard's projector, and as a scatter plot.

Letters for shapes: N images, F features, D directions, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import typer

from cnncli.config.network import INPUT
from cnncli.drawing.canvas import BACKGROUND, INK, Box, Canvas
from cnncli.drawing.categories import draw_marker
from cnncli.drawing.image import image_pixels
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.drawing.text import Name, shortened, text_width
from cnncli.views.view import Picture, View

if TYPE_CHECKING:
    from cnncli.data.batches import ImageBatches
    from cnncli.drawing.color import Values
    from cnncli.inspection.formatting import Line
    from cnncli.module import CnnModule
    from cnncli.run import Run

EXACT = 1024
"""Features up to which components are computed exactly, and up to which the projector gets all of them."""
MOST_COMPONENTS = 256
"""Components for the projector instead of more features than a browser can handle."""
_SPARE = 16
"""Directions computed beyond those wanted, where they are approximated."""

ENLARGED = 2
"""The plot is twice as large as a TensorBoard card on both axes: when it is shrunk, its letters are legible."""
TEXT, TITLE, LINE = 20, 22, 24
MARGIN = 8
RADIUS, RING = 3, 7
"""Half the size of a marker, and the radius of the ring around it."""
LONGEST_LABEL = 130


@dataclass(frozen=True, kw_only=True)
class Embedding(View):
    """Test images as points in the space of a layer's outputs: for TensorBoard's projector, and as a picture.

    Without --layer, the input of the last layer is used. The picture shows the first two principal components.

    Examples:

      cnncli show embedding runs/lenet5-20260131-120000

      cnncli show embedding runs/lenet5-20260131-120000 --layer linear1 --count 500
    """

    name = "embedding"

    count: Annotated[int, typer.Option("--count", min=2, metavar="N", help="Evenly spaced test images.")] = 2000
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Outputs of this layer instead of inputs of the last."),
    ] = None

    def pictures(self, run: Run) -> Iterator[Picture]:
        """One picture, with the points of the projector."""
        import torch

        from cnncli.tensorboard.projector import Projection

        layer = run.node(self.layer).name if self.layer else run.network.nodes[-1].inputs[0]
        name = run.network.numbered().get(layer, INPUT)
        total = len(run.test)
        count = min(self.count, total)
        chosen = torch.arange(count) * total // count  # evenly spaced: images of a folder are sorted by class
        images = run.test.subset(chosen)
        vectors = layer_features(run.model, layer, run.batches(images))
        reduced = vectors.shape[1] > EXACT
        components = principal_components(vectors, directions=MOST_COMPONENTS if reduced else 2)
        predictions, at = run.predictions, chosen.numpy()
        labels, predicted, right = predictions.labels[at], predictions.predicted[at], predictions.correct[at]
        true_classes, predicted_classes = ([run.classes[each] for each in numbers] for numbers in (labels, predicted))
        first, second = (f"{share:.1%}" for share in components.shares[:2])
        given = "all features"
        if reduced:
            given = f"the first {len(components.shares)} components, {components.shares.sum():.1%} of the variance"
        title = f"{count:,} test images after {layer}"
        yield Picture(
            tag=f"embedding/{name}",
            title=title,
            canvas=draw_scatter(
                components.coordinates[:, :2],
                labels,
                ~right,
                run.classes,
                title=title,
                caption=f"PCA, {first} and {second} of the variance; ringed: wrong",
            ),
            text=lambda width, ascii_only: text_lines(
                components.coordinates[:, :2], labels, ~right, run.classes, width=width
            ),
            data={
                "layer": layer,
                "classes": list(run.classes),
                "images": at.tolist(),
                "true": labels.tolist(),
                "predicted": predicted.tolist(),
                "coordinates": [[float(f"{x:.6g}") for x in row] for row in components.coordinates[:, :2].tolist()],
            },
            numbers={"variance_1": float(components.shares[0]), "variance_2": float(components.shares[1])},
            lines=[
                f"{count:,} of {total:,} test images, each with {vectors.shape[1]:,} features",
                f"the first two principal components have {first} and {second} of their variance",
                f"in TensorBoard under Projector, as {name}: {given}",
            ],
            projection=Projection(
                name=name,
                vectors=components.coordinates if reduced else vectors,
                columns={
                    # The projector labels points by the first column that is not numeric; names of classes may be.
                    "answer": [f"{a} -> {b}" for a, b in zip(true_classes, predicted_classes, strict=True)],
                    "class": true_classes,
                    "predicted": predicted_classes,
                    "right": ["right" if each else "wrong" for each in right],
                    "confidence": [f"{each:.4f}" for each in predictions.confidence[at]],
                    "number": [str(each) for each in at],
                },
                images=image_pixels(images.images),
            ),
        )


def layer_features(model: CnnModule, layer: str, batches: ImageBatches) -> npt.NDArray[np.float32]:
    """The outputs of a layer for every image, one row each: (N, F).

    Args:
        model: left in the mode it was in.
        layer: its name, or `input` for the images themselves; maps (C, H, W) become rows of C * H * W.
        batches: unshuffled and not augmented: the rows are in their order.
    """
    import torch

    from cnncli.capture.mode import evaluation_mode

    with evaluation_mode(model), torch.inference_mode():
        rows = [model.outputs(images, [layer])[layer].flatten(1).cpu() for images, _ in batches.epoch(1)]  # (N, F)
    return torch.cat(rows).numpy()


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """Points along the directions in which they vary most.

    Attributes:
        coordinates: (N, D), of the points around their mean; columns beyond the F features are 0.
        shares: (D,), of the variance; 0 where all points are equal.
    """

    coordinates: Values
    shares: Values


def principal_components(points: npt.NDArray[np.float32], *, directions: int) -> Components:
    """The principal components of points (N, F): by singular value decomposition, approximated for many features.

    The approximation is that of Halko, Martinsson and Tropp, "Finding Structure with Randomness" (SIAM Review 2011),
    with the same random numbers every time. The sign of a direction is that of its largest entry.
    """
    import torch

    centered = torch.from_numpy(points).double()
    centered -= centered.mean(dim=0)  # (N, F)
    if centered.shape[1] <= EXACT:
        _, _, axes = torch.linalg.svd(centered, full_matrices=False)  # (min(N, F), F)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            rank = min(directions + _SPARE, *centered.shape)
            axes = torch.pca_lowrank(centered, q=rank, center=False, niter=4)[2].T  # (rank, F)
    axes = axes[:directions]
    axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    coordinates = torch.zeros(len(centered), directions, dtype=torch.float64)
    coordinates[:, : len(axes)] = centered @ axes.T
    variance = centered.square().sum()
    shares = coordinates.square().sum(dim=0)
    return Components(coordinates=coordinates.numpy(), shares=(shares / variance if variance else shares).numpy())


def draw_scatter(
    points: Values,
    labels: npt.NDArray[np.int64],
    ringed: npt.NDArray[np.bool_],
    classes: Sequence[str],
    *,
    title: str,
    caption: str,
) -> Canvas:
    """A marker of its class for each point, both axes on one scale, with a legend on the right.

    Args:
        points: (N, 2), right and up.
        labels: int64 (N,), positions in `classes`.
        ringed: (N,), points in a dark ring, which lie above the others.
        classes: K names.
        title: shortened where it does not fit, as is the caption.
        caption: below it.
    """
    width, height = ENLARGED * WIDTH, ENLARGED * HEIGHT
    canvas = Canvas(width=width, height=height)
    canvas.text(MARGIN, 0, title, width=width - MARGIN, size=TITLE)
    canvas.text(MARGIN, TITLE + 4, caption, width=width - MARGIN, size=TEXT)
    top = TITLE + TEXT + 4 + MARGIN
    legend = _draw_legend(canvas, classes, top=top)
    box = Box(x=MARGIN, y=top, height=height - top - MARGIN, width=legend - 2 * MARGIN, scale=1)
    canvas.frame(box)
    pixels = to_pixels(points, box)
    for number in np.argsort(ringed, kind="stable").tolist():
        x, y = pixels[number]
        if ringed[number]:
            canvas.dot(x, y, radius=RING, color=BACKGROUND, ring=INK)
        draw_marker(canvas, int(labels[number]), x, y, size=RADIUS)
    return canvas


def to_pixels(points: Values, box: Box) -> list[tuple[int, int]]:
    """Where points (N, 2) lie in a box, px (x, y): all of them inside, on one scale, y upwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([box.width, box.height]) - 2 * (RING + 1)
    spread = np.where(high > low, high - low, 1.0)
    scale = float((room / spread).min())
    center = np.array([box.x + box.width / 2, box.y + box.height / 2])
    offset = (points - (low + high) / 2) * scale * np.array([1, -1])
    return [(round(x), round(y)) for x, y in (center + offset).tolist()]


def _draw_legend(canvas: Canvas, classes: Sequence[str], *, top: int) -> int:
    """Name the classes on the right, in as many columns as fit; the others are counted. Returns its left x."""
    rows = (ENLARGED * HEIGHT - top - MARGIN) // LINE
    column = min(max(text_width(name, TEXT) for name in classes), LONGEST_LABEL) + 3 * MARGIN
    columns = min(-(-len(classes) // rows), max(1, ENLARGED * WIDTH // 2 // column))
    left = ENLARGED * WIDTH - columns * column - MARGIN
    shown = len(classes) if len(classes) <= rows * columns else rows * columns - 1
    for number in range(shown):
        x, y = left + number // rows * column, top + number % rows * LINE
        draw_marker(canvas, number, x + 6, y + LINE // 2, size=5)
        canvas.text(x + 2 * MARGIN, y, [Name(classes[number])], width=column - 2 * MARGIN, size=TEXT)
    if shown < len(classes):
        x = left + (columns - 1) * column
        canvas.text(x, top + (rows - 1) * LINE, f"and {len(classes) - shown} more", width=column, size=TEXT)
    return left


# In a terminal

_MARKS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STYLES = ("blue", "yellow", "cyan", "magenta")
_ROWS, _MOST_COLUMNS, _MOST_NAME = 24, 96, 24


def text_lines(
    points: Values,
    labels: npt.NDArray[np.int64],
    wrong: npt.NDArray[np.bool_],
    classes: Sequence[str],
    *,
    width: int,
) -> Iterator[Line]:
    """The points for a terminal: a character for the class that most points of a cell have, and the classes below.

    A cell with wrong predictions is underlined where the terminal can do so; the classes below have their numbers.

    Args:
        points: (N, 2), right and up, on one scale; a character is twice as high as wide.
        labels: int64 (N,), positions in `classes`.
        wrong: (N,), points whose prediction is wrong.
        classes: K names.
        width: characters in a line.
    """
    columns = max(10, min(width, _MOST_COLUMNS) - 2)
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    scale = float(min((columns - 1) / spread[0], 2 * (_ROWS - 1) / spread[1]))
    right = np.rint((points[:, 0] - low[0]) * scale).astype(int)
    down = np.rint((high[1] - points[:, 1]) * scale / 2).astype(int)
    right += (columns - 1 - int(right.max())) // 2
    counts: dict[tuple[int, int], Counter[int]] = {}
    for row, column, label in zip(down.tolist(), right.tolist(), labels.tolist(), strict=True):
        counts.setdefault((row, column), Counter())[label] += 1
    marked = set(zip(down[wrong].tolist(), right[wrong].tolist(), strict=True))
    own = all(len(name) == 1 for name in classes)
    marks = list(classes) if own else [_MARKS[number % len(_MARKS)] for number in range(len(classes))]
    yield [("+" + "-" * columns + "+", "dim")]
    for row in range(int(down.max()) + 1):
        line: Line = [("|", "dim")]
        for column in range(columns):
            if (row, column) not in counts:
                line.append((" ", ""))
                continue
            ((label, _),) = counts[row, column].most_common(1)
            style = _STYLES[label % len(_STYLES)] + " underline" * ((row, column) in marked)
            line.append((marks[label], style))
        yield [*line, ("|", "dim")]
    yield [("+" + "-" * columns + "+", "dim")]
    used: list[Line] = [[]]
    length = 0
    for label, name in enumerate(classes):
        of_class = labels == label
        if not of_class.any():
            continue
        title = "" if own else f" {shortened(name, _MOST_NAME)}"
        text = f"{title}: {np.count_nonzero(of_class)} images, {np.count_nonzero(of_class & wrong)} wrong"
        if length and length + 4 + len(text) > width:
            used.append([])
            length = 0
        used[-1] += [("   " if length else "", ""), (marks[label], _STYLES[label % len(_STYLES)]), (text, "")]
        length += 4 + len(text)
    yield from used
