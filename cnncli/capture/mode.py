"""How a module is run to be looked at: in evaluation mode, without autocast, and with the outputs of submodules."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its submodules back into its own mode afterward."""
    # A frozen module of TorchScript has no mode: it is for evaluation alone.
    modes = [(each, each.training) for each in module.modules() if hasattr(each, "training")]
    if hasattr(module, "training"):
        with suppress(NotImplementedError):  # a program of torch.export is for one mode
            module.eval()
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training


@contextmanager
def keep_outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Inside, the output of each module that has run, under its name."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(
                module.register_forward_hook(lambda _module, _inputs, output, name=name: outputs.update({name: output}))
            )
        yield outputs


@contextmanager
def without_autocast() -> Iterator[None]:
    """Inside, `torch.autocast` in a module changes nothing.

    Some CPUs (with AMX) compute a bfloat16 convolution by multiplying numbers beside a window with zeros. That is not
    visible in the result, but lets NaN pass.
    """
    enter, leave = torch.autocast.__enter__, torch.autocast.__exit__
    torch.autocast.__enter__ = lambda self: self  # type: ignore[method-assign]  # put back below
    torch.autocast.__exit__ = lambda self, *exception: None  # type: ignore[method-assign]  # likewise
    try:
        yield
    finally:
        torch.autocast.__enter__, torch.autocast.__exit__ = enter, leave  # type: ignore[method-assign]  # likewise
