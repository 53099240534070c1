"""The base class of formats. Formats are listed in `cnncli.export`.

Letters for shapes: N images, K classes, C channels, (H, W) image.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cnncli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

Metadata = Mapping[str, str]
"""What a file says about its network: see `cnncli.export.export.metadata_of`."""


class Format(ABC):
    """A file format: how a network is written, and run again by the format's own runtime."""

    title: ClassVar[str]
    """For people."""
    suffix: ClassVar[str]
    runtime: ClassVar[str]
    """The package that runs the file when it is checked."""
    extra: ClassVar[str] = ""
    """The extra of cnncli that installs `packages`."""
    packages: ClassVar[tuple[str, ...]] = ()
    portable: ClassVar[bool] = False
    """Whether the module may use only operators that ONNX has as well."""
    has_graph: ClassVar[bool] = True
    """Whether the file has the computation, which can include the normalization, rather than weights only."""

    def check_packages(self) -> None:
        """Import the packages that the format needs.

        Raises:
            UsageError: one of them is missing; the remedy is the command that installs them.
        """
        for package in self.packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                reason = "is not installed" if error.name == package else f"cannot be imported: {error}"
                raise UsageError(
                    f"{self.title} needs the package {package}, which {reason}",
                    remedy=f'pip install "cnncli[{self.extra}]"',
                ) from None

    @abstractmethod
    def content(self, module: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
        """The file of a network.

        Args:
            module: in evaluation mode on the CPU, without gradients; takes images (N, C, H, W) and gives logits (N, K).
            example: inputs for it, at least two.
            metadata: stored in the file, key by key.
        """

    @abstractmethod
    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """Load a file with the format's runtime.

        Returns:
            The logits (N, K) of images (N, C, H, W), for any N.
        """
