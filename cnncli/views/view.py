"""The base class of views: its layers and images, and how its pictures are saved in a run.

A view is a dataclass: its fields are the options of its command, and its docstring is the help of that command. Views
are listed in `cnncli.views`. The modules of views import torch where they compute, so that `--help` does not wait for
it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeAlias

import numpy as np
import typer

from cnncli.drawing.image import Tile, png
from cnncli.errors import DataError, DiskError, UsageError
from cnncli.files import disk_errors_explained, replace_file
from cnncli.options import preparation_options

if TYPE_CHECKING:
    from cnncli.config.network import Network, Node
    from cnncli.data.preparation import Fit, Invert
    from cnncli.drawing.canvas import Canvas
    from cnncli.drawing.color import Pixels, Values
    from cnncli.inspection.formatting import Line
    from cnncli.run import InputImage, Run
    from cnncli.tensorboard.projector import Projection

_log = logging.getLogger(__name__)

FOLDER = "show"
"""The folder of a run that pictures are saved in. For TensorBoard it is a separate run: pictures
saved later do not displace those logged in training, and a run that is still training has its event file to itself."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Picture:
    """A picture of a run, with what was measured for it.

    Attributes:
        tag: its name in TensorBoard, `<view>/<what>`, such as `patches/03_conv2`; the file is named after it.
        title: one line.
        canvas: the picture for a file, usually up to 1000 px wide.
        card: the same as pixels (H, W, 3) for a card of TensorBoard, which drops rows and columns of what is larger
            than `cnncli.drawing.layout.CARD`, letters too; None where the canvas fits.
        tiles: the same as small tiles, for a terminal.
        text: the same as lines of text for a terminal, instead of tiles, given the number of columns and whether only
            ASCII characters can be printed.
        numbers: name -> what was measured, in the units that the name gives.
        data: what `--json` prints besides, as JSON values.
        lines: what else a reader should know, one sentence each.
        projection: points for TensorBoard's projector.
    """

    tag: str
    title: str
    canvas: Canvas
    card: Pixels | None = None
    tiles: Sequence[Tile] = ()
    text: Callable[[int, bool], Iterable[Line]] | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    lines: Sequence[str] = ()
    projection: Projection | None = None

    @property
    def pixels(self) -> Pixels:
        """The canvas, not enlarged: uint8 (H, W, 3)."""
        return self.canvas.pixels


Layers = Annotated[
    Sequence[str], typer.Option("--layer", metavar="NAME", help="Only this layer, named as in inspect. Repeatable.")
]
Filters = Annotated[
    Sequence[int], typer.Option("--filter", metavar="N", min=0, help="Only this filter, counted from 0. Repeatable.")
]
Images = Annotated[
    Sequence[str],
    typer.Argument(metavar="[IMAGE]...", help="Numbers of test images, or image files.", show_default=False),
]


@dataclass(frozen=True, kw_only=True)
class View(ABC):
    """A type of picture; every field is an option of its command, annotated as typer reads it."""

    name: ClassVar[str]
    """As on the command line, such as `feature-maps`; tags start with `feature_maps/`."""

    @abstractmethod
    def pictures(self, run: Run) -> Iterator[Picture]:
        """Compute and draw the pictures of a run, one after the other.

        Raises:
            UsageError: the run has no such layer, image or class, or nothing that this view could show.
        """

    @classmethod
    def overview(cls, run: Run) -> Self:
        """The view with the options that `cnncli show all` draws it with."""
        return cls()


FileFormat: TypeAlias = Literal["png", "svg"]


