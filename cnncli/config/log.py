"""The `log:` section: the contents of a run's TensorBoard event file in addition to the curves."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError

from cnncli.fields import Listed, NoBool, Spec, Whole
from cnncli.limits import MAX_EVENT_MEGABYTES

Numbers = Annotated[tuple[Whole, ...], Listed]


class ProbesSpec(Spec):
    """The test images whose feature maps are logged."""

    classes: Whole = Field(default=10, description="the first test image of each of the first N classes")
    images: Numbers = Field(default=(), description="numbers of additional test images, from 0")


def _open_probes(value: object) -> object:
    """`probes: 4` is `{classes: 4}`, and `probes: [3, 17]` is `{classes: 0, images: [3, 17]}`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"classes": value}
    if isinstance(value, list | tuple):
        return {"classes": 0, "images": value}
    if not isinstance(value, dict | ProbesSpec):
        raise PydanticCustomError("probes", "must be a number of classes, a list of test images, or a mapping of both")
    return value


Probes = Annotated[
    ProbesSpec, BeforeValidator(_open_probes, json_schema_input_type=ProbesSpec | Whole | tuple[Whole, ...])
]


class LogSpec(Spec):
    """What is logged, for which layers, and how often."""

    images: Annotated[Literal[0, 2, 3, 4, 5, 6, 7, 8, 9, 10], NoBool] = Field(
        default=10,
        description="maximum number of steps with pictures; TensorBoard keeps 10; 0 is none",
    )
    steps: Annotated[tuple[Whole, ...], Field(max_length=8), Listed] | None = Field(
        default=None,
        description="steps with pictures, in addition to the first and the last; default: spaced logarithmically",
    )
    layers: Annotated[tuple[str, ...], Listed] | None = Field(
        default=None, description="the layers with pictures, histograms and dead filters; by default all"
    )
    probes: Probes = Field(
        default=ProbesSpec(), description="test images whose feature maps are shown: a number of classes, or a list"
    )
    budget: Annotated[float, Field(gt=0, le=MAX_EVENT_MEGABYTES)] = Field(
        default=50.0, description="maximum size of the event files in MB; content that does not fit is omitted"
    )
    weights: Annotated[float, Field(ge=0, le=MAX_EVENT_MEGABYTES)] = Field(
        default=20.0,
        description="maximum size in MB of the weights kept at the steps with pictures; fewer steps if they do not fit",
    )
    kernels: bool = Field(default=True, description="kernels of each convolution")
    feature_maps: bool = Field(default=True, description="feature maps of each convolution and pool, for each probe")
    snapshots: bool = Field(default=True, description="at the end, one animation of all steps per layer")
    dead_filters: bool = Field(
        default=True, description="filters that are 0 for all images of a large sample, counted and outlined"
    )
    histograms: bool = Field(default=True, description="weights and gradients, every epoch")
    graph: bool = Field(default=True, description="the network as TensorBoard's graph")
