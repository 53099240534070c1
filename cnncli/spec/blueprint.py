"""The layers of a config as a tree: what `reader` makes of the `model:` section, and `network` gives shapes to."""

from dataclasses import dataclass
from typing import Literal

from cnncli.spec.document import Route
from cnncli.spec.layers import Activation, Writable


@dataclass(frozen=True)
class Place:
    """Where a layer stands in the config, and through which uses of blocks it got there, innermost last."""

    route: Route
    uses: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Single:
    """One layer."""

    layer: Writable
    place: Place


@dataclass(frozen=True)
class Residual:
    """A main path and a shortcut around it, added."""

    main: "Sequence"
    shortcut: "Sequence | Literal['auto', 'identity']"
    activation: Activation | None
    name: str | None
    place: Place


@dataclass(frozen=True)
class Branch:
    """Several paths from one input, added or concatenated."""

    paths: tuple["Sequence", ...]
    merge: Literal["concat", "add"]
    name: str | None
    place: Place


@dataclass(frozen=True)
class Block:
    """One use of a named block."""

    word: str
    items: "Sequence"
    name: str | None
    place: Place


Item = Single | Residual | Branch | Block
Sequence = tuple[Item, ...]
