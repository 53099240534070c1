"""Random networks as the text of a config: every kind of window, residual blocks, branches, skips and reused layers.

`conv` ends in `activation: relu`, which a test may replace.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

from cnncli.config.network import Network
from tests.networks import lay_out_text

pair = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)
kernel = st.tuples(st.integers(1, 5), st.integers(1, 5)).map(list)
channels = st.sampled_from([2, 4])


@st.composite
def conv(draw: st.DrawFn) -> str:
    """Dilation, asymmetric kernels, strides and padding, `same`, even kernels, padding that repeats pixels."""
    stride = draw(st.one_of(st.just([1, 1]), pair))
    padding = draw(st.one_of(st.just("same"), st.tuples(st.integers(0, 3), st.integers(0, 3)).map(list)))
    dilation = draw(st.one_of(st.just([1, 1]), pair))
    mode = draw(st.sampled_from(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"]))
    return (
        f"{{conv: {{out_channels: {draw(channels)}, kernel_size: {draw(kernel)}, stride: {stride}, "
        f"padding: {padding}, padding_mode: {mode}, dilation: {dilation}, activation: relu}}}}"
    )


@st.composite
def pool(draw: st.DrawFn) -> str:
    word = draw(st.sampled_from(["max_pool", "avg_pool"]))
    size = draw(kernel)
    padding = [draw(st.integers(0, each // 2)) for each in size]
    ceil_mode = draw(st.sampled_from(["true", "false"]))
    dilation = f", dilation: {draw(pair)}" if word == "max_pool" else ""
    return (
        f"{{{word}: {{kernel_size: {size}, stride: {draw(pair)}, padding: {padding}, "
        f"ceil_mode: {ceil_mode}{dilation}}}}}"
    )


@st.composite
def transposed(draw: st.DrawFn) -> str:
    stride = draw(pair)
    extra = [draw(st.integers(0, each - 1)) for each in stride]
    padding = [draw(st.integers(0, 1)), draw(st.integers(0, 1))]
    return (
        f"{{conv_transpose: {{out_channels: {draw(channels)}, kernel_size: {draw(kernel)}, stride: {stride}, "
        f"padding: {padding}, dilation: {draw(pair)}, output_padding: {extra}}}}}"
    )


adaptive = st.builds(
    lambda word, size: f"{{{word}: {list(size)}}}",
    st.sampled_from(["adaptive_avg_pool", "adaptive_max_pool"]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
upsample = st.builds(
    lambda size, mode: f"{{upsample: {{size: {list(size)}, mode: {mode}}}}}",
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from(["nearest", "bilinear"]),
)
sides = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3)).map(list)] * 2).map(list)
pad = st.builds(
    lambda around, mode: f"{{pad: {{padding: {around}, mode: {mode}}}}}",
    sides,
    st.sampled_from(["constant", "reflect", "replicate", "circular"]),
)
crop = st.builds(lambda around: f"{{crop: {around}}}", sides)
blur = st.builds(
    lambda size, stride, mode: f"{{blur_pool: {{kernel_size: {size}, stride: {list(stride)}, padding_mode: {mode}}}}}",
    kernel,
    pair,
    st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)
layer = st.one_of(conv(), conv(), pool(), pool(), transposed(), adaptive, upsample, pad, crop, blur)


def listed(layers: Sequence[str]) -> str:
    return f"[{', '.join(layers)}]"


@st.composite
def keeps_size(draw: st.DrawFn, name: str = "") -> str:
    """A layer with stride 1 and `same`, so that paths of any length fit together."""
    size = draw(st.tuples(st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 3, 4])).map(list))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)).map(list))
    named = f", name: {name}" if name else ""
    return f"{{conv: {{out_channels: 4, kernel_size: {size}, padding: same, dilation: {dilation}{named}}}}}"


@st.composite
def residual(draw: st.DrawFn) -> str:
    main = draw(st.lists(keeps_size(), min_size=1, max_size=3))
    if draw(st.booleans()):  # names are looked up in the residual block first
        main += [draw(keeps_size(name="first")), draw(keeps_size())]
        main += ["{reuse: first}"] * draw(st.booleans())
        merge = draw(st.sampled_from(["concat", "add", "multiply", "max", "mean"]))
        main += [f"{{skip: {{from: first, merge: {merge}}}}}", draw(keeps_size())]
    if draw(st.booleans()):
        stride = draw(pair)
        main.append(f"{{conv: {{out_channels: 4, kernel_size: 3, padding: same, stride: {stride}}}}}")
    return f"{{residual: {{main: {listed(main)}}}}}"


@st.composite
def branch(draw: st.DrawFn) -> str:
    """Paths that end with the same size: they keep it, or end with an adaptive pool."""
    merge = draw(st.sampled_from(["concat", "add"]))
    paths = [draw(st.lists(keeps_size(), min_size=1, max_size=2)) for _ in range(draw(st.integers(2, 3)))]
    if draw(st.booleans()):
        before, end = draw(conv()), draw(adaptive)
        paths = [[*paths[0], end], *([before, *path, end] for path in paths[1:])]
        paths = [[*path, "{conv: {out_channels: 4, kernel_size: 1}}"] for path in paths]
    return f"{{branch: {{merge: {merge}, paths: {listed([listed(path) for path in paths])}}}}}"


stack = st.lists(layer, min_size=1, max_size=4)
graph = st.lists(st.one_of(layer, residual(), branch()), min_size=1, max_size=4)
size = st.tuples(st.integers(5, 14), st.integers(5, 14))


def network_of(layers: Sequence[str], shape: tuple[int, int, int]) -> Network | None:
    """The network, which need not end with logits; None if a layer does not fit."""
    network, problems = lay_out_text(f"model:\n  layers: {listed(layers)}\n", shape)
    return None if problems else network
