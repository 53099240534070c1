"""A window must fit into the padded input."""

import pytest

from cnncli.errors import UsageError
from cnncli.lessons.sliding_window import SlidingWindow


def test_the_window_must_fit() -> None:
    with pytest.raises(UsageError, match="the window of 4x1 does not fit into the input of 3x3"):
        SlidingWindow((4, 1)).check_fits((3, 3))
    with pytest.raises(UsageError, match=r"\(5x5 with its dilation\) does not fit"):
        SlidingWindow((2, 2), dilation=(4, 4)).check_fits((3, 3))
    with pytest.raises(UsageError, match="too large to follow by hand"):
        SlidingWindow((2, 2), padding=(9999, 9999)).check_fits((3, 3))
    SlidingWindow((4, 4), padding=(1, 0)).check_fits((2, 4))
