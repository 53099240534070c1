"""Curves: axes, SVG as an XML parser reads it, and the pixels of the PNG."""

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.drawing.categories import COLORS
from cnncli.drawing.chart import Chart, Curve, epoch_ticks, segments
from cnncli.drawing.curves import SCALE, WIDTH, draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def chart(*values: tuple[float | None, ...], title: str = "accuracy", percent: bool = False) -> Chart:
    curves = tuple(Curve(label=f"run {i}", mark="AB"[i], values=each) for i, each in enumerate(values))
    return Chart(title=title, curves=curves, percent=percent)


def svg_of(charts: list[Chart]) -> str:
    return draw_curves(charts).svg(title="curves")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.integers(3, 8))
def test_ticks_are_round_and_enclose_the_values(values: list[float], most: int) -> None:
    drawn = chart(tuple(values))
    ticks = drawn.ticks(most)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= most
    assert ticks[0] <= min(values) + 1e-6 * step
    assert ticks[-1] >= max(values) - 1e-6 * step
    assert np.allclose(np.diff(ticks), step)
    assert f"{step:.0e}"[0] in "125"
    labels = [drawn.format(tick, step=step) for tick in ticks]
    assert len(set(labels)) == len(ticks)


def test_labels_of_fractions() -> None:
    drawn = chart((0.91, 0.99), percent=True)
    ticks = drawn.ticks(6)
    assert [drawn.format(tick, step=ticks[1] - ticks[0]) for tick in ticks] == [
        "90%",
        "92%",
        "94%",
        "96%",
        "98%",
        "100%",
    ]


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 11, 47, 1000])
def test_ticks_of_epochs(epochs: int) -> None:
    ticks = epoch_ticks(epochs, 10)
    assert ticks[0] == 1
    assert ticks[-1] <= epochs
    assert len(ticks) <= 12
    assert all(a < b for a, b in pairwise(ticks))


def test_gaps() -> None:
    assert segments((None, 1.0, 2.0, None, None, 3.0)) == [[(2, 1.0), (3, 2.0)], [(6, 3.0)]]
    assert segments((None,)) == []


def test_svg_shows_every_value_at_its_place() -> None:
    values = ((0.0, 0.5, 1.0), (1.0, 0.0, None))
    root = ElementTree.fromstring(svg_of([chart(*values, title="a < b & c")]))
    assert root.tag == f"{SVG}svg"
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"a < b & c", "epoch", "1", "2", "3", "0.0", "1.0", "run 0", "run 1"} <= set(texts)
    first, second = (
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for line in root.iter(f"{SVG}polyline")
        if line.attrib["stroke-width"] == "2"
        and len(line.attrib["points"].split()) > 1
        and line.attrib["points"].split()[0].split(",")[1] != line.attrib["points"].split()[1].split(",")[1]
    )
    baselines = {y.text: float(y.attrib["y"]) for y in root.iter(f"{SVG}text") if y.get("text-anchor") == "end"}
    half = baselines["0.0"] - first[0][1]  # from the middle of a letter to its lower edge
    assert 2 < half < 7
    at = {text: baseline - half for text, baseline in baselines.items()}
    assert [y for _, y in first] == pytest.approx([at["0.0"], (at["0.0"] + at["1.0"]) / 2, at["1.0"]])
    assert [y for _, y in second] == pytest.approx([at["1.0"], at["0.0"]])
    columns = {text.text: float(text.attrib["x"]) for text in root.iter(f"{SVG}text") if text.text in ("1", "2", "3")}
    assert [x for x, _ in first] == pytest.approx([columns["1"], columns["2"], columns["3"]])


def test_curves_have_their_own_color_and_marker() -> None:
    root = ElementTree.fromstring(svg_of([chart((0.0, 1.0), (0.2, 0.8))]))
    fills = [each.attrib["fill"] for each in root.iter(f"{SVG}polygon")]
    assert {*fills} == {"#{:02x}{:02x}{:02x}".format(*color) for color in COLORS[:2]}
    corners = {each.attrib["fill"]: len(each.attrib["points"].split()) for each in root.iter(f"{SVG}polygon")}
    assert len(set(corners.values())) == 2


def test_a_label_with_control_characters_is_still_xml() -> None:
    curve = Curve(label="a\x1b[31m\x00", mark="A", values=(1.0, 2.0))
    text = svg_of([Chart(title="t", curves=(curve,))])
    assert "a\\x1b[31m\\x00" in [each.text for each in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_the_png_has_all_colors() -> None:
    charts = [chart((0.0, 0.5, 1.0), (1.0, 0.5, 0.0)), chart((1.0, None), (), title="loss")]
    pixels = draw_curves(charts).enlarged(SCALE)
    assert pixels.shape[1] == 2 * WIDTH
    for color in COLORS[:2]:
        assert (pixels == np.array(color)).all(axis=-1).sum() > 500


def test_a_rising_curve_rises_in_the_png() -> None:
    pixels = draw_curves([chart((0.0, 1.0))]).enlarged(SCALE)
    rows, columns = np.nonzero((pixels[:600] == np.array(COLORS[0])).all(axis=-1))
    assert rows[columns < columns.mean()].mean() > rows[columns > columns.mean()].mean() + 100
