"""Plans worked by hand, and properties of every plan."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.drawing.layout import Spacing, plan


def test_six_single_tiles() -> None:
    # Three across: 100 // 3 - 4 = 29 px, 5 times 5; two lines: 80 // 2 - 10 - 4 = 26 px, 5 times 5.
    layout = plan(strips=6, tiles=1, tile=(5, 5), room=(80, 100), spacing=Spacing(gap=4, above=10), least_scale=1)
    assert (layout.across, layout.scale, layout.strips) == (3, 5, 6)
    assert layout.corner(0, 0) == (10, 0)
    assert layout.corner(2, 0) == (10, 58)
    assert layout.corner(3, 0) == (49, 0)


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    # Four tiles of 9 + 1 px stand beside a label of 12 px in 60 px; five lines of 10 px in 8 + 50 px.
    layout = plan(
        strips=100,
        tiles=100,
        tile=(3, 3),
        room=(60, 60),
        spacing=Spacing(gap=1, left=12, top=8),
        least_scale=3,
    )
    assert (layout.strips, layout.tiles, layout.across, layout.scale) == (5, 4, 1, 3)
    assert layout.corner(4, 3) == (8 + 40, 12 + 30)
    assert layout.size == (58, 52)


def test_one_tile_is_shown_even_where_it_does_not_fit() -> None:
    layout = plan(strips=3, tiles=3, tile=(50, 50), room=(20, 20), spacing=Spacing(gap=1), least_scale=2)
    assert (layout.strips, layout.tiles, layout.scale) == (1, 1, 2)


def test_enlargement_is_limited_and_the_arrangement_compact() -> None:
    # Tiles of 5 x 5 enlarged 4 times, with 4 px below and beside: nine of them are most compact as three by three.
    layout = plan(strips=9, tiles=1, tile=(5, 5), room=(900, 900), spacing=Spacing(gap=4), least_scale=1, most_scale=4)
    assert (layout.across, layout.scale, layout.strips) == (3, 4, 9)
    assert layout.size == (72, 72)
    too_small = plan(strips=9, tiles=1, tile=(5, 5), room=(30, 30), spacing=Spacing(gap=4), least_scale=3, most_scale=2)
    assert (too_small.scale, too_small.strips) == (3, 1)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(data=st.data())
def test_tiles_stay_in_the_room_and_do_not_overlap(data: st.DataObject) -> None:
    strips, tiles = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    tile = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    least = data.draw(st.integers(1, 4))
    spacing = Spacing(**data.draw(st.fixed_dictionaries({
        "gap": st.integers(0, 4), "above": st.integers(0, 12), "left": st.integers(0, 20),
        "top": st.integers(0, 12), "between": st.integers(0, 10),
    })))  # fmt: skip  # one line for each space is easier to read
    layout = plan(strips=strips, tiles=tiles, tile=tile, room=(180, 300), spacing=spacing, least_scale=least)
    height, width = layout.size
    assert height <= 180
    assert width <= 300
    assert 1 <= layout.strips <= strips
    assert 1 <= layout.tiles <= tiles
    assert layout.scale >= least
    seen = set()
    for strip in range(layout.strips):
        for column in range(layout.tiles):
            y, x = layout.corner(strip, column)
            for j in (0, tile[0] * layout.scale - 1):
                for i in (0, tile[1] * layout.scale - 1):
                    assert 0 <= y + j < 180
                    assert 0 <= x + i < 300
            seen.add((y, x))
    assert len(seen) == layout.strips * layout.tiles
