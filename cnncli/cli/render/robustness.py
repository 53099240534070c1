"""The accuracy on distorted images, and the equivariance and invariance of layers, in the terminal."""

from collections.abc import Sequence

from cnncli.cli.render.console import out
from cnncli.cli.render.plot import bar
from cnncli.cli.render.table import show_lines
from cnncli.inspection.formatting import Line, Span, align
from cnncli.robustness.accuracy import Accuracy
from cnncli.robustness.robustness import Robustness
from cnncli.robustness.shifts import LayerShifts

_BAR, _SHORTEST_BAR = 20, 5
"""Characters of a bar of 100 %, and the fewest for which bars are drawn."""
_SHOWN_SHIFTS = (1, 2, 4, 8)


def show_robustness(robustness: Robustness) -> None:
    """Print the accuracy for each distortion with a bar, then a row for each layer."""
    lines: list[Line] = [
        [],
        [
            ("accuracy on distorted images", "bold"),
            (f": {robustness.images:,} images, {robustness.accuracy:.2%} undistorted", ""),
        ],
        *_accuracy_lines(robustness.accuracies),
        [("same: the prediction is that for the undistorted image", "dim")],
        [],
        [("shifts of the input", "bold"), (", from 0 (like an unrelated image) to 1", "")],
        *_layer_lines(robustness.layers),
        [("moves: equivariance at shifts by multiples of the jump; between: at other shifts", "dim")],
        [("1 px, 2 px ...: invariance at shifts by so many pixels", "dim")],
        [("-: no such shift, or the border reaches all units", "dim")],
    ]
    show_lines(lines)


def _accuracy_lines(accuracies: Sequence[Accuracy]) -> list[Line]:
    rows: list[list[Span]] = []
    previous = ""
    for each in accuracies:
        name = each.distortion.name
        rows.append([
            (name if name != previous else "", ""),
            (each.distortion.label, ""),
            (f"{each.accuracy:.2%}", ""),
            (f"{each.consistency:.1%}", ""),
        ])  # fmt: skip
        previous = name
    headings, numeric = ["distortion", "strength", "accuracy", "same"], [False, True, True, True]
    lines = align(headings, rows, numeric=numeric)
    widest = max(sum(len(text) for text, _ in line) for line in lines)
    console = out()
    longest = min(_BAR, console.width - widest - 2)
    if longest < _SHORTEST_BAR:
        return lines
    return [
        *lines[:2],
        *(
            [*line, (f"  {bar(round(each.accuracy * longest), encoding=console.encoding)}", "blue")]
            for line, each in zip(lines[2:], accuracies, strict=True)
        ),
    ]


def _layer_lines(layers: Sequence[LayerShifts]) -> list[Line]:
    """A row for each layer; with fewer shifts where a terminal is too narrow for all."""
    shown = [pixels for pixels in _SHOWN_SHIFTS if layers and pixels in layers[0].invariance]
    while True:
        rows: list[list[Span]] = [
            [
                (layer.layer, ""),
                ("" if layer.period is None else "x".join(map(str, dict.fromkeys(layer.period))), ""),
                *((_number(layer, value), "") for value in (layer.aligned, layer.between)),
                *((_number(None, layer.invariance[pixels]), "") for pixels in shown),
            ]
            for layer in layers
        ]
        headings = ["layer", "jump", "moves", "between", *(f"{pixels} px" for pixels in shown)]
        lines = align(headings, rows, numeric=[False, *(True for _ in headings[1:])])
        if len(shown) <= 1 or max(sum(len(text) for text, _ in line) for line in lines) <= out().width:
            return lines
        shown.pop()


def _number(layer: LayerShifts | None, value: float | None) -> str:
    """Three digits; empty for a layer that has no positions."""
    if value is None:
        return "" if layer is not None and layer.period is None else "-"
    return f"{value:.3f}"
