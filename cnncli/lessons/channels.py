"""`channels`: several input channels are added, and every kernel makes an output channel of its own.

Letters: C input channels, O output channels, (H, W) input, (kh, kw) kernel, (OH, OW) output.
"""

import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.layers import format_shape
from cnncli.lessons.notation import K_THREE, K_TWO, X_TWO, given, grid, number, total, worked
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heading, Page, Picture, Prose, Sign, Step, Table, TryNext
from cnncli.lessons.page import Values as Numbers
from cnncli.lessons.reference import corr2d, corr2d_multi_in, corr2d_multi_in_out
from cnncli.lessons.walk import Sweep, first_stop, in_full, window_on_input


def channels(x: Numbers | None, kernel: Numbers | None, sweep: Sweep) -> Page:
    """The page about channels, for an input (C, H, W) and a kernel (C, kh, kw) or kernels (O, C, kh, kw)."""
    x_, kernels = layer_numbers(x, kernel, sweep)
    return Page(
        "Channels: several in, several out",
        (
            Prose(
                "A color picture has three channels, and a layer inside a network may get hundreds. A kernel then has "
                "a slice for each input channel. Each slice slides over its own channel, and the results are added:"
            ),
            *_several_in(x_, kernels[0], sweep),
            Heading("Several output channels"),
            Prose(
                "However many channels come in, one kernel makes one map. A layer that is to make several has several "
                "kernels, each as deep as the input, and stacks their maps:"
            ),
            *_several_out(x_, kernels, sweep),
            Heading("The shapes at each step"),
            Prose("C input channels, O output channels; H height, W width, kh and kw those of the kernel."),
            _shapes(x_, kernels, sweep),
            TryNext(
                (
                    "explain channels --input '[[[1,2]],[[3,4]]]' --kernel '[[[1]],[[10]]]'",
                    "explain kernel lenet5",
                    "explain 1x1",
                )
            ),
        ),
    )


def layer_numbers(x: Numbers | None, kernel: Numbers | None, sweep: Sweep) -> tuple[Tensor, Tensor]:
    """An input (C, H, W) and kernels (O, C, kh, kw) that fit together, the chapter's where they are not given.

    Raises:
        UsageError: they have different numbers of channels, or the kernels do not fit.
    """
    x_ = given(x, X_TWO)
    if kernel is None and len(x_) != len(K_TWO):
        ramp = torch.arange(len(x_) * 4, dtype=x_.dtype).reshape(1, len(x_), 2, 2)
        kernels = torch.cat([ramp, ramp + 1])
    else:
        kernels = given(kernel, K_THREE)
    if kernels.ndim == 3:
        kernels = kernels[None]
    if kernels.shape[1] != len(x_):
        raise UsageError(
            f"the input has {len(x_)} channels, but each kernel has {kernels.shape[1]} slices",
            remedy="give --kernel a slice for each channel of --input",
        )
    height, width, kh, kw = *x_.shape[1:], *kernels.shape[2:]
    sweep.check_fits((height, width), (kh, kw))
    return x_, kernels


def _several_in(x: Tensor, kernel: Tensor, sweep: Sweep) -> list[Block]:
    """The first window through every channel, then all windows."""
    moves = {"stride": sweep.stride, "padding": sweep.padding, "dilation": sweep.dilation}
    kh, kw = kernel.shape[1:]
    blocks: list[Block] = []
    sums = []
    for c, (channel, slice_) in enumerate(zip(x, kernel, strict=True)):
        stop = first_stop(channel, (kh, kw), sweep)
        products = stop.products(slice_)
        sums.append(products.sum().item())
        figures = (
            window_on_input(channel, stop, sweep, f"channel {c}"),
            Sign("*"),
            grid(slice_, f"slice {c}"),
            Sign("="),
            grid(products, "products"),
        )
        blocks.append(Step(f"first window, channel {c}", (Figures(figures), worked(stop.window, slice_, sums[-1]))))
    blocks.append(Step("first window, added", (Formula(f"{total(sums)} = {number(sum(sums))}"),)))
    maps: list[Grid | Picture | Sign] = []
    for c, (channel, slice_) in enumerate(zip(x, kernel, strict=True)):
        maps += [Sign("+")] * bool(c) + [in_full(corr2d(channel, slice_, **moves), f"channel {c}")]
    maps += [Sign("="), in_full(corr2d_multi_in(x, kernel, **moves), "output")]
    return [*blocks, Step("all windows", (Figures(tuple(maps)),))]


def _several_out(x: Tensor, kernels: Tensor, sweep: Sweep) -> list[Block]:
    """Every kernel with its slices, and the map it makes."""
    outputs = corr2d_multi_in_out(x, kernels, stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)
    return [
        Step(f"kernel {o}", (Figures((*slices(kernel), Sign("->"), in_full(output, f"output channel {o}"))),))
        for o, (kernel, output) in enumerate(zip(kernels, outputs, strict=True))
    ]


def slices(kernel: Tensor) -> list[Grid]:
    """The slices of a kernel (C, kh, kw)."""
    return [grid(slice_, f"slice {c}") for c, slice_ in enumerate(kernel)]


def _shapes(x: Tensor, kernels: Tensor, sweep: Sweep) -> Table:
    height, width, kh, kw = *x.shape[1:], *kernels.shape[2:]
    size = sweep.output_size((height, width), (kh, kw))
    rows = (
        ("input", "C x H x W", format_shape(tuple(x.shape))),
        ("one kernel: a slice for each channel", "C x kh x kw", format_shape(tuple(kernels.shape[1:]))),
        ("what the slices give", "C x OH x OW", format_shape((len(x), *size))),
        ("their sum: one map", "OH x OW", format_shape(size)),
        ("all kernels", "O x C x kh x kw", format_shape(tuple(kernels.shape))),
        ("output: a map for each kernel", "O x OH x OW", format_shape((len(kernels), *size))),
    )
    return Table(("", "letters", "shape"), rows, words=frozenset({1}))
