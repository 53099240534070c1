"""Windows and receptive fields along one axis, in exact integers.

Pixels are numbered from 0 at the center of the first input pixel. A *window* specifies which input positions each
output unit reads. Composing windows gives the *receptive field* of each unit: the input pixels it depends on.
"""

from cnncli.windows.bounds import Bounds
from cnncli.windows.closed_form import ClosedForm, Pattern
from cnncli.windows.receptive_field import AxisReceptiveField
from cnncli.windows.window import Adaptive, Gathered, Padded, PaddingMode, Resampled, Sliding, Transposed, Window

__all__ = [
    "Adaptive",
    "AxisReceptiveField",
    "Bounds",
    "ClosedForm",
    "Gathered",
    "Padded",
    "PaddingMode",
    "Pattern",
    "Resampled",
    "Sliding",
    "Transposed",
    "Window",
]
