"""The format of `torch.export`: the graph and the weights, for torch alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.export.format import Format, Metadata

if TYPE_CHECKING:
    from torch import Tensor, nn


class TorchExport(Format):
    """`FILE.pt2`, read by `torch.export.load`, with metadata in extra files."""

    title = "torch.export"
    suffix = ".pt2"
    runtime = "torch.export"

    def content(self, module: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
        """See `Format.content`."""
        import torch

        program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # the source files of the module, with their paths on this machine
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files=dict(metadata))
        return buffer.getvalue()

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """See `Format.load`."""
        import torch

        with path.open("rb") as file:
            module: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(file.read())).module()
        return module
