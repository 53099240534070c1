"""safetensors: the weights alone, by name, with metadata from which the network can be built again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.export.format import Format, Metadata

if TYPE_CHECKING:
    from torch import Tensor, nn


class Safetensors(Format):
    """`FILE.safetensors`: the state dict of the network; the graph is in the config, in the metadata."""

    title = "safetensors"
    suffix = ".safetensors"
    runtime = "safetensors"
    has_graph = False

    def content(self, module: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
        """See `Format.content`."""
        import safetensors.torch

        weights = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        return safetensors.torch.save(weights, dict(metadata))

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """See `Format.load`: the module is built from the config in the file."""
        import safetensors
        import safetensors.torch

        from cnncli.config.config import parse_config
        from cnncli.module import CnnModule

        with safetensors.safe_open(path, framework="pt") as file:
            config = parse_config(file.metadata()["config"], name=path.name, data_dir=Path())
        module = CnnModule(config.network).eval()
        module.load_state_dict(safetensors.torch.load_file(path))
        return module
