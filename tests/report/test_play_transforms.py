"""The sliders of the playground, against the augmentation and the distortions that torch computes."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from cnncli.data.geometry import affine_matrices, sampling_grid
from cnncli.robustness.distortions import Contrast, Distortion, Rotation, Scale, Shift

PROGRAM = Path(__file__).parents[1] / "js" / "transform-images.js"
SHAPE = (3, 17, 22)
IMAGE = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def changed_in_javascript(settings: dict[str, float]) -> npt.NDArray[np.int64]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    case = {"pixels": IMAGE.ravel().tolist(), "shape": SHAPE, "settings": settings}
    done = subprocess.run([node, PROGRAM], input=json.dumps([case]), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout)[0]).reshape(SHAPE)


def as_levels(image: torch.Tensor) -> npt.NDArray[np.int64]:
    levels: npt.NDArray[np.int64] = (image[0] * 255).round().numpy().astype(np.int64)
    return levels


ONE = torch.from_numpy(IMAGE)[None].float() / 255


@pytest.mark.parametrize(
    ("settings", "distortion", "number"),
    [
        ({"right": -3}, Shift(3), 0),
        ({"right": 3}, Shift(3), 1),
        ({"down": -5}, Shift(5), 2),
        ({"rotate": -25}, Rotation(25), 0),
        ({"rotate": 25}, Rotation(25), 1),
        ({"scale": 0.6}, Scale(-0.4), 0),
        ({"scale": 1.4}, Scale(0.4), 0),
        ({"contrast": 0.25}, Contrast(0.75), 0),
    ],
)
def test_a_slider_does_what_the_distortion_does(
    settings: dict[str, float], distortion: Distortion, number: int
) -> None:
    expected = as_levels(distortion.changes()[number](ONE, torch.Generator()))
    assert np.abs(changed_in_javascript(settings) - expected).max() <= 1
    assert np.abs(expected - IMAGE).max() > 50, "not the identity"


def test_shift_rotation_and_scale_together_are_one_affine_map() -> None:
    matrix = affine_matrices(
        shift=torch.tensor([[4.0, -2.0]]),
        rotate=torch.tensor([-70.0]),
        shear=torch.zeros(1),
        scale=torch.full((1, 2), 1.25),
    )
    grid = sampling_grid(matrix, *SHAPE[1:])
    expected = as_levels(functional.grid_sample(ONE, grid, padding_mode="zeros", align_corners=False))
    actual = changed_in_javascript({"right": 4, "down": -2, "rotate": -70, "scale": 1.25})
    assert np.abs(actual - expected).max() <= 1
