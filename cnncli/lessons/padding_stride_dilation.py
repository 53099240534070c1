"""`padding`, `stride` and `dilation`: how the window moves, the sizes that come of it, and who is read how often."""

import torch

from cnncli.inspection.units import reads_per_pixel
from cnncli.lessons.notation import K, X, by, given
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heading, Page, Picture, Prose, Table, TryNext, Values
from cnncli.lessons.reference import corr2d
from cnncli.lessons.walk import Pair, Sweep, equation, in_full, index_formula, legend, size_formula, walk
from cnncli.windows import AxisReceptiveField, Sliding


def padding(x: Values | None, kernel: Values | None, sweep: Sweep) -> Page:
    """The page about padding; `sweep` has some."""
    bare = Sweep(stride=sweep.stride, dilation=sweep.dilation)
    size, window = _sizes(x, kernel)
    return Page(
        "Padding: a frame of zeros",
        (
            Prose(
                "A window cannot hang over the edge, so without padding the output is smaller than the input, and the "
                "border counts less than the middle. A frame of zeros around the input gives the window room."
            ),
            *_worked(x, kernel, sweep),
            Heading("Sizes before and after"),
            *_before_and_after(size, window, {"without padding": bare, _said("padding", sweep.padding): sweep}),
            *size_formula(size, window, sweep),
            Heading("What the border loses"),
            Prose("How many windows read each pixel:"),
            _readings(size, window, {"without padding": bare, "with padding": sweep}),
            Prose("Layer after layer the loss adds up. A picture of 28x28 through five layers with 3x3 kernels:"),
            _shrinking(),
            Prose(
                'For an odd kernel, padding (kernel - 1) / 2 keeps the size. Configs call that "padding: same". It is '
                "not free: what stands at the border is computed from zeros that nobody has photographed."
            ),
            TryNext(
                (
                    "explain padding --padding 2",
                    "explain stride",
                    "explain receptive-field vgg-fashion",
                )
            ),
        ),
    )


def stride(x: Values | None, kernel: Values | None, sweep: Sweep) -> Page:
    """The page about strides; `sweep` has one."""
    step_by_step = Sweep(padding=sweep.padding, dilation=sweep.dilation)
    size, window = _sizes(x, kernel)
    return Page(
        "Stride: the window takes larger steps",
        (
            Prose(
                "With stride s the window moves on by s pixels at a time, so the output has about a s-th of the rows "
                "and columns. It is the way to make maps smaller without a pool."
            ),
            *_worked(x, kernel, sweep),
            Heading("Sizes before and after"),
            *_before_and_after(size, window, {"stride 1": step_by_step, _said("stride", sweep.stride): sweep}),
            *size_formula(size, window, sweep),
            Heading("What the border loses"),
            Prose(
                "The division is rounded down: a last step that does not fit is not taken, and what is left over at "
                "the end is never read. A stride larger than the kernel skips pixels in the middle, too. How many "
                "windows read each pixel:"
            ),
            _readings(size, window, {"stride 1": step_by_step, _said("stride", sweep.stride): sweep}),
            *_never_read(),
            TryNext(
                (
                    "explain stride --stride 2 --padding 0",
                    "explain pooling",
                    "explain receptive-field resnet-mnist",
                )
            ),
        ),
    )


def dilation(x: Values | None, kernel: Values | None, sweep: Sweep) -> Page:
    """The page about dilation; `sweep` has some."""
    dense = Sweep(stride=sweep.stride, padding=sweep.padding)
    size, window = _sizes(x, kernel)
    span = sweep.windows(window)
    return Page(
        "Dilation: a kernel with gaps",
        (
            Prose(
                "With dilation d the numbers of the kernel lie d pixels apart. The kernel sees further with as many "
                f"weights: {by(window)} numbers span {by(tuple(each.span for each in span))} pixels here."
            ),
            *_worked(x, kernel, sweep),
            Heading("Sizes before and after"),
            *_before_and_after(size, window, {"dilation 1": dense, _said("dilation", sweep.dilation): sweep}),
            *size_formula(size, window, sweep),
            Heading("What the border loses"),
            Prose("A wider window has fewer places. How many windows read each pixel:"),
            _readings(size, window, {"dilation 1": dense, _said("dilation", sweep.dilation): sweep}),
            Heading("Seeing far with few layers"),
            *_fields_of_dilation(),
            TryNext(
                (
                    "explain dilation --padding 1",
                    "explain receptive-field dilated",
                    "inspect dilated",
                )
            ),
        ),
    )


