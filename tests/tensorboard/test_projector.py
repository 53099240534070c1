"""Files for the projector, as TensorBoard's own server serves them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from cnncli.tensorboard.event_file import EventFile
from cnncli.tensorboard.projector import LARGEST_SPRITE, Projection, write_projection

WAIT = 60.0
NAMES = ["cat", "dog\twith a tab", "owl", "cat", "owl"]


def projection(name: str = "07_linear2", *, seed: int = 0) -> Projection:
    """Five points with three features and pictures of 4 x 6 pixels."""
    generator = np.random.default_rng(seed)
    return Projection(
        name=name,
        vectors=generator.normal(size=(5, 3)),
        columns={"class": NAMES, "number": [str(number) for number in range(5)]},
        images=generator.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose subfolder `show` has two layers, one of them written twice."""
    folder = tmp_path_factory.mktemp("runs")
    show = folder / "lenet5" / "show"
    with EventFile(show) as events:
        events.scalars(3, {"accuracy": 0.5})
    write_projection(show, projection(seed=1))
    write_projection(show, projection("01_conv1", seed=2))
    write_projection(show, projection())
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """Where `tensorboard --logdir runs` answers."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), "--host", "127.0.0.1", "--port", "0"]
    output_file = runs.parent / "tensorboard.txt"
    with output_file.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            deadline = time.monotonic() + WAIT
            while "http://" not in (text := output_file.read_text()):
                assert server.poll() is None, text
                assert time.monotonic() < deadline, text
                time.sleep(0.05)
            yield text[text.index("http://") :].split()[0].rstrip("/")
        finally:
            server.terminate()


def get(address: str, route: str, **query: str) -> bytes:
    with urlopen(f"{address}/data/plugin/projector/{route}?{urlencode(query)}", timeout=WAIT) as answer:
        content: bytes = answer.read()
    return content


def runs_with_points(address: str) -> Any:
    """The server first answers, and then reads the folder."""
    deadline = time.monotonic() + WAIT
    runs = None
    while not runs and time.monotonic() < deadline:
        try:
            runs = json.loads(get(address, "runs"))
        except URLError:
            time.sleep(0.1)
    return runs


def test_the_server_serves_the_files(address: str) -> None:
    assert runs_with_points(address) == ["lenet5/show"]
    expected = projection()
    query = {"run": "lenet5/show", "name": "07_linear2"}
    config = json.loads(get(address, "info", run="lenet5/show"))
    assert [each["tensorName"] for each in config["embeddings"]] == ["01_conv1", "07_linear2"]
    assert config["embeddings"][1]["tensorShape"] == [5, 3]
    assert config["embeddings"][1]["sprite"]["singleImageDim"] == [6, 4]  # width, height
    vectors = np.frombuffer(get(address, "tensor", **query), np.float32).reshape(5, 3)
    assert np.allclose(vectors, expected.vectors, rtol=1e-5)
    metadata = get(address, "metadata", **query).decode().splitlines()
    assert metadata[0] == "class\tnumber"
    assert metadata[1:] == ["cat\t0", "dog with a tab\t1", "owl\t2", "cat\t3", "owl\t4"]
    with Image.open(BytesIO(get(address, "sprite_image", **query))) as opened:
        sprite = np.asarray(opened)
    assert sprite.shape == (2 * 4, 3 * 6, 3)
    for number, image in enumerate(expected.images):
        row, column = divmod(number, 3)  # as the projector cuts it: width of the sheet by width of an image
        assert np.array_equal(sprite[row * 4 : row * 4 + 4, column * 6 : column * 6 + 6], image)


@pytest.mark.parametrize("count", [1, 2, 4, 9, 10, 17])
def test_a_sprite_has_room_for_all_images(count: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(1, 256, (count, 2, 2, 3), dtype=np.uint8)
    columns = {"class": ["a"] * count, "number": ["1"] * count}
    folder = write_projection(
        tmp_path, Projection(name="x", vectors=np.zeros((count, 2)), columns=columns, images=images)
    )
    with Image.open(folder / "sprite.png") as opened:
        sprite = np.asarray(opened)
    across = sprite.shape[1] // 2
    assert abs(across - sprite.shape[0] // 2) <= 1
    cut = [sprite[2 * (n // across) :, 2 * (n % across) :][:2, :2] for n in range(count)]
    assert np.array_equal(np.stack(cut), images)


def test_images_of_a_large_sprite_are_reduced(tmp_path: Path) -> None:
    """Nine images of 3000 pixels a side would be 9000: each is halved, every pixel the mean of four."""
    images = np.zeros((9, 3000, 3000, 3), np.uint8)
    images[8, ::2, ::2] = 200
    columns = {"class": ["a"] * 9, "number": ["1"] * 9}
    write_projection(tmp_path, Projection(name="x", vectors=np.zeros((9, 2)), columns=columns, images=images))
    with Image.open(tmp_path / "projector" / "x" / "sprite.png") as opened:
        assert opened.size == (4500, 4500)
        assert max(opened.size) <= LARGEST_SPRITE
        assert opened.getpixel((4499, 4499)) == (50, 50, 50)
    assert "single_image_dim: 1500" in (tmp_path / "projector_config.pbtxt").read_text()


def test_an_invalid_config_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "projector_config.pbtxt").write_bytes(b"embeddings { \xff")
    write_projection(tmp_path, projection())
    assert (tmp_path / "projector_config.pbtxt").read_text().count("tensor_name") == 1
