"""The playground: one or two trained networks in one HTML file, computed in the browser.

Letters for shapes: N images, K classes, C channels, (H, W) image.
"""

import html
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import cnncli
from cnncli.data.images import ImageSet
from cnncli.drawing.color import DIVERGING, NOT_FINITE, SEQUENTIAL
from cnncli.drawing.image import png
from cnncli.errors import DataError, UsageError
from cnncli.files import disk_errors_explained, replace_file
from cnncli.inspection.graph import graph_of
from cnncli.layers import format_shape
from cnncli.report.arrays import Arrays
from cnncli.report.history import add_history
from cnncli.report.model_data import ModelData, model_data, module_with
from cnncli.report.network import network_data
from cnncli.report.page import LIVE_PAGE, PLAY_PAGE, base64_text, document
from cnncli.report.patches import patch_data
from cnncli.report.tour import read_tour
from cnncli.run import Run, load_run
from cnncli.training.evaluate import Predictions
from cnncli.training.run_directory import RunDirectory
from cnncli.views.feature_maps import FeatureMaps

PLAYGROUND = "play.html"
"""The default name of the file in the run directory."""
CHECKED = 100
"""Number of images whose logits the page compares with those of torch."""
PER_CLASS, MISTAKES = 10, 20
"""Maximum number of test images of each class, and of mistakes of each network, besides those that are compared."""
IMAGE_BYTES = 1_500_000
"""Maximum bytes of the images in the page, before compression; at least one image is kept."""
RANDOM_CHECKED = 20
"""Number of random images that are compared where the data set is missing: noise does not compress."""
EVALUATED_MACS = 2e11
"""MACs spent on the search for mistakes: the first test images are searched, as many as that allows."""

Language: TypeAlias = Literal["en", "zh"]

_log = logging.getLogger(__name__)


def write_playground(
    runs: Sequence[Path],
    *,
    out: Path | None,
    data_dir: Path,
    language: Language = "en",
    tour: Path | None = None,
) -> Path:
    """Write the playground of one or two runs, replacing an existing one.

    Args:
        runs: directories of runs with a checkpoint of best weights.
        out: the file; without it, `play.html` in the first run.
        data_dir: where the data set is. Without it the page works, but has no test images.
        language: of the page, which has a switch.
        tour: a file that replaces the built-in tour; see `read_tour`.

    Returns:
        The path of the file.

    Raises:
        UsageError: `out` is a directory, or the networks of two runs take different inputs or have different classes.
        RunError: a directory is not a run, or has no weights.
        DataError: a run does not store its normalization, and its data set is missing.
        ConfigError: the tour has a mistake.
        DiskError: the file cannot be written.
    """
    path = out or runs[0] / PLAYGROUND
    if path.is_dir():
        raise UsageError(f"{path} is a directory", remedy="give --out the name of a file, such as play.html")
    loaded = [load_run(each, data_dir=data_dir).offline() for each in runs]
    read = None if tour is None else read_tour(tour, loaded[0].network)
    page = playground_page(loaded, language=language, tour=read)
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, page.encode())
    return path


def playground_page(runs: Sequence[Run], *, language: Language = "en", tour: Mapping[str, Any] | None = None) -> str:
    """The HTML of the playground of one or two runs, which are not downloaded; see `write_playground`."""
    check_comparable(runs)
    data, arrays = collect(runs, language=language, tour=tour)
    title = " and ".join(f"{run.config.name} ({run.path.resolve().name})" for run in runs)
    parts = {
        **arrays,
        "static": _static_page(runs[0]),
        "language": "zh-CN" if language == "zh" else "en",
    }
    return document(PLAY_PAGE, data, title=f"{title}: playground", parts=parts)


def training_page(run: Run) -> str:
    """The HTML of the playground of a network in training, which fetches newer weights from where it is served.

    It lacks what takes long to find and changes with the weights: mistakes and patches.
    """
    data, arrays = collect([run], in_training=True)
    title = f"{run.config.name} ({run.path.resolve().name}): training"
    return document(LIVE_PAGE, data, title=title, parts={**arrays, "static": "", "language": "en"})


def check_comparable(runs: Sequence[Run]) -> None:
    """Check that the networks of two runs can see the same image and give the same answers.

    Raises:
        UsageError: they cannot.
    """
    first = runs[0]
    for other in runs[1:]:
        shapes = [run.network.input_shape for run in (first, other)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"{first.path} takes images {format_shape(shapes[0])}, and {other.path} {format_shape(shapes[1])}",
                remedy="compare runs whose networks take the same images",
            )
        if first.classes != other.classes:
            raise UsageError(
                f"{first.path} and {other.path} have different classes",
                remedy="compare runs with the same classes in the same order",
            )


