"""Saliency maps beside the image that they explain.

Letters: C channels, (H, W) image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from cnncli.pictures.colour import Pixels, Scale, Values
from cnncli.pictures.grid import Picture
from cnncli.pictures.image import enlargement, image_pixels, thinning
from cnncli.pictures.sheet import Cell, Panel, Section, card, sheet

TILE = 140
"""Pixels for the longer side of an image: it stands in one row with five maps. Larger ones are thinned out."""
IN_CARD = 64
"""The same in a TensorBoard card."""
SIGNED = "Red speaks for the class, blue against it, white is 0; each map has its own scale, printed below it."
UNSIGNED = "Grad-CAM: dark is 0, bright its largest value."


@dataclass(frozen=True, eq=False, kw_only=True)
class SaliencyMap:
    """What one method says.

    Attributes:
        name: of the method.
        values: (H, W).
        signed: whether values below 0 mean something; else they start at 0.
        note: a few words below it.
    """

    name: str
    values: Values
    signed: bool
    note: str = ""

    @property
    def scale(self) -> Scale:
        """Its own: the units of methods differ."""
        return Scale.symmetric(self.values) if self.signed else Scale.from_zero(self.values)

    @property
    def extent(self) -> str:
        """The scale as a text."""
        high = f"{self.scale.high:.3g}"
        return f"±{high}" if self.signed else f"0 to {high}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """An image, (C, H, W), uint8, with its maps, and lines about what the network makes of it."""

    heading: str
    lines: Sequence[str]
    image: Tensor
    maps: Sequence[SaliencyMap]


def saliency_picture(explained: Sequence[Explained], *, title: str, captions: Sequence[str] = ()) -> Picture:
    """A row for each image: the image, then its maps.

    Returns:
        A picture with a box for each (image, 0, 0), the image itself, and for each map (image, 1 + map, 0).
    """
    signs = {shown.signed for each in explained for shown in each.maps}
    legends = [text for signed, text in ((True, SIGNED), (False, UNSIGNED)) if signed in signs]
    sections = [
        Section(
            heading=each.heading, lines=each.lines, cells=_cells(each, TILE, lambda shown: (shown.extent, shown.note))
        )
        for each in explained
    ]
    return sheet(sections, title=title, captions=[*captions, *legends])


def saliency_card(explained: Sequence[Explained]) -> Pixels:
    """The maps of as many images as a TensorBoard card has room for, with less text: uint8 (H, W, 3)."""

    def first(count: int) -> list[Section]:
        return [
            Section(lines=each.lines[:1] if number else (), cells=_cells(each, IN_CARD, lambda shown: (shown.extent,)))
            for number, each in enumerate(explained[:count])
        ]

    return card(first, len(explained), title=", ".join((explained[0].heading, *explained[0].lines[:1])))


def _cells(explained: Explained, tile: int, below: Callable[[SaliencyMap], Sequence[str]]) -> list[Cell]:
    """The image and its maps, with the longer side as near to `tile` pixels as a whole factor allows."""
    size = explained.image.shape[1:]
    step = thinning(size, tile)
    scale = enlargement([-(-side // step) for side in size], tile)
    image = Panel(pixels=image_pixels(explained.image)[::step, ::step], scale=scale)
    return [
        Cell(panels=[image], above="input"),
        *(
            Cell(
                panels=[Panel(pixels=each.scale.colours(each.values)[::step, ::step], scale=scale)],
                above=each.name,
                below=below(each),
            )
            for each in explained.maps
        ),
    ]
