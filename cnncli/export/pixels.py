"""A network that normalizes its images itself."""

import torch
from torch import Tensor

from cnncli.config.network import Network
from cnncli.data.batches import Normalization
from cnncli.module import CnnModule


class PixelModule(CnnModule):
    """A network that takes images as they are stored: uint8 (N, C, H, W).

    Args:
        network, portable: see `CnnModule`; the state dict is the same.
        normalization: of the images.
    """

    def __init__(self, network: Network, normalization: Normalization, *, portable: bool = False) -> None:
        super().__init__(network, portable=portable)
        factor, offset = normalization.factor_and_offset(255.0)
        self.register_buffer("_factor", factor, persistent=False)  # (C, 1, 1); no layer has a name that starts with _
        self.register_buffer("_offset", offset, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of uint8 images (N, C, H, W)."""
        factor, offset = self.get_buffer("_factor"), self.get_buffer("_offset")
        return super().forward(images.to(torch.float32) * factor + offset)
