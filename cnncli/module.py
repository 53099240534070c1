"""The torch module of a network description.

Letters for shapes: N images, C channels, H height, W width, F features.
"""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor, nn

from cnncli.config.network import INPUT, Network, Node
from cnncli.errors import DeviceError
from cnncli.inspection.columns import size_in_bytes
from cnncli.inspection.graph import graph_of
from cnncli.inspection.memory import memory_of
from cnncli.layers.tuning import Tuning
from cnncli.machine import machine_memory


class CnnModule(nn.Module):
    """A network as a torch module: every node is a submodule with the name of the node (`conv1`, `vgg1.conv2`).

    Layers with a norm or an activation are `nn.Sequential`s with the parts `conv` (or `linear`), `norm`, `activation`,
    so that the kernels of `conv1` are `conv1.conv.weight` in the state dict.

    Args:
        network: the description.
        portable: use only operators that ONNX has as well; the state dict is the same.
    """

    def __init__(self, network: Network, *, portable: bool = False) -> None:
        super().__init__()
        _require_memory(network)
        self.network = network
        self._steps: list[tuple[str, tuple[str, ...], nn.Module]] = []
        for node in network.nodes:
            if node.reuses is None:
                build = node.layer.build_portable if portable else node.layer.build
                module = build(node.input_shapes[0])
            else:
                module = _Reused(self.get_submodule(node.reuses))
            _place(self, node.name, module)
            self._steps.append((node.name, node.inputs, module))
        self._last_use = {name: i for i, (_, inputs, _) in enumerate(self._steps) for name in inputs}
        self._frozen_norms: list[nn.Module] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        return self._run(images, keep=())[self._steps[-1][0]]

    def outputs(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The outputs of the nodes called `names` for images (N, C, H, W), in a pass that ends with the last."""
        values = self._run(images, keep=names)
        return {name: values[name] for name in names}

    def _run(self, images: Tensor, keep: Collection[str]) -> dict[str, Tensor]:
        values = {INPUT: images}
        wanted = set(keep)
        for i, (name, inputs, module) in enumerate(self._steps):
            values[name] = module(*(values[each] for each in inputs))
            for each in inputs:
                # Freed as soon as nothing reads it any more: without gradients this bounds the memory.
                if self._last_use[each] == i and each not in keep:
                    values.pop(each, None)
            wanted.discard(name)
            if keep and not wanted - {INPUT}:
                break
        return values

    def tunings(self) -> dict[str, Tuning]:
        """Name -> how it is trained, of every parameter."""
        return {
            f"{node.name}.{name}": node.layer.tuning(name)
            for node in self.network.nodes
            for name, _ in self.layer(node).named_parameters()
        }

    def freeze(self, epochs_done: int) -> bool:
        """Freeze the layers that the config freezes in the epoch after `epochs_done` ones, and no others.

        The weights of a frozen layer get no gradient. Its batch norm uses its running statistics in training mode, too,
        and does not change them.

        Returns:
            Whether other parameters are trained from now on.
        """
        tunings, changed = self.tunings(), False
        for name, parameter in self.named_parameters():
            trained = tunings[name].frozen_epochs <= epochs_done
            changed = changed or parameter.requires_grad != trained
            parameter.requires_grad_(trained)
        norms = (each for each in self.modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d))
        self._frozen_norms = [each for each in norms if not each.weight.requires_grad]
        return changed

    def unfrozen_after(self, epochs: int) -> tuple[str, ...]:
        """The nodes with weights that are frozen in the first `epochs` epochs (at least one), and trained afterward."""
        return tuple(
            node.name
            for node in self.network.nodes
            if node.reuses is None and any(epochs == tuning.frozen_epochs > 0 for tuning in node.layer.tunings())
        )

    def train(self, mode: bool = True) -> Self:
        """See `torch.nn.Module.train`; the batch norms of frozen layers stay in evaluation mode."""
        super().train(mode)
        for norm in self._frozen_norms:
            norm.eval()
        return self

    def layer(self, node: Node) -> nn.Module:
        """The module of a node; without parameters if it reuses those of another node."""
        return self.get_submodule(node.name)

    def weights_of(self, node: Node) -> nn.Module:
        """The module that has the weights of a node, under the names that its layer gives them."""
        return self.get_submodule(node.weights_of)

    def kernels(self) -> dict[str, Tensor]:
        """Name -> kernels of every convolution, in order: (O, I / groups, kh, kw), one for each output channel.

        Convolutions that reuse kernels are not there.
        """
        return {
            node.name: node.layer.kernels_of(self.layer(node))
            for node in self.network.nodes
            if node.layer.has_kernels and node.reuses is None
        }


class _Reused(nn.Module):
    """Another module of the network once more. Its weights are not parameters of this module, so they exist once.

    Hooks of the other module itself do not run, so that each has its own outputs.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._original = (module,)  # in a tuple, so that it is no submodule

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self._original[0].forward(*inputs)
        return output


def seeded_module(network: Network, seed: int) -> CnnModule:
    """A module with the initial weights that a seed means: built on the CPU, so that they are the same on every device.

    The CPU's random numbers go on from there.
    """
    torch.manual_seed(seed)
    model = CnnModule(network)
    for node in network.nodes:
        if node.reuses is None:
            node.layer.initialize(model.layer(node))
    return model


def _require_memory(network: Network) -> None:
    """Check that the weights fit in the memory of the machine, before the first is allocated.

    Raises:
        DeviceError: they are larger.
    """
    weights = memory_of(graph_of(network, ""), batch=1).weights
    memory = machine_memory()
    if weights is not None and memory is not None and weights > memory:
        raise DeviceError(
            f"the weights of the network need {size_in_bytes(weights)}, but this machine has {size_in_bytes(memory)}",
            remedy="use fewer channels or features",
        )


def _place(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a dotted name, with empty modules for the parts before the last."""
    *scopes, last = name.split(".")
    for scope in scopes:
        if scope not in dict(root.named_children()):
            root.add_module(scope, nn.Module())
        root = root.get_submodule(scope)
    assert last not in dict(root.named_children()), f"{name} is there twice"
    root.add_module(last, module)
