"""The training of a run in a page: weights of some steps, and the metrics of every epoch."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from math import prod
from typing import Any

import numpy as np

from cnncli.errors import RunError
from cnncli.report.arrays import Arrays
from cnncli.report.model_data import ModelData, Weights, weights_of
from cnncli.run import Run
from cnncli.training.run_directory import RunDirectory
from cnncli.training.state import load_weights_into
from cnncli.training.weight_history import WeightHistory, steps_to_keep

HISTORY_BYTES = 6_000_000
"""Maximum bytes of the weights of all steps of a run, before compression."""

DRAWN_BYTES = 1_500_000
"""Maximum bytes of the weights that the report draws kernels and feature maps from, before compression."""

_log = logging.getLogger(__name__)


def add_history(arrays: Arrays, run: Run, number: int) -> dict[str, Any]:
    """Add the weights that a run has kept, each as the array `history/<number>/<step>`.

    They have half precision, as the run has kept them.

    Returns:
        The training as JSON: `steps`, a list of `step` and `epoch`, a fraction within an epoch; and `metrics`, a list
        with the `step`, `loss` and `accuracy` on the training and the validation images (`train`, `val`) of each epoch.
    """
    metrics = RunDirectory(run.path).metrics()
    steps_per_epoch = metrics[0]["step"] / metrics[0]["epoch"] if metrics else None
    steps = [
        {"step": step, "epoch": step / steps_per_epoch if steps_per_epoch else None}
        for step in _added(arrays, run, number, _chosen(run), page="playground")
    ]
    return {
        "steps": steps,
        "metrics": [{key: each.get(key) for key in ("epoch", "step", "train", "val")} for each in metrics],
    }


def add_drawn_history(arrays: Arrays, run: Run, network: ModelData) -> dict[str, Any] | None:
    """Add the weights that the kernels and feature maps of some steps depend on, as arrays `history/0/<step>`.

    Each has the tensors of `network` up to the last layer with feature maps: of what follows, nothing is drawn.

    Returns:
        As JSON, `steps`; `of`, how many the run has kept; and `layers`, those that are drawn. None if there is no such
        layer, or if fewer than two steps are kept or fit in `DRAWN_BYTES`.
    """
    layers = [node.name for node in run.network.nodes if node.layer.has_feature_maps and len(node.shape) == 3]
    if not layers:
        return None
    order = [layer["name"] for layer in network.model["layers"]]
    computed = order[: order.index(layers[-1]) + 1]
    tensors = [tensor for tensor in network.model["tensors"] if tensor["layer"] in computed]
    length = max((tensor["offset"] + prod(tensor["shape"]) for tensor in tensors), default=0)
    kept = run.weight_steps
    chosen = steps_to_keep(kept, DRAWN_BYTES // (2 * length or 1))
    if len(chosen) < 2:
        return None
    steps = _added(arrays, run, 0, chosen, page="report", length=length)
    return {"steps": steps, "of": len(kept), "layers": layers} if steps else None


def _added(
    arrays: Arrays, run: Run, number: int, steps: Sequence[int], *, page: str, length: int | None = None
) -> list[int]:
    """Add the first `length` weights of each step, or all; the steps whose weights can be read."""
    added = []
    for step in steps:
        try:
            weights = _weights_at(run, step)
        except RunError as error:
            _log.warning(f"the {page} lacks step {step} of the training: {error.message}; {error.remedy}")
            continue
        arrays.add(f"history/{number}/{step}", _smallest(weights[:length]))
        added.append(step)
    return added


def _chosen(run: Run) -> tuple[int, ...]:
    """The steps in the page: all that the run has kept, or some of them if they are too large together."""
    steps = run.weight_steps
    most = HISTORY_BYTES // (2 * len(weights_of(run.model)) or 1)
    chosen = steps_to_keep(steps, most)
    if left_out := len(steps) - len(chosen):
        _log.warning(f"the playground lacks {left_out} of {len(steps)} steps of the training: they are too large")
    return chosen


def _weights_at(run: Run, step: int) -> Weights:
    """The weights of a step in the order that the engine needs."""
    model = deepcopy(run.model)
    load_weights_into(model, run.weights_at(step), source=str(WeightHistory(run.path).file(step)))
    return weights_of(model)


def _smallest(weights: Weights) -> np.ndarray[Any, np.dtype[np.floating[Any]]]:
    """In half precision, unless that changes a number: few are too large for it."""
    with np.errstate(over="ignore"):
        half = weights.astype(np.float16)
    return half if np.array_equal(half, weights, equal_nan=True) else weights
