"""What a run writes for TensorBoard, and when: curves, pictures, histograms, the graph and text, within a budget."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from cnncli.config.config import Config
from cnncli.drawing.image import png
from cnncli.experiment.pictures import PicturePlan, Snapshots
from cnncli.experiment.setup import DEAD_FILTER_IMAGES, Experiment
from cnncli.files import Extent
from cnncli.inspection.formatting import markdown
from cnncli.inspection.table import LayerTable, inspect_network
from cnncli.module import CnnModule
from cnncli.tensorboard.event_file import HISTOGRAM_BINS, EventFile, event_bytes, extent_until
from cnncli.training.logged import Logged
from cnncli.training.loop import Epoch
from cnncli.training.progress import EVALUATED_SCORES
from cnncli.training.scores import Evaluation
from cnncli.training.weight_history import WeightHistory, bytes_of, steps_to_keep

_log = logging.getLogger(__name__)


def picture_steps(
    last: int, most: int, *, chosen: Sequence[int] | None = None, done: Collection[int] = ()
) -> tuple[int, ...]:
    """The steps after which pictures are drawn, ascending, with 0 (before training) and `last`.

    By default, the steps between them are the powers of the smallest base that leaves one place free: if the run is
    extended, its earlier steps stay, and the place is for its new end.

    Args:
        last: the last step of the training.
        most: the largest number of steps: 0 for none, otherwise 2 or more. TensorBoard keeps ten pictures of a tag.
        chosen: the steps between the first and the last.
        done: steps of the run that have pictures. New steps come after them. In a run that was extended, they fill
            half of the remaining places, so that it can be extended again; the last step is included while there is a
            place.
    """
    if not most:
        return ()
    between = _powers(last, most - 3 if most > 3 else most - 2) if chosen is None else chosen
    after = max(done, default=-1)
    planned = {0, *between, last}
    new = sorted(step for step in planned if after < step <= last)
    places = max(0, most - len(done))
    if not planned.issuperset(done):
        places = (places + 1) // 2
    return (*sorted(done), *new[max(0, len(new) - places) :])


def _powers(last: int, most: int) -> list[int]:
    """The powers below `last` of the smallest base that has no more than `most` of them."""
    if not most:
        return []
    base = max(2, int(last ** (1 / most)))
    while base**most < last:
        base += 1
    return [base**exponent for exponent in range(most) if base**exponent < last]


def histogram_epochs(epochs: int, size: int, limit: int) -> range:
    """The epochs that have histograms: the last one and, counted back from it, every n-th.

    Args:
        epochs: of the whole training.
        size: bytes of the histograms of one epoch; 0 if there are none.
        limit: bytes that all of them may take; n is the smallest number that keeps to it.
    """
    if not 0 < size <= limit:
        return range(0)
    return range(epochs, 0, -epochs // (limit // size))


class Budget:
    """The bytes that a run's event files may take, those of earlier parts of the run included.

    Args:
        run: the run's directory.
        megabytes: the limit.
    """

    def __init__(self, run: Path, megabytes: float) -> None:
        self._run = run
        self.limit = int(megabytes * 1e6)
        self._reported: set[str] = set()

    def left(self) -> int:
        """The bytes that are left; negative if the files are larger than the limit."""
        return self.limit - event_bytes(self._run)

    def report(self, content: str, what: str) -> None:
        """Log that something is omitted, once for each kind of content."""
        if content not in self._reported:
            self._reported.add(content)
            _log.warning("log.budget of %g MB: %s %s", self.limit / 1e6, content, what)


GROWTH = 1.25
"""Assumed size of the last pictures relative to earlier ones: maps of a trained network compress less well."""

LEAST_VALUES = 32
"""Parameters of fewer values, such as the biases of a small layer, have no histogram: it would be mostly empty bins."""

_CURVES = 6 + len(EVALUATED_SCORES)
_RECORD_BYTES = 120
"""Upper bound of a point of a curve, and of what surrounds the content of another record."""


def hparams(config: Config, table: LayerTable) -> dict[str, bool | float | str]:
    """The settings by which TensorBoard compares runs."""
    return {
        "model": config.name,
        "data": config.data.name,
        "parameters": table.params,
        "optimizer": config.train.optimizer.type,
        "lr": config.train.optimizer.lr,
        "schedule": config.train.schedule.type,
        "epochs": config.train.epochs,
        "batch_size": config.train.batch_size,
        "label_smoothing": config.train.label_smoothing,
        "seed": config.train.seed,
    }


def test_scalars(test: Evaluation) -> dict[str, float]:
    """The score on the test images by tag, for the HParams tab. As a chart it has one point: others are not written."""
    return {"test/accuracy": test.accuracy}


class TensorBoardLog:
    """Writes the event file of one run.

    Pictures belong to steps: where `due` returns true, the training stops and calls `draw`.

    Args:
        events: a new event file of the run.
        run: the run's directory.
        experiment: the experiment, in the state in which it starts or resumes.
        logged: what the run has logged until then; nothing else is in its directory.
    """

    def __init__(self, events: EventFile, run: Path, experiment: Experiment, logged: Logged) -> None:
        config = experiment.config
        self._events = events
        self._experiment = experiment
        self._log = config.log
        self._numbered = config.network.numbered()
        self._plan = PicturePlan(experiment)
        self._run = run
        self._snapshots = Snapshots(run)
        self._history = WeightHistory(run)
        self._earlier = logged
        self._done: set[int]
        self._steps: tuple[int, ...]
        self._kept: tuple[int, ...]
        self._plan_steps(logged.pictures)
        self._budget = Budget(run, self._log.budget)
        self._left_out = {*logged.omitted}  # tags
        self._histogram_epochs = histogram_epochs(config.train.epochs, self._histogram_bytes(), self._budget.limit // 2)

    def begin(
        self,
        given: str,
        metadata: Mapping[str, Any],
        untrained: CnnModule,
        settings: Mapping[str, bool | float | str],
    ) -> None:
        """Write what does not change, and the pictures of step 0.

        Args:
            given: the config as given.
            metadata: of the run, with the versions.
            untrained: the network at step 0.
            settings: more hyperparameters than those of `hparams`.
        """
        config = self._experiment.config
        table = inspect_network(config.network, config.name)
        self._events.texts(
            {
                "config": _as_code(given),
                "resolved_config": _as_code(config.resolved()),
                "layers": markdown(table),
                "versions": _as_code("\n".join(f"{name} {version}" for name, version in metadata["versions"].items())),
            }
        )
        # With or without validation images, the charts and metrics are the same: TensorBoard draws charts that differ
        # separately, and takes the metrics of the first run for all runs.
        self._events.layout({name: [f"{name}/train", f"{name}/val"] for name in ("accuracy", "loss")})
        self._events.hparams(
            hparams(config, table) | dict(settings), ("test/accuracy", "accuracy/val", "loss/val", "loss/train")
        )
        if self._log.graph:
            self._events.graph(table)
        if self._steps and self._plan.can_be_dead:
            self._events.texts({"dead_filters": self._about_dead_filters()})
        if self._histogram_bytes() and self._histogram_epochs.step != -1:
            every = f"only every {-self._histogram_epochs.step} epochs" if self._histogram_epochs else "are omitted"
            self._budget.report("histograms", every)
        if self.due(0):
            self.draw(0, untrained)

    def due(self, step: int) -> bool:
        """Whether pictures are still to be drawn after a step."""
        return step in self._steps and step not in self._done

    @property
    def _has_place(self) -> bool:
        """Whether another step can have pictures."""
        return len(self._done) < self._log.images

    def draw(self, step: int, model: CnnModule | None = None) -> None:
        """Draw and write the pictures after a step, of the network as it is now or of the given one."""
        model = model or self._experiment.model
        drawn = self._plan.draw(model)
        self._done.add(step)
        self._events.scalars(step, {f"dead_fraction/{self._numbered[name]}": dead for name, dead in drawn.dead.items()})
        self._write_pictures(step, {tag: png(pixels) for tag, pixels in drawn.pictures.items()})
        self._snapshots.add(step, drawn.snapshots)
        if step in self._kept:
            self._history.add(step, model.state_dict())

    def epoch(self, epoch: Epoch) -> None:
        """Write the curves of an epoch, and its histograms if it has any."""
        values = {"training/learning_rate": epoch.learning_rate, "training/images_per_second": epoch.images_per_second}
        for part, score in (("train", epoch.train), ("val", epoch.validation)):
            if score is not None:
                values |= {f"loss/{part}": score.loss, f"accuracy/{part}": score.accuracy}
                more = {f"{part}/{name}": getattr(score, name) for name in EVALUATED_SCORES}
                values |= {tag: value for tag, value in more.items() if value is not None}
        self._events.scalars(epoch.step, values)
        if epoch.stopped_early and self._has_place and epoch.step not in self._done:
            self._steps = (epoch.step,)
            if len(self._history.steps()) < len(self._kept):  # the planned last step leaves its place
                self._kept = (*self._kept, epoch.step)
            self.draw(epoch.step)
        if epoch.number in self._histogram_epochs or (epoch.stopped_early and self._log.histograms):
            if self._histogram_bytes() <= self._left():
                self._write_histograms(epoch.step)
            else:
                self._budget.report("histograms", f"are omitted from epoch {epoch.number}")

    def end(self, step: int, test: Evaluation | None) -> None:
        """Write the scores on the test images, if they were evaluated, and the animations."""
        if test is not None:
            self._events.scalars(step, test_scalars(test))
        if not self._steps:
            return
        probes = self._experiment.probes.pictures
        animations = self._snapshots.animations(self._plan.animated, image=probes[0] if len(probes) else None)
        for layer, gif in animations:
            if len(gif) + _RECORD_BYTES <= self._left():
                self._events.pictures(step, {f"snapshots/{self._numbered[layer]}": gif})
            else:
                self._budget.report("animations", f"are omitted, such as that of {layer}")

    def logged(self, metrics: Extent) -> Logged:
        """What the run has logged so far, with this extent of its metrics."""
        return Logged(
            metrics=metrics,
            events={**self._earlier.events, self._events.path.name: self._events.extent()},
            pictures=tuple(sorted(self._done)),
            omitted=tuple(sorted(self._left_out)),
        )

    def logged_until(self, step: int, metrics: Extent) -> Logged:
        """What the run had logged after a step, with this extent of its metrics."""
        return Logged(
            metrics=metrics,
            events={name: extent_until(self._run / name, step) for name in self.logged(metrics).events},
            pictures=tuple(each for each in sorted(self._done) if each <= step),
            omitted=tuple(sorted(self._left_out)),
        )

    def return_to(self, logged: Logged) -> None:
        """Delete what was logged since, because the training has returned to an earlier step."""
        for name, extent in logged.events.items():
            if name == self._events.path.name:
                self._events.cut(extent)
            else:
                extent.cut(self._run / name)
        self._snapshots.keep_only(logged.pictures)
        self._history.keep_only(logged.pictures)
        self._earlier = logged
        self._plan_steps(logged.pictures)

    def _plan_steps(self, done: Collection[int]) -> None:
        """Choose the steps of pictures, and those of weights that are kept, given those that have pictures."""
        self._done = {*done}
        last = self._experiment.config.train.epochs * len(self._experiment.train)
        self._steps = picture_steps(last, self._log.images, chosen=self._log.steps, done=self._done)
        if self._steps and last not in self._steps:
            _log.info(
                f"log.images: the run has pictures of {len(self._done)} steps already, so TensorBoard gets none of the "
                "new ones; cnncli show draws them"
            )
        self._kept = self._plan_weights()

    def _plan_weights(self) -> tuple[int, ...]:
        """The steps with pictures whose weights are kept within the limit, those kept already included."""
        size, limit = bytes_of(self._experiment.model.state_dict()), self._log.weights * 1e6
        chosen = steps_to_keep(self._steps, int(limit / size), kept=self._history.steps())
        if limit and (left_out := len({*self._steps} - {*chosen})):
            _log.warning(
                f"log.weights of {self._log.weights:g} MB: the weights of {left_out} of {len(self._steps)} steps are "
                f"not kept ({size / 1e6:.3g} MB each)"
            )
        return chosen

    def _about_dead_filters(self) -> str:
        images = self._experiment.held_out.image_count
        part = "test" if self._experiment.validation is None else "validation"
        fewer = "" if images >= DEAD_FILTER_IMAGES else f" (all there are; fewer than {DEAD_FILTER_IMAGES:,})"
        layers = ", ".join(self._plan.can_be_dead)
        return (
            f"A filter counts as dead if it is 0 after the activation at every position of {images:,} {part} "
            f"images{fewer}. Layers: {layers}."
        )

    def _write_pictures(self, step: int, pictures: Mapping[str, bytes]) -> None:
        """Write the pictures that fit in the budget. A tag without a picture of step 0 gets none later.

        Before the last step, room is kept for the last pictures, so that each tag has its first and its last.
        """
        sizes = {tag: len(encoded) + _RECORD_BYTES for tag, encoded in pictures.items() if tag not in self._left_out}
        left = self._left()
        if any(map(self.due, self._steps)):
            left = int(left / (1 + GROWTH))
            if step and sum(sizes.values()) > left:
                self._budget.report("pictures", f"are omitted from step {step:,} until the last step")
                return
        for tag, size in sizes.items():
            if size <= left:
                left -= size
                self._events.pictures(step, {tag: pictures[tag]})
            else:
                self._left_out.add(tag)
                self._budget.report("pictures", f"are omitted, such as {tag} from step {step:,}")

    def _write_histograms(self, step: int) -> None:
        """The histogram of every parameter that is large enough, and of its gradient at the last step."""
        for name, parameter in self._parameters():
            layer = next(layer for layer in self._numbered if name.startswith(f"{layer}."))
            part = re.sub(r"^(conv|linear)\.", "", name.removeprefix(f"{layer}."))
            tag = f"{self._numbered[layer]}/{part}"
            self._events.histograms(step, {f"weights/{tag}": parameter})
            if parameter.grad is not None:
                self._events.histograms(step, {f"gradients/{tag}": parameter.grad})

    def _parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that have histograms, by name."""
        layers = self._log.layers
        return [
            (name, parameter)
            for name, parameter in self._experiment.training.model.named_parameters()
            if parameter.numel() >= LEAST_VALUES
            and (layers is None or any(name.startswith(f"{layer}.") for layer in layers))
        ]

    def _histogram_bytes(self) -> int:
        """An upper bound of the histograms of one epoch: a limit and a count for each bin, in double precision."""
        if not self._log.histograms:
            return 0
        return 2 * len(self._parameters()) * (16 * HISTOGRAM_BINS + 2 * _RECORD_BYTES)

    def _left(self) -> int:
        """The bytes that will be left of the budget after all curves and histograms have been written."""
        done = self._experiment.training.epochs_done
        points = 2 + _CURVES * (self._experiment.config.train.epochs - done)
        points += sum(map(self.due, self._steps)) * len(self._plan.can_be_dead)
        planned = self._histogram_epochs
        histograms = len(range(planned.start, done, planned.step)) * self._histogram_bytes() if planned else 0
        return self._budget.left() - points * _RECORD_BYTES - histograms


def _as_code(text: str) -> str:
    """Text as a code block of Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines())
