"""Topics that are told with small numbers: the chapter's, or one's own."""

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
from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption
from cnncli.cli.render.lesson import show_pages

WindowOption = Annotated[str, typer.Option("--window", metavar="N or H,W", help="Size of the window.")]
ConfigArgument = Annotated[
    str, typer.Argument(metavar="CFG", help="A YAML config, or the name of a bundled one: its kernels are counted.")
]


def correlation(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "1",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """What a convolutional layer computes: multiply, add, slide on.

    Examples:

      cnncli explain correlation --step

      cnncli explain correlation --input '[[0,1,2],[3,4,5],[6,7,8]]' --kernel '[[0,1],[2,3]]'
    """
    x, k, moves = values(input_, "--input", 2), values(kernel, "--kernel", 2), sweep(stride, padding, dilation)
    from cnncli.lessons import correlation as topic

    show_pages([topic.correlation(x, k, moves)], step=step)


def convolution(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "1",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """The kernel turned around, and why it makes no difference to a network.

    Examples:

      cnncli explain convolution --kernel '[[1,2],[2,1]]'
    """
    x, k, moves = values(input_, "--input", 2), values(kernel, "--kernel", 2), sweep(stride, padding, dilation)
    from cnncli.lessons import convolution as topic

    show_pages([topic.convolution(x, k, moves)], step=step)


def kernel(
    config: ConfigArgument = "lenet5",
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "1",
    data_dir: DataDirOption = DATA_DIR,
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """The weights and biases of a layer: how many kernels, and how deep.

    Examples:

      cnncli explain kernel quickstart
    """
    from cnncli.config.config import read_config

    x, k, moves = values(input_, "--input", 3), values(kernel, "--kernel", 3, 4), sweep(stride, padding, dilation)
    read = read_config(config, data_dir=data_dir)
    from cnncli.lessons import kernel as topic

    show_pages([topic.kernel(x, k, moves, read)], step=step)


def channels(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "1",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """Several input channels are added; several kernels make several output channels.

    Examples:

      cnncli explain channels --input '[[[1,2]],[[3,4]]]' --kernel '[[[1]],[[10]]]'
    """
    x, k, moves = values(input_, "--input", 3), values(kernel, "--kernel", 3, 4), sweep(stride, padding, dilation)
    from cnncli.lessons import channels as topic

    show_pages([topic.channels(x, k, moves)], step=step)


def one_by_one(
    input_: InputOption = None, kernel: KernelOption = None, step: StepOption = False, debug: DebugOption = False
) -> None:
    """A convolution that mixes channels pixel by pixel, and what it saves.

    Examples:

      cnncli explain 1x1 --input '[[[1,2]],[[3,4]]]' --kernel '[[1,10]]'
    """
    x, k = values(input_, "--input", 3), values(kernel, "--kernel", 2, 4)
    from cnncli.lessons import one_by_one as topic

    show_pages([topic.one_by_one(x, k)], step=step)


def padding(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "1",
    dilation: DilationOption = "1",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """A frame of zeros: sizes before and after, and what the border loses without.

    Examples:

      cnncli explain padding --padding 2
    """
    x, k, moves = values(input_, "--input", 2), values(kernel, "--kernel", 2), sweep(stride, padding, dilation)
    from cnncli.lessons import padding_stride_dilation as border

    show_pages([border.padding(x, k, moves)], step=step)


def stride(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "3,2",
    padding: PaddingOption = "1",
    dilation: DilationOption = "1",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """Larger steps: sizes before and after, and which pixels are never read.

    Examples:

      cnncli explain stride --stride 2 --padding 0
    """
    x, k, moves = values(input_, "--input", 2), values(kernel, "--kernel", 2), sweep(stride, padding, dilation)
    from cnncli.lessons import padding_stride_dilation as border

    show_pages([border.stride(x, k, moves)], step=step)


def dilation(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "2",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """A kernel with gaps, which sees further with as many weights.

    Examples:

      cnncli explain dilation --padding 1
    """
    x, k, moves = values(input_, "--input", 2), values(kernel, "--kernel", 2), sweep(stride, padding, dilation)
    from cnncli.lessons import padding_stride_dilation as border

    show_pages([border.dilation(x, k, moves)], step=step)


def pooling(
    input_: InputOption = None,
    window: WindowOption = "2",
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """The largest number or the mean of each window, channel by channel.

    Examples:

      cnncli explain pooling --window 3 --padding 1
    """
    from cnncli.lessons.walk import read_pair

    x, moves = values(input_, "--input", 2, 3), sweep(stride, padding)
    size = read_pair(window, option="--window", least=1)
    from cnncli.lessons import pooling as topic

    show_pages([topic.pooling(x, size, moves)], step=step)
