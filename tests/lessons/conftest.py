"""Pages as plain text, networks with random weights, and snapshots."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cnncli.cli.render.lesson import page_lines
from cnncli.cli.render.tiles import Medium
from cnncli.lessons.page import Page
from cnncli.module import CnnModule
from cnncli.run import Run
from tests.networks import network_of_text, randomize, run_of_model

SNAPSHOTS = Path(__file__).parent / "snapshots"
REWRITE = os.environ.get("CNNCLI_REWRITE") == "1"
"""Whether to write the snapshots instead of comparing with them; review the difference before committing it."""


def page_text(page: Page) -> str:
    """A page as it looks off a terminal."""
    lines = [line.plain for line in page_lines(page, Medium(80, colors=False))]
    return "\n".join(lines) + "\n"


def check_snapshot(text: str, name: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if REWRITE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def random_run(text: str, shape: tuple[int, int, int], seed: int = 0) -> Run:
    """A run of a `model:` section with random weights and four random test images of a shape."""
    generator = torch.Generator().manual_seed(seed)
    model = randomize(CnnModule(network_of_text(text, shape, 3)), generator)
    images = torch.randint(256, (4, *shape), generator=generator, dtype=torch.uint8)
    return run_of_model(model, images, torch.tensor([0, 1, 2, 0]), path=Path("runs/random"))


@pytest.fixture
def plain() -> Callable[[Page], str]:
    return page_text


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    return check_snapshot


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return random_run
