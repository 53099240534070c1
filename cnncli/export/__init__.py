"""A trained network as a file for other programs: the formats, one file each."""

from typing import Literal

from cnncli.export.format import Format
from cnncli.export.onnx import Onnx
from cnncli.export.safetensors import Safetensors
from cnncli.export.torch import TorchExport

FormatName = Literal["onnx", "torch", "safetensors"]

IMAGES = 1000
"""Images on which a file is compared with its run by default."""

FORMATS: dict[FormatName, Format] = {"onnx": Onnx(), "torch": TorchExport(), "safetensors": Safetensors()}
