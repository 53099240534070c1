"""Recurrent layers. ONNX has the gates in another order than torch, and an axis for the directions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cnncli.capture.onnx.operators.registry import Spec, Unsupported, operator
from cnncli.capture.record import as_operator

_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""For each gate of torch its position in ONNX."""
_LAYERS: dict[str, Any] = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_tanh}


@operator("LSTM", "GRU", "RNN", weights=(1, 2, 3), numbers=(4,))
def recurrent(
    spec: Spec,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    _lengths: Any = None,
    *states: Tensor | None,
) -> tuple[Tensor, ...]:
    """A layer over (positions, N, C), or (N, positions, C) if `layout` is 1.

    Returns:
        All outputs (positions, directions, N, features), the last state and, of an LSTM, the last cell.
    """
    directions, features = recurrence.shape[0], recurrence.shape[2]
    backwards, batch_first = spec.get("direction", "forward") == "reverse", bool(spec.get("layout", 0))
    if spec.name == "LSTM" and len(states) > 2 and states[2] is not None:
        raise Unsupported("is an LSTM with peepholes")
    sequence = 1 if batch_first else 0
    images, positions = x.shape[1 - sequence], x.shape[sequence]
    x = x.flip(sequence) if backwards else x
    weights = [each for d in range(directions) for each in (weight[d], recurrence[d])]
    if bias is not None:
        weights += [bias[d] for d in range(directions)]
    count = 3 if spec.name == "LSTM" else 2
    arguments = {str(i): each for i, each in enumerate([x, list(states[:2]), weights, True, 1, 0.0, False])}
    arguments |= {"7": directions > 1, "8": batch_first}

    def compute() -> tuple[Tensor, ...]:
        layer, device = spec.name, x.device
        zeros = torch.zeros(directions, images, features, device=device, dtype=x.dtype)
        first = [zeros if each is None else each for each in (*states[:2], None, None)][: count - 1]
        first = [each.transpose(0, 1) if batch_first and each is not zeros else each for each in first]
        flat: list[Tensor] = []
        for d in range(directions):
            flat += [_reordered(layer, weight[d]), _reordered(layer, recurrence[d])]
            both = [torch.zeros_like(weight[d][:, 0])] * 2 if bias is None else bias[d].chunk(2)
            flat += [_reordered(layer, each) for each in both]
        state: Any = tuple(first) if layer == "LSTM" else first[0]
        result = _LAYERS[layer](x, state, flat, True, 1, 0.0, False, directions > 1, batch_first)
        return tuple(result)

    outputs = as_operator({"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}[spec.name], arguments, compute)
    whole = outputs[0].flip(sequence) if backwards else outputs[0]
    shape = (images, positions) if batch_first else (positions, images)
    whole = whole.reshape(*shape, directions, features)
    whole = whole if batch_first else whole.permute(0, 2, 1, 3)
    last = [each.transpose(0, 1) if batch_first else each for each in outputs[1:]]
    return (whole, *last)[: spec.outputs]


def _reordered(layer: str, weight: Tensor) -> Tensor:
    """A weight with the gates in the order of torch."""
    gates = weight.chunk(len(_GATES[layer]))
    return torch.cat([gates[position] for position in _GATES[layer]])
