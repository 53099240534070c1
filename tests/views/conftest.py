"""Networks and runs with random weights or weights set by hand, and two ways to read their pictures back."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import Tensor

from cnncli.data.batches import Normalization
from cnncli.drawing.layout import PAGE
from cnncli.drawing.sheet import Drawing
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.views import activation_maximization, patches, saliency
from tests.manifests import write_manifest
from tests.networks import network_of, randomize, run_of_model

Pixels = npt.NDArray[np.uint8]
Plant = Callable[[Mapping[str, Tensor]], Path]
Show = Callable[..., int]
Read = Callable[[Path, str], Pixels]
Tiles = Callable[..., list[Pixels]]

CONFIG = """\
version: 1
name: planted
data: {name: digits, size: 8, validation: 0.2}
model:
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
  layers: [{conv: 4}, {max_pool: 2}, {conv: {out_channels: 6, activation: none}}, {avg_pool: 2}, flatten, logits]
train: {epochs: 1, batch_size: 128, seed: 3, optimizer: {adamw: {lr: 1e-2}}}
log: {probes: 2, images: 3}
"""
FRAME = [120, 120, 120]


def random_model(layers: str | list[str], shape: tuple[int, ...], *, classes: int = 3, seed: int = 0) -> CnnModule:
    """A network in evaluation mode with random weights; its output may have any shape."""
    layers = layers if isinstance(layers, str) else f"[{', '.join(layers)}]"
    model = CnnModule(network_of(layers, shape, classes))
    return randomize(model, torch.Generator().manual_seed(seed))


@pytest.fixture
def build() -> Callable[..., CnnModule]:
    """Builds a network: `random_model`."""
    return random_model


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Run]:
    """Makes a run of a network and its test images: by default the labels cycle through cat, dog and owl."""

    def make(
        model: str | CnnModule,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        classes: tuple[str, ...] = ("cat", "dog", "owl"),
        normalization: Normalization | None = None,
    ) -> Run:
        if isinstance(model, str):
            model = random_model(model, images.shape[1:], classes=len(classes))
        labels = torch.arange(len(images)) % len(classes) if labels is None else labels
        return run_of_model(model, images, labels, path=tmp_path, classes=classes, normalization=normalization)

    return make


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Drawing]]:
    """The drawings that patches, saliency and activation maximization make, with the boxes of their panels."""
    drawings: list[Drawing] = []

    def kept(draw: Callable[..., Drawing]) -> Callable[..., Drawing]:
        def keep(*arguments: Any, **named: Any) -> Drawing:
            drawings.append(draw(*arguments, **named))
            return drawings[-1]

        return keep

    for module, name in (
        (patches, "draw_patches"), (saliency, "draw_saliency"), (activation_maximization, "draw_pairs")
    ):  # fmt: skip
        monkeypatch.setattr(module, name, kept(getattr(module, name)))
    yield drawings
    assert all(drawing.pixels.shape[1] <= PAGE.width for drawing in drawings)


@pytest.fixture
def run_of_three(run_of: Callable[..., Run]) -> Callable[..., Run]:
    """Makes a run whose logits are ten times the three pixels of its image, from 0 to 10."""

    def make(pixels: list[list[int]], labels: list[int]) -> Run:
        images = torch.tensor(pixels, dtype=torch.uint8).view(-1, 1, 1, 3)
        run = run_of("[flatten, logits]", images, torch.tensor(labels), normalization=Normalization.none(1))
        run.model.load_state_dict({"logits1.weight": 10 * torch.eye(3), "logits1.bias": torch.zeros(3)})
        return run

    return make


PIXELS = [[200, 0, 0], [90, 80, 0], [0, 210, 0], [0, 0, 220], [0, 150, 0], [0, 0, 230], [0, 0, 60], [255, 0, 0]]


@pytest.fixture
def eight(run_of_three: Callable[..., Run]) -> Run:
    """A run on eight images of three pixels; five predictions are right."""
    return run_of_three(PIXELS, [0, 0, 1, 2, 0, 0, 2, 1])


@pytest.fixture(scope="session")
def trained(exit_code_of: Show, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run of one epoch, for reading only."""
    out = tmp_path_factory.mktemp("planted")
    (out / "planted.yaml").write_text(CONFIG, encoding="utf-8")
    assert exit_code_of("train", out / "planted.yaml", "--out", out / "runs", "--threads", 1, "--quiet") == 0
    (run,) = (out / "runs").iterdir()
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run that may be written to."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def plant(run: Path) -> Plant:
    """Puts weights into the best checkpoint of the run, as a training would have left it."""

    def put(weights: Mapping[str, Tensor]) -> Path:
        best = run / "checkpoints" / "best"
        path = best / "weights.safetensors"
        found = safetensors.torch.load_file(path)
        assert weights.keys() <= found.keys()
        assert all(tensor.shape == found[name].shape for name, tensor in weights.items())
        content = safetensors.torch.save({**found, **weights})
        path.write_bytes(content)
        manifest: dict[str, Any] = json.loads((best / "manifest.json").read_text())
        manifest["files"]["weights.safetensors"] = hashlib.sha256(content).hexdigest()
        write_manifest(best / "manifest.json", manifest)
        return run

    return put


@pytest.fixture
def show(exit_code_of: Show) -> Show:
    """Runs `cnncli show`: arguments -> exit code."""
    return lambda *arguments: exit_code_of("show", *arguments)


@pytest.fixture
def png() -> Read:
    """The pixels of the file of a tag."""

    def read(run: Path, tag: str) -> Pixels:
        with Image.open(run / "show" / f"{tag}.png") as image:
            return np.array(image)

    return read


@pytest.fixture
def card() -> Read:
    """The pixels of the latest picture that the event files have under a tag."""

    def read(run: Path, tag: str) -> Pixels:
        events = EventAccumulator(str(run / "show"), size_guidance={"images": 0})
        events.Reload()
        image = events.Images(tag)[-1]
        with Image.open(io.BytesIO(image.encoded_image_string)) as opened:
            return np.array(opened)

    return read


@pytest.fixture
def tiles() -> Tiles:
    """The framed tiles of a size in a picture, in the order of reading, one pixel for each value.

    They are found by their frames, which must not touch; each value must fill its whole square.
    """

    def find(pixels: Pixels, size: tuple[int, int]) -> list[Pixels]:
        framed = (pixels == FRAME).all(axis=-1)
        found = []
        for y, x in np.argwhere(framed[:-1, :-1]).tolist():
            if framed[y - 1, x] or framed[y, x - 1] or not (framed[y, x + 1] and framed[y + 1, x]):
                continue
            width, height = run_length(framed[y, x:]), run_length(framed[y:, x])
            if not (framed[y + height - 1, x : x + width].all() and framed[y : y + height, x + width - 1].all()):
                continue
            inside = pixels[y + 1 : y + height - 1, x + 1 : x + width - 1]
            scale = inside.shape[0] // size[0]
            if scale and inside.shape[:2] == (size[0] * scale, size[1] * scale):
                values = inside[::scale, ::scale]
                if np.array_equal(values.repeat(scale, axis=0).repeat(scale, axis=1), inside):
                    found.append((y, x, values))
        corners = [(y, x) for y, x, _ in found]
        assert all(first < second for first, second in pairwise(corners))
        return [values for _, _, values in found]

    return find


def run_length(line: npt.NDArray[np.bool_]) -> int:
    """How many of the first values are true."""
    return int(np.argmin([*line.tolist(), False]))
