"""Bounds on the cost of receptive fields, checked before they are computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cnncli.limits import MAX_JUMP, MAX_LENGTH, MAX_READS
from cnncli.windows.window import Window


@dataclass
class Bounds:
    """Counts what the layers of one network cost.

    Attributes:
        reads: the positions that the units of all layers so far read, along the axis where they are most.
    """

    reads: int = 0

    def excess(self, windows: Sequence[Window], sizes: Sequence[int], jumps: Sequence[Fraction]) -> str:
        """Add a layer, and return which limit it exceeds; empty if none.

        Args:
            windows: of the layer, one per axis.
            sizes: positions of its input along each axis.
            jumps: input pixels from one of these positions to the next, along each axis.
        """
        most = 0
        for window, size, jump in zip(windows, sizes, jumps, strict=True):
            units = window.output_size(size)
            if units > MAX_LENGTH:
                return f"its output has {units:,} positions along an axis; the limit is {MAX_LENGTH:,}"
            if jump * window.scale(size) > MAX_JUMP:
                return f"the strides up to here multiply to more than the limit of {MAX_JUMP:,}"
            most = max(most, window.total_reads(size))
        total = self.reads + most
        if total > MAX_READS:
            return f"the windows up to here read {total:,} positions along an axis; the limit is {MAX_READS:,}"
        self.reads = total
        return ""
