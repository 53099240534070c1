"""What a run tells TensorBoard: curves, kernels, feature maps, histograms, the graph and a few pages of text."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cnncli.analysis.graph import graph_of
from cnncli.analysis.rows import inspect_graph
from cnncli.analysis.table import markdown
from cnncli.board.event_file import Board, spaced_steps
from cnncli.experiment.setup import Experiment
from cnncli.experiment.texts import settings
from cnncli.pictures.feature_maps import MAPPED, as_maps, feature_map_picture
from cnncli.pictures.kernels import kernel_picture
from cnncli.training.evaluate import Evaluation
from cnncli.training.fit import Epoch

Pixels = npt.NDArray[np.uint8]


class Logbook:
    """Writes the pages of one run.

    Args:
        board: the run's event file.
        experiment: whose run it is.
    """

    def __init__(self, board: Board, experiment: Experiment) -> None:
        self._board = board
        self._experiment = experiment
        self._log = experiment.config.log
        self._numbered = experiment.config.network.numbered()
        epochs = experiment.config.train.epochs
        self._picture_epochs = _picture_epochs(epochs, self._log.images)
        self._slugs = _slugs(experiment.probes.names)

    def begin(self, meta: Mapping[str, Any]) -> None:
        """The pages that stay as they are, and the pictures before the first step.

        Args:
            meta: versions and machine, as in meta.json.
        """
        config = self._experiment.config
        inspection = inspect_graph(graph_of(config.network, config.name))
        versions = "\n".join(f"    {name} {version}" for name, version in meta["versions"].items())
        self._board.texts(
            {
                "config": _indented(config.document.text),
                "resolved_config": _indented(config.resolved()),
                "layers": markdown(inspection),
                "versions": versions,
            }
        )
        # The same for all runs, with validation images or without: TensorBoard draws charts that differ one by one, and
        # takes the metrics of the first run for all.
        self._board.layout({name: [f"{name}/train", f"{name}/val"] for name in ("accuracy", "loss")})
        self._board.hparams(settings(config, inspection), ("test/accuracy", "accuracy/val", "loss/val", "loss/train"))
        if self._log.graph:
            self._board.graph(inspection)
        if 0 in self._picture_epochs:
            self._pictures(step=0)

    def epoch(self, epoch: Epoch) -> None:
        """The end of an epoch."""
        scores = {"train": epoch.train, "val": epoch.validation}
        values = {
            f"{name}/{part}": getattr(score, name)
            for part, score in scores.items()
            if score is not None
            for name in ("loss", "accuracy")
        }
        values["training/learning_rate"] = epoch.learning_rate
        values["training/images_per_second"] = epoch.images_per_second
        self._board.scalars(epoch.step, values)
        if self._log.histograms:
            self._histograms(epoch.step)
        if epoch.number in self._picture_epochs or (epoch.stopped_early and self._picture_epochs):
            self._pictures(epoch.step)

    def end(self, step: int, test: Evaluation) -> None:
        """The score on the test images."""
        self._board.scalars(step, {"test/accuracy": test.accuracy, "test/loss": test.loss})

    def _histograms(self, step: int) -> None:
        """Every weight, and its gradient at the last step."""
        for name, parameter in self._experiment.training.model.named_parameters():
            layer = next(layer for layer in self._numbered if name.startswith(f"{layer}."))
            part = re.sub(r"^(conv|linear)\.", "", name.removeprefix(f"{layer}."))
            tag = f"{self._numbered[layer]}/{part}"
            self._board.histograms(step, {f"weights/{tag}": parameter})
            if parameter.grad is not None:
                self._board.histograms(step, {f"gradients/{tag}": parameter.grad})

    def _pictures(self, step: int) -> None:
        if self._log.kernels:
            self._board.pictures(step, self._kernels())
        if self._log.feature_maps and len(self._experiment.probes.names):
            self._board.pictures(step, self._feature_maps())

    def _kernels(self) -> dict[str, Pixels]:
        """One picture for each convolution."""
        return {
            f"kernels/{self._numbered[name]}": kernel_picture(kernel, title=name).pixels
            for name, kernel in self._experiment.model.kernels().items()
        }

    def _feature_maps(self) -> dict[str, Pixels]:
        """One picture for each convolution and pool, and each probe; a global pool's numbers are maps of 1x1."""
        model, probes = self._experiment.model, self._experiment.probes
        names = [node.name for node in self._experiment.config.network.nodes if isinstance(node.layer, MAPPED)]
        mode = model.training
        with torch.inference_mode():
            maps = model.eval().outputs(probes.images, names)  # name -> (P, C, H, W) or (P, C)
        model.train(mode)
        return {
            f"feature_maps/{self._numbered[name]}/{self._slugs[i]}": feature_map_picture(
                as_maps(maps[name][i]), image=probes.pictures[i], title=f"{name}, class {label}"
            ).pixels
            for name in names
            for i, label in enumerate(probes.names)
        }


def _indented(text: str) -> str:
    """Text as Markdown shows it unchanged."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _picture_epochs(epochs: int, most: int) -> Collection[int]:
    """Epochs after which pictures are written: 0, 1, 2, 4, 8, ... and the last.

    Doubling does not depend on how many epochs there will be, so that a run that is made longer goes on with the same
    epochs and stays within what TensorBoard keeps of a tag. Where that would be too many, they are spaced anew.
    """
    if not most:
        return ()
    doubled = {0, epochs} | {2**i for i in range(epochs.bit_length()) if 2**i < epochs}
    return doubled if len(doubled) <= most else spaced_steps(epochs, most)


def _slugs(labels: Sequence[str]) -> list[str]:
    """Names of classes as parts of tags, all different: `T-shirt/top` would make a group of its own."""
    slugs = [re.sub(r"[^\w.]+", "-", label).strip("-") for label in labels]
    return [slug if slug and slugs.count(slug) == 1 else f"{slug or 'class'}-{i}" for i, slug in enumerate(slugs)]