def _sizes(x: Values | None, kernel: Values | None) -> tuple[Pair, Pair]:
    (height, width), (kh, kw) = given(x, X).shape, given(kernel, K).shape
    return (height, width), (kh, kw)


def _worked(x: Values | None, kernel: Values | None, sweep: Sweep) -> list[Block]:
    """The definition, the walk and the result."""
    x_, kernel_ = given(x, X), given(kernel, K)
    sweep.check_fits(*_sizes(x, kernel))
    result = corr2d(x_, kernel_, stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)
    steps = walk(x_, kernel_, sweep, result)
    return [index_formula(sweep), *legend(sweep), *steps, equation(x_, kernel_, result, sweep)]


def _said(what: str, pair: Pair) -> str:
    """`padding 1`, or `stride 3 down, 2 across`."""
    return f"{what} {pair[0]}" if pair[0] == pair[1] else f"{what} {pair[0]} down, {pair[1]} across"


def _before_and_after(size: Pair, window: Pair, sweeps: dict[str, Sweep]) -> list[Block]:
    rows = []
    for name, sweep in sweeps.items():
        height, width = sweep.output_size(size, window)
        fits = min(height, width) > 0
        rows.append((name, by(size), by((height, width)) if fits else "does not fit"))
    return [Table(("", "input", "output"), tuple(rows))]


def _readings(size: Pair, window: Pair, sweeps: dict[str, Sweep]) -> Figures:
    """How many windows read each pixel, for every sweep in which the window fits."""
    figures: list[Grid | Picture] = []
    for name, sweep in sweeps.items():
        if min(sweep.output_size(size, window)) > 0:
            counts = reads_per_pixel(sweep.windows(window), size)
            figures.append(in_full(torch.tensor(counts, dtype=X.dtype), name))
    return Figures(tuple(figures))


def _shrinking() -> Table:
    """Five 3x3 layers with and without padding."""
    sides = {"without padding": [28], "with padding 1": [28]}
    for pad, side in zip((0, 1), sides.values(), strict=True):
        for _ in range(5):
            side.append(Sliding(kernel=3, before=pad, after=pad).output_size(side[-1]))
    kept = {name: f"{side[-1] ** 2 / side[0] ** 2:.0%}" for name, side in sides.items()}
    return Table(
        ("", "input", *(f"layer {i}" for i in range(1, 6)), "kept"),
        tuple((name, *(by((each, each)) for each in side), kept[name]) for name, side in sides.items()),
    )


def _never_read() -> list[Block]:
    """The border that a common layer loses altogether."""
    over = Sliding(kernel=3, stride=2)
    last = max(max(over.reads(unit, 28)) for unit in range(over.output_size(28)))
    return [
        Prose(
            f"A 3x3 kernel with stride 2 and no padding on 28 columns stops at {over.output_size(28)} places; the last "
            f"of them ends at column {last}, so column 27 is never read."
        )
    ]


def _fields_of_dilation() -> list[Block]:
    """Three 3x3 layers with growing dilation; and with the same, which leaves holes."""
    rows = []
    for dilations in ((1, 1, 1), (1, 2, 4), (2, 2, 2)):
        field, sizes = AxisReceptiveField.of_input(33), []
        for each in dilations:
            field = field.through(Sliding(kernel=3, dilation=each))
            assert field.closed_form is not None, "a convolution has a closed form"
            sizes.append(field.closed_form.size)
        used = field.masks[0].bit_count()
        rows.append((", ".join(map(str, dilations)), ", ".join(map(str, sizes)), f"{used} of {sizes[-1]}"))
    return [
        Prose("Three 3x3 convolutions on top of each other see this many pixels per axis:"),
        Table(("dilations", "field after each", "pixels used"), tuple(rows)),
        Formula("field grows by dilation x (kernel - 1): 3 + 2x2 + 4x2 = 15"),
        Prose("With the same dilation everywhere the taps fall on each other, and pixels between them are never used."),
    ]
