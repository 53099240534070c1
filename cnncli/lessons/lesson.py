"""The lecture from beginning to end, each topic with the chapter's own numbers."""

from collections.abc import Iterator
from pathlib import Path

from cnncli.config.config import read_config
from cnncli.lessons.architecture import architecture
from cnncli.lessons.backward import backward
from cnncli.lessons.channels import channels
from cnncli.lessons.convolution import convolution
from cnncli.lessons.correlation import correlation
from cnncli.lessons.feature_maps import feature_maps
from cnncli.lessons.kernel import kernel
from cnncli.lessons.learn_kernel import learn_kernel
from cnncli.lessons.one_by_one import one_by_one
from cnncli.lessons.padding_stride_dilation import dilation, padding, stride
from cnncli.lessons.page import Page
from cnncli.lessons.pooling import pooling
from cnncli.lessons.receptive_field import receptive_field
from cnncli.lessons.walk import Sweep


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
