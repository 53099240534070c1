"""`correlation`: what a convolutional layer computes, window by window."""

from cnncli.lessons.notation import K, X, given
from cnncli.lessons.page import Heading, Page, Prose, TryNext, Values
from cnncli.lessons.reference import corr2d
from cnncli.lessons.walk import Sweep, equation, index_formula, legend, size_formula, walk


def correlation(x: Values | None, kernel: Values | None, sweep: Sweep) -> Page:
    """The page about cross-correlation of an input (H, W) and a kernel (kh, kw)."""
    x_, kernel_ = given(x, X), given(kernel, K)
    (height, width), (kh, kw) = x_.shape, kernel_.shape
    sweep.check_fits((height, width), (kh, kw))
    result = corr2d(x_, kernel_, stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)
    return Page(
        "Correlation: a window slides over the input",
        (
            Prose(
                "A kernel is a small grid of numbers. Lay it on a corner of the input, multiply each of its numbers "
                "by the one below it, and add up the products: that is one number of the output. Then move on, and "
                "do it again."
            ),
            index_formula(sweep),
            *legend(sweep),
            *walk(x_, kernel_, sweep, result),
            Heading("All windows together"),
            equation(x_, kernel_, result, sweep),
            Heading("How large is the output?"),
            Prose("As large as there are places for the window:"),
            *size_formula((height, width), (kh, kw), sweep),
            Heading("Is that a convolution?"),
            Prose(
                'Deep learning calls it one. What a layer named "convolution" computes is exactly this, which '
                "mathematics calls cross-correlation; a convolution turns the kernel by 180 degrees first. "
                "Why nobody minds: cnncli explain convolution."
            ),
            TryNext(
                (
                    "explain correlation --input '[[1,1,0,0],[1,1,0,0]]' --kernel '[[1,-1]]'",
                    "explain correlation --padding 1 --stride 2",
                    "explain convolution",
                )
            ),
        ),
    )
