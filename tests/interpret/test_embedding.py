"""Features of a layer against the layer itself, and principal components against numpy's decomposition."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.config.config import read_config
from cnncli.data.batches import Batches, Normalization
from cnncli.data.images import ImageSet
from cnncli.module import CnnModule
from cnncli.views.embedding import EXACT, features, principal_components

Floats = npt.NDArray[np.float32]


def components_by_numpy(points: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coordinates up to the sign of each column, and shares of the variance."""
    around = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    left, spread, _ = np.linalg.svd(around, full_matrices=False)
    return left * spread, spread**2 / (spread**2).sum()


def stretched(count: int, features: int) -> Floats:
    """Random points that vary by 1, 1/2, 1/3, ... along random directions, around a mean that is not 0."""
    generator = np.random.default_rng(3)
    turned, _ = np.linalg.qr(generator.normal(size=(features, min(features, 60))))
    spread = generator.normal(size=(count, turned.shape[1])) / np.arange(1, turned.shape[1] + 1)
    points: Floats = (spread @ turned.T + 5).astype(np.float32)
    return points


@pytest.mark.parametrize(("count", "width"), [(300, 40), (30, 70), (200, EXACT + 500)])
def test_components_are_those_of_numpy(count: int, width: int) -> None:
    points = stretched(count, width)
    found = principal_components(points, directions=3)
    coordinates, shares = components_by_numpy(points)
    assert found.coordinates.shape == (count, 3)
    assert np.allclose(found.shares, shares[:3], rtol=1e-3)
    for mine, theirs in zip(found.coordinates.T, coordinates.T[:3], strict=True):
        assert np.allclose(mine, theirs, atol=1e-2) or np.allclose(mine, -theirs, atol=1e-2)


@pytest.mark.parametrize("width", [40, EXACT + 500])
def test_the_sign_is_that_of_the_largest_entry_and_the_same_every_time(width: int) -> None:
    """Points turned round have the same directions, and so coordinates turned round."""
    points = stretched(50, width)
    found = principal_components(points, directions=2).coordinates
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert np.array_equal(found, principal_components(points, directions=2).coordinates)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.allclose(principal_components(-points, directions=2).coordinates, -found, atol=1e-4)
    along = np.zeros((50, width), np.float32)
    along[:, 7] = -np.arange(50)
    assert principal_components(along, directions=1).coordinates[0, 0] == pytest.approx(24.5)


def test_fewer_features_than_directions() -> None:
    found = principal_components(np.array([[1.0], [3.0]], np.float32), directions=2)
    assert found.coordinates.tolist() == [[-1, 0], [1, 0]]
    assert found.shares.tolist() == [1, 0]


def test_points_that_are_all_one() -> None:
    found = principal_components(np.full((9, 4), 7, np.float32), directions=2)
    assert not found.coordinates.any()
    assert found.shares.tolist() == [0, 0]


def test_features_are_what_the_layer_gives(tmp_path: Path) -> None:
    model = CnnModule(read_config("quickstart", data_dir=tmp_path).network).train()
    size = model.network.input_shape
    images = torch.randint(256, (5, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batches = Batches(
        ImageSet(images=images, labels=torch.zeros(5, dtype=torch.int64)),
        batch_size=2,
        normalization=Normalization.none(1),
        shuffle=False,
        channels_last=False,
        seed=0,
    )
    inputs = images.float() / 255
    for layer in ("conv1", "input"):
        found = features(model, layer, batches)
        assert model.training
        model.eval()
        with torch.no_grad():
            expected = model.outputs(inputs, [layer])[layer]
        model.train()
        assert found.shape == (5, expected[0].numel())
        assert np.allclose(found, expected.reshape(5, -1).numpy(), atol=1e-5)
