"""Operators with several outputs that read different positions, as an operation for each output."""

from collections.abc import Mapping
from dataclasses import replace

from cnncli.capture.effect import Context
from cnncli.capture.layout import axes_of
from cnncli.capture.record import Operation, Value

RECURRENT = ("lstm", "gru", "rnn")
LAST_STATE = "last_state"
"""The state of a recurrent layer after its last position."""


def parts_of(operation: Operation, context: Context, uses: Mapping[Value, int]) -> list[Operation]:
    """An operation whose outputs read the same positions, or one for each output that is read.

    Args:
        operation: of a recorded module.
        context: of the operations before.
        uses: how many operations read a value.
    """
    if operation.name in RECURRENT:
        first, *states = operation.outputs
        whole = replace(operation, outputs=(first,))
        return [whole, *(_state(operation, state, i + 1) for i, state in enumerate(states) if uses[state])]
    splits = operation.name in ("split", "split_with_sizes", "unbind", "chunk", "unsafe_split", "tensor_split")
    value = operation.arguments.get("self")
    if not splits or not isinstance(value, Value) or value not in context.layouts:
        return [operation]
    dim = operation.arguments["dim"] % len(value.shape)
    if not axes_of(context.layouts[value][dim]):
        return [operation]
    parts: list[Operation] = []
    start = 0
    read = any(uses[output] for output in operation.outputs)
    for i, output in enumerate(operation.outputs):
        removes = len(output.shape) < len(value.shape)
        size = 1 if removes else output.shape[dim]
        arguments = {"self": value, "dim": dim, "start": start, "end": start + size, "step": 1, "index": start}
        if uses[output] or not read:
            name = "select" if removes else "slice"
            parts.append(
                replace(operation, name=name, arguments=arguments, outputs=(output,), part=i, called=operation.name)
            )
        start += size
    return parts


def _state(operation: Operation, state: Value, part: int) -> Operation:
    arguments = {"self": operation.outputs[0]}
    return replace(operation, name=LAST_STATE, arguments=arguments, outputs=(state,), part=part, called=operation.name)
