"""Which images a picture is about."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cnncli.config.network import Network, Node
from cnncli.drawing.color import Pixels
from cnncli.drawing.image import Tile, png
from cnncli.errors import DiskError, UsageError
from cnncli.files import disk_errors_explained, replace_file
from cnncli.layers.base import Layer
from cnncli.run import InputImage, Run
from cnncli.tensorboard.event_file import EventFile
from cnncli.tensorboard.projector import Projection, write_projection

_log = logging.getLogger(__name__)

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
        card: the same for TensorBoard, whose cards shrink what is larger than `cnncli.drawing.layout.CARD` by leaving
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

    def __init__(self, run: Run) -> None:
        self._folder = run.path / SHOW
        self._step = run.step

    def hang(self, exhibits: Iterable[Exhibit]) -> Iterator[tuple[Exhibit, Path]]:
        """Write exhibits, and yield each with the path of its PNG. Nothing is made where there is none.

        Raises:
            DiskError: nothing can be written there.
        """
        with ExitStack() as opened:
            board: EventFile | None = None
            for exhibit in exhibits:
                path = self._folder / exhibit.file
                with self._remedied():
                    board = board or opened.enter_context(EventFile(self._folder))
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


def chosen_layers(run: Run, names: Sequence[str], is_shown: Callable[[Layer], bool], what: str) -> tuple[Node, ...]:
    """The layers called `names`, in that order, or without names all that can be shown, in the network's order.

    Args:
        run: whose layers they are.
        names: as `inspect` prints them.
        is_shown: whether a layer can be shown.
        what: what such a layer has, for messages: `has kernels`.

    Raises:
        UsageError: there is no such layer, it cannot be shown, or the network has none that can.
    """
    able = [node for node in run.network.nodes if is_shown(node.layer)]
    if not able:
        raise UsageError(f"{run.path}: no layer of this network {what}")
    for name in names:
        if run.node(name) not in able:
            raise UsageError(
                f"--layer {name}: only one that {what} will do", remedy=f"one of {', '.join(n.name for n in able)}"
            )
    return tuple(map(run.node, dict.fromkeys(names))) if names else tuple(able)


def with_positions(network: Network) -> list[Node]:
    """The layers whose maps have more than one place."""
    return [node for node in network.nodes if len(node.shape) == 3 and max(node.shape[1:]) > 1]


def chosen_images(run: Run, images: Sequence[str], *, invert: bool) -> list[InputImage]:
    """The images that were named, each once, under slugs that differ: two files may have one name.

    Args:
        run: whose network looks at them.
        images: numbers of test images, and paths of picture files.
        invert: of the picture files, what is black is white and the other way round.

    Raises:
        UsageError: one of them is not there, two have one name, or there is nothing to invert.
    """
    if invert and all(image.isdecimal() for image in images):
        raise UsageError("--invert is for picture files of your own", remedy="leave it out for test images")
    seen = [run.input_image(image, invert=invert) for image in dict.fromkeys(images)]
    slugs = [each.slug for each in seen]
    twice = {each for each in slugs if slugs.count(each) > 1}
    if twice:
        raise UsageError(
            f"several images are called {', '.join(sorted(twice))}", remedy="show them one after the other, or rename"
        )
    for each in seen:
        for note in each.notes:
            _log.info(note)
    return seen
