"""`1x1`: a convolution that mixes channels, and is a fully connected layer at every pixel.

Letters: C input channels, O output channels, (H, W) input.
"""

import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.layers import Conv, format_shape
from cnncli.lessons.notation import X, given, grid, number, products
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Prose, Sign, Step, Table, TryNext
from cnncli.lessons.page import Values as Numbers
from cnncli.lessons.reference import corr2d_1x1, corr2d_multi_in_out
from cnncli.lessons.walk import in_full

_X = torch.stack([X, X + 1, 8 - X])
_WEIGHTS = torch.tensor([[1.0, 0, -1], [1, 1, 1]], dtype=X.dtype)


def one_by_one(x: Numbers | None, weights: Numbers | None) -> Page:
    """The page about 1x1 convolutions, for an input (C, H, W) and weights (O, C) or (O, C, 1, 1)."""
    x_, matrix = _numbers(x, weights)
    kernels = matrix[:, :, None, None]  # (O, C) -> (O, C, 1, 1)
    by_convolution, by_matrix = corr2d_multi_in_out(x_, kernels), corr2d_1x1(x_, kernels)
    same = torch.allclose(by_convolution, by_matrix)
    assert same, "the two are one"
    outs, ins = matrix.shape
    return Page(
        "1x1 convolution: mixing channels pixel by pixel",
        (
            Prose(
                "A kernel of 1x1 sees no neighbors. What is left is its depth: each output is a weighted sum of the "
                f"channels at one pixel. Here {ins} channels become {outs}."
            ),
            Figures(tuple(in_full(channel, f"channel {c}") for c, channel in enumerate(x_))),
            *_pixel_steps(x_, matrix),
            Heading("By convolution"),
            Figures(tuple(in_full(each, f"output channel {o}") for o, each in enumerate(by_convolution))),
            Heading("By a fully connected layer at every pixel"),
            Prose(
                f"Write the {x_[0].numel()} pixels as columns of {ins} numbers. The kernels are the matrix of a fully "
                "connected layer:"
            ),
            *_as_matrix(x_, matrix, by_matrix),
            Prose("The same numbers: row o is output channel o, pixel after pixel."),
            Heading("What it is good for: a bottleneck"),
            *_bottleneck(),
            TryNext(
                (
                    "explain 1x1 --input '[[[1,2]],[[3,4]]]' --kernel '[[1,10]]'",
                    "inspect nin",
                    "explain architecture inception",
                )
            ),
        ),
    )


def _numbers(x: Numbers | None, weights: Numbers | None) -> tuple[Tensor, Tensor]:
    x_ = given(x, _X)
    matrix = given(weights, _WEIGHTS if len(x_) == len(_X) else torch.ones(2, len(x_), dtype=x_.dtype))
    if matrix.ndim == 4:
        if matrix.shape[2:] != (1, 1):
            raise UsageError(
                f"--kernel: {format_shape(tuple(matrix.shape[2:]))} is not 1x1", remedy="give rows of weights"
            )
        matrix = matrix[:, :, 0, 0]
    if matrix.shape[1] != len(x_):
        raise UsageError(
            f"the input has {len(x_)} channels, but each kernel has {matrix.shape[1]} weights",
            remedy="give --kernel a row for each output channel, with a weight for each input channel",
        )
    return x_, matrix


def _pixel_steps(x: Tensor, matrix: Tensor) -> list[Block]:
    """The first pixel, worked out for every output channel."""
    pixel = x[:, 0, 0].tolist()
    lines = tuple(
        Formula(
            f"output channel {o}: {products(zip(pixel, row, strict=True))} = "
            f"{number(sum(a * b for a, b in zip(pixel, row, strict=True)))}"
        )
        for o, row in enumerate(matrix.tolist())
    )
    return [Step("the pixel at row 0, column 0", lines)]


def _as_matrix(x: Tensor, matrix: Tensor, result: Tensor) -> list[Block]:
    columns = x.reshape(len(x), -1)[:, :9]  # (C, H, W) -> (C, H W), the first nine pixels
    outputs = result.reshape(len(matrix), -1)[:, :9]
    return [
        Figures((grid(matrix, "matrix"), Sign("@"), grid(columns, "pixels"))),
        Figures((Sign("="), grid(outputs, "outputs"))),
    ]


def _bottleneck() -> list[Block]:
    """Parameters of a 3x3 convolution on 256 channels, straight and through 64 channels (He et al., 2015)."""
    wide, narrow, size = 256, 64, (56, 56)
    designs = {
        "plain": [(3, wide, wide)],
        "bottleneck": [(1, wide, narrow), (3, narrow, narrow), (1, narrow, wide)],
    }
    rows: list[tuple[str, ...]] = []
    totals = []
    for name, layers in designs.items():
        counts = []
        for k, ins, outs in layers:
            layer = Conv(out_channels=outs, kernel_size=(k, k), padding="same", bias=False)
            described = layer.describe((ins, *size))
            counts.append((described.params, described.macs))
            rows.append((name, f"{k}x{k}, {ins} -> {outs}", f"{described.params:,}", f"{described.macs:,}"))
        totals.append([sum(column) for column in zip(*counts, strict=True)])
        rows.append((name, "together", *(f"{each:,}" for each in totals[-1])))
    saved = totals[0][0] - totals[1][0]
    return [
        Prose(
            f"A 3x3 convolution on {wide} channels is dear. ResNet's bottleneck squeezes them to {narrow} with a 1x1 "
            f"convolution, works there, and widens them again (maps of {size[0]}x{size[1]}):"
        ),
        Table(("", "layer", "weights", "multiplications"), tuple(rows), words=frozenset({1})),
        Formula(
            f"{totals[0][0]:,} - {totals[1][0]:,} = {saved:,} weights saved, "
            f"{totals[0][0] / totals[1][0]:.1f} times fewer"
        ),
    ]
