"""Putting saved weights into a model, or saying why they do not fit."""

from collections.abc import Mapping

from torch import Tensor, nn

from cnncli.errors import RunError

_SHOWN = 5


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy weights into a model.

    Args:
        model: keeps its device and memory layout.
        weights: by name, as in `model.state_dict()`.
        source: where they come from, for the message.

    Raises:
        RunError: names or shapes differ; the first differences are named.
    """
    found = differences(model.state_dict(), weights)
    if found:
        more = f"\n  ... and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        listed = "".join(f"\n  {line}" for line in found[:_SHOWN])
        raise RunError(
            f"{source}: these are weights of another network:{listed}{more}",
            remedy="use the config the run was trained with: resolved.yaml in the run's directory",
        )
    model.load_state_dict(dict(weights))


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Where two sets of weights differ in name or shape, in the order of the network."""
    lines = []
    for name, tensor in expected.items():
        if name not in found:
            lines.append(f"{name}: missing from the file")
        elif found[name].shape != tensor.shape:
            lines.append(f"{name}: the network has {_shape(tensor)}, the file {_shape(found[name])}")
    lines += [f"{name}: in the file, but not in the network" for name in sorted(found.keys() - expected.keys())]
    return lines


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
