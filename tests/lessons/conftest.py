"""Pages as plain text, networks with random weights, and snapshots."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cnncli.cli.render.lesson import page_lines
from cnncli.cli.render.tiles import Medium
from cnncli.config.config import Config
from cnncli.config.data import DataSpec
from cnncli.config.document import Problem, parse_document
from cnncli.config.log import LogSpec
from cnncli.config.model import read_blueprint
from cnncli.config.network import lay_out
from cnncli.config.train import TrainSpec
from cnncli.data.batches import Normalization
from cnncli.data.images import ImageSet
from cnncli.data.preprocessing import Preprocessing
from cnncli.lessons.page import Page
from cnncli.module import CnnModule
from cnncli.run import Run

SNAPSHOTS = Path(__file__).parent / "snapshots"
REWRITE = os.environ.get("CNNCLI_REWRITE") == "1"
"""Whether to write the snapshots instead of comparing with them; review the difference before committing it."""


def page_text(page: Page) -> str:
    """A page as it looks off a terminal."""
    lines = [line.plain for line in page_lines(page, Medium(80, colors=False), None)]
    return "\n".join(lines) + "\n"


def check_snapshot(text: str, name: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if REWRITE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def random_run(text: str, shape: tuple[int, int, int], seed: int = 0) -> Run:
    """A run of a `model:` section with random weights and four random test images of a shape."""
    problems: list[Problem] = []
    network = lay_out(read_blueprint(parse_document(text, name="test"), problems), shape, 3, problems)
    assert not problems, problems
    generator = torch.Generator().manual_seed(seed)
    model = CnnModule(network).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 2)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.1)
    images = torch.randint(256, (4, *shape), generator=generator, dtype=torch.uint8)
    config = Config(
        name="test",
        document=parse_document(text, name="test"),
        data=DataSpec(name="digits"),
        train=TrainSpec(),
        log=LogSpec(),
        network=network,
        classes=("cat", "dog", "owl"),
    )
    test = (ImageSet(images=images, labels=torch.tensor([0, 1, 2, 0])), None)
    return Run(
        path=Path("runs/random"),
        config=config,
        model=model,
        epoch=1,
        step=1,
        preprocessing=Preprocessing(
            input_shape=shape,
            normalization=Normalization(mean=(0.4,) * shape[0], std=(0.3,) * shape[0]),
            classes=config.classes,
        ),
        load_splits=lambda: {"test": test},
    )


@pytest.fixture
def plain() -> Callable[[Page], str]:
    return page_text


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    return check_snapshot


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return random_run
