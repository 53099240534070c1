"""`correlation`: what a convolutional layer computes, window by window."""

from __future__ import annotations

from dataclasses import dataclass

from cnncli.lessons.page import Heading, Page, Paragraph, TryNext
from cnncli.lessons.sliding_window import correlation_steps, equation, index_formula, legend, size_formula
from cnncli.lessons.topic import OperationTopic


@dataclass(frozen=True, kw_only=True)
class Correlation(OperationTopic):
    """What a convolutional layer computes: multiply, add, slide.

    Examples:

      cnncli explain correlation --step

      cnncli explain correlation --input '[[0,1,2],[3,4,5],[6,7,8]]' --kernel '[[0,1],[2,3]]'
    """

    name = "correlation"

    def page(self) -> Page:
        x, k, window = self.read()
        result = window.correlate(x, k)
        return Page(
            "Cross-correlation: a window slides over the input",
            Paragraph(
                "A kernel is a small matrix of weights. Lay it on a corner of the input, multiply each weight by the "
                "number below it, and add the products: the sum is one number of the output. Then slide the kernel to "
                "the next position and do it again."
            ),
            index_formula(window),
            legend(window),
            *correlation_steps(x, k, window, result),
            Heading("All windows together"),
            equation(x, k, result, window),
            Heading("How large is the output?"),
            Paragraph("The output has one number for each position of the window:"),
            *size_formula(x.shape, window),
            Heading("Is that a convolution?"),
            Paragraph(
                'In deep learning, yes: this is what a layer called "convolution" computes. Mathematics calls it '
                "cross-correlation; a mathematical convolution flips the kernel first. cnncli explain convolution "
                "shows why the difference does not matter to a network."
            ),
            TryNext(
                "explain correlation --input '[[1,1,0,0],[1,1,0,0]]' --kernel '[[1,-1]]'",
                "explain correlation --padding 1 --stride 2",
                "explain convolution",
            ),
        )
