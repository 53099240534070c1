"""A network and its weights for the engine in JavaScript (`assets/engine`)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from cnncli.config.network import Network, Node
from cnncli.data.batches import Normalization
from cnncli.module import CnnModule

Precision: TypeAlias = Literal["float32", "float16"]
Weights: TypeAlias = npt.NDArray[np.float32]

MAX_FLOAT32 = 500_000
"""Numbers in weights and statistics up to which a page stores them in single precision."""


@dataclass(frozen=True, kw_only=True)
class ModelData:
    """A network for the engine.

    Attributes:
        model: layers, operations and tensors as JSON.
        weights: all tensors one after another, at the `offset` that `model` has for each. In half precision they are
            rounded to numbers that float16 has.
    """

    model: dict[str, Any]
    weights: Weights

    @property
    def precision(self) -> Precision:
        """The precision in which a page stores the weights."""
        precision: Precision = self.model["precision"]
        return precision


def model_data(model: CnnModule, *, classes: Sequence[str], normalization: Normalization) -> ModelData:
    """The network of a module as JSON, and its weights.

    `layers` has for each layer `name`, `type`, `inputs`, `shape`, the facts of its class (`has_kernels`, `is_pool`,
    `is_norm`, `is_activation`, `gives_logits`), `macs` for one image and `operations`: each with `name`, `role` (`norm`
    or `activation` of the layer, or null), `shape` after it, its numbers, and `tensors`, role -> index in the list
    `tensors`.
    """
    network = model.network
    state = model.state_dict()
    tensors: list[dict[str, Any]] = []
    offset = 0
    for node, key in _tensors_of(network):
        tensors.append({"name": key, "layer": node.name, "shape": list(state[key].shape), "offset": offset})
        offset += state[key].numel()
    indices = {each["name"]: index for index, each in enumerate(tensors)}
    weights = weights_of(model)
    precision = _precision(weights)
    data = {
        "input": list(network.input_shape),
        "classes": list(classes),
        "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)},
        "layers": [_layer(node, indices) for node in network.nodes],
        "tensors": tensors,
        "precision": precision,
    }
    return ModelData(model=data, weights=rounded(weights, precision))


def weights_of(model: CnnModule) -> Weights:
    """The tensors that the engine needs, one after another, as they are."""
    state = model.state_dict()
    tensors = [state[key].detach().float().cpu().numpy().ravel() for _, key in _tensors_of(model.network)]
    return np.concatenate([np.zeros(0, np.float32), *tensors])


def rounded(weights: Weights, precision: Precision) -> Weights:
    """Weights as a page stores them in a precision, in float32."""
    return weights.astype(np.float16).astype(np.float32) if precision == "float16" else weights


def module_with(network: Network, weights: Weights) -> CnnModule:
    """A module in evaluation mode with weights in the order of `weights_of`: what the engine computes, in torch."""
    model = CnnModule(network).eval()
    state = model.state_dict()
    keys = [key for _, key in _tensors_of(network)]
    count = sum(state[key].numel() for key in keys)
    assert count == len(weights), f"{len(weights)} weights for a network of {count}"
    parts = torch.split(torch.from_numpy(weights.copy()), [state[key].numel() for key in keys])
    for key, part in zip(keys, parts, strict=True):
        state[key].copy_(part.view(state[key].shape))
    return model


def _precision(weights: Weights) -> Precision:
    """Half precision for large networks, unless a number is beyond its range."""
    largest = float(np.abs(weights[np.isfinite(weights)]).max(initial=0))
    return "float16" if len(weights) > MAX_FLOAT32 and largest < float(np.finfo(np.float16).max) else "float32"


def _tensors_of(network: Network) -> Iterator[tuple[Node, str]]:
    """The keys, in the state dict of the module of a network, of all tensors that its operations use."""
    for node in network.nodes:
        if node.reuses is not None:
            continue
        for operation in node.layer.operations(node.input_shapes):
            for key in operation.tensors.values():
                yield node, f"{node.name}.{key}"


def _layer(node: Node, indices: Mapping[str, int]) -> dict[str, Any]:
    layer = node.layer
    operations = [
        {
            "name": each.name,
            "role": each.role,
            "shape": list(each.shape),
            **each.numbers,
            "tensors": {role: indices[f"{node.weights_of}.{key}"] for role, key in each.tensors.items()},
        }
        for each in layer.operations(node.input_shapes)
    ]
    return {
        "name": node.name,
        "type": layer.type,
        "inputs": list(node.inputs),
        "shape": list(node.shape),
        "has_kernels": layer.has_kernels,
        "is_pool": layer.is_pool,
        "is_norm": layer.is_norm,
        "is_activation": layer.is_activation,
        "gives_logits": layer.gives_logits,
        "macs": node.description.macs,
        "operations": operations,
    }
