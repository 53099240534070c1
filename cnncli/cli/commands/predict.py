"""`cnncli predict`: the classes of people's own images."""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption
from cnncli.errors import CnncliError, DataError, UsageError
from cnncli.files import atomic_write, disk_errors_explained
from cnncli.options import DATA_DIR, DataDirOption, FitOption, InvertOption, RunArgument

if TYPE_CHECKING:
    from cnncli.data.preparation import Fit, Invert, PreparedImage
    from cnncli.run import Prediction, Run

_BATCH = 64
"""Images that are prepared before the first of them is printed."""
_STDIN = "-"
_SAVE_INPUT = "--save-input"

ImagesArgument = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE", help="Image files, folders, patterns such as '*.png', or - for stdin."),
]
TopOption = Annotated[
    int, typer.Option("--top", min=1, metavar="K", help="Number of classes to print, most probable first.")
]
SaveInputOption = Annotated[
    Path | None,
    typer.Option(_SAVE_INPUT, metavar="DIR", help="Write each image as the network sees it, as a PNG file."),
]


@dataclass(frozen=True)
class Source:
    """An image to predict.

    Attributes:
        name: for people.
        image: the path of its file, or the content; or why there is no image.
    """

    name: str
    image: Path | bytes | DataError


def predict(
    run: RunArgument,
    images: ImagesArgument,
    top: TopOption = 3,
    invert: InvertOption = "auto",
    fit: FitOption = "auto",
    save_input: SaveInputOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Predict the classes of your own images.

    Images of any size and color are prepared like those of the data set that the network was trained on. What was done
    to an image is printed with its prediction, and a terminal also shows the image that the network sees.

    Examples:

      cnncli predict runs/lenet5-20260131-120000 seven.jpg

      cnncli predict runs/lenet5-20260131-120000 scans '*.png' --json

      cnncli predict runs/lenet5-20260131-120000 - --save-input seen < seven.jpg
    """
    from cnncli.cli.render.predictions import PredictionDisplay
    from cnncli.run import load_run

    opened = load_run(run, data_dir=data_dir)
    sources = list(_find_sources(images))
    paths = _paths_to_save(save_input, sources)
    display = PredictionDisplay(top=top, images=len(sources))
    problems: list[CnncliError] = []
    for start in range(0, len(sources), _BATCH):
        batch = range(start, min(start + _BATCH, len(sources)))
        prepared = {}
        for number in batch:
            image = _prepare(opened, sources[number], invert=invert, fit=fit)
            if isinstance(image, DataError):
                problems.append(image)
                if len(sources) > 1:
                    display.problem(image)
            else:
                prepared[number] = image
        for number, prediction in zip(prepared, opened.predict_prepared([*prepared.values()]), strict=True):
            name, image = sources[number].name, prepared[number]
            if save_input is not None:
                _save(image, paths[number])
            if as_json:
                typer.echo(json.dumps(_record(name, prediction, top), allow_nan=False))
            else:
                display.prediction(name, image, prediction)
    if problems:
        raise _summary(problems, of=len(sources))


def _find_sources(arguments: Sequence[str]) -> Iterator[Source]:
    """The images that arguments name: each once, those of a folder sorted."""
    from cnncli.data.decode import image_suffixes, read_image
    from cnncli.data.image_folder import visible_files

    suffixes = image_suffixes()
    for argument in dict.fromkeys(arguments):
        path = Path(argument)
        if argument == _STDIN:
            yield Source("stdin", read_image(sys.stdin.buffer))
        elif path.is_dir():
            try:
                found = [each for each in visible_files(path) if each.suffix.lower() in suffixes]
            except OSError as error:
                yield Source(argument, DataError(f"{error.filename}: {error.strerror}"))
                continue
            yield from (Source(str(each), each) for each in found)
            if not found:
                yield Source(argument, DataError(f"{argument}: the folder has no images"))
        elif not path.exists() and glob.has_magic(argument):
            matches = sorted(each for each in glob.glob(argument, recursive=True) if Path(each).is_file())  # noqa: PTH207  Path has no absolute patterns
            yield from (Source(each, Path(each)) for each in matches)
            if not matches:
                yield Source(argument, DataError(f"{argument}: no file matches this pattern"))
        else:
            yield Source(argument, path)


def _prepare(run: Run, source: Source, *, invert: Invert, fit: Fit) -> PreparedImage | DataError:
    """An image as the network sees it, or why it cannot be used.

    Raises:
        DataError: the preparation of the run is unknown, and its data set unavailable.
    """
    preparation = run.preparation
    if isinstance(source.image, DataError):
        return source.image
    try:
        return preparation.prepare(source.image, name=source.name, invert=invert, fit=fit)
    except DataError as error:
        return error


def _paths_to_save(folder: Path | None, sources: Sequence[Source]) -> list[Path]:
    """A path in a folder for each source, named after it.

    Raises:
        UsageError: one of them is the file of a source.
        DiskError: the folder cannot be created.
    """
    if folder is None:
        return []
    with disk_errors_explained(folder, option=_SAVE_INPUT):
        folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    paths = []
    for source in sources:
        stem = source.image.stem if isinstance(source.image, Path) else source.name
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        paths.append(folder / f"{name}.png")
    originals = {source.image.resolve() for source in sources if isinstance(source.image, Path)}
    if overwritten := sorted({path.resolve() for path in paths} & originals):
        raise UsageError(f"{_SAVE_INPUT} would overwrite {overwritten[0]}", remedy="choose another folder")
    return paths


def _save(image: PreparedImage, path: Path) -> None:
    with atomic_write(path, option=_SAVE_INPUT) as file:
        file.write(image.png())


def _record(name: str, prediction: Prediction, top: int) -> dict[str, Any]:
    """A prediction in JSON, which has no NaN: a probability that is not finite is null."""
    probabilities = [
        (each, probability if isfinite(probability) else None) for each, probability in prediction.probabilities.items()
    ]
    return {
        "image": name,
        "prediction": prediction.prediction,
        "probability": probabilities[0][1],
        "top": [{"class": each, "probability": probability} for each, probability in probabilities[:top]],
        "preprocessing": list(prediction.preprocessing),
    }


def _summary(problems: Sequence[CnncliError], *, of: int) -> CnncliError:
    """The error that ends the command: that of a single image, or how many of several cannot be read."""
    if of == 1:
        return problems[0]
    return DataError(f"{len(problems):,} of {of:,} images cannot be read")
