"""The lecture on convolutional networks: its topics, in an order in which each builds on the ones before."""

from cnncli.lessons.architecture import Architecture
from cnncli.lessons.backward import Backward
from cnncli.lessons.channels import Channels
from cnncli.lessons.convolution import Convolution
from cnncli.lessons.correlation import Correlation
from cnncli.lessons.feature_maps import FeatureMaps
from cnncli.lessons.kernel import Kernels
from cnncli.lessons.learn_kernel import LearnKernel
from cnncli.lessons.one_by_one import OneByOne
from cnncli.lessons.padding_stride_dilation import Dilation, Padding, Stride
from cnncli.lessons.pooling import Pooling
from cnncli.lessons.receptive_field import ReceptiveFieldGrowth
from cnncli.lessons.topic import Topic
from cnncli.lessons.unit import TrainedUnit

LECTURE: tuple[type[Topic], ...] = (
    Correlation,
    Convolution,
    LearnKernel,
    FeatureMaps,
    Padding,
    Stride,
    Dilation,
    Channels,
    Kernels,
    OneByOne,
    Pooling,
    ReceptiveFieldGrowth,
    Architecture,
    Backward,
)
"""Topics that need no trained network; `explain all` shows them with their defaults."""

TOPICS: tuple[type[Topic], ...] = (*LECTURE, TrainedUnit)
