"""The kernels that a run has learned."""

from collections.abc import Iterator, Sequence

from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.layers import chosen_layers
from cnncli.pictures.kernels import kernel_picture
from cnncli.spec.layers import Conv, ConvTranspose
from cnncli.trained import TrainedRun


def kernels(run: TrainedRun, *, layers: Sequence[str] = ()) -> Iterator[Exhibit]:
    """A picture for each convolution, or for those of `layers`.

    Raises:
        UsageError: one of them is not there, or is no convolution.
    """
    weights = run.model.kernels()
    for node in chosen_layers(run, layers, (Conv, ConvTranspose), "has kernels"):
        number = run.network.numbered()[node.name]
        picture = kernel_picture(weights[node.name], title=node.name)
        yield Exhibit(tag=f"kernels/{number}", title=f"kernels of {node.name}", pixels=picture.pixels)
