"""The base classes of topics of the lecture, and the options that topics share.

A topic is a dataclass: its fields are the options of its command, and its docstring is the help of that command. Topics
are listed in `cnncli.lessons`. Their modules import torch where they compute, so that `--help` does not wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import typer

from cnncli.errors import UsageError
from cnncli.lessons.numbers import K, X, read_tensor
from cnncli.lessons.sliding_window import SlidingWindow
from cnncli.options import DATA_DIR, ConfigArgument, DataDirOption, SetOption

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.config.config import Config
    from cnncli.inspection.table import LayerTable
    from cnncli.lessons.page import Page

NETWORKS = "In networks"

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="NUMBERS",
        help="Your own input: nested lists such as '[[0,1],[2,3]]', or a .npy, .csv or .png file.",
    ),
]
KernelOption = Annotated[
    str | None, typer.Option("--kernel", metavar="NUMBERS", help="Your own kernel, in the same form as --input.")
]
StrideOption = Annotated[
    str, typer.Option("--stride", metavar="N or H,W", help="Pixels from one position of the window to the next.")
]
PaddingOption = Annotated[
    str, typer.Option("--padding", metavar="N or H,W", help="Rows and columns of zeros on each side of the input.")
]
DilationOption = Annotated[
    str, typer.Option("--dilation", metavar="N or H,W", help="Pixels from one weight of the kernel to the next.")
]
LayerOption = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="Name of a layer, as in the table of inspect.")
]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="ROW,COLUMN", help="Position of the unit in its layer, from 0,0.")
]
ImageOption = Annotated[
    str, typer.Option("--image", metavar="N or FILE", help="Number of a test image, or an image file.")
]


@dataclass(frozen=True, kw_only=True)
class Topic(ABC):
    """A topic of the lecture; every field is an option, annotated as typer reads it."""

    name: ClassVar[str]
    """As on the command line."""
    group: ClassVar[str] = "With numbers"
    """Heading in the list of topics."""

    @abstractmethod
    def page(self) -> Page:
        """Compute the page.

        Raises:
            UsageError: an option cannot be read, or options do not fit together.
        """


@dataclass(frozen=True, kw_only=True)
class OperationTopic(Topic):
    """A topic about a kernel that slides over an input; by default with the numbers of the lecture."""

    input: InputOption = None
    kernel: KernelOption = None
    stride: StrideOption = "1"
    padding: PaddingOption = "0"
    dilation: DilationOption = "1"

    def read(self) -> tuple[Tensor, Tensor, SlidingWindow]:
        """The input (H, W), the kernel (kh, kw), and how it slides."""
        x, kernel = read_tensor(self.input, "--input", (2,), X), read_tensor(self.kernel, "--kernel", (2,), K)
        return x, kernel, self._window(x, kernel)

    def _window(self, x: Tensor, kernel: Tensor) -> SlidingWindow:
        """The window of a kernel (..., kh, kw) that fits into x (..., H, W)."""
        window = SlidingWindow.read(kernel.shape[-2:], self.stride, self.padding, self.dilation)
        window.check_fits(x.shape[-2:])
        return window


@dataclass(frozen=True, kw_only=True)
class LayerTopic(OperationTopic):
    """A topic about the kernels of a layer, for an input of several channels."""

    def read(self) -> tuple[Tensor, Tensor, SlidingWindow]:
        """The input (C, H, W), the kernels (O, C, kh, kw), and how they slide.

        A kernel (C, kh, kw) is read as the only one. Of the default kernels, slice c of kernel o is K + c + o.
        """
        x = read_tensor(self.input, "--input", (3,), np.stack([X, X + 1]))
        default = np.stack([[K + c + o for c in range(len(x))] for o in range(3)])
        kernels = read_tensor(self.kernel, "--kernel", (3, 4), default)
        kernels = kernels if kernels.ndim == 4 else kernels[None]
        if kernels.shape[1] != len(x):
            raise UsageError(
                f"the input has {len(x)} channels, but each kernel has {kernels.shape[1]} slices",
                remedy="give --kernel one slice for each channel of --input",
            )
        return x, kernels, self._window(x, kernels)


@dataclass(frozen=True, kw_only=True)
class NetworkTopic(Topic):
    """A topic about the network of a config, which needs no torch."""

    group = NETWORKS

    config: ConfigArgument = "lenet5"
    assignments: SetOption = field(default_factory=list)
    data_dir: DataDirOption = DATA_DIR

    def read(self) -> tuple[Config, LayerTable]:
        """The config, and the layers of its network as `inspect` describes them."""
        from cnncli.config.config import read_config
        from cnncli.inspection.table import inspect_network

        config = read_config(self.config, data_dir=self.data_dir, assignments=self.assignments)
        return config, inspect_network(config.network, config.name)
