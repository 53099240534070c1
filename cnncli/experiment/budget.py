"""At which steps and epochs a run logs pictures and histograms, and how large its event files may become."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)


def picture_steps(
    last: int, most: int, *, chosen: Sequence[int] | None = None, done: Collection[int] = ()
) -> tuple[int, ...]:
    """The steps after which pictures are drawn, ascending, with 0 (before training) and `last`.

    By default, the steps between them are the powers of the smallest base that leaves one place free: if the run is
    extended, its earlier steps stay, and the place is for its new end.

    Args:
        last: the last step of the training.
        most: the largest number of steps: 0 for none, otherwise 2 or more. TensorBoard keeps ten pictures of a tag.
        chosen: the steps between the first and the last.
        done: steps of the run that have pictures. New steps come after them and fill the remaining places; the last
            step is always included.
    """
    if not most:
        return ()
    between = _powers(last, most - 3 if most > 3 else most - 2) if chosen is None else chosen
    after = max(done, default=-1)
    new = sorted({step for step in (0, *between, last) if after < step <= last})
    return (*sorted(done), *new[-max(1, most - len(done)) :])


def _powers(last: int, most: int) -> list[int]:
    """The powers below `last` of the smallest base that has no more than `most` of them."""
    if not most:
        return []
    base = max(2, int(last ** (1 / most)))
    while base**most < last:
        base += 1
    return [base**exponent for exponent in range(most) if base**exponent < last]


def histogram_epochs(epochs: int, size: int, limit: int) -> range:
    """The epochs that have histograms: the last one and, counted back from it, every n-th.

    Args:
        epochs: of the whole training.
        size: bytes of the histograms of one epoch; 0 if there are none.
        limit: bytes that all of them may take; n is the smallest number that keeps to it.
    """
    if not 0 < size <= limit:
        return range(0)
    return range(epochs, 0, -epochs // (limit // size))


class Budget:
    """The bytes that a run's event files may take, those of earlier parts of the run included.

    Args:
        run: the run's directory.
        megabytes: the limit.
    """

    def __init__(self, run: Path, megabytes: float) -> None:
        self._run = run
        self.limit = int(megabytes * 1e6)
        self._reported: set[str] = set()

    def left(self) -> int:
        """The bytes that are left; negative if the files are larger than the limit."""
        return self.limit - sum(path.stat().st_size for path in self._run.glob("events.out.tfevents.*"))

    def report(self, content: str, what: str) -> None:
        """Log that something is left out, once for each kind of content."""
        if content not in self._reported:
            self._reported.add(content)
            _log.warning("log.budget of %g MB: %s %s", self.limit / 1e6, content, what)
