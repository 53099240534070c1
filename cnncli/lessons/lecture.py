"""The topics of the lecture, in an order in which each builds on the ones before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
from cnncli.lessons.unit import unit

NUMBERS, NETWORKS = "With numbers", "In networks"


@dataclass(frozen=True)
class Topic:
    """A topic, which is also a command: `cnncli explain NAME`.

    Attributes:
        name: as typed on the command line.
        page: makes the page. Its parameters are the options of the command, its docstring is the help.
        group: heading in the list of topics.
        needs_run: whether it needs a trained network and so is no part of `explain all`.
    """

    name: str
    page: Callable[..., Page]
    group: str = NUMBERS
    needs_run: bool = False


TOPICS = (
    Topic("correlation", correlation),
    Topic("convolution", convolution),
    Topic("learn-kernel", learn_kernel),
    Topic("feature-maps", feature_maps),
    Topic("padding", padding),
    Topic("stride", stride),
    Topic("dilation", dilation),
    Topic("channels", channels),
    Topic("kernel", kernel),
    Topic("1x1", one_by_one),
    Topic("pooling", pooling),
    Topic("receptive-field", receptive_field, NETWORKS),
    Topic("architecture", architecture, NETWORKS),
    Topic("backward", backward),
    Topic("unit", unit, NETWORKS, needs_run=True),
)


def lecture() -> Iterator[Page]:
    """Every topic that needs no trained network, with its default numbers."""
    for topic in TOPICS:
        if not topic.needs_run:
            yield topic.page()
