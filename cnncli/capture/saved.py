"""What autograd saves of ATen operators for their gradients, by the type of their effect."""

from cnncli.layers.base import Part, Saved

_INPUT = (
    "conv", "conv_transpose", "linear", "matmul", "mul", "div", "pow", "log", "log2", "log10", "log1p", "abs", "sin",
    "cos", "erf", "norm", "batch_norm", "group_norm", "layer_norm", "instance_norm", "max_pool", "avg_pool",
    "adaptive_avg_pool", "adaptive_max_pool", "gelu", "silu", "mish", "softplus", "hardswish", "hardsigmoid",
    "hardtanh", "leaky_relu", "elu", "prelu", "_prelu_kernel", "glu", "clamp", "clamp_min", "clamp_max", "var", "std",
    *(f"{mode}_pad{n}d" for mode in ("reflection", "replication") for n in (1, 2, 3)),
)  # fmt: skip
_OUTPUT = ("relu", "tanh", "sigmoid", "softmax", "exp", "expm1", "sqrt", "rsqrt", "reciprocal")
_BOTH = ("attention", "amax", "amin")
_NOTHING = (
    "add", "sub", "rsub", "neg", "scale", "concat", "stack", "flatten", "identity", "dropout", "upsample", "mean",
    "sum", "constant_pad_nd", "circular_pad", "slice", "select", "roll", "flip", "repeat", "unfold", "clone", "copy",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "gt", "ge", "lt", "le", "eq", "ne", "sign", "floor", "ceil",
    "round", "trunc",
)  # fmt: skip
_SAVED = (
    dict.fromkeys(_INPUT, Saved.INPUT)
    | dict.fromkeys(_OUTPUT, Saved.OUTPUT)
    | dict.fromkeys(_BOTH, Saved.INPUT | Saved.OUTPUT)
    | dict.fromkeys(_NOTHING, Saved.NOTHING)
)


def part_of(type_: str, numbers: int | None, item_bytes: int, *, inplace: bool, aside: bool) -> Part:
    """The part that an operator is of its row; see `Part`."""
    return Part(
        type_,
        numbers,
        _SAVED.get(type_),
        item_bytes,
        saved_bytes=(numbers or 0) if type_ == "dropout" else 0,  # a mask of a byte each, as on CUDA
        index_bytes=8 * (numbers or 0) if type_ in ("max_pool", "adaptive_max_pool") else 0,
        alias=type_ in ("flatten", "identity"),
        inplace=inplace,
        aside=aside,
    )
