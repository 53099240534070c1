"""At which steps a run draws its pictures, and how much of what it would write its budget has room for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GROWTH = 1.25
"""How much larger than now a picture is taken to be later: the maps of a trained network pack less well."""
_GIF_FRAME = 2
"""Likewise, how much larger than its picture a frame of an animation is taken to be."""


def picture_steps(
    last: int, most: int, *, chosen: Sequence[int] | None = None, done: Collection[int] = ()
) -> tuple[int, ...]:
    """The steps after which pictures are drawn, 0 (before training) and `last` among them, ascending.

    Between them stand the powers of the smallest whole number for which one place stays free: what has been drawn stays
    where it is when a run is made longer, and that place is for its new end.

    Args:
        last: the last step of the training.
        most: how many at most; TensorBoard keeps ten pictures of a tag and draws by lot among more. 0 is none.
        chosen: the steps between the first and the last instead.
        done: steps that have pictures already, from a run that goes on. New ones come only after them, and take the
            places that are left, or one if none is.
    """
    if not most:
        return ()
    between = _powers(last, most) if chosen is None else [step for step in chosen if 0 < step < last]
    new = sorted(step for step in {0, *between, last} if step > max(done, default=-1))
    return (*sorted(done), *thinned(new, max(1, most - len(done))))


def _powers(last: int, most: int) -> Sequence[int]:
    """The powers below `last` of the smallest base that has at most as many."""
    count = most - 3 if most > 3 else most - 2
    if count < 1:
        return ()
    base = max(2, int(last ** (1 / count)))
    while base**count < last:
        base += 1
    return [base**exponent for exponent in range(count) if base**exponent < last]


def thinned(steps: Sequence[int], count: int) -> tuple[int, ...]:
    """At most `count` of the steps, evenly chosen, with the last and, where there is room for two, the first."""
    if count >= len(steps):
        return tuple(steps)
    if count < 2:
        return tuple(steps[-count:] if count else ())
    return tuple(steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count))


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """What a budget has room for.

    Attributes:
        tags: of the pictures that are drawn.
        steps: at which.
        histograms_every: epochs from one set of histograms to the next, counted back from the last; 0 is none.
    """

    tags: Collection[str]
    steps: Sequence[int]
    histograms_every: int


def allot(
    left: int,
    *,
    pictures: Mapping[str, int],
    animated: Collection[str],
    steps: Sequence[int],
    histograms: int,
    epochs: int,
) -> Allotment:
    """Share out what is left: first and last picture of each tag, then those between, then histograms.

    Args:
        left: bytes.
        pictures: tag -> bytes of its picture as it is now.
        animated: tags that become animations at the end, a frame for each step.
        steps: at which pictures are still to be drawn.
        histograms: bytes of those of one epoch; 0 if none are wanted.
        epochs: how many are still to come.
    """
    tags: list[str] = []
    ends = 0  # bytes of the first and the last picture of each tag, with their frames
    for tag, size in pictures.items():
        pair = size + round(size * GROWTH) if len(steps) > 1 else size
        if ends + pair <= left:
            tags.append(tag)
            ends += pair
    frame = _GIF_FRAME * sum(pictures[tag] for tag in animated if tag in tags)
    ends += frame * min(2, len(steps))
    one_more = round(GROWTH * sum(pictures[tag] for tag in tags)) + frame
    between = max(0, len(steps) - 2)
    if one_more:
        between = min(between, max(0, left - ends) // one_more)
    kept = () if pictures and not tags else thinned(steps, 2 + between)
    rest = left - ends - between * one_more
    every = -(-epochs * histograms // rest) if 0 < histograms <= rest else 0
    return Allotment(tags=tags, steps=kept, histograms_every=every)


def event_bytes(folder: Path) -> int:
    """How much a run's event files have grown to, those of earlier parts of the run included."""
    return sum(path.stat().st_size for path in folder.glob("events.out.tfevents.*"))
