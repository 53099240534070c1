"""What a run tells TensorBoard: curves, kernels, feature maps, histograms, the graph and a few pages of text."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cnncli.config.config import Config
from cnncli.drawing.image import png
from cnncli.experiment.budget import GROWTH, Allotment, allot, event_bytes, picture_steps
from cnncli.experiment.setup import DEAD_FILTER_IMAGES, Experiment
from cnncli.experiment.snapshots import Drawings, Evolution
from cnncli.inspection.formatting import markdown
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.module import CnnModule
from cnncli.tensorboard.event_file import HISTOGRAM_BINS, EventFile
from cnncli.training.evaluate import Evaluation
from cnncli.training.loop import Epoch

_log = logging.getLogger(__name__)


def settings(config: Config, inspection: LayerTable) -> dict[str, bool | float | str]:
    """What the runs of one network are compared by."""
    return {
        "model": config.name,
        "data": config.data.name,
        "parameters": inspection.params,
        "optimizer": config.train.optimizer.type,
        "lr": config.train.optimizer.lr,
        "schedule": config.train.schedule.type,
        "epochs": config.train.epochs,
        "batch_size": config.train.batch_size,
        "label_smoothing": config.train.label_smoothing,
        "seed": config.train.seed,
    }


_CURVES = 6
_POINT = 120
"""Bytes that a point of a curve, or what else stands around a record, takes at most."""


class Logbook:
    """Writes the pages of one run.

    Pictures belong to steps, `due` says whether to one of them. Whoever trains stops there and lets them be drawn.

    Args:
        board: the run's event file, new or one more.
        run: the run's directory.
        experiment: whose run it is, as it goes on from here.
    """

    def __init__(self, board: EventFile, run: Path, experiment: Experiment) -> None:
        self._board = board
        self._run = run
        self._experiment = experiment
        self._log = experiment.config.log
        self._numbered = experiment.config.network.numbered()
        self._drawings = Drawings(experiment)
        self._evolution = Evolution(run)
        self._evolution.forget_after(experiment.training.step)
        self._done = set(self._evolution.steps())
        last = experiment.config.train.epochs * len(experiment.train)
        self._steps = picture_steps(last, self._log.images, chosen=self._log.steps, done=self._done)
        self._allotted: Allotment | None = None
        self._last_pictures = 0
        self._left_out: list[str] = []

    def begin(self, meta: Mapping[str, Any], untrained: CnnModule) -> None:
        """The pages that stay as they are, and the pictures of step 0.

        Args:
            meta: versions and machine, as in meta.json.
            untrained: the network as it was at step 0.
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
        if self._steps and self._drawings.mortal:
            self._board.texts({"dead_filters": self._about_dead_filters()})
        if self.due(0):
            self.draw(0, untrained)

    def _about_dead_filters(self) -> str:
        images = self._experiment.held_out.image_count
        part = "test" if self._experiment.validation is None else "validation"
        fewer = "" if images >= DEAD_FILTER_IMAGES else f", which are all there are (fewer than {DEAD_FILTER_IMAGES:,})"
        layers = ", ".join(self._drawings.mortal)
        return (
            f"A filter is counted as dead if it is 0 after the activation at every position of {images:,} {part} "
            f"images{fewer}. Looked at: {layers}."
        )

    def due(self, step: int) -> bool:
        """Whether pictures are to be drawn after a step and have not been."""
        return step in self._steps and step not in self._done

    def draw(self, step: int, model: CnnModule | None = None) -> None:
        """The pictures after a step, as far as the budget goes; of the network as it is now unless a model is given."""
        drawn = self._drawings.draw(self._experiment.model if model is None else model)
        encoded = {tag: png(picture.pixels) for tag, picture in drawn.pictures.items()}
        allotted = self._allot(encoded)
        self._done.add(step)
        self._board.scalars(step, {f"dead_fraction/{self._numbered[name]}": dead for name, dead in drawn.dead.items()})
        self._write(step, {tag: encoded[tag] for tag in encoded if tag in allotted.tags})
        self._evolution.add(step, drawn.looks)

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
        if epoch.stopped_early and self._steps and epoch.step not in self._done:
            self._steps = (*(step for step in self._steps if step in self._done), epoch.step)
            self.draw(epoch.step)
        if self._log.histograms and self._has_histograms(epoch):
            self._histograms(epoch.step)

    def end(self, step: int, test: Evaluation) -> None:
        """The score on the test images, and the animations."""
        self._board.scalars(step, {"test/accuracy": test.accuracy, "test/loss": test.loss})
        pictures = self._experiment.probes.pictures
        looks = self._evolution.animations(self._drawings.looks, image=pictures[0] if len(pictures) else None)
        for layer, gif in looks if self._steps else ():
            if len(gif) + _POINT <= self._left():
                self._board.pictures(step, {f"evolution/{self._numbered[layer]}": gif})
            else:
                self._left_out.append(f"the animation of {layer}")
        if self._left_out:
            _log.info(f"{self._budget()} is used up; left out: {', '.join(self._left_out)}")

    def _write(self, step: int, pictures: Mapping[str, bytes]) -> None:
        """The pictures of a step, if those of the last one will still have room, or as many as go in at the last."""
        sizes = {tag: len(png) + _POINT for tag, png in pictures.items()}
        left, now = self._left(), sum(sizes.values())
        if any(self.due(later) for later in self._steps) and now + round(GROWTH * now) > left:
            self._left_out.append(f"pictures of step {step:,}")
            return
        for tag, size in sizes.items():
            if size <= left:
                self._board.pictures(step, {tag: pictures[tag]})
                left -= size
            else:
                self._left_out.append(f"{tag} of step {step:,}")

    def _histograms(self, step: int) -> None:
        """Every weight, and its gradient at the last step."""
        for name, parameter in self._parameters():
            layer = next(layer for layer in self._numbered if name.startswith(f"{layer}."))
            part = re.sub(r"^(conv|linear)\.", "", name.removeprefix(f"{layer}."))
            tag = f"{self._numbered[layer]}/{part}"
            self._board.histograms(step, {f"weights/{tag}": parameter})
            if parameter.grad is not None:
                self._board.histograms(step, {f"gradients/{tag}": parameter.grad})

    def _parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Those that have histograms, by name."""
        layers = self._log.layers
        return [
            (name, parameter)
            for name, parameter in self._experiment.training.model.named_parameters()
            if layers is None or any(name.startswith(f"{layer}.") for layer in layers)
        ]

    def _has_histograms(self, epoch: Epoch) -> bool:
        every = self._allot(None).histograms_every
        to_come = self._experiment.config.train.epochs - epoch.number
        wanted = epoch.stopped_early or (bool(every) and to_come % every == 0)
        due = any(self.due(step) for step in self._steps)
        return wanted and self._histogram_bytes() <= self._left() - (self._last_pictures if due else 0)

    # The budget

    def _allot(self, encoded: Mapping[str, bytes] | None) -> Allotment:
        """What there is room for, decided when the first pictures are there to be measured."""
        if self._allotted is not None:
            return self._allotted
        due = [step for step in self._steps if self.due(step)]
        epochs = self._experiment.config.train.epochs - self._experiment.training.epochs_done
        if encoded is None:  # an epoch has ended before anything was drawn: in a run that goes on, or without pictures
            pictures = self._drawings.draw(self._experiment.model).pictures if due else {}
            encoded = {tag: png(picture.pixels) for tag, picture in pictures.items()}
            epochs += 1
        sizes = {tag: len(png) + _POINT for tag, png in encoded.items()}
        found = allot(
            self._left(),
            pictures=sizes,
            animated=self._drawings.animated,
            steps=due,
            histograms=self._histogram_bytes() if self._log.histograms else 0,
            epochs=epochs,
        )
        self._allotted = found
        self._steps = (*(step for step in self._steps if step in self._done), *found.steps)
        self._last_pictures = round(GROWTH * sum(sizes[tag] for tag in found.tags))
        said = [
            f"{len(sizes) - len(found.tags)} of {len(sizes)} pictures left out" * (len(found.tags) < len(sizes)),
            f"pictures at {len(found.steps)} steps instead of {len(due)}" * (len(found.steps) < len(due)),
        ]
        if self._log.histograms and found.histograms_every != 1:
            every = found.histograms_every
            said.append(f"histograms every {every} epochs" if every else "no histograms")
        if any(said):
            _log.info(f"{self._budget()} has room for less: {', '.join(filter(None, said))}")
        return found

    def _left(self) -> int:
        """Bytes that are left of the budget when all curves will have been written."""
        epochs = self._experiment.config.train.epochs - self._experiment.training.epochs_done
        due = sum(self.due(step) for step in self._steps)
        points = 2 + epochs * _CURVES + due * len(self._drawings.mortal)
        return int(self._log.budget * 1e6) - event_bytes(self._run) - points * _POINT

    def _histogram_bytes(self) -> int:
        """What those of an epoch take at most: a limit and a count for each bin, in double precision."""
        return 2 * len(self._parameters()) * (16 * HISTOGRAM_BINS + 2 * _POINT)

    def _budget(self) -> str:
        return f"log.budget of {self._log.budget:g} MB"


def _indented(text: str) -> str:
    """Text as Markdown shows it unchanged."""
    return "\n".join(f"    {line}" for line in text.splitlines())
