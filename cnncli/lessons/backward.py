"""`backward`: the gradients of a cross-correlation are a cross-correlation and a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.lessons.notation import format_number, grid, sum_of_products
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Paragraph, TryNext
from cnncli.lessons.sliding_window import SlidingWindow, equation, input_index, matrix, padded_grid
from cnncli.lessons.topic import OperationTopic

if TYPE_CHECKING:
    from torch import Tensor

_MAX_TERMS = 9
"""Terms of a sum, or rows and columns of a padded matrix, that are written out."""


@dataclass(frozen=True, kw_only=True)
class Backward(OperationTopic):
    """The gradient of a convolution is a convolution: by hand, and by autograd.

    Examples:

      cnncli explain backward --stride 2 --padding 1
    """

    name = "backward"

    def page(self) -> Page:
        from cnncli.lessons.reference import corr2d_backward

        x, k, window = self.read()
        result = window.correlate(x, k)
        upstream = (x.new_ones(result.numel()).cumsum(0)).reshape(result.shape)  # 1, 2, 3, ...
        gradients = corr2d_backward(x, k, upstream, **window.settings)
        return Page(
            "Backward: the gradient of a convolution is a convolution",
            Paragraph("The forward pass is a cross-correlation:"),
            equation(x, k, result, window),
            Paragraph(
                "To learn, a network needs the gradient of the loss L with respect to every weight. Backpropagation "
                "hands the layer the gradient G with respect to each of its outputs. As an example, take a loss that "
                "weights the outputs by 1, 2, 3, ...:"
            ),
            Formula(_loss(upstream)),
            Figures(matrix(upstream, "G = dL/dY")),
            Heading("For the kernel: the input cross-correlated with G"),
            Paragraph(
                "Each weight contributes to every output: it is multiplied by the number below it. So its gradient is "
                "the sum of these numbers, weighted by G. In other words, G now slides over the input like a kernel."
            ),
            Formula(f"dL/dK[a, b] = sum over i, j of {input_index(window)} x G[i, j]"),
            *_for_kernel(x, upstream, gradients.kernel, window),
            Heading("For the input: G convolved with the kernel"),
            Paragraph(
                "Each input number is multiplied by one weight after the other as the window passes, the last weight "
                "first. So the flipped kernel slides over G, which is padded with zeros so that every input number "
                "gets its gradient. This is a convolution in the mathematical sense."
            ),
            *_for_input(k, upstream, gradients.x, window),
            Heading("Comparison with autograd"),
            *_autograd(x, k, upstream, window, (gradients.kernel, gradients.x)),
            TryNext("explain backward --stride 2 --padding 1", "explain learn-kernel", "explain convolution"),
        )


def _loss(upstream: Tensor) -> str:
    terms = [
        f"{format_number(value)} Y[{i}, {j}]" for i, row in enumerate(upstream.tolist()) for j, value in enumerate(row)
    ]
    return "L = " + " + ".join(terms[:_MAX_TERMS]) + (" + ..." if len(terms) > _MAX_TERMS else "")


def _for_kernel(x: Tensor, upstream: Tensor, gradient: Tensor, window: SlidingWindow) -> list[Block]:
    from cnncli.lessons.reference import dilate

    is_small = max(x.shape) <= _MAX_TERMS
    figures = (
        padded_grid(x, window.padding, "input") if is_small else matrix(x, "input"),
        "*",
        matrix(dilate(upstream, window.stride), "G" if max(window.stride) == 1 else "G, dilated"),
        "=",
        matrix(gradient, "dL/dK"),
    )
    if upstream.numel() > _MAX_TERMS:
        return [Figures(*figures)]
    height, width = upstream.shape
    sliding_g = SlidingWindow((height, width), window.dilation, window.padding, window.stride)
    patch = sliding_g.positions(x)[0].patch
    return [Figures(*figures), sum_of_products(patch, upstream, gradient[0, 0].item(), name="dL/dK[0, 0]")]


def _for_input(kernel: Tensor, upstream: Tensor, gradient: Tensor, window: SlidingWindow) -> list[Block]:
    from cnncli.lessons.reference import dilate

    flipped, dilated = kernel.flip(0, 1), dilate(upstream, window.stride)
    height, width = (axis.span - 1 for axis in window.axes)
    full = SlidingWindow(window.size, padding=(height, width), dilation=window.dilation)
    is_small = max(full.padded_size(dilated.shape)) <= _MAX_TERMS
    figures = (
        padded_grid(dilated, full.padding, "G, padded") if is_small else matrix(dilated, "G"),
        "*",
        grid(flipped, "flipped kernel"),
        "=",
        matrix(gradient, "dL/dX"),
    )
    blocks: list[Block] = [Figures(*figures)]
    if is_small:
        row, column = (size // 2 for size in gradient.shape)
        for position in full.positions(dilated):
            if position.output == (row + window.padding[0], column + window.padding[1]):
                name, value = f"dL/dX[{row}, {column}]", gradient[row, column].item()
                blocks.append(sum_of_products(position.patch, flipped, value, name=name))
    return blocks


def _autograd(
    x: Tensor, kernel: Tensor, upstream: Tensor, window: SlidingWindow, by_hand: tuple[Tensor, Tensor]
) -> list[Block]:
    """The gradients for kernel and input as torch derives them from the forward pass, and the difference."""
    import torch

    x, kernel = x.clone().requires_grad_(), kernel.clone().requires_grad_()
    by_torch = torch.autograd.grad(window.correlate(x, kernel), (kernel, x), upstream)
    difference = max((a - b).abs().max().item() for a, b in zip(by_hand, by_torch, strict=True))
    return [
        Paragraph("torch derives the same gradients from the forward pass:"),
        Figures(matrix(by_torch[0], "dL/dK, autograd"), matrix(by_torch[1], "dL/dX, autograd")),
        Formula(f"largest difference from the numbers above: {format_number(difference)}"),
    ]
