"""Whether a run is as sure as it is right."""

from collections.abc import Iterator

import numpy as np

from cnncli.gallery.exhibit import Exhibit
from cnncli.interpret.calibration import calibration as in_bins
from cnncli.pictures.calibration import calibration_picture
from cnncli.trained import TrainedRun


def calibration(run: TrainedRun) -> Iterator[Exhibit]:
    """The reliability diagram over the test images, with the expected and the maximum calibration error."""
    predictions = run.predictions
    found = in_bins(predictions.confidence, predictions.right)
    worst = int(np.abs(found.gaps).argmax())
    bins = len(found.counts)
    sure, right = f"{found.mean_confidence:.2%}", f"{predictions.accuracy:.2%}"
    ece, mce = f"{found.expected_error:.2%}", f"{found.maximum_error:.2%}"
    yield Exhibit(
        tag="eval/calibration",
        title=f"expected calibration error {ece}",
        pixels=calibration_picture(
            found.counts,
            found.confidence,
            found.accuracy,
            title=f"reliability over {len(predictions):,} test images",
            numbers=[f"ECE {ece}, MCE {mce}", f"confidence {sure}", f"accuracy {right}"],
        ),
        numbers={
            "expected_error": found.expected_error,
            "maximum_error": found.maximum_error,
            "mean_confidence": found.mean_confidence,
            "accuracy": predictions.accuracy,
        },
        lines=[
            f"expected calibration error {ece}: mean confidence {sure}, accuracy {right}, {bins} bins",
            f"maximum calibration error {mce}: confidences from {worst / bins:.1%} to {(worst + 1) / bins:.1%}, "
            f"{found.accuracy[worst]:.1%} right of {found.counts[worst]:,}",
        ],
    )
