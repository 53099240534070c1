"""Where a run's layer puts images: for TensorBoard's projector, and as a picture."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cnncli.board.projector import Projection
from cnncli.gallery.exhibit import Exhibit
from cnncli.interpret.embedding import EXACT, Components, features, principal_components
from cnncli.pictures.image import image_pixels
from cnncli.pictures.scatter import scatter_picture
from cnncli.spec.network import INPUT
from cnncli.trained import TrainedRun

COUNT = 2000
"""Test images, if no number is given."""
MANY = 256
"""Components that stand for more features than a browser can take."""


def embedding(run: TrainedRun, *, count: int = COUNT, layer: str | None = None) -> Iterator[Exhibit]:
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
    right = found.right[at]
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
