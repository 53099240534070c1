"""The `log:` section: what a run writes into its TensorBoard event file besides the curves."""

from typing import Literal

from pydantic import Field

from cnncli.spec.base import Spec, Whole


class LogSpec(Spec):
    """What is written and how often."""

    images: Literal[0, 2, 3, 4, 5, 6, 7, 8, 9, 10] = Field(
        default=10, description="pictures per tag at most, first and last included; TensorBoard keeps 10; 0 is none"
    )
    probes: Whole = Field(
        default=10, description="classes, the first so many, of which one test image's feature maps are shown"
    )
    kernels: bool = Field(default=True, description="kernels of every convolution")
    feature_maps: bool = Field(
        default=True, description="feature maps of every convolution and pool, for one image per class"
    )
    histograms: bool = Field(default=True, description="weights and gradients, every epoch")
    graph: bool = Field(default=True, description="the model as TensorBoard's graph")
