"""NaN that passes only what can change a number: not a known zero, where NaN times 0 would be NaN."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cnncli.capture.spatial import UPSAMPLES


def spread_nan(
    run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], zeros: Tensor | None = None
) -> Any:
    """Call an operator of ATen on tensors with NaN.

    - Interpolation passes NaN on where its weight is not 0.
    - So do convolutions and products of matrices where their weights are not known to be 0.
    - A masked score does not become NaN.
    - Operators of other libraries never get NaN, which has made some of them read outside of memory: their whole result
      for an image is NaN if the image has any.

    Args:
        run, args, kwargs: the operator, or a function that is reported as one, with its arguments.
        zeros: see `Operation.zeros`; of a product of matrices, where the left one is 0.
    """
    if not hasattr(run, "_schema"):  # a function that counts as one operator, and has no weights that are known to be 0
        return run(*args, **kwargs)
    namespace, _, name = run._schema.name.partition("::")
    name = name.strip("_")
    if namespace != "aten":
        return _without_nan(run, args, kwargs)
    if name in _UPSAMPLES:
        reached = run(_is_nan(args[0]), *args[1:], **kwargs) != 0
        return run(_known(args[0]), *args[1:], **kwargs).masked_fill(reached, torch.nan)
    if zeros is None:
        return run(*args, **kwargs)
    match name:
        case "convolution":
            images, weight, bias, *rest = args
            taps = (~zeros).to(weight.dtype).expand_as(weight)
            reached = run(_is_nan(images), taps, None, *rest, **kwargs) != 0
            return run(_known(images), weight, bias, *rest, **kwargs).masked_fill(reached, torch.nan)
        case "bmm" | "mm":
            left, right = args
            reads = (~zeros).to(left.dtype).expand_as(left)
            reached = run(_is_nan(left), torch.ones_like(right)) + run(reads, _is_nan(right)) != 0
            return run(_known(left), _known(right)).masked_fill(reached, torch.nan)
    scores = run(*args, **kwargs)
    return scores.masked_fill_(zeros, -torch.inf)


_UPSAMPLES = frozenset(name.strip("_") for name in UPSAMPLES if "nearest" not in name)


def _is_nan(tensor: Tensor) -> Tensor:
    return tensor.isnan().to(tensor.dtype)


def _known(tensor: Tensor) -> Tensor:
    """A tensor with 0 for NaN."""
    return torch.where(tensor.isnan(), 0, tensor)


def _without_nan(run: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call an operator without NaN, and put NaN into the results of the images that had any."""
    images: Tensor | None = None
    given: list[Any] = []
    for each in args:
        is_number = isinstance(each, Tensor) and each.is_floating_point()
        given.append(_known(each) if is_number else each)
        if is_number and each.ndim and each.isnan().any():
            wrong = each.isnan().flatten(1).any(1) if each.ndim > 1 else each.isnan().any()
            first = next(arg for arg in args if isinstance(arg, Tensor))
            if wrong.shape != first.shape[:1]:  # of weights: every image is wrong
                wrong = wrong.any().expand(first.shape[0])
            images = wrong if images is None else images | wrong
    result = run(*given, **kwargs)
    if images is not None:
        for tensor in [result] if isinstance(result, Tensor) else result:
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.shape[:1] == images.shape:
                tensor[images] = torch.nan
    return result


class NanProbe(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Inside, operators treat NaN as `spread_nan` says."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return spread_nan(func, args, kwargs or {})
