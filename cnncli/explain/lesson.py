"""The lecture from beginning to end, each topic with the chapter's own numbers."""

from collections.abc import Iterator
from pathlib import Path

from cnncli.explain.architecture import architecture
from cnncli.explain.backward import backward
from cnncli.explain.border import dilation, padding, stride
from cnncli.explain.channels import channels
from cnncli.explain.convolution import convolution
from cnncli.explain.correlation import correlation
from cnncli.explain.feature_maps import feature_maps
from cnncli.explain.kernel import kernel
from cnncli.explain.learn_kernel import learn_kernel
from cnncli.explain.one_by_one import one_by_one
from cnncli.explain.page import Page
from cnncli.explain.pooling import pooling
from cnncli.explain.receptive_field import receptive_field
from cnncli.explain.sweep import Sweep
from cnncli.spec.config import read_config


def pages() -> Iterator[Page]:
    """Every topic that needs no trained network, in the order in which one builds on the other."""
    lenet5 = read_config("lenet5", data_dir=Path("data"))
    yield correlation(None, None, Sweep())
    yield convolution(None, None, Sweep())
    yield learn_kernel("edge", None, None)
    yield feature_maps(None, 0)
    yield padding(None, None, Sweep(padding=(1, 1)))
    yield stride(None, None, Sweep(stride=(3, 2), padding=(1, 1)))
    yield dilation(None, None, Sweep(dilation=(2, 2)))
    yield channels(None, None, Sweep())
    yield kernel(None, None, Sweep(), lenet5)
    yield one_by_one(None, None)
    yield pooling(None, (2, 2), Sweep())
    yield receptive_field(lenet5, "lenet5", None, None)
    yield architecture(lenet5, "lenet5")
    yield backward(None, None, Sweep())
