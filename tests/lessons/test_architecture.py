"""The costs of each layer."""

from collections.abc import Callable

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


@pytest.mark.parametrize("name", bundled_configs())
def test_every_bundled_config_fits_80_columns(name: str, plain: Plain) -> None:
    page = Architecture(config=name).page()
    assert max(map(len, plain(page).splitlines())) <= 80, plain(page)
