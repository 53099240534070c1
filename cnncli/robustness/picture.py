"""The accuracies on distorted images as bars, a panel for each distortion, and as a small table for TensorBoard."""

from collections.abc import Mapping, Sequence

import numpy as np

from cnncli.drawing.canvas import FRAME, Box, Canvas, ink_on
from cnncli.drawing.color import Color, Pixels, sequential
from cnncli.drawing.layout import HEIGHT, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, WIDTH
from cnncli.robustness.accuracy import Accuracy

BAR: Color = (96, 158, 212)
PLAIN: Color = (190, 190, 190)
"""Color of the bar of the undistorted images."""
ACROSS = 4
PANEL_WIDTH, PANEL_HEIGHT = 226, 150
"""Size of a panel with its labels, px."""
LEFT, ABOVE, BELOW = 34, 16, 28
"""Pixels for the labels of a panel."""
BAR_HEIGHT = 100
"""Height of a bar of 100 %, px."""
CARD_LEFT = 62
"""Pixels for the names of the distortions in a card."""


def draw_robustness(accuracies: Sequence[Accuracy], *, plain: float, title: str) -> Canvas:
    """A panel for each distortion: a gray bar for the undistorted images, and a bar for each strength.

    Args:
        accuracies: in order, those of one distortion together.
        plain: the accuracy on the undistorted images.
        title: above all panels.
    """
    panels = _by_distortion(accuracies)
    rows = -(-len(panels) // ACROSS)
    width = min(ACROSS, len(panels)) * PANEL_WIDTH + 2 * MARGIN
    canvas = Canvas(width=width, height=TITLE_HEIGHT + LINE + rows * PANEL_HEIGHT)
    canvas.text(MARGIN, 0, title, width=width - 2 * MARGIN, size=TITLE_SIZE)
    caption = "accuracy in percent by the strength of each distortion; gray: undistorted"
    canvas.text(MARGIN, TITLE_HEIGHT, caption, width=width - 2 * MARGIN)
    for number, each in enumerate(panels.values()):
        row, column = divmod(number, ACROSS)
        x, y = MARGIN + column * PANEL_WIDTH, TITLE_HEIGHT + LINE + 4 + row * PANEL_HEIGHT
        _draw_panel(canvas, each, plain, x=x, y=y)
    return canvas


def _by_distortion(accuracies: Sequence[Accuracy]) -> Mapping[str, list[Accuracy]]:
    found: dict[str, list[Accuracy]] = {}
    for each in accuracies:
        found.setdefault(each.distortion.name, []).append(each)
    return found


def _draw_panel(canvas: Canvas, accuracies: Sequence[Accuracy], plain: float, *, x: int, y: int) -> None:
    kind = accuracies[0].distortion
    canvas.text(x + LEFT, y, f"{kind.name} ({kind.unit})" if kind.unit else kind.name, width=PANEL_WIDTH - LEFT)
    left, top = x + LEFT, y + ABOVE + LINE
    bottom = top + BAR_HEIGHT
    slot = (PANEL_WIDTH - LEFT - 8) // (1 + len(accuracies))
    canvas.line((left - 3, top), (left, top))
    canvas.line((left, top - 4), (left, bottom))
    canvas.line((left, bottom), (left + slot * (1 + len(accuracies)), bottom))
    for percent in (0, 50, 100):
        canvas.right_aligned(left - 4, bottom - percent * BAR_HEIGHT // 100, str(percent))
    bars = [("-", plain, PLAIN), *((each.distortion.written, each.accuracy, BAR) for each in accuracies)]
    for number, (label, accuracy, color) in enumerate(bars):
        height = round(accuracy * BAR_HEIGHT)
        start, center = left + 3 + number * slot, left + 3 + number * slot + (slot - 6) // 2
        canvas.rectangle(start, bottom - height, width=slot - 6, height=height, color=color)
        canvas.centered(center, bottom - height - LINE, f"{100 * accuracy:.0f}")
        canvas.centered(center, bottom + 3, label)


def draw_robustness_card(accuracies: Sequence[Accuracy], *, plain: float) -> Pixels:
    """A row for each distortion, a cell for each strength with the accuracy in percent below it."""
    canvas = Canvas(width=WIDTH, height=HEIGHT)
    canvas.text(MARGIN, 0, f"accuracy in %; undistorted {100 * plain:.1f}", width=WIDTH, size=TITLE_SIZE)
    panels = _by_distortion(accuracies)
    height = (HEIGHT - TITLE_HEIGHT - 2) // max(1, len(panels))
    for row, (name, each) in enumerate(panels.items()):
        y = TITLE_HEIGHT + row * height
        canvas.text(MARGIN, y + (height - LINE) // 2, name, width=CARD_LEFT)
        width = (WIDTH - CARD_LEFT - MARGIN) // max(len(row) for row in panels.values())
        for column, accuracy in enumerate(each):
            x = CARD_LEFT + column * width
            red, green, blue = sequential(np.array(accuracy.accuracy), 0.0, 1.0).tolist()
            color: Color = (red, green, blue)
            box = Box(x=x, y=y + 1, height=height - 3, width=width - 3, scale=1)
            canvas.frame(box, FRAME)
            canvas.rectangle(box.x, box.y, width=box.width, height=box.height, color=color)
            text = f"{accuracy.distortion.written}: {100 * accuracy.accuracy:.0f}"
            canvas.middle(box.x + box.width / 2, box.y + box.height / 2, text, ink=ink_on(color))
    return canvas.pixels
