"""`1x1`: a convolution that mixes channels, equal to a fully connected layer at every pixel.

Letters: C input channels, O output channels, (H, W) input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnncli.errors import UsageError
from cnncli.layers import Conv, format_shape
from cnncli.lessons.notation import format_number, format_products, grid
from cnncli.lessons.numbers import X, read_tensor
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Paragraph, Step, Table, TryNext
from cnncli.lessons.sliding_window import matrix
from cnncli.lessons.topic import InputOption, KernelOption, Topic

if TYPE_CHECKING:
    from torch import Tensor

_X = np.stack([X, X + 1, 8 - X])
_WEIGHTS = np.array([[1.0, 0, -1], [1, 1, 1]])
_SHOWN_PIXELS = 9


@dataclass(frozen=True, kw_only=True)
class OneByOne(Topic):
    """A convolution that mixes channels pixel by pixel, and what it saves.

    Examples:

      cnncli explain 1x1 --input '[[[1,2]],[[3,4]]]' --kernel '[[1,10]]'
    """

    name = "1x1"

    input: InputOption = None
    kernel: KernelOption = None

    def page(self) -> Page:
        from cnncli.lessons.reference import corr2d_1x1, corr2d_multi_in_out

        x, weights = _read(self.input, self.kernel)
        kernels = weights[:, :, None, None]  # (O, C) -> (O, C, 1, 1)
        by_convolution, by_matrix = corr2d_multi_in_out(x, kernels), corr2d_1x1(x, kernels)
        assert by_convolution.allclose(by_matrix), "both compute the same"
        out_channels, in_channels = weights.shape
        pixels = by_matrix.reshape(out_channels, -1)
        return Page(
            "1x1 convolution: mixing channels pixel by pixel",
            Paragraph(
                "A 1x1 kernel does not look at neighboring pixels. Only its depth is left: each output is a weighted "
                f"sum of the channels at one pixel. Here {in_channels} channels become {out_channels}."
            ),
            Figures(*(matrix(channel, f"channel {c}") for c, channel in enumerate(x))),
            _first_pixel(x, weights),
            Heading("As a convolution"),
            Figures(*(matrix(each, f"output channel {o}") for o, each in enumerate(by_convolution))),
            Heading("As a fully connected layer at every pixel"),
            Paragraph(
                f"Write each of the {x[0].numel()} pixels as a column of {in_channels} numbers. The kernels are the "
                "weight matrix of a fully connected layer:"
            ),
            Figures(grid(weights, "weights"), "@", grid(x.reshape(in_channels, -1)[:, :_SHOWN_PIXELS], "pixels")),
            Figures("=", grid(pixels[:, :_SHOWN_PIXELS], "outputs")),
            Paragraph("The numbers are the same: row o is output channel o, pixel by pixel."),
            Heading("What it is used for: a bottleneck"),
            *_bottleneck(),
            TryNext(
                "explain 1x1 --input '[[[1,2]],[[3,4]]]' --kernel '[[1,10]]'",
                "inspect nin",
                "explain architecture inception",
            ),
        )


def _read(input_: str | None, kernel: str | None) -> tuple[Tensor, Tensor]:
    """An input (C, H, W) and weights (O, C); `--kernel` may also have the shape (O, C, 1, 1)."""
    x = read_tensor(input_, "--input", (3,), _X)
    weights = read_tensor(kernel, "--kernel", (2, 4), _WEIGHTS if len(x) == len(_X) else np.ones((2, len(x))))
    if weights.ndim == 4:
        if weights.shape[2:] != (1, 1):
            raise UsageError(
                f"--kernel: {format_shape(tuple(weights.shape[2:]))} is not 1x1", remedy="give rows of weights"
            )
        weights = weights[:, :, 0, 0]
    if weights.shape[1] != len(x):
        raise UsageError(
            f"the input has {len(x)} channels, but each kernel has {weights.shape[1]} weights",
            remedy="give --kernel one row for each output channel, with a weight for each input channel",
        )
    return x, weights


def _first_pixel(x: Tensor, weights: Tensor) -> Step:
    """The first pixel, computed for every output channel."""
    pixel = x[:, 0, 0]
    lines = tuple(
        Formula(
            f"output channel {o}: {format_products(zip(pixel.tolist(), row.tolist(), strict=True))} = "
            f"{format_number((pixel * row).sum().item())}"
        )
        for o, row in enumerate(weights)
    )
    return Step("the pixel at row 0, column 0", *lines)


def _bottleneck() -> list[Block]:
    """Costs of a 3x3 convolution on 256 channels, plain and as a bottleneck of 64 channels (He et al., 2015)."""
    wide, narrow, size = 256, 64, (56, 56)
    designs = {
        "plain": [(3, wide, wide)],
        "bottleneck": [(1, wide, narrow), (3, narrow, narrow), (1, narrow, wide)],
    }
    rows: list[tuple[str, ...]] = []
    weights: dict[str, int] = {}
    for name, layers in designs.items():
        described = [
            Conv(out_channels=outs, kernel_size=(k, k), padding="same", bias=False).describe((ins, *size))
            for k, ins, outs in layers
        ]
        weights[name], macs = sum(each.params for each in described), sum(each.macs for each in described)
        rows += [
            (name, f"{k}x{k}, {ins} -> {outs}", f"{each.params:,}", f"{each.macs:,}")
            for (k, ins, outs), each in zip(layers, described, strict=True)
        ]
        rows.append((name, "total", f"{weights[name]:,}", f"{macs:,}"))
    plain, bottleneck = weights["plain"], weights["bottleneck"]
    return [
        Paragraph(
            f"A 3x3 convolution on {wide} channels is expensive. The bottleneck of ResNet reduces them to {narrow} "
            "channels with a 1x1 convolution, applies the 3x3 convolution there, and restores them with another 1x1 "
            f"convolution (feature maps of {size[0]}x{size[1]}):"
        ),
        Table(("", "layer", "weights", "MACs"), tuple(rows), text_columns=frozenset({1})),
        Formula(
            f"{plain:,} - {bottleneck:,} = {plain - bottleneck:,} weights saved, {plain / bottleneck:.1f} times fewer"
        ),
        Paragraph("A MAC is one multiplication and one addition."),
    ]
