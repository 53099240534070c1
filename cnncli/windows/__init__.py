"""Windows along one axis, and what a unit sees through a chain of them, in exact integers.

Pixels are numbered from 0 at the center of the first input pixel. A *window* says which positions of its input a unit
of its output reads; composing windows gives a *field*: the input pixels that each unit of a layer sees.
"""

from cnncli.windows.closed_form import ClosedForm, Pattern
from cnncli.windows.receptive_field import AxisReceptiveField
from cnncli.windows.window import Adaptive, Gathered, Padded, Resampled, Sliding, Transposed, Window

__all__ = [
    "Adaptive",
    "AxisReceptiveField",
    "ClosedForm",
    "Gathered",
    "Padded",
    "Pattern",
    "Resampled",
    "Sliding",
    "Transposed",
    "Window",
]
