"""The weights with which a training begins.

Letters for shapes: N images, C channels, H height, W width.
"""

import logging
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from cnncli.config.config import Config
from cnncli.data.batches import Batches
from cnncli.module import CnnModule, seeded_module

_log = logging.getLogger(__name__)


def initial_model(config: Config, train: Batches) -> CnnModule:
    """The network before its first step, on the CPU; the same in every process that trains it.

    Args:
        config: the network, its seed and where its weights come from.
        train: the training batches, of which the first one may be looked at.
    """
    model = seeded_module(config.network, config.train.seed)
    measured = {node.name for node in config.network.nodes if node.layer.init_needs_images}
    if measured:
        images, _ = next(iter(train.epoch(1)))
        scale_to_unit_variance(model, images.cpu().contiguous(), measured)
    return model


@torch.no_grad()
def scale_to_unit_variance(model: CnnModule, images: Tensor, layers: Collection[str]) -> None:
    """Divide the weights of layers by the standard deviation of their outputs, one layer after the other.

    Mishkin and Matas, "All you need is a good init", 2016. Their biases are 0, so that one division is enough. Dropout
    is off, and the running statistics of batch norms stay as they are.

    Args:
        model: on the CPU.
        images: one batch (N, C, H, W).
        layers: names of layers with kernels or a matrix.
    """

    def divide(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(core: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            deviation = output.std(correction=0)
            if not (deviation > 0 and deviation.isfinite()):
                _log.warning(
                    f"{name}: its outputs for the first batch are all equal, so init: lsuv does not scale them"
                )
                return output
            core.get_parameter("weight").div_(deviation)
            return output / deviation

        return hook

    cores = {node.name: node.layer.core_of(model.layer(node)) for node in model.network.nodes if node.name in layers}
    handles = [core.register_forward_hook(divide(name)) for name, core in cores.items()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.freeze(0)
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.train(module.weight.requires_grad)
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        model.train()
