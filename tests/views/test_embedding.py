"""Features against the layer itself, principal components against numpy's, points where the plot has them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.config.config import read_config
from cnncli.data.batches import ImageBatches, Normalization
from cnncli.data.images import ImageSet
from cnncli.drawing.canvas import INK, Box, Canvas
from cnncli.drawing.categories import COLORS
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.errors import UsageError
from cnncli.inspection.formatting import plain
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.views.embedding import (
    EXACT,
    Embedding,
    draw_scatter,
    layer_features,
    principal_components,
    text_lines,
    to_pixels,
)
from cnncli.views.view import save

CLASSES = ("cat", "dog", "owl")
RunOf = Callable[..., Run]


@pytest.fixture
def clusters(run_of: RunOf) -> Run:
    """90 images of 4 x 4 in three classes, sorted: bright above, bright below, dark."""
    noise = torch.randint(40, (90, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    noise[:30, :, :2] += 200
    noise[30:60, :, 2:] += 200
    return run_of("[flatten, logits]", noise, torch.arange(90) // 30, normalization=Normalization.none(1))


def places(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int64]]:
    """Where each class has its color in the plot."""
    inside = pixels[60:-9, 10:535]
    return [np.argwhere((inside == color).all(axis=2)) for color in COLORS[:3]]


@pytest.mark.parametrize("count", [45, 90])
def test_planted_clusters_lie_apart(clusters: Run, count: int) -> None:
    (found,) = Embedding(count=count).pictures(clusters)
    assert found.tag == "embedding/01_flatten1"
    assert found.numbers["variance_1"] + found.numbers["variance_2"] > 0.9
    dots = places(found.pixels)
    centers = [each.mean(axis=0) for each in dots]
    for number, each in enumerate(dots):
        assert len(each) > 20
        reach = np.linalg.norm(each - centers[number], axis=1).max()
        others = [center for other, center in enumerate(centers) if other != number]
        assert all(np.linalg.norm(centers[number] - center) > 2 * reach for center in others)


def test_the_plot_does_not_depend_on_labels(clusters: Run, run_of: RunOf) -> None:
    labels = torch.arange(90) % 3
    mixed = run_of("[flatten, logits]", clusters.test.images, labels, normalization=Normalization.none(1))
    (found,) = Embedding().pictures(mixed)
    (sorted_by_class,) = Embedding().pictures(clusters)
    assert found.data["coordinates"] == sorted_by_class.data["coordinates"]
    assert found.data["true"] != sorted_by_class.data["true"]


def test_images_are_spread_over_a_sorted_set(clusters: Run) -> None:
    (found,) = Embedding(count=9).pictures(clusters)
    assert found.projection is not None
    assert found.projection.columns["number"] == ["0", "10", "20", "30", "40", "50", "60", "70", "80"]
    assert found.projection.columns["class"] == ["cat"] * 3 + ["dog"] * 3 + ["owl"] * 3
    shown = clusters.test.images[::10]
    assert np.array_equal(found.projection.images, shown.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy())
    assert np.allclose(found.projection.vectors, shown.flatten(1).numpy() / 255)
    (every,) = Embedding(count=5000).pictures(clusters)
    assert every.projection is not None
    assert len(every.projection.vectors) == 90


def test_columns_have_the_predictions(clusters: Run) -> None:
    (found,) = Embedding().pictures(clusters)
    assert found.projection is not None
    columns = found.projection.columns
    with torch.no_grad():
        probabilities = clusters.model(clusters.test.images.float() / 255).softmax(1)
    assert columns["predicted"] == [CLASSES[taken] for taken in probabilities.argmax(1)]
    right = ["right" if a == b else "wrong" for a, b in zip(columns["class"], columns["predicted"], strict=True)]
    assert columns["right"] == right
    answers = [f"{a} -> {b}" for a, b in zip(columns["class"], columns["predicted"], strict=True)]
    assert columns["answer"] == answers
    assert next(iter(columns)) == "answer"
    assert {"right", "wrong"} == set(right)
    assert np.allclose([float(each) for each in columns["confidence"]], probabilities.amax(1), atol=1e-4)


def test_the_layer(run_of: RunOf) -> None:
    images = torch.randint(256, (12, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    run = run_of("[{conv: {out_channels: 20, kernel_size: 1}}, global_avg_pool, logits]", images)
    (found,) = Embedding().pictures(run)
    assert found.tag == "embedding/02_global_avg_pool1"
    (named,) = Embedding(layer="conv1").pictures(run)
    assert named.tag == "embedding/01_conv1"
    assert named.projection is not None
    assert named.projection.vectors.shape[1] <= 256, "1,280 features are too many for a browser"
    assert np.array_equal(named.projection.images, images.permute(0, 2, 3, 1).numpy())
    with pytest.raises(UsageError, match="has no layer conv2"):
        list(Embedding(layer="conv2").pictures(run))


def test_the_projector_gets_its_files(clusters: Run) -> None:
    for _ in save(clusters, Embedding().pictures(clusters)):
        pass
    assert (
        'tensor_path: "projector/01_flatten1/vectors.tsv"'
        in (clusters.path / "show/projector_config.pbtxt").read_text()
    )
    vectors = np.loadtxt(clusters.path / "show/projector/01_flatten1/vectors.tsv", delimiter="\t")
    assert np.allclose(vectors, clusters.test.images.flatten(1).numpy() / 255, atol=1e-6)


def test_points_have_the_color_of_their_class_and_a_ring_where_they_are_wrong(
    clusters: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = []

    def keep(points: object, labels: Any, ringed: Any, *others: object, **named: object) -> Canvas:
        given.append((labels, ringed))
        return Canvas(width=4, height=4)

    monkeypatch.setattr("cnncli.views.embedding.draw_scatter", keep)
    list(Embedding(count=45).pictures(clusters))
    ((labels, ringed),) = given
    shown = torch.arange(0, 90, 2)
    with torch.no_grad():
        answers = clusters.model(clusters.test.images[shown].float() / 255).argmax(1)
    assert labels.tolist() == (shown // 30).tolist()
    assert 0 < ringed.sum() < 45
    assert ringed.tolist() == (answers != shown // 30).tolist()


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


def test_equal_points() -> None:
    found = principal_components(np.full((9, 4), 7, np.float32), directions=2)
    assert not found.coordinates.any()
    assert found.shares.tolist() == [0, 0]


def test_features_are_the_outputs_of_the_layer(tmp_path: Path) -> None:
    model = CnnModule(read_config("quickstart", data_dir=tmp_path).network).train()
    size = model.network.input_shape
    images = torch.randint(256, (5, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batches = ImageBatches(
        ImageSet(images=images, labels=torch.zeros(5, dtype=torch.int64)),
        batch_size=2,
        normalization=Normalization.none(1),
        shuffle=False,
        channels_last=False,
        seed=0,
    )
    inputs = images.float() / 255
    for layer in ("conv1", "input"):
        found = layer_features(model, layer, batches)
        assert model.training
        model.eval()
        with torch.no_grad():
            expected = model.outputs(inputs, [layer])[layer]
        model.train()
        assert found.shape == (5, expected[0].numel())
        assert np.allclose(found, expected.reshape(5, -1).numpy(), atol=1e-5)


BOX = Box(x=10, y=20, height=100, width=200, scale=1)


def test_points_lie_on_one_scale_with_y_upwards() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    (x0, y0), (x1, y1), (x2, y2) = to_pixels(points, BOX)
    assert y0 == y1 > y2
    assert x0 == x2 < x1
    assert x1 - x0 == y0 - y2
    assert y2 >= 20 + 4
    assert y0 <= 120 - 4


@pytest.mark.parametrize("points", [[[3.0, 3.0]], [[0.0, 0.0], [5.0, 0.0]], [[0.0, -1e9], [0.0, 1e9]]])
def test_points_without_extent_lie_inside(points: list[list[float]]) -> None:
    for x, y in to_pixels(np.array(points), BOX):
        assert 10 < x < 210
        assert 20 < y < 120


def test_two_clusters() -> None:
    """Each lies on its side, in its color; the ringed point is the one with ink."""
    points = np.concatenate([np.full((20, 2), -5.0), np.full((20, 2), 5.0)]) + np.arange(40)[:, None] / 100
    labels = np.repeat([0, 1], 20)
    ringed = np.arange(40) == 25
    pixels = draw_scatter(points, labels, ringed, ["a", "b"], title="two", caption="clusters").pixels
    assert pixels.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    inside = pixels[60:-9, 10:540]
    left, right = (np.argwhere((inside == color).all(axis=2)) for color in COLORS[:2])
    assert len(left) > 30
    assert len(right) > 30
    assert left[:, 1].max() < right[:, 1].min()
    assert left[:, 0].min() > right[:, 0].max(), "up is up"
    rings = np.argwhere((inside == INK).all(axis=2))
    assert len(rings) > 8
    assert rings[:, 1].min() > left[:, 1].max()
    without = draw_scatter(points, labels, np.zeros(40, bool), ["a", "b"], title="two", caption="clusters").pixels
    assert not (without[60:-9, 10:540] == INK).all(axis=2).any()


def test_more_classes_than_the_legend_has_room_for() -> None:
    names = [f"a class with a long name, {number}" for number in range(300)]
    pixels = draw_scatter(np.zeros((1, 2)), np.array([299]), np.array([False]), names, title="", caption="").pixels
    assert pixels.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert (pixels[60:-9, 10:300] == COLORS[299 % len(COLORS)]).all(axis=2).any()


def test_lines_of_a_terminal_have_the_classes_at_their_places() -> None:
    """Two clusters, one above the other on the right; counts of images and errors per class."""
    points = np.concatenate([np.full((20, 2), -5.0), np.full((30, 2), 5.0)])
    labels = np.repeat([0, 1], [20, 30])
    wrong = np.arange(50) < 3
    lines = [plain(line) for line in text_lines(points, labels, wrong, ["a long name of a class", "b"], width=60)]
    assert max(map(len, lines)) <= 60
    (upper, first), (lower, second) = (
        next((row, line.index(mark)) for row, line in enumerate(lines) if mark in line) for mark in "10"
    )
    assert upper < lower
    assert first > second
    assert "0 a long name of a class: 20 images, 3 wrong" in lines
    assert "1 b: 30 images, 0 wrong" in lines
    (single,) = [line for line in text_lines(points[:1], labels[:1], wrong[:1], ["x"], width=60) if "x:" in plain(line)]
    assert plain(single) == "x: 1 images, 1 wrong"


def test_names_in_the_legend_keep_what_tells_them_apart() -> None:
    names = [f"a very long class name of digit {number}" for number in range(10)]
    canvas = draw_scatter(np.zeros((10, 2)), np.arange(10), np.zeros(10, bool), names, title="", caption="")
    texts = [each.text or "" for each in ElementTree.fromstring(canvas.svg(title="")).iter()]
    shown = [text for text in texts if text.startswith("a ")]
    assert [text[-1] for text in shown] == list("0123456789")
    assert all("…" in text for text in shown)
