"""A trained network written as a file for other programs, and compared with the run before it gets its name.

Letters for shapes: N images, K classes, C channels, (H, W) image.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from cnncli import __version__
from cnncli.data.images import ImageSet
from cnncli.data.preprocessing import Preprocessing
from cnncli.errors import DataError, RunError, UsageError
from cnncli.export import FORMATS, IMAGES, FormatName
from cnncli.export.format import Format
from cnncli.export.pixels import PixelModule
from cnncli.files import atomic_write, disk_errors_explained
from cnncli.module import CnnModule
from cnncli.run import Run

_log = logging.getLogger(__name__)

FOLDER = "export"
"""The folder of a run for files without `--out`."""
TOLERANCE = 1e-4
"""The largest difference between two logits that rounding in float32 explains, for logits of at most 1; for larger ones
relative to the largest."""

Input = Literal["normalized", "pixels"]
"""What the network in a file takes: float32 images that are normalized, or uint8 images as they are stored."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The logits of a file next to those of its run, for the same images.

    Attributes:
        runtime: the package that ran the file.
        source: the images: those of the test split, or random ones where the data set is missing.
        images: their number.
        same_predictions: the number of those with the same largest logit.
        largest_difference: of two logits.
        largest_logit: the largest magnitude of a logit of the run.
    """

    runtime: str
    source: Literal["test", "random"]
    images: int
    same_predictions: int
    largest_difference: float
    largest_logit: float

    @property
    def agrees(self) -> bool:
        """Whether the differences are those of rounding; predictions can then differ only where two logits tie."""
        return self.largest_difference <= TOLERANCE * max(1.0, self.largest_logit)  # False for NaN


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file that was written, and how it was checked.

    Attributes:
        path: the file.
        format: its format.
        input: what the network takes.
        input_shape: (C, H, W).
        comparison: with the run.
    """

    path: Path
    format: FormatName
    input: Input
    input_shape: tuple[int, ...]
    comparison: Comparison


def export_run(
    run: Run,
    name: FormatName,
    *,
    out: Path | None = None,
    with_preprocessing: bool = False,
    images: int = IMAGES,
) -> Export:
    """Write the network of a run with its best weights, and check the file with the runtime of its format.

    Args:
        run: on the CPU.
        name: of the format.
        out: the file; without it, `export/<name of the config>` and the suffix of the format in the run.
        with_preprocessing: put the normalization into the graph, so that the network takes uint8 images.
        images: the largest number of test images that are compared, evenly spaced. Without the data set, as many random
            images; it is not downloaded.

    Raises:
        UsageError: a package is missing, or the arguments do not fit the format.
        RunError: the file does not compute what the run computes; it is deleted.
        DataError: the run does not store its normalization, and the data set is missing.
        DiskError: the file cannot be written.
    """
    format = FORMATS[name]
    path = run.path / FOLDER / f"{run.config.name}{format.suffix}" if out is None else out
    _check_arguments(format, path, with_preprocessing=with_preprocessing)
    format.check_packages()
    network, normalization = run.network, run.normalization
    kind: Input = "pixels" if with_preprocessing else "normalized"
    module = (
        PixelModule(network, normalization, portable=format.portable)
        if with_preprocessing
        else CnnModule(network, portable=format.portable)
    )
    module.load_state_dict(run.model.state_dict())
    module.eval().requires_grad_(False)
    example = torch.zeros(2, *network.input_shape, dtype=torch.uint8 if with_preprocessing else torch.float32)
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(format.content(module, example, metadata_of(run, kind)))
        file.flush()
        compared, source = _images(run, images)
        what = f"{len(compared):,} {source} images"
        _log.info(f"comparing the file with the run on {what}, through {format.runtime}")
        comparison = compare(run, format, Path(file.name), compared, kind=kind, source=source)
        if not comparison.agrees:
            raise RunError(
                f"{path}: {format.title} computes other logits than the run: on {what} the largest difference is "
                f"{comparison.largest_difference:.2g}, and {comparison.images - comparison.same_predictions:,} "
                "predictions differ",
                remedy=f"the file was not kept; try another version of {format.runtime}, or another format",
            )
    return Export(path=path, format=name, input=kind, input_shape=network.input_shape, comparison=comparison)


def _check_arguments(format: Format, path: Path, *, with_preprocessing: bool) -> None:
    if with_preprocessing and not format.has_graph:
        raise UsageError(
            f"--with-preprocessing: a {format.suffix} file has weights and no graph",
            remedy="use --format onnx or torch; mean and standard deviation are in the metadata of every format",
        )
    if path.is_dir():
        raise UsageError(f"{path} is a directory", remedy=f"give --out the name of a file, such as net{format.suffix}")
    others = {each.suffix: name for name, each in FORMATS.items() if each is not format}
    if path.suffix in others:
        raise UsageError(
            f"--out {path}: {path.suffix} is the suffix of another format",
            remedy=f"use --format {others[path.suffix]}, or a name that ends in {format.suffix}",
        )


def metadata_of(run: Run, kind: Input) -> dict[str, str]:
    """What a file says about its network.

    `cnncli` is the version; `name`, the name of the config; `epoch`, that of the weights; `input`, see `Input`;
    `preprocessing`, JSON as in the checkpoints of a run, with the classes; `config`, YAML with all defaults.
    """
    preprocessing = Preprocessing(
        input_shape=run.network.input_shape,
        normalization=run.normalization,
        classes=run.classes,
        range=run.pixel_range,
    )
    return {
        "cnncli": __version__,
        "name": run.config.name,
        "epoch": str(run.epoch),
        "input": kind,
        "preprocessing": json.dumps(preprocessing.as_record(), ensure_ascii=False),
        "config": run.config.resolved(),
    }


def _images(run: Run, most: int) -> tuple[ImageSet, Literal["test", "random"]]:
    """Test images, evenly spaced, or as many random ones if the data set is missing."""
    try:
        test = run.offline().test
    except DataError as error:
        _log.info(f"random images are compared, for lack of test images: {error.message}")
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (most, *run.network.input_shape), dtype=torch.uint8, generator=generator)
        return ImageSet(images=pixels, labels=torch.zeros(most, dtype=torch.int64)), "random"
    count = min(most, len(test))
    return test.subset(torch.arange(count) * len(test) // count), "test"


@torch.inference_mode()
def compare(
    run: Run, format: Format, path: Path, images: ImageSet, *, kind: Input, source: Literal["test", "random"]
) -> Comparison:
    """Load a file and compare its logits with those of its run.

    The first image is also given to both alone: the size of a batch may vary.
    """
    network = format.load(path)
    expected, actual = [], []  # (N, K) each
    done = 0
    for normalized, _ in run.batches(images).epoch(1):
        inputs = images.images[done : done + len(normalized)] if kind == "pixels" else normalized
        for part in [slice(1), slice(None)] if done == 0 else [slice(None)]:
            expected.append(run.model(normalized[part]))
            actual.append(network(inputs[part]))
        done += len(normalized)
    logits, others = torch.cat(expected).double(), torch.cat(actual).double()
    return Comparison(
        runtime=format.runtime,
        source=source,
        images=done,
        same_predictions=int((logits.argmax(1) == others.argmax(1))[1:].sum()),
        largest_difference=float((logits - others).abs().max()),
        largest_logit=float(logits.abs().max()),
    )
