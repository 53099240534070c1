"""Probabilities for every image of a data set, from networks that were not trained on it.

N: training images, T: test images, K: classes.
"""

import logging
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnncli.config.config import Config
from cnncli.data.images import Dataset
from cnncli.experiment.setup import prepare_split
from cnncli.experiment.train import build_step
from cnncli.training.evaluate import Probabilities, predict
from cnncli.training.loop import fit
from cnncli.training.progress import Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class OutOfSample:
    """Probabilities from networks that have not seen the image.

    Attributes:
        train: float64 (N, K), each row from the network of the fold that held this image out.
        test: float64 (T, K), means over the networks of all folds.
    """

    train: Probabilities
    test: Probabilities


def predict_out_of_sample(
    config: Config, dataset: Dataset, *, folds: int, device: torch.device, progress: Progress | None = None
) -> OutOfSample:
    """Train one network for each fold of the training images, without this fold, and predict fold and test images.

    The result depends on `train.seed`, which also chooses the folds. The weights after the last epoch are used, without
    looking at the fold.

    Args:
        config: the network and its training; its shapes and classes are those of the data set.
        dataset: the images.
        folds: 2 or more, at most the number of training images.
        device: where to compute.
        progress: updated at every step.

    Raises:
        ConfigError, DeviceError: see `prepare`.
        DivergedError: see `fit`.
    """
    labels = dataset.train.labels.cpu().numpy()
    fold_of = stratified_folds(labels, folds, seed=config.train.seed)
    train = np.empty((len(labels), len(config.classes)))
    test = np.zeros((len(dataset.test), len(config.classes)))
    for fold in range(folds):
        began = perf_counter()
        kept, held_out = (torch.from_numpy(np.flatnonzero(each)) for each in (fold_of != fold, fold_of == fold))
        predicted, tested = _train_and_predict(config, dataset, kept, held_out, device=device, progress=progress)
        train[held_out.numpy()] = predicted
        test += tested / folds
        agreement = (predicted.argmax(axis=1) == labels[held_out.numpy()]).mean()
        _log.info(
            f"fold {fold + 1}/{folds}: trained on {len(kept):,} images; the predictions for the other "
            f"{len(held_out):,} agree with {agreement:.2%} of their labels ({perf_counter() - began:.1f} s)"
        )
    return OutOfSample(train=train, test=test)


def _train_and_predict(
    config: Config, dataset: Dataset, kept: Tensor, held_out: Tensor, *, device: torch.device, progress: Progress | None
) -> tuple[Probabilities, Probabilities]:
    """The probabilities for the training images held out, and for the test images."""
    experiment = prepare_split(config, dataset, kept, held_out, device=device)
    epochs = fit(
        build_step(experiment),
        experiment.train,
        None,
        classes=len(config.classes),
        epochs=config.train.epochs,
        progress=progress,
    )
    for _ in epochs:
        pass
    assert experiment.validation is not None, "no fold is empty"
    predicted, tested = (predict(experiment.model, batches) for batches in (experiment.validation, experiment.test))
    return predicted.probabilities, tested.probabilities


def stratified_folds(labels: npt.NDArray[np.int64], folds: int, *, seed: int) -> npt.NDArray[np.int64]:
    """The fold of each image, chosen at random, so that the folds and their shares of each class differ by at most 1.

    Args:
        labels: int64 (N,).
        folds: the number of folds.
        seed: the same seed gives the same folds.

    Returns:
        int64 (N,), from 0 to `folds` - 1.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[by_class] = np.arange(len(labels)) % folds
    return fold_of
