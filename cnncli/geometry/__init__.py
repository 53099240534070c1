"""Windows along one axis, and what a unit sees through a chain of them, in exact integers.

Pixels are numbered from 0 at the centre of the first input pixel. A *window* says which positions of its input a unit
of its output reads; composing windows gives a *field*: the input pixels that each unit of a layer sees.
"""

from cnncli.geometry.cycle import Cycle, Pattern
from cnncli.geometry.field import Field
from cnncli.geometry.resampling import Padded, Resampled
from cnncli.geometry.windows import Adaptive, Gathered, Sliding, Transposed, Window

__all__ = [
    "Adaptive",
    "Cycle",
    "Field",
    "Gathered",
    "Padded",
    "Pattern",
    "Resampled",
    "Sliding",
    "Transposed",
    "Window",
]
