"""The weights with which a training begins: random ones, those of a trained network, or some of both.

Letters for shapes: N images, C channels, H height, W width.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.config.config import Config
from cnncli.config.network import Node
from cnncli.data.batches import Batches
from cnncli.errors import RunError, shorten
from cnncli.layers import format_shape
from cnncli.module import CnnModule, seeded_module
from cnncli.training.stored_weights import StoredWeights, read_stored_weights

_log = logging.getLogger(__name__)

_MOST_SHOWN = 8
"""Names in a line of the table."""
_SHOWN_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What a network got from another one.

    Attributes:
        source: the weights, for people: `runs/mnist (epoch 5)`.
        path: of the run or the file, as given.
        sha256: of the file that has them.
        epoch: of the weights, in a run.
        loaded: names of the layers that have got all of their weights.
        new: name of each other layer with weights -> why it has new ones.
        unused: names of the tensors that the network has no place for.
    """

    source: str
    path: str
    sha256: str
    epoch: int | None
    loaded: tuple[str, ...]
    new: Mapping[str, str]
    unused: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """For metadata.json."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "epoch": self.epoch,
            "loaded": list(self.loaded),
            "new": dict(self.new),
            "unused": list(self.unused),
        }

    def __str__(self) -> str:
        """A table for people."""
        rows = [("loaded", shorten(self.loaded, _MOST_SHOWN))]
        reasons: dict[str, list[str]] = {}
        for layer, reason in self.new.items():
            reasons.setdefault(reason, []).append(layer)
        rows += [("new", f"{shorten(layers, _MOST_SHOWN)}: {reason}") for reason, layers in reasons.items()]
        rows += [("not used", shorten(self.unused, _MOST_SHOWN))] if self.unused else []
        return "\n".join([f"weights of {self.source}:", *(f"  {what:<8}  {names}" for what, names in rows)])


def initial_model(config: Config, train: Batches, *, load: bool = True) -> tuple[CnnModule, LoadedWeights | None]:
    """The network before its first step, on the CPU; the same in every process that trains it.

    Args:
        config: the network, its seed and where its weights come from.
        train: the training batches, of which the first one may be looked at.
        load: whether to set the weights that are not random, which a run resumed from a checkpoint does not need.

    Returns:
        The network, and what it got from another one.

    Raises:
        RunError: `train.init_from` cannot be read, or none of its weights fits.
    """
    model = seeded_module(config.network, config.train.seed)
    if not load:
        return model, None
    loaded = None
    if (spec := config.train.init_from) is not None:
        stored = read_stored_weights(Path(spec.path).expanduser())
        loaded = load_by_name(model, stored, spec.skip, config.classes)
    new = {node.name for node in config.network.nodes} - {*(loaded.loaded if loaded else ())}
    measured = {
        node.name
        for node in config.network.nodes
        if node.layer.init_needs_images and node.name in new and node.reuses is None
    }
    if measured:
        images, _ = next(iter(train.epoch(1)))
        scale_to_unit_variance(model, images.cpu().contiguous(), measured)
    return model, loaded


@torch.no_grad()
def load_by_name(
    model: CnnModule, stored: StoredWeights, skip: Collection[str], classes: Sequence[str]
) -> LoadedWeights:
    """Copy the weights and statistics of the layers that have the same names and shapes.

    The layer that gives the logits is left as it is if the classes have other names. If no layer is there under its
    names, but the tensors are, one after the other, of the same shapes, they are taken in this order; the logits may be
    of another number of classes.

    Args:
        model: gets the weights.
        stored: the weights.
        skip: layers, and blocks, that are left as they are.
        classes: the names of the classes of the model.

    Raises:
        RunError: no weights fit.
    """
    own = model.state_dict()
    layers = [
        (node, {name: tensor for name, tensor in own.items() if name.startswith(f"{node.name}.")})
        for node in model.network.nodes
    ]
    tensors = stored.tensors
    if stored.ordered and not any(mine and mine.keys() <= tensors.keys() for _, mine in layers):
        tensors = _renamed(tensors, own, model.network.nodes[-1])
    loaded: list[str] = []
    new: dict[str, str] = {}
    for node, mine in layers:
        if not mine:
            continue
        reason = _reason(node, mine, tensors, stored.classes, skip, classes)
        if reason:
            new[node.name] = reason
            continue
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])
        loaded.append(node.name)
    if not loaded:
        reasons = "; ".join(f"{layer}: {reason}" for layer, reason in list(new.items())[:_SHOWN_REASONS])
        raise RunError(
            f"train.init_from: no layer can get its weights from {stored}: {reasons}",
            remedy="give layers the names and sizes that they have there, or remove train.init_from",
        )
    return LoadedWeights(
        source=str(stored),
        path=str(stored.path),
        sha256=stored.sha256,
        epoch=stored.epoch,
        loaded=tuple(loaded),
        new=new,
        unused=tuple(sorted(name for name in tensors if name not in own)),
    )


def _renamed(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], last: Node) -> Mapping[str, Tensor]:
    """The tensors under the names of the network if they have the same shapes in the same order.

    Those of logits in the last layer only have as many axes, because there may be another number of classes.
    """

    def fits(name: str, tensor: Tensor) -> bool:
        if last.layer.gives_logits and name.startswith(f"{last.name}."):
            return tensor.dim() == own[name].dim()
        return tensor.shape == own[name].shape

    if len(tensors) != len(own) or not all(map(fits, own, tensors.values())):
        return tensors
    _log.info("the stored weights have other names, but the same shapes: they are taken in their order")
    return dict(zip(own, tensors.values(), strict=True))


def _reason(
    node: Node,
    mine: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    stored_classes: Sequence[str] | None,
    skip: Collection[str],
    classes: Sequence[str],
) -> str:
    """Why a layer does not get stored weights; empty if it does."""
    if any(f"{node.name}.".startswith(f"{each}.") for each in skip):
        return "skipped"
    missing = [name for name in mine if name not in tensors]
    if missing:
        return "it is not there" if len(missing) == len(mine) else f"{', '.join(missing)} is not there"
    for name, tensor in mine.items():
        if tensor.shape != tensors[name].shape:
            return f"the shape is {_shape(tensors[name])} there and {_shape(tensor)} here"
    if node.layer.gives_logits and stored_classes is not None and tuple(stored_classes) != tuple(classes):
        return "other classes"
    return ""


def _shape(tensor: Tensor) -> str:
    return format_shape(tensor.shape) or "a single number"


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
            handles[name].remove()  # a layer that has the same weights again does not scale them again
            return output / deviation

        return hook

    cores = {node.name: node.layer.core_of(model.layer(node)) for node in model.network.nodes if node.name in layers}
    handles = {name: core.register_forward_hook(divide(name)) for name, core in cores.items()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.freeze(0)
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.train(module.weight.requires_grad)
    try:
        model(images)
    finally:
        for handle in handles.values():
            handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        model.train()
