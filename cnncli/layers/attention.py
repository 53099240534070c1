"""Self-attention over the positions of feature maps."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cnncli.fields import Channels
from cnncli.layers.base import Description, Part, Reach, Saved, Shape, ShapeError, image
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Biased, Combined, Stage, Term, Trace, Unit
from cnncli.layers.weighted_sum import MatrixLayer

if TYPE_CHECKING:
    from torch import Tensor, nn


class SelfAttention(MatrixLayer):
    """Multi-head self-attention (Vaswani et al., 2017) over the H W positions: (C, H, W) to the same.

    `torch.nn.MultiheadAttention` with the same queries, keys and values: a linear layer makes them of the C channels of
    each position, and another one makes the C output channels of the results of all heads.
    """

    type: Literal["self_attention"] = "self_attention"
    other_names = ("MultiheadAttention", "attention", "mhsa")
    principal = "num_heads"

    num_heads: Channels = Field(description="number of heads, among which the channels are divided")
    qkv_bias: bool = Field(default=True, description="whether queries, keys and values have a bias")
    out_bias: bool = Field(default=True, description="whether the output has a bias")

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        if channels % self.num_heads:
            raise ShapeError(
                f"num_heads: {self.num_heads} does not divide the {channels} channels; use a divisor of {channels}",
                about_channels=True,
            )
        positions = height * width
        numbers, weights = channels * positions, 4 * channels**2
        matrix = Saved.INPUT if self.is_trained else Saved.NOTHING
        return Description(
            shape=shape,
            reads=Reach.ALL,
            params=weights + (3 * channels if self.qkv_bias else 0) + (channels if self.out_bias else 0),
            macs=weights * positions + 2 * positions**2 * channels,
            parts=(
                Part("transpose", numbers, Saved.NOTHING, trained=False),
                Part("linear", 3 * numbers, matrix, trained=self.is_trained),
                # The logarithm of each sum of exponentials is saved; the attention weights are computed again.
                Part(
                    self.type,
                    numbers,
                    Saved.INPUT | Saved.OUTPUT,
                    saved_bytes=4 * self.num_heads * positions,
                    trained=False,
                ),
                Part("linear", numbers, matrix, trained=self.is_trained),
            ),
        )

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import AttentionOverPositions

        return AttentionOverPositions(shape[0], self.num_heads, qkv_bias=self.qkv_bias, out_bias=self.out_bias)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        tensors = {"qkv_weight": "qkv.weight", "out_weight": "out.weight"}
        tensors |= {"qkv_bias": "qkv.bias"} if self.qkv_bias else {}
        tensors |= {"out_bias": "out.bias"} if self.out_bias else {}
        numbers = {"num_heads": self.num_heads}
        return (Operation(name=self.type, shape=shapes[0], numbers=numbers, tensors=tensors),)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        """A unit is a weighted sum of all inputs, with weights that depend on the inputs, and the bias.

        The weight of an input is, summed over the heads, the attention of the unit's position to the input's, times the
        weight from the input's channel through the head's values to the unit's channel. The attention of a position
        adds up to 1, so that the bias of the values arrives as a constant.
        """
        x = inputs[0].flatten(1)  # (C, L), L positions
        channels, width = len(x), inputs[0].shape[2]
        size = channels // self.num_heads  # of a head
        position = unit.index[1] * width + unit.index[2]
        query, key, value = weights["qkv.weight"].chunk(3)  # (C, C) each
        nothing = x.new_zeros(channels)
        query_bias, key_bias, value_bias = weights.get("qkv.bias", nothing.repeat(3)).chunk(3)
        to_unit = weights["out.weight"][unit.channel]  # (C,)
        factors = x.new_zeros(x.shape)
        for first in range(0, channels, size):
            head = slice(first, first + size)
            asked = query[head] @ x[:, position] + query_bias[head]
            scores = asked @ (key[head] @ x + key_bias[head, None]) / sqrt(size)  # (L,)
            factors += (to_unit[head] @ value[head])[:, None] * scores.softmax(0)
        terms = tuple(
            Term(Unit((channel, *divmod(place, width))), x[channel, place].item(), factors[channel, place].item())
            for channel in range(channels)
            for place in range(x.shape[1])
        )
        total = (x * factors).sum().item()
        stages: tuple[Stage, ...] = (Combined("sum of the products", total),)
        if self.qkv_bias or self.out_bias:
            bias = (to_unit @ value_bias + weights.get("out.bias", nothing)[unit.channel]).item()
            stages += (Biased(bias, total + bias),)
        return Trace((), terms, stages)
