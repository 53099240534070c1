"""Find the layer in which training diverged, by running its last batch again with hooks."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


def find_nonfinite_layer(model: nn.Module, images: Tensor, loss_of: Callable[[Tensor], Tensor]) -> str | None:
    """Run a batch again and name the first tensor that is not finite: `the output of conv2`, `the gradient of conv2`.

    In the forward pass this is the first output in the order of computation. Where the loss is finite, it is the first
    gradient of the backward pass: all layers before that one inherit it.

    Args:
        model: in training mode, with the weights before the bad step.
        images: the batch (N, C, H, W).
        loss_of: runs the model on images and returns the loss.

    Returns:
        None if all numbers are finite this time, as may happen with dropout on a GPU.
    """
    if not _finite(images):
        return "an input image"
    running: list[str] = []  # the innermost last
    outputs: list[tuple[str, bool]] = []
    leaves: list[tuple[str, nn.Module, tuple[Tensor, ...]]] = []

    def enter(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...]) -> None:
            around = running[-1] if running else ""
            # A part of a module that another one reuses is named after the latter.
            running.append(name if name.startswith(around and f"{around}.") else f"{around}.{name.rpartition('.')[2]}")

        return hook

    def record(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        name = running.pop()
        outputs.append((name, not isinstance(output, Tensor) or _finite(output)))
        if not any(module.children()):
            tensors = tuple(each for each in inputs if isinstance(each, Tensor) and each.requires_grad)
            for tensor in tensors:
                tensor.retain_grad()
            leaves.append((name, module, tensors))

    handles = [
        handle
        for name, module in model.named_modules()
        if name
        for handle in (module.register_forward_pre_hook(enter(name)), module.register_forward_hook(record))
    ]
    try:
        model.zero_grad(set_to_none=True)
        loss = loss_of(images)
        bad_output = next((name for name, finite in outputs if not finite), None)
        if bad_output is not None:
            return f"the output of {bad_output}"
        if not _finite(loss):
            return "the loss"
        torch.autograd.backward(loss)
        for name, module, inputs in reversed(leaves):
            if not all(map(_finite, _gradients(module, inputs))):
                return f"the gradient of {name}"
        return _overflowing_norm(model)
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)


def _overflowing_norm(model: nn.Module) -> str | None:
    """The weight with the largest gradient, if the gradient norm overflows although all its numbers are finite."""
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    if _finite(get_total_norm(list(gradients.values()))):
        return None
    largest = max(gradients, key=lambda name: float(gradients[name].abs().max()))
    return f"the norm of the gradient (largest in {largest})"


def find_nonfinite_weight(model: nn.Module) -> str | None:
    """The first weight or running statistic that is not finite, in the order of the network."""
    named = [(name, each) for name, each in model.state_dict().items() if each.is_floating_point()]
    finite = torch.stack([torch.isfinite(each).all() for _, each in named]).tolist()  # waits for the device once
    return next((name for (name, _), good in zip(named, finite, strict=True) if not good), None)


def _gradients(module: nn.Module, inputs: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """The gradients of a layer's weights and inputs from the backward pass."""
    for tensor in (*module.parameters(recurse=False), *inputs):
        if tensor.grad is not None:
            yield tensor.grad


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