def collect(
    runs: Sequence[Run],
    *,
    language: Language = "en",
    tour: Mapping[str, Any] | None = None,
    in_training: bool = False,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The data of the page, as JSON, and its arrays, as parts of the template.

    The part `first` has what the first picture needs: the weights and, as `first`, the first image. The page reads it
    at once, before the browser has read the part `binary` with all the others.

    `models` has an entry for each run. `images` are test images before normalization, uint8: `count`, `numbers` in the
    test split, `labels`, `mistakes` (positions in this list, for each model, the most confident first), and `check`:
    the first `count` images of the array `key`, whose logits torch computed. Where the data set is missing,
    `unavailable` gives the reason, there are no images, and the check uses random ones.
    """
    first, arrays = Arrays(), Arrays()
    networks = [model_data(run.model, classes=run.classes, normalization=run.normalization) for run in runs]
    models = [_model(number, run, networks[number], first) for number, run in enumerate(runs)]
    if not in_training:
        for number, run in enumerate(runs):
            models[number] |= add_history(arrays, run, number)
    images, pixels, unavailable = _images(runs, arrays, tour["images"] if tour else [], with_mistakes=not in_training)
    if unavailable is None:
        first.add("first", pixels[0].numpy())
    for number, (run, network) in enumerate(zip(runs, networks, strict=True)):
        arrays.add(f"logits/{number}", _logits(run, network, pixels))
    data = {
        "version": cnncli.__version__,
        "language": language,
        "command": {"play": "cnncli play", "run": [str(run.path) for run in runs]},
        "colors": {"diverging": DIVERGING, "sequential": SEQUENTIAL, "not_finite": NOT_FINITE},
        "models": models,
        "images": images,
        "preparation": runs[0].preparation.description(),
        "patches": None if unavailable or in_training else _patches(runs, images, arrays),
        "tour": tour,
        "live": in_training,
        "unavailable": unavailable,
        "first": first.index,
        "arrays": arrays.index,
    }
    return data, {"first": first.raw_text(), "binary": arrays.text()}


def _model(number: int, run: Run, network: ModelData, arrays: Arrays) -> dict[str, Any]:
    """A network and where it comes from; its weights become the array `weights/<number>`."""
    arrays.add(f"weights/{number}", network.weights.astype(network.precision))
    return {
        "run": run.path.resolve().name,
        "name": run.config.name,
        "data": run.config.data.name,
        "model": network.model,
        "receptive_fields": network_data(graph_of(run.network, run.config.name)),
        "step": run.step,
        "epoch": run.epoch,
        "accuracy": _accuracy(run),
        "steps": [],
        "metrics": [],
    }


def _patches(runs: Sequence[Run], images: Mapping[str, Any], arrays: Arrays) -> list[dict[str, Any]]:
    """The strongest patches of each filter of every network as JSON; their arrays become `patches/<number>/<name>`."""
    found = [patch_data(run, images["numbers"], searched=images["searched"]) for run in runs]
    for number, each in enumerate(found):
        for name, array in each.arrays.items():
            arrays.add(name.replace("/", f"/{number}/"), array)
    return [each.data for each in found]


def _accuracy(run: Run) -> float | None:
    """The accuracy on the test images; None if the run has no results of these weights."""
    directory = RunDirectory(run.path)
    results = directory.results() if directory.is_complete() else {}
    return results["test"]["accuracy"] if "test" in results and results["epoch"] == run.epoch else None


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """The test images in the page: their numbers, and the positions of each network's mistakes among them."""

    numbers: list[int]
    mistakes: list[list[int]]


def _images(
    runs: Sequence[Run], arrays: Arrays, wanted: Sequence[int], *, with_mistakes: bool = True
) -> tuple[dict[str, Any], Tensor, str | None]:
    """The images of the page as JSON, those whose logits are compared, uint8 (N, C, H, W), and why there are none."""
    first = runs[0]
    shape = first.network.input_shape
    try:
        test = first.test
    except DataError as error:
        _log.warning(f"the playground has no test images: {error.message}; {error.remedy}")
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(256, (RANDOM_CHECKED, *shape), dtype=torch.uint8, generator=generator)
        arrays.add("check", noise.numpy())
        check = {"count": len(noise), "source": "random", "key": "check"}
        empty = {"shape": list(shape), "count": 0, "labels": [], "numbers": [], "mistakes": [[] for _ in runs]}
        return {**empty, "check": check, "searched": 0}, noise, error.message
    most = max(1, IMAGE_BYTES // int(np.prod(shape)))
    searched = _searched(runs, len(test)) if with_mistakes else 0
    few = test.subset(torch.arange(searched))
    pool = _pool(test, [run.predict_set(few) for run in runs] if searched else [], wanted=wanted, most=most)
    chosen = test.subset(torch.tensor(pool.numbers))
    pixels = chosen.images.cpu().contiguous()
    checked = min(CHECKED, len(test), len(pixels))
    arrays.add("images", pixels.numpy())
    return (
        {
            "shape": list(shape),
            "count": len(pixels),
            "labels": chosen.labels.tolist(),
            "numbers": pool.numbers,
            "mistakes": pool.mistakes or [[] for _ in runs],
            "check": {"count": checked, "source": "test", "key": "images"},
            "searched": searched,
        },
        pixels[:checked],
        None,
    )


def _searched(runs: Sequence[Run], images: int) -> int:
    """How many of the test images are searched for mistakes."""
    macs = max(1, sum(run.table.macs for run in runs))
    return max(1, min(images, int(EVALUATED_MACS / macs)))


def _pool(test: ImageSet, predictions: Sequence[Predictions], *, wanted: Sequence[int], most: int) -> _Pool:
    """The first test images, some of each class, and the most confident mistakes of each network.

    Where there is no room for all, mistakes and classes get their share before the rest of the first images.
    """
    labels = test.labels.cpu().numpy()
    firsts = list(range(min(CHECKED, len(test))))
    by_class = [np.flatnonzero(labels == label)[:PER_CLASS].tolist() for label in np.unique(labels)]
    mistakes = []
    for each in predictions:
        wrong = np.flatnonzero(~each.correct)
        mistakes.append(wrong[np.argsort(-each.confidence[wrong], kind="stable")][:MISTAKES].tolist())
    kept = set(firsts[: max(1, min(CHECKED, most // 2))]) | {number for number in wanted if number < len(test)}
    turns = [*mistakes, *by_class]
    for rank in range(max(map(len, turns))):
        for turn in turns:
            if rank < len(turn) and len(kept) < most:
                kept.add(turn[rank])
    numbers = sorted(kept)
    positions = {number: position for position, number in enumerate(numbers)}
    return _Pool(
        numbers=numbers,
        mistakes=[[positions[number] for number in each if number in positions] for each in mistakes],
    )


@torch.inference_mode()
def _logits(run: Run, network: ModelData, pixels: Tensor) -> npt.NDArray[np.float32]:
    """Torch's logits (N, K) for images uint8 (N, C, H, W), with the weights as the page has them."""
    images = ImageSet(images=pixels, labels=torch.zeros(len(pixels), dtype=torch.int64))
    model = module_with(run.network, network.weights)
    logits: npt.NDArray[np.float32] = torch.cat([model(batch) for batch, _ in run.batches(images).epoch(1)]).numpy()
    return logits


def _static_page(run: Run) -> str:
    """What a browser without JavaScript shows: feature maps and logits of the first test image, as HTML."""
    lines = [f"<h1>{html.escape(run.config.name)}</h1>", "<p>This page needs JavaScript to compute the network.</p>"]
    try:
        image = run.input_image("0")
    except DataError:
        return f'<div class="static">{"".join(lines)}</div>'
    with torch.inference_mode():
        logits = run.model(image.image[None])[0].double().cpu()
    shares = logits.softmax(dim=0)
    lines.append(f"<p>Logits and softmax for {html.escape(image.name)}:</p>")
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{logit:.4g}</td><td>{share:.2%}</td></tr>"
        for name, logit, share in zip(run.classes, logits.tolist(), shares.tolist(), strict=True)
    )
    head = "<thead><tr><th scope=col>class</th><th scope=col>logit</th><th scope=col>softmax</th></tr></thead>"
    lines.append(f'<table class="numbers">{head}<tbody>{rows}</tbody></table>')
    for picture in _static_pictures(run):
        lines.append(picture)
    return f'<div class="static">{"".join(lines)}</div>'


def _static_pictures(run: Run) -> list[str]:
    """The feature maps of the first and the last layer that has some."""
    with_maps = [node.name for node in run.network.nodes if node.layer.has_feature_maps and len(node.shape) == 3]
    names = tuple(dict.fromkeys([*with_maps[:1], *with_maps[-1:]]))
    if not names:
        return []
    return [
        f'<p><img alt="{html.escape(each.title)}" src="data:image/png;base64,{base64_text(png(each.pixels))}"></p>'
        for each in FeatureMaps(layers=names).pictures(run)
    ]
