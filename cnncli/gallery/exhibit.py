"""One picture to show, and where it is hung: a PNG, TensorBoard, the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cnncli.board.event_file import Board
from cnncli.board.projector import Projection, write_projection
from cnncli.errors import DiskError
from cnncli.pictures.colour import Pixels
from cnncli.pictures.image import png
from cnncli.pictures.tile import Tile
from cnncli.trained import TrainedRun
from cnncli.training.durable import disk_errors_explained, replace_file

SHOW = "show"
"""The folder of a run that the pictures go to, and with it a run of its own for TensorBoard: there no later picture
evicts one that the training wrote, and a run that is still training keeps its event file to itself."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exhibit:
    """A picture.

    Attributes:
        tag: its name in TensorBoard, `<kind>/<what>`, such as `patches/03_conv2`; the PNG is named after it.
        title: for people, one line.
        pixels: uint8 (H, W, 3), up to about 1000 px wide, for a file.
        card: the same for TensorBoard, whose cards shrink what is larger than `cnncli.pictures.layout.CARD` by leaving
            out rows and columns, letters too; None where `pixels` will do.
        tiles: the same in small, for a terminal.
        numbers: name -> what was measured, in the units that the name says; curves of TensorBoard with one point.
        lines: what else a reader should know, one sentence each.
        projection: points for TensorBoard's projector.
    """

    tag: str
    title: str
    pixels: Pixels
    card: Pixels | None = None
    tiles: Sequence[Tile] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    lines: Sequence[str] = ()
    projection: Projection | None = None

    @property
    def file(self) -> Path:
        """Of the PNG, from the folder of the pictures."""
        return Path(f"{self.tag}.png")


class Gallery:
    """Hangs exhibits into a run: PNG files, and beside them TensorBoard's event file and what its projector reads.

    Each is written as it comes. One of the same name is replaced, in the folder and in TensorBoard.

    Args:
        run: whose pictures they are; they stand at the step of its weights.
    """

    def __init__(self, run: TrainedRun) -> None:
        self._folder = run.path / SHOW
        self._step = run.step

    def hang(self, exhibits: Iterable[Exhibit]) -> Iterator[tuple[Exhibit, Path]]:
        """Write exhibits, and yield each with the path of its PNG. Nothing is made where there is none.

        Raises:
            DiskError: nothing can be written there.
        """
        with ExitStack() as opened:
            board: Board | None = None
            for exhibit in exhibits:
                path = self._folder / exhibit.file
                with self._remedied():
                    board = board or opened.enter_context(Board(self._folder))
                    with disk_errors_explained(path):
                        path.parent.mkdir(parents=True, exist_ok=True)
                    replace_file(path, png(exhibit.pixels))
                    pixels = exhibit.pixels if exhibit.card is None else exhibit.card
                    board.pictures(self._step, {exhibit.tag: pixels})
                    board.scalars(self._step, {f"{exhibit.tag}/{name}": n for name, n in exhibit.numbers.items()})
                    if exhibit.projection is not None:
                        write_projection(self._folder, exhibit.projection)
                yield exhibit, path

    @contextmanager
    def _remedied(self) -> Iterator[None]:
        """Pictures go into the run, and nowhere else."""
        try:
            yield
        except DiskError as error:
            remedy = f"free some space, or see that {self._folder.parent} may be written to"
            raise DiskError(error.message, remedy=remedy) from error
