"""What each operator of ONNX is in torch, by subject."""

from cnncli.capture.onnx.operators import elementwise, mixing, quantized, rearranging, recurrent, sampling, spatial
from cnncli.capture.onnx.operators.registry import OPERATORS, Operator, Unsupported

__all__ = [
    "OPERATORS",
    "Operator",
    "Unsupported",
    "elementwise",
    "mixing",
    "quantized",
    "rearranging",
    "recurrent",
    "sampling",
    "spatial",
]
