"""Networks with random weights, from the layers of a config."""

from collections.abc import Callable

import pytest
import torch

from cnncli.config.document import Problem, parse_document
from cnncli.config.model import read_blueprint
from cnncli.config.network import lay_out
from cnncli.module import CnnModule

Build = Callable[..., CnnModule]


def random_model(layers: str | list[str], shape: tuple[int, int, int], *, classes: int = 3, seed: int = 0) -> CnnModule:
    """A network in evaluation mode; it may end with whatever shape."""
    layers = layers if isinstance(layers, str) else f"[{', '.join(layers)}]"
    problems: list[Problem] = []
    document = parse_document(f"model:\n  layers: {layers}\n", name="test")
    network = lay_out(read_blueprint(document, problems), shape, classes, problems)
    assert all("the network ends" in each.message for each in problems), problems
    model = CnnModule(network).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 2)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.1)
    return model


@pytest.fixture
def build() -> Build:
    return random_model
