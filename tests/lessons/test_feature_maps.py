"""Feature maps of classic filters and of trained networks."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch

from cnncli.errors import UsageError
from cnncli.lessons.feature_maps import FeatureMaps, learned_maps
from cnncli.lessons.page import Block, Figures, Heatmap, Page, Step
from cnncli.run import Run

Plain = Callable[[Page], str]
MakeRun = Callable[..., Run]

NETWORK = """
model:
  layers:
    - conv: {out_channels: 3, kernel_size: 3, activation: relu}
    - conv: {out_channels: 2, kernel_size: 3}
    - flatten
    - logits
"""


def maps_of(blocks: Iterable[Block]) -> list[Heatmap]:
    return [
        part
        for block in blocks
        if isinstance(block, Step)
        for inner in block.blocks
        if isinstance(inner, Figures)
        for part in inner.parts
        if isinstance(part, Heatmap)
    ]


def test_a_white_square_by_hand() -> None:
    page = FeatureMaps(input="[[0,0,0,0,0],[0,1,1,1,0],[0,1,1,1,0],[0,1,1,1,0],[0,0,0,0,0]]").page()
    vertical, horizontal, blur, sharpen, emboss = (map_.values for map_ in maps_of(page.blocks))
    # In the middle row, 1 + 2 + 1 at the left edge of the square, and minus that at the right edge.
    assert vertical[2].tolist() == [4, 4, 0, -4, -4]
    assert horizontal[:, 2].tolist() == [4, 4, 0, -4, -4]
    assert blur[2, 2] == 1
    assert blur[0, 0] == 1 / 16
    # A corner has two bright neighbors: 5 - 2. The middle has four: 5 - 4.
    assert (sharpen[1, 1], sharpen[2, 2]) == (3, 1)
    assert emboss[2, 2] == 1


def test_digits_by_number(plain: Plain) -> None:
    text = plain(FeatureMaps(image="3").page())
    assert "digit 3" in text
    for name in ("vertical edges", "horizontal edges", "blur", "sharpen", "emboss"):
        assert f"\n{name}\n" in text
    with pytest.raises(UsageError, match="there are 359 digits"):
        FeatureMaps(image="359").page()


def test_images_that_are_too_large_are_refused() -> None:
    with pytest.raises(UsageError, match="a side of 65 is too long"):
        FeatureMaps(input=str(np.zeros((2, 65)).tolist())).page()
    assert len(maps_of(FeatureMaps(input="[[1]]").page().blocks)) == 5


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_learned_maps_equal_those_of_the_network(make_run: MakeRun, plain: Plain, layer: str) -> None:
    run = make_run(NETWORK, (1, 8, 8))
    blocks = learned_maps(run, layer, run.input_image("1"))
    with torch.no_grad():
        x = run.input_image("1").image[None]
        first = run.model.layer(run.node("conv1"))(x)
        expected = first if layer == "conv1" else run.model.layer(run.node("conv2"))(first)
    shown = np.stack([map_.values for map_ in maps_of(blocks)])
    np.testing.assert_allclose(shown, expected[0].double().numpy(), rtol=1e-6)
    assert f"{layer} has {len(shown)} kernels" in plain(Page("", *(blocks)))


def test_learned_maps_of_the_first_convolution_by_default(make_run: MakeRun, plain: Plain) -> None:
    run = make_run(NETWORK, (1, 8, 8))
    assert "What conv1 has learned" in plain(Page("", *(learned_maps(run, None, run.input_image("0")))))
    with pytest.raises(UsageError, match="logits1 is not a convolution"):
        learned_maps(run, "logits1", run.input_image("0"))
