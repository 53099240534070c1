"""How often pixels are read, counted by hand."""

from cnncli.inspection.units import readings, readings_of_pixels
from cnncli.windows import Adaptive, Sliding


def test_the_border_is_read_less() -> None:
    window = Sliding(kernel=2)
    assert readings(window, 3) == (1, 2, 1)
    assert readings_of_pixels((window, window), (3, 3)) == ((1, 2, 1), (2, 4, 2), (1, 2, 1))


def test_padding_evens_it_out() -> None:
    assert readings(Sliding(kernel=2, before=1, after=1), 3) == (2, 2, 2)


def test_a_stride_leaves_the_end_over() -> None:
    assert readings(Sliding(kernel=3, stride=2), 28)[-2:] == (1, 0)


def test_bins_read_everything() -> None:
    assert readings(Adaptive(units=2), 5) == (1, 1, 2, 1, 1)
