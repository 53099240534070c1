"""How robust a run is: its accuracy on distorted images, and how its layers follow a shift."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cnncli.robustness.accuracy import Accuracy, measure_accuracies, spread
from cnncli.robustness.shifts import IMAGES, LayerShifts, measure_run
from cnncli.run import Run, Split


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What distortions of the images change.

    Attributes:
        images: the number of images.
        accuracy: on these images, undistorted.
        accuracies: those on the distorted images, in the order of the distortions and their strengths.
        layers: the equivariance and invariance of each layer.
    """

    images: int
    accuracy: float
    accuracies: Sequence[Accuracy]
    layers: Sequence[LayerShifts]

    @property
    def means(self) -> dict[str, float]:
        """The mean accuracy over the strengths of each distortion, by its name."""
        by_name: dict[str, list[float]] = {}
        for each in self.accuracies:
            by_name.setdefault(each.distortion.name, []).append(each.accuracy)
        return {name: sum(values) / len(values) for name, values in by_name.items()}

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "distortions": [each.as_json() for each in self.accuracies],
            "layers": [each.as_json() for each in self.layers],
        }


def measure_robustness(
    run: Run,
    split: Split,
    *,
    most: int,
    data: str | None = None,
    progress: Callable[[Iterable[Accuracy]], Iterable[Accuracy]] = iter,
) -> Robustness:
    """Measure the robustness of a run.

    Args:
        run: the network.
        split: `test`, `val` or `train`.
        most: the largest number of images that are used, evenly spaced; of these, up to `shifts.IMAGES` for the layers.
        data: another data set, as for `Run.evaluate`.
        progress: passes the accuracies on as they are measured.

    Raises:
        UsageError: there is no such split or data set.
        DataError: the data set is unavailable, or has a class that the network does not know.
    """
    images, indices = run.labeled_images(split, data=data)
    positions = spread(len(images if indices is None else indices), most)
    chosen = positions if indices is None else indices[positions]
    plain = run.predict_set(images, indices=chosen)
    return Robustness(
        images=len(plain),
        accuracy=plain.accuracy,
        accuracies=tuple(progress(measure_accuracies(run, images, chosen, plain))),
        layers=measure_run(run, images, chosen[spread(len(chosen), IMAGES)]),
    )
