"""The network of an ONNX file as a graph."""

from dataclasses import replace

from cnncli.capture.graph import GIVE_SHAPE, META, Capture, capture, graph_of_capture
from cnncli.capture.onnx.network import OnnxNetwork
from cnncli.capture.record import BATCH
from cnncli.inspection.graph import Graph, ModelError


def graph_of_file(network: OnnxNetwork, input_shape: tuple[int, ...], name: str) -> Graph:
    """The graph of a file.

    Args:
        network: without numbers, on `meta`.
        input_shape: (C, positions ...) of one image.
        name: of the graph.

    Raises:
        ConfigError: the network does not run on such an input.
    """
    captured, _ = capture_file(network, input_shape)
    notes: list[str] = []
    others = [each.name for each in network.file.inputs if each is not network.file.images]
    if others:
        images = network.file.images.name
        notes.append(f"receptive fields are those of the input {images}; constants instead of {', '.join(others[:3])}")
    if network.unused:
        notes.append(f"{network.unused:,} numbers in the file are read by no operator, and not counted")
    graph = graph_of_capture(network, captured, input_shape, name)
    return replace(graph, notes=(*graph.notes, *notes))


def capture_file(network: OnnxNetwork, input_shape: tuple[int, ...]) -> tuple[Capture, int | None]:
    """The rows of a file, and the only number of images that it takes; None: any.

    A file may say that it takes any number, and still take only one at a time.

    Raises:
        ConfigError: the network does not run on such an input.
    """
    said = network.file.images.batch
    failed: ModelError | None = None
    for batch in (said,) if said else (BATCH, 1):
        try:
            captured = capture(network, input_shape, device=META, batch=batch, may_use_zeros=False)
        except ModelError as error:
            failed = failed or error
        else:
            return captured, said or (1 if batch == 1 else None)
    assert failed is not None, network.file.path
    remedy = (failed.remedy or "").replace(GIVE_SHAPE, "give the shape that the file was made for: --input 3x224x224")
    raise ModelError(failed.message, remedy=remedy, graph=failed.graph) from failed
