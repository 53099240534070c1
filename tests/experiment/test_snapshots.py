"""Animations over all steps of a run, made from its snapshots."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.errors import RunError
from cnncli.training.run_directory import RunDirectory
from cnncli.views.kernels import kernel_picture

Train = Callable[..., RunDirectory]
ReadEvents = Callable[[RunDirectory], EventAccumulator]


def test_an_error_names_the_damaged_file(network: str, train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, network, stop_at=9)
    damaged = run.path / "snapshots" / "4.safetensors"
    damaged.write_bytes(b"something else")
    with pytest.raises(RunError, match=r"4.safetensors: cannot be read") as caught:
        train(tmp_path, network, run=run)
    assert "delete it" in str(caught.value.remedy)
    damaged.unlink()
    train(tmp_path, network, run=run)
    assert run.status().state == "complete"


def test_every_step_is_a_frame_on_one_scale(complete: RunDirectory, read_events: ReadEvents) -> None:
    """Colors converted back to weights, on the scale that the largest weight of all steps needs."""
    files = {int(path.stem): load_file(path) for path in (complete.path / "snapshots").iterdir()}
    weights = [files[step]["conv1:shown"] for step in sorted(files)]
    assert torch.equal(weights[-1], load_file(complete.last / "weights.safetensors")["conv1.conv.weight"])
    limit = max(float(each.abs().max()) for each in weights)
    assert any(float(each.abs().max()) < 0.99 * limit for each in weights), "a scale per step would differ"
    boxes = kernel_picture(weights[0], title="").boxes
    gif = read_events(complete).Images("snapshots/01_conv1")[0].encoded_image_string
    with Image.open(io.BytesIO(gif)) as image:
        assert getattr(image, "n_frames", 1) == len(weights) == 7
        for number, expected in enumerate(weights):
            image.seek(number)
            frame = np.array(image.convert("RGB")).astype(float)
            for (output, input_), box in boxes.items():
                tile = frame[box.y : box.bottom : box.scale, box.x : box.right : box.scale]
                negative = np.interp(tile[..., 1], (58, 158, 247), (-1.0, -0.5, 0.0))
                positive = np.interp(tile[..., 1], (16, 128, 247), (1.0, 0.5, 0.0))
                decoded = np.where(tile[..., 0] >= tile[..., 2], positive, negative) * limit
                np.testing.assert_allclose(decoded, expected[output, input_].numpy(), atol=limit / 100)
