"""The costs of each layer."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.config.config import bundled_configs
from cnncli.lessons.architecture import Architecture
from cnncli.lessons.page import Page

Plain = Callable[[Page], str]


def test_costs_of_lenet5(plain: Plain) -> None:
    text = plain(Architecture().page())
    # 28 x 28 x 6 x 25 and 10 x 10 x 16 x 6 x 25; 48,120 of 61,706 parameters; 240,000 of 416,520 MACs.
    assert "28x28 positions x 6 kernels x depth 1 x 5x5 = 117,600 MACs" in text
    assert "10x10 positions x 16 kernels x depth 6 x 5x5 = 240,000 MACs" in text
    assert "Most parameters are in linear1 (78%)" in text
    assert "operations (MACs) in conv2 (58%)" in " ".join(text.split())
    assert "61,706" in text
    assert "416,520" in text


def test_products_are_equal_to_their_macs(plain: Plain, tmp_path: Path) -> None:
    """A transposed convolution has none: it multiplies at the positions of its input."""
    layers = (
        "[{conv: {out_channels: 4, kernel_size: 3}}, {conv_transpose: {out_channels: 2, kernel_size: 2, stride: 2}}"
    )
    config = tmp_path / "up.yaml"
    config.write_text(f"data: {{name: digits}}\nmodel: {{layers: {layers}, flatten, logits]}}\n")
    text = plain(Architecture(config=str(config)).page())
    products = re.findall(r"([\dx]+) positions x (\d+) kernels x depth (\d+) x ([\dx]+) = ([\d,]+) MACs", text)
    assert products == [("6x6", "4", "1", "3x3", "1,296")]


@pytest.mark.parametrize("name", bundled_configs())
def test_every_bundled_config_fits_80_columns(name: str, plain: Plain) -> None:
    page = Architecture(config=name).page()
    assert max(map(len, plain(page).splitlines())) <= 80, plain(page)