def save(
    run: Run, pictures: Iterable[Picture], *, scale: int = 1, file_format: FileFormat = "png"
) -> Iterator[tuple[Picture, Path]]:
    """Save pictures into a run, at the step of its weights: image files, an event file, the files of the projector.

    Each is written as soon as it is drawn, and replaces one of the same tag. Without pictures nothing is created.

    Args:
        run: whose pictures they are.
        pictures: each with a tag of its own.
        scale: enlargement of the files. Cards of TensorBoard have their own size.
        file_format: of the files.

    Yields:
        Each picture with the path of its file.

    Raises:
        DiskError: the folder cannot be written to.
    """
    from cnncli.tensorboard.event_file import EventFile
    from cnncli.tensorboard.projector import write_projection

    folder = run.path / FOLDER
    with ExitStack() as stack:
        events: EventFile | None = None
        for picture in pictures:
            path = folder / f"{picture.tag}.{file_format}"
            try:
                events = events or stack.enter_context(EventFile(folder))
                with disk_errors_explained(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                if file_format == "svg":
                    replace_file(path, picture.canvas.svg(title=picture.title, scale=scale).encode())
                else:
                    replace_file(path, png(picture.canvas.enlarged(scale)))
                events.pictures(run.step, {picture.tag: picture.pixels if picture.card is None else picture.card})
                if picture.projection is not None:
                    write_projection(folder, picture.projection)
            except DiskError as error:
                remedy = f"free some space, or make sure that {run.path} is writable"
                raise DiskError(error.message, remedy=remedy) from error
            yield picture, path


def draw_all(run: Run, views: Iterable[type[View]]) -> Iterator[Picture]:
    """The pictures of several views with the options of the overview.

    A view with nothing to show is logged, and so are those that need a data set that is missing; it is not downloaded.
    """
    run = run.offline()
    without_data: list[str] = []
    missing: DataError | None = None
    for view in views:
        try:
            yield from view.overview(run).pictures(run)
        except UsageError as error:
            _log.info(f"no {view.name}: {error.message}")
        except DataError as error:
            without_data.append(view.name)
            missing = error
    if missing is not None:
        _log.warning(
            f"not drawn without the test images: {', '.join(without_data)} ({missing.message}; {missing.remedy})"
        )


def select_layers(
    run: Run, names: Sequence[str], suitable: Callable[[Node], bool], requirement: str
) -> tuple[Node, ...]:
    """The layers called `names`, in that order; without names all suitable ones.

    Args:
        run: whose layers they are.
        names: as `inspect` prints them.
        suitable: which layers can be shown.
        requirement: what these have, for messages, such as `kernels`.

    Raises:
        UsageError: a layer does not exist or is not suitable, or no layer is.
    """
    able = [node for node in run.network.nodes if suitable(node)]
    if not able:
        raise UsageError(f"{run.path}: no layer of this network has {requirement}")
    for name in names:
        if run.node(name) not in able:
            raise UsageError(
                f"--layer {name}: this layer has no {requirement}",
                remedy=f"choose one of {', '.join(node.name for node in able)}",
            )
    return tuple(map(run.node, dict.fromkeys(names))) if names else tuple(able)


def nodes_with_positions(network: Network) -> list[Node]:
    """The layers whose maps have more than one position."""
    return [node for node in network.nodes if len(node.shape) == 3 and max(node.shape[1:]) > 1]


def read_images(run: Run, images: Sequence[str], *, invert: Invert, fit: Fit) -> list[InputImage]:
    """Test images and image files as the network gets them; what was done to a file is logged.

    Args:
        run: whose network gets them.
        images: numbers of test images, and paths of image files; repetitions are dropped.
        invert, fit: how image files are prepared, see `Run.predict`.

    Raises:
        UsageError: a test image does not exist, two files have the same name, or there is no file to prepare.
        DataError: a file cannot be decoded.
    """
    options = preparation_options(invert=invert, fit=fit)
    if options and all(image.isdecimal() for image in images):
        raise UsageError(f"{options} applies only to image files", remedy="omit it for test images")
    inputs = [
        run.input_image(image) if image.isdecimal() else run.input_image(image, invert=invert, fit=fit)
        for image in dict.fromkeys(images)
    ]
    slugs = [each.slug for each in inputs]
    if repeated := {slug for slug in slugs if slugs.count(slug) > 1}:
        raise UsageError(
            f"several images have the name {', '.join(sorted(repeated))}",
            remedy="rename one of the files, or show them one at a time",
        )
    return inputs


def dead_caption(dead: Collection[int] | None, *, of: int, what: str) -> list[str]:
    """The line that counts dead filters; also printed if there are none yet, so that the layout stays the same."""
    if dead is None:
        return []
    return [f"{len(dead)} of {of} {what} dead" + ": outlined" * bool(dead)]


def not_finite(values: Values, what: str) -> list[str]:
    """The line that counts values that are not finite, if there are any; they are drawn in magenta."""
    lost = int(np.count_nonzero(~np.isfinite(values)))
    return [f"{lost} of {values.size} {what} are not finite: magenta"] if lost else []
