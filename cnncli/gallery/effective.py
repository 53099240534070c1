"""The effective receptive field of a run's layers, as measured and as a picture."""

from collections.abc import Iterator, Sequence

from cnncli.errors import UsageError
from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.layers import with_positions
from cnncli.interpret.effective import EffectiveField, Listening, effective_field
from cnncli.pictures.colour import Scale
from cnncli.pictures.effective import effective_picture
from cnncli.pictures.tile import Tile
from cnncli.trained import TrainedRun

IMAGES = 100
"""To average over, if no number is given."""


def effective(run: TrainedRun, *, layers: Sequence[str] = (), images: int = IMAGES) -> Iterator[Exhibit]:
    """A picture for each of `layers`, or of the last layer that has positions.

    Args:
        run: whose layers they are.
        layers: their names.
        images: test images to average over.

    Raises:
        UsageError: one of them is not there, or has no positions.
    """
    for layer in layers or (None,):
        yield drawn(run, measured(run, layer, images=images))


def measured(run: TrainedRun, layer: str | None, *, images: int) -> EffectiveField:
    """The effective field of a layer over the first test images; of the last layer with positions, if none is named.

    Raises:
        UsageError: there is no such layer, or it has no positions.
    """
    able = with_positions(run.network)
    if layer is None and not able:
        raise UsageError("no layer of this network has positions", remedy="an effective field needs a convolution")
    node = able[-1] if layer is None else run.node(layer)
    if len(node.shape) != 3:
        raise UsageError(
            f"{node.name} has no positions, so it has no centre", remedy="name a layer before flatten or a global pool"
        )
    batches = (batch for batch, _ in run.batches().epoch(1))
    return effective_field(
        node.name, run.fields(node), trained=run.model, untrained=run.untrained(), images=batches, count=images
    )


def drawn(run: TrainedRun, field: EffectiveField) -> Exhibit:
    """Its picture, trained and untrained side by side, with the sides of the squares as numbers."""
    maps = {"trained": field.trained, "untrained": field.untrained}
    (top, bottom), (left, right) = field.rows, field.columns
    unit = ",".join(map(str, field.unit))
    return Exhibit(
        tag=f"effective/{run.network.numbered()[field.layer]}",
        title=f"effective field of {field.layer}",
        pixels=effective_picture(
            {label: (found.weights, found.sides) for label, found in maps.items()},
            field=(field.rows, field.columns),
            centre=field.centre,
            title=f"{field.layer}, unit {unit}: effective field over {field.images} images",
        ),
        tiles=[
            Tile.of(found.weights, Scale.from_zero(found.weights), label=f"{field.layer}, unit {unit}, {label}")
            for label, found in maps.items()
        ],
        numbers={f"{label}_{share}": side for label, found in maps.items() for share, side in found.sides.items()},
        lines=[
            *(_sides(label, found) for label, found in maps.items()),
            f"the whole field: rows {top} to {bottom}, columns {left} to {right}",
        ],
    )


def _sides(label: str, found: Listening) -> str:
    if not found.sides:
        return f"{label}: no gradient"
    squares = ", ".join(f"{share}% in {side}x{side}" for share, side in found.sides.items())
    return f"{label}: {squares} pixels"
