"""A unit of a trained network worked out by hand, beside what the network itself computes.

Letters: N = 1 image, C channels, (H, W) map.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.explain.notation import by, decimals_for, fixed
from cnncli.reference.trace import trace_unit
from cnncli.reference.unit import Biased, Normalised, Stage, Trace, Unit
from cnncli.spec.network import Node
from cnncli.trained import Seen, TrainedRun

_DIGITS = 5
MOST_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Worked:
    """A unit worked out by hand, and what the network computed at the same stages (None where it shows nothing)."""

    node: Node
    unit: Unit
    trace: Trace
    computed: tuple[float | None, ...]


def work_out(run: TrainedRun, seen: Seen, node: Node, unit: Unit) -> Worked:
    """Trace a unit, and watch the network compute it."""
    module = run.model.layer(node)
    with torch.inference_mode():
        values = run.model.outputs(seen.image[None], node.inputs)
        inputs = [values[name] for name in node.inputs]
        parts = _parts(module, inputs)
    sums = parts.get("conv", parts.get("linear"))
    trace = trace_unit(
        node.layer, [each[0] for each in inputs], module.state_dict(), unit, sums=None if sums is None else sums[0]
    )
    computed = tuple(None if part is None else part[0][unit.index].item() for part in _by_stage(trace.stages, parts))
    return Worked(node, unit, trace, computed)


def _parts(module: nn.Module, inputs: list[Tensor]) -> Mapping[str, Tensor]:
    """What the module and each of its named parts put out, as the network runs them."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(part: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [part.register_forward_hook(keep(name)) for name, part in module.named_children()]
    try:
        outputs[""] = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _by_stage(stages: tuple[Stage, ...], parts: Mapping[str, Tensor]) -> list[Tensor | None]:
    """For each stage the network's own numbers: the last stage is the layer's, those before have parts of their own."""
    found: list[Tensor | None] = []
    for i, stage in enumerate(stages):
        follows_bias = i + 1 < len(stages) and isinstance(stages[i + 1], Biased)
        if i == len(stages) - 1:
            found.append(parts[""])
        elif isinstance(stage, Normalised):
            found.append(parts["norm"])
        else:
            found.append(None if follows_bias else parts.get("conv", parts.get("linear")))
    return found


def find_unit(node: Node, filter_: int, at: tuple[int, int] | None) -> Unit:
    """The unit that `--filter` and `--at` name.

    Raises:
        UsageError: there is none, or `--at` is missing or too much.
    """
    channels, *size = node.shape
    if filter_ >= channels:
        what = "feature maps" if size else "numbers"
        raise UsageError(f"--filter: {node.name} has {channels} {what}, 0 to {channels - 1}")
    if not size:
        if at is not None:
            raise UsageError(f"--at: {node.name} is a row of numbers without places", remedy="leave --at out")
        return Unit((filter_,))
    if at is None:
        raise UsageError(f"--at is missing: {node.name} makes maps of {by(size)}", remedy="such as --at 0,0")
    if at[0] >= size[0] or at[1] >= size[1]:
        raise UsageError(
            f"--at: the maps of {node.name} are {by(size)}, so there is nothing at {at[0]},{at[1]}",
            remedy=f"--at takes a row from 0 to {size[0] - 1} and a column from 0 to {size[1] - 1}",
        )
    return Unit((filter_, at[0], at[1]))


def decimals_of(worked: Worked) -> int:
    """How many decimals to show: about five digits of the largest number on the way.

    The network computes in single precision. Where a number lies on the edge between two last digits, one decimal less
    or more is off the edge. A real difference between ours and the network's stays, and shows.
    """
    trace = worked.trace
    largest = max(abs(each) for each in (*(s.value for s in trace.stages), *(t.amount for t in trace.terms)))
    usual = min(MOST_DECIMALS, decimals_for(largest, _DIGITS))
    for decimals in (usual, max(0, usual - 1), usual + 1):
        if all(
            network is None or fixed(stage.value, decimals) == fixed(network, decimals)
            for stage, network in zip(trace.stages, worked.computed, strict=True)
        ):
            return decimals
    return usual
