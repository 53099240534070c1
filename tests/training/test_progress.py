"""Progress, read by a display while the loop writes it."""

from math import isnan

import pytest
import torch

from cnncli.training.progress import Progress, Sums


def test_before_the_first_step() -> None:
    progress = Progress()
    assert progress.read().epochs == 0
    progress.begin(epoch=1, epochs=3, step=0, steps=5, sums=Sums.zero(torch.device("cpu")))
    reading = progress.read()
    assert (reading.epoch, reading.epochs, reading.step, reading.steps) == (1, 3, 0, 5)
    assert isnan(reading.score.loss)
    assert isnan(reading.score.accuracy)
    assert reading.images_per_second == 0


def test_means_and_speed_after_resuming(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 images of loss 1 before an interruption; 2 of loss 4 after it, which took half a second."""
    clock = iter([10.0, 10.5])
    monkeypatch.setattr("cnncli.training.progress.perf_counter", lambda: next(clock))
    before = Sums(torch.tensor(4.0), torch.tensor(4), 4)
    progress = Progress()
    progress.begin(epoch=2, epochs=3, step=1, steps=5, sums=before)
    progress.write(2, before.plus(torch.tensor(4.0), torch.tensor(1), 2))
    reading = progress.read()
    assert reading.score.loss == pytest.approx((4 * 1 + 2 * 4) / 6)
    assert reading.score.accuracy == pytest.approx(5 / 6)
    assert reading.images_per_second == pytest.approx(2 / 0.5)
    assert (reading.epoch, reading.step) == (2, 2)
