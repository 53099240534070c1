"""Saliency maps beside the image that they explain.

Letters: C channels, (H, W) image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from cnncli.pictures.colour import Scale, Values
from cnncli.pictures.grid import Picture
from cnncli.pictures.sheet import Cell, Panel, Section, enlargement, image_pixels, sheet, thinning

TILE, LARGEST = 84, 112
"""Pixels for the longer side of an image, three of which stand side by side; and the most before it is thinned out."""
SIGNED = "Red speaks for the target, blue against it, white is 0; each map has its own scale, printed below it."
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
    size = explained[0].image.shape[1:]
    step = thinning(size, LARGEST)
    scale = enlargement([-(-side // step) for side in size], TILE)

    def cell(pixels: Panel, above: str, below: Sequence[str] = ()) -> Cell:
        return Cell(panels=[pixels], above=above, below=below)

    sections = [
        Section(
            heading=each.heading,
            lines=each.lines,
            cells=[
                cell(Panel(pixels=image_pixels(each.image)[::step, ::step], scale=scale), "input"),
                *(
                    cell(
                        Panel(pixels=shown.scale.colours(shown.values)[::step, ::step], scale=scale),
                        shown.name,
                        (shown.extent, shown.note),
                    )
                    for shown in each.maps
                ),
            ],
        )
        for each in explained
    ]
    signs = {shown.signed for each in explained for shown in each.maps}
    legends = [text for signed, text in ((True, SIGNED), (False, UNSIGNED)) if signed in signs]
    return sheet(sections, title=title, captions=[*captions, *legends])
