"""Networks and runs for tests, from the text of a config, with weights that are not special."""

from pathlib import Path

import torch
from torch import Generator, Tensor

from cnncli.config.config import Config
from cnncli.config.data import DataSpec
from cnncli.config.document import Problem, parse_document
from cnncli.config.log import LogSpec
from cnncli.config.model import read_blueprint
from cnncli.config.network import Network, lay_out
from cnncli.config.train import TrainSpec
from cnncli.data.batches import Normalization
from cnncli.data.images import ImageSet
from cnncli.data.preprocessing import Preprocessing
from cnncli.module import CnnModule
from cnncli.run import Run


def lay_out_text(text: str, shape: tuple[int, ...], classes: int = 10) -> tuple[Network, list[str]]:
    """The network of a `model:` section, and what is wrong with it; it need not end with logits."""
    problems: list[Problem] = []
    network = lay_out(read_blueprint(parse_document(text, name="test"), problems), shape, classes, problems)
    return network, [each.message for each in problems if "the network ends" not in each.message]


def network_of_text(text: str, shape: tuple[int, ...], classes: int = 10) -> Network:
    """The network of a valid `model:` section."""
    network, problems = lay_out_text(text, shape, classes)
    assert not problems, problems
    return network


def network_of(layers: str, shape: tuple[int, ...], classes: int = 10) -> Network:
    """The network of a valid list of layers, such as `[{conv: 4}, relu]`."""
    return network_of_text(f"model: {{layers: {layers}}}", shape, classes)


def randomize(model: CnnModule, generator: Generator) -> CnnModule:
    """The model in evaluation mode, with random weights and statistics."""
    for name, tensor in model.eval().state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) / 2)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.1)
    return model


def run_of_model(
    model: CnnModule,
    images: Tensor,
    labels: Tensor,
    *,
    path: Path,
    classes: tuple[str, ...] = ("cat", "dog", "owl"),
    normalization: Normalization | None = None,
) -> Run:
    """A run at step 7 of a network and its test images."""
    channels = images.shape[1]
    preprocessing = Preprocessing(
        input_shape=tuple(images.shape[1:]),
        normalization=normalization or Normalization(mean=(0.4,) * channels, std=(0.3,) * channels),
        classes=classes,
    )
    test = (ImageSet(images=images, labels=labels), None)
    config = Config(
        name="test",
        document=parse_document("{}", name="test"),
        data=DataSpec(name="digits"),
        train=TrainSpec(),
        log=LogSpec(),
        network=model.network,
        classes=classes,
    )
    return Run(
        path=path,
        config=config,
        model=model,
        epoch=1,
        step=7,
        preprocessing=preprocessing,
        load_splits=lambda download: {"test": test},
    )
