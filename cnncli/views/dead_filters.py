"""Dead filters: those that are 0 after the activation, at every position of every image.

A filter whose ReLU is never active outputs nothing, and gets no gradient that could revive it (Lu et al., "Dying ReLU
and Initialization", 2019).

Letters: N images, C channels, H height, W width, F features.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from cnncli.capture.mode import evaluation_mode
from cnncli.config.network import Network, Node
from cnncli.module import CnnModule


def can_be_dead(network: Network) -> tuple[str, ...]:
    """The layers whose outputs can be 0 for good; see `Layer.can_die`.

    What is never exactly 0 (tanh, sigmoid, GELU, SiLU, ELU) cannot be found dead in this way.
    """
    return tuple(node.name for node in network.nodes if node.layer.can_die)


def dead_channels(model: CnnModule, batches: Iterable[tuple[Tensor, object]]) -> dict[str, tuple[int, ...]]:
    """The channels of each layer of `can_be_dead` that are 0 at every position of every image.

    Args:
        model: its mode is restored.
        batches: images (N, C, H, W) and whatever goes with them, on the model's device.

    Returns:
        Layer -> numbers of its dead channels (C, H, W) or features (F,), ascending.
    """
    alive: dict[str, Tensor] = {}  # name -> bool (C,)
    with evaluation_mode(model), torch.inference_mode(), _recording(model, alive):
        for images, _ in batches:
            model(images)
    return {name: tuple((~alive[name]).nonzero().flatten().tolist()) for name in alive}


def dead_in_pictures(network: Network, dead: Mapping[str, Collection[int]]) -> dict[str, Collection[int]]:
    """What to outline in the pictures of every layer, given the dead channels of those of `can_be_dead`.

    A filter of a convolution is dead, too, where the activation that follows it is, directly or after norms and pools
    and with no other reader on the way. What pools make of a dead channel is dead as well.
    """
    outlined = dict(dead)
    for node in network.nodes:
        if node.layer.keeps_zero and node.inputs[0] in outlined:
            outlined.setdefault(node.name, outlined[node.inputs[0]])
    for node in reversed(network.nodes):
        readers = [each for each in network.nodes if node.name in each.inputs]
        alone = readers[0] if len(readers) == 1 else None
        layer = node.layer
        able = (layer.has_kernels or layer.keeps_channels) and not layer.is_activation
        able = able and "activation" not in layer.followers()
        if able and alone is not None and alone.layer.keeps_channels and alone.name in outlined:
            outlined.setdefault(node.name, outlined[alone.name])
    return outlined


@contextmanager
def _recording(model: CnnModule, alive: dict[str, Tensor]) -> Iterator[None]:
    """In this context, channels that are not 0 anywhere in a batch are recorded in `alive`."""

    def register(node: Node) -> torch.utils.hooks.RemovableHandle:
        def record(module: nn.Module, inputs: object, output: Tensor) -> None:
            over = (0, *range(2, output.ndim))
            active = (output.amax(over) != 0) | (output.amin(over) != 0)  # (C,), NaN is not 0
            alive[node.name] = alive[node.name] | active if node.name in alive else active

        return model.layer(node).register_forward_hook(record)

    names = can_be_dead(model.network)
    with ExitStack() as hooks:
        for node in model.network.nodes:
            if node.name in names:
                hooks.enter_context(register(node))
        yield
