"""One picture to show, and where it is hung: a PNG, TensorBoard, the terminal."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cnncli.board.event_file import Board
from cnncli.pictures.colour import Pixels
from cnncli.pictures.tile import Tile
from cnncli.trained import TrainedRun
from cnncli.training.durable import disk_errors_explained

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
        card: the same for TensorBoard, whose cards shrink what is larger than 304 x 215 px by leaving out rows and
            columns, letters too; None where `pixels` will do.
        tiles: the same in small, for a terminal.
        numbers: name -> what was measured, in the units that the name says; curves of TensorBoard with one point.
        lines: what else a reader should know, one sentence each.
    """

    tag: str
    title: str
    pixels: Pixels
    card: Pixels | None = None
    tiles: Sequence[Tile] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    lines: Sequence[str] = ()

    @property
    def file(self) -> Path:
        """Of the PNG, from the folder of the pictures."""
        return Path(f"{self.tag}.png")


def slug(text: str) -> str:
    """A text as part of a tag and of a file name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "x"


class Gallery:
    """Hangs exhibits into a run: PNG files, and TensorBoard's event file beside them.

    Each is written as it comes. One of the same name is replaced, in the folder and in TensorBoard.

    Args:
        run: whose pictures they are; they stand at the step of its weights.
    """

    def __init__(self, run: TrainedRun) -> None:
        self._folder = run.path / SHOW
        self._step = run.step

    def hang(self, exhibits: Iterable[Exhibit]) -> Iterable[tuple[Exhibit, Path]]:
        """Write exhibits, and yield each with the path of its PNG.

        Raises:
            DiskError: nothing can be written there.
        """
        with Board(self._folder) as board:
            for exhibit in exhibits:
                path = self._folder / exhibit.file
                with disk_errors_explained(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(exhibit.pixels).save(path, format="PNG")
                pixels = exhibit.pixels if exhibit.card is None else exhibit.card
                board.pictures(self._step, {exhibit.tag: pixels})
                board.scalars(self._step, {f"{exhibit.tag}/{name}": value for name, value in exhibit.numbers.items()})
                yield exhibit, path
