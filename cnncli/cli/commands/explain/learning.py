"""Topics about how kernels are learned."""

from enum import StrEnum
from typing import Annotated

import typer

from cnncli.cli.commands.explain.options import (
    DilationOption,
    InputOption,
    KernelOption,
    PaddingOption,
    StepOption,
    StrideOption,
    sweep,
    values,
)
from cnncli.cli.commands.options import DebugOption
from cnncli.cli.render.lesson import show_pages


class Target(StrEnum):
    """Kernels that can be learned by name."""

    edge = "edge"
    sobel = "sobel"
    blur = "blur"
    sharpen = "sharpen"


TargetOption = Annotated[Target, typer.Option("--target", help="The kernel to be found.")]


def learn_kernel(
    target: TargetOption = Target.edge,
    input_: InputOption = None,
    kernel: KernelOption = None,
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """A kernel found by gradient descent from an input and the wanted output.

    Examples:

      cnncli explain learn-kernel --target sobel

      cnncli explain learn-kernel --kernel '[[1,0,-1]]'
    """
    x, k = values(input_, "--input", 2), values(kernel, "--kernel", 2)
    from cnncli.lessons import learn_kernel as topic

    show_pages([topic.learn_kernel(target.value, x, k)], step=step)


def backward(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "1",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """The gradient of a convolution is a convolution: by hand, and by autograd.

    Examples:

      cnncli explain backward --stride 2 --padding 1
    """
    x, k, moves = values(input_, "--input", 2), values(kernel, "--kernel", 2), sweep(stride, padding, dilation)
    from cnncli.lessons import backward as topic

    show_pages([topic.backward(x, k, moves)], step=step)
