"""What an operation does to the positions of its input."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from cnncli.geometry import Window
from cnncli.spec.layers import Reach
from cnncli.spec.layers.base import Reads
from cnncli.torch_graph.layout import Factors, Layout, Pieces, Unfollowed, pieces_of
from cnncli.torch_graph.record import Operation, Value
from cnncli.torch_graph.windows import mixed, reads_of


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one operation does.

    Attributes:
        word: its kind, as in configs where they have it.
        layout: of each output.
        reads: which positions of its inputs a unit reads.
        statistics: whether it also depends on every position, through a mean and a variance alone.
        macs: multiply-accumulates for one image; None where unknown.
        minor: whether it is part of the layer before it rather than a layer, and so gets no row of its own.
        view: whether the numbers stay as they are and only their order or shape changes.
        groups: of a convolution.
    """

    word: str
    layout: Layout
    reads: Reads = Reach.SAME
    statistics: bool = False
    macs: int | None = 0
    minor: bool = False
    view: bool = False
    groups: int = 1


@dataclass(frozen=True)
class Context:
    """What is known when an operation's turn comes.

    Attributes:
        axes: how many axes of positions the input has.
        layouts: of every value so far that depends on the input.
        whole: those of which every number depends on the whole input.
    """

    axes: int
    layouts: dict[Value, Layout] = field(default_factory=dict)
    whole: set[Value] = field(default_factory=set)

    def layout(self, value: object) -> Layout:
        """The layout of a value.

        Raises:
            Unfollowed: it does not depend on the input, where only a map of the input makes sense.
        """
        if not isinstance(value, Value) or value not in self.layouts:
            raise Unfollowed("takes its kernel, not its map, from the input")
        return self.layouts[value]

    def reads(self, windows: dict[int, Window]) -> Reads:
        """See `reads_of`."""
        return reads_of(windows, self.axes)

    def summed(self, before: Iterable[Layout], after: Layout, over: Iterable[Factors]) -> Reads:
        """What a unit reads that depends on every position along some axes of tensors.

        Args:
            before: layouts of the tensors that are read.
            after: of the result.
            over: those axes.
        """
        there: Pieces = {}
        for layout in before:
            for axis, pieces in pieces_of(chain.from_iterable(layout)).items():
                there[axis] = there.get(axis, {}) | pieces
        given = pieces_of(set(chain.from_iterable(over)))
        gone = {axis: pieces for axis, pieces in given.items() if pieces}
        if not gone:
            # Of a map of one position that is everything as well.
            return Reach.ALL if given and given == there else Reach.SAME
        if gone == {axis: pieces for axis, pieces in there.items() if pieces}:
            return Reach.ALL
        left = pieces_of(chain.from_iterable(after))
        return self.reads({axis: mixed(there[axis], pieces, left.get(axis, {})) for axis, pieces in gone.items()})


Rule = Callable[[Operation, Context], Effect]
"""How one operator, or a family of them, works on positions."""


def numbers(value: Any, count: int) -> tuple[int, ...]:  # noqa: ANN401  as torch takes it: a number or a list
    """One number per axis, where torch takes one for all of them as well."""
    given = [value] if isinstance(value, int) else list(value)
    return tuple(given * count if len(given) == 1 else given)
