"""Where a layer puts images: planted clusters, the layer that is taken, and the images that are."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.config.config import Config
from cnncli.config.data import DataSpec
from cnncli.config.document import Problem, parse_document
from cnncli.config.log import LogSpec
from cnncli.config.model import read_blueprint
from cnncli.config.network import lay_out
from cnncli.config.train import TrainSpec
from cnncli.data.batches import Normalization
from cnncli.data.images import ImageSet
from cnncli.errors import UsageError
from cnncli.module import CnnModule
from cnncli.run import Run, RunData
from cnncli.views.embedding import class_colors, embedding
from cnncli.views.view import Gallery

CLASSES = ("cat", "dog", "owl")


def run_of(layers: str, images: torch.Tensor, labels: torch.Tensor, path: Path) -> Run:
    """A network of some layers with random weights, over some test images."""
    problems: list[Problem] = []
    section = parse_document(f"model: {{layers: [{layers}]}}", name="test")
    network = lay_out(read_blueprint(section, problems), tuple(images.shape[1:]), 3, problems)
    assert not problems, problems
    torch.manual_seed(0)
    config = Config(
        name="test",
        document=section,
        data=DataSpec(name="digits"),
        train=TrainSpec(),
        log=LogSpec(),
        network=network,
        classes=CLASSES,
    )
    data = RunData(
        splits={"test": (ImageSet(images=images, labels=labels), None)},
        normalization=Normalization.none(images.shape[1]),
    )
    return Run(path=path, config=config, model=CnnModule(network).eval(), epoch=1, step=7, load_data=lambda: data)


@pytest.fixture
def clusters(tmp_path: Path) -> Run:
    """90 images of 4 x 4 in three kinds, sorted by class: bright above, bright below, dark."""
    noise = torch.randint(40, (90, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    noise[:30, :, :2] += 200
    noise[30:60, :, 2:] += 200
    return run_of("flatten, logits", noise, torch.arange(90) // 30, tmp_path)


def places(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int64]]:
    """Where each class has its color in the plot."""
    inside = pixels[60:-9, 10:535]
    return [np.argwhere((inside == color).all(axis=2)) for color in class_colors(3)]


@pytest.mark.parametrize("count", [45, 90])
def test_planted_clusters_lie_apart(clusters: Run, count: int) -> None:
    (found,) = embedding(clusters, count=count)
    assert found.tag == "embedding/01_flatten1"
    assert found.numbers["variance_1"] + found.numbers["variance_2"] > 0.9
    dots = places(found.pixels)
    centers = [each.mean(axis=0) for each in dots]
    for number, each in enumerate(dots):
        assert len(each) > 20
        reach = np.linalg.norm(each - centers[number], axis=1).max()
        others = [center for other, center in enumerate(centers) if other != number]
        assert all(np.linalg.norm(centers[number] - center) > 2 * reach for center in others)


def test_shuffled_classes_do_not(clusters: Run) -> None:
    """The plot is of what the layer gives, and knows nothing of the labels."""
    labels = torch.arange(90) % 3
    mixed = run_of("flatten, logits", clusters.test.images, labels, clusters.path)
    (found,) = embedding(mixed)
    centers = [each.mean(axis=0) for each in places(found.pixels)]
    assert np.linalg.norm(centers[0] - centers[1]) < 60


def test_images_are_spread_over_a_sorted_set(clusters: Run) -> None:
    (found,) = embedding(clusters, count=9)
    assert found.projection is not None
    assert found.projection.columns["number"] == ["0", "10", "20", "30", "40", "50", "60", "70", "80"]
    assert found.projection.columns["class"] == ["cat"] * 3 + ["dog"] * 3 + ["owl"] * 3
    shown = clusters.test.images[::10]
    assert np.array_equal(found.projection.images, shown.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy())
    assert np.allclose(found.projection.vectors, shown.flatten(1).numpy() / 255)
    (every,) = embedding(clusters, count=5000)
    assert every.projection is not None
    assert len(every.projection.vectors) == 90


def test_columns_tell_what_was_predicted(clusters: Run) -> None:
    (found,) = embedding(clusters)
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


def test_the_layer(tmp_path: Path) -> None:
    images = torch.randint(256, (12, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    run = run_of(
        "{conv: {out_channels: 20, kernel_size: 1}}, global_avg_pool, logits", images, torch.arange(12) % 3, tmp_path
    )
    (found,) = embedding(run)
    assert found.tag == "embedding/02_global_avg_pool1"
    (named,) = embedding(run, layer="conv1")
    assert named.tag == "embedding/01_conv1"
    assert named.projection is not None
    assert named.projection.vectors.shape[1] <= 256, "1,280 features are too many for a browser"
    assert np.array_equal(named.projection.images, images.permute(0, 2, 3, 1).numpy())
    with pytest.raises(UsageError, match="has no layer conv2"):
        list(embedding(run, layer="conv2"))


def test_the_projector_gets_its_files(clusters: Run) -> None:
    for _ in Gallery(clusters).hang(embedding(clusters)):
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

    def keep(points: object, labels: Any, ringed: Any, *others: object, **named: object) -> npt.NDArray[np.uint8]:
        given.append((labels, ringed))
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr("cnncli.views.embedding.scatter_picture", keep)
    list(embedding(clusters, count=45))
    ((labels, ringed),) = given
    shown = torch.arange(0, 90, 2)
    with torch.no_grad():
        answers = clusters.model(clusters.test.images[shown].float() / 255).argmax(1)
    assert labels.tolist() == (shown // 30).tolist()
    assert 0 < ringed.sum() < 45
    assert ringed.tolist() == (answers != shown // 30).tolist()
