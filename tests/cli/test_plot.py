"""Curves and sparklines in the terminal."""

import pytest

from cnncli.cli.render.plot import bar, plot_lines, sparkline
from cnncli.drawing.chart import Chart, Curve
from cnncli.inspection.formatting import plain


def chart(*values: tuple[float | None, ...]) -> Chart:
    curves = tuple(Curve(label=f"run {i}", mark="AB"[i], values=each) for i, each in enumerate(values))
    return Chart(title="accuracy", curves=curves, percent=True)


def plotted(drawn: Chart, *, width: int = 40, colors: bool = False, encoding: str = "utf-8") -> list[str]:
    return [plain(line) for line in plot_lines(drawn, width=width, colors=colors, encoding=encoding)]


def test_sparkline() -> None:
    assert sparkline((0.0, 0.5, 1.0), width=9, encoding="utf-8") == "▁▅█"
    assert sparkline((0.0, 0.5, 1.0), width=9, encoding="ascii") == "049"
    assert sparkline((0.0, None, 1.0), width=9, encoding="ascii") == "0 9"
    assert sparkline((0.3, 0.3), width=9, encoding="ascii") == "99"
    assert sparkline((), width=9, encoding="utf-8") == sparkline((None,), width=9, encoding="utf-8") == ""


def test_a_bar() -> None:
    assert bar(3, encoding="utf-8") == "███"
    assert bar(3, encoding="ascii") == bar(3, encoding="cp1252") == "###"


def test_a_long_sparkline_ends_with_the_last_epoch() -> None:
    values = tuple(float(epoch) for epoch in range(1, 31))
    assert sparkline(values, width=3, encoding="ascii") == "049"  # epochs 10, 20 and 30
    assert len(sparkline(values, width=12, encoding="utf-8")) == 12


@pytest.mark.parametrize("width", [30, 40, 80, 300])
@pytest.mark.parametrize("colors", [False, True])
def test_lines_fit(width: int, colors: bool) -> None:
    lines = plotted(chart((0.1, 0.5, 0.93), (0.2, 0.3)), width=width, colors=colors)
    assert max(map(len, lines)) <= min(width, 100)


def test_letters_are_at_their_values() -> None:
    _, *rows = plotted(chart((0.0, 1.0), (1.0, 0.0, 1.0)), encoding="ascii")
    assert all(row.isascii() for row in rows)
    top, bottom = rows[0], rows[9]
    assert top.startswith("100% +B")
    assert top.endswith("B")
    assert bottom.startswith("  0% +A")
    assert sum(row.count("*") for row in rows[:10]) == sum(row.count("*") for row in rows[4:6]) > 0  # they cross
    assert rows[11].split() == ["epoch", "1", "2", "3"]
    assert rows[12].split() == ["A", "run", "0", "B", "run", "1", "*", "several"]


def test_a_single_curve_is_braille_also_without_color() -> None:
    _, *rows = plotted(chart((0.0, 1.0)))
    assert rows[0].rstrip()[-1] in "⠁⠈⠉⠊⠘⠙⠑⠒⠃"
    assert rows[9][6] in "⡀⢀⣀⡠⣠⡄"
    assert not any("A" in row for row in rows)


def test_colors_tell_curves_apart() -> None:
    lines = plot_lines(chart((0.0, 0.0), (1.0, 1.0)), width=40, colors=True, encoding="utf-8")
    styles = [{style for text, style in line if any("⠀" < each <= "⣿" for each in text)} for line in lines[1:11]]
    assert (len(styles[0]), len(styles[9])) == (1, 1)
    assert styles[0] != styles[9]
    legend = dict(
        zip((text.strip() for text, _ in lines[-1][2::2]), (style for _, style in lines[-1][1::2]), strict=True)
    )
    assert {legend["run 1"]} == styles[0]


def test_one_epoch() -> None:
    lines = plotted(chart((0.5,)), encoding="ascii")
    assert lines[11].strip("- ") == ""
    assert "epoch 1" in lines[12]
