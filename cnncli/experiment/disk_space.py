"""The disk space that a run needs, estimated before it begins.

The sizes of pictures are those of the bundled configs: a picture for TensorBoard is a card of 65,360 pixels, and takes
10 to 33 kB, depending on how many values it shows.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from torch import Tensor

from cnncli.errors import DiskError
from cnncli.experiment.setup import Experiment
from cnncli.inspection.columns import size_in_bytes
from cnncli.training.weight_history import FOLDER as WEIGHTS
from cnncli.training.weight_history import bytes_of

# In bytes.
_CARD = 9_000
"""A picture, or a frame of an animation, without what its values take."""
_SHOWN_VALUES = 4_000
"""A picture of enlarged values shows no more."""
_HISTOGRAM = 1_200
_EPOCH = 1_000
"""Curves and metrics of an epoch."""
_FIXED = 50_000
"""Configs, metadata, results and texts."""
_TENSOR = 600
"""What a file stores with a tensor."""
_STATE = 10_000
"""What a checkpoint stores besides: random number generators, counters and the manifest."""

_LEAST_VALUES = 32
_CHECKPOINTS = 3
"""`last`, `best`, and the one that is being written."""


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """The bytes that a run will still write.

    Attributes:
        checkpoints: of the last and the best epoch, and of one that is being written.
        pictures: in the event files, with histograms and animations.
        weights: that are kept at the steps with pictures.
        snapshots: the frames of the animations.
        others: curves, metrics, configs and results.
    """

    checkpoints: int
    pictures: int
    weights: int
    snapshots: int
    others: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())

    def __str__(self) -> str:
        """For people: `14.2 MB (checkpoints 3.0 MB, pictures 9.1 MB, ...)`, without parts below one percent."""
        parts = [f"{name} {size_in_bytes(size)}" for name, size in vars(self).items() if size > self.total / 100]
        return f"{size_in_bytes(self.total)} ({', '.join(parts)})"


def check_disk_space(experiment: Experiment, folder: Path, run: Path | None = None) -> None:
    """Refuse to begin a training that would fill the disk.

    Args:
        experiment: what is trained.
        folder: the one for run directories, which may not exist yet.
        run: the directory of the run, if it is resumed.

    Raises:
        DiskError: the free space is less than the run needs.
    """
    use, free = estimate_disk_use(experiment, run), free_bytes(run or folder)
    if free is None or use.total <= free:
        return
    saved = {"images=0": use.pictures + use.weights + use.snapshots, "weights=0": use.weights}
    options = [
        f"--set log.{each} saves {size_in_bytes(size)}" for each, size in saved.items() if size > use.total / 100
    ]
    remedy = f"free {size_in_bytes(use.total - free)} on this disk" + ("" if run else ", or choose another with --out")
    raise DiskError(
        f"{run or folder}: {size_in_bytes(free)} are free, but the run may write {use}",
        remedy="\n  ".join([remedy, *(["or write less:", *options] if options else [])]),
    )


def free_bytes(folder: Path) -> int | None:
    """The free space of the disk that holds a folder, or its first parent that exists; None if it is unknown."""
    existing = next((each for each in (folder.absolute(), *folder.absolute().parents) if each.exists()), None)
    try:
        return None if existing is None else shutil.disk_usage(existing).free
    except OSError:
        return None


def estimate_disk_use(experiment: Experiment, run: Path | None = None) -> DiskUse:
    """What an experiment will write: rather too much than too little.

    Args:
        experiment: the experiment.
        run: its directory if it is resumed. What it has already is not counted again.
    """
    config, log = experiment.config, experiment.config.log
    epochs = config.train.epochs
    last = epochs * len(experiment.train)
    steps = min(log.images, last + 1 if log.steps is None else len({0, *log.steps, last}))
    probes = len(experiment.probes.names)

    nodes = [node for node in config.network.nodes if log.layers is None or node.name in log.layers]
    weights = experiment.model.kernels() if log.kernels else {}
    kernels = [weights[node.name].numel() for node in nodes if node.name in weights]
    mapped = [node for node in nodes if node.layer.has_feature_maps] if log.feature_maps and probes else []
    maps = [prod(node.shape) for node in mapped]
    animated = [*kernels, *(prod(node.shape) for node in mapped if node.layer.is_pool)] if log.snapshots else []
    pictures = steps * (sum(map(_picture, [*kernels, *animated])) + probes * sum(map(_picture, maps)))
    large = sum(parameter.numel() >= _LEAST_VALUES for parameter in experiment.model.parameters())
    histograms = 2 * large * epochs * _HISTOGRAM if log.histograms else 0

    of_one = bytes_of(experiment.model.state_dict())
    kept = min(steps, int(log.weights * 1e6 / of_one)) * of_one
    checkpoints = _CHECKPOINTS * _checkpoint_bytes(experiment)
    checkpoints += 2 * _bytes_within_an_epoch(experiment)  # of `last`, and of the one that is being written
    events = _bytes_in(run, "events.out.tfevents.*")
    return DiskUse(
        checkpoints=max(0, checkpoints - _bytes_in(run, "checkpoints/*/*")),
        pictures=max(0, min(pictures + min(histograms, int(log.budget * 5e5)), int(log.budget * 1e6)) - events),
        weights=max(0, kept - _bytes_in(run, f"{WEIGHTS}/*")),
        snapshots=max(0, steps * sum(map(_snapshot, animated)) - _bytes_in(run, "snapshots/*")),
        others=_FIXED + epochs * _EPOCH,
    )


def _picture(values: int) -> int:
    """The size of the picture of a number of values."""
    return _CARD + int(1.5 * min(values, 4 * _SHOWN_VALUES))


def _snapshot(values: int) -> int:
    """The size of the values that a frame of an animation shows."""
    return 4 * min(values, _SHOWN_VALUES) + _TENSOR


def _checkpoint_bytes(experiment: Experiment) -> int:
    """A checkpoint: weights for inference, and the state to resume from."""
    weights = experiment.model.state_dict()
    return _tensor_bytes(weights.values()) + _state_bytes(experiment) + _STATE


def _bytes_within_an_epoch(experiment: Experiment) -> int:
    """What a checkpoint within an epoch has besides: gradients, and the state that a rollback restores."""
    restored = _state_bytes(experiment) if experiment.training.can_roll_back else 0
    return _tensor_bytes(experiment.model.parameters()) + restored


def _state_bytes(experiment: Experiment) -> int:
    """Weights, their moving average and what the optimizer keeps."""
    copies = 1 + experiment.config.train.optimizer.states + (experiment.training.ema is not None)
    return copies * _tensor_bytes(experiment.model.state_dict().values())


def _tensor_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.numel() * each.element_size() + _TENSOR for each in tensors)


def _bytes_in(run: Path | None, pattern: str) -> int:
    return 0 if run is None else sum(path.stat().st_size for path in run.glob(pattern))
