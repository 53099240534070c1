"""ONNX, through the exporter of torch; onnxruntime runs it.

The operators and the outputs of layers are named after the layers, so that a viewer such as Netron shows these names.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli import __version__
from cnncli.errors import RunError
from cnncli.export.format import Format, Metadata

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUT, OUTPUT = "images", "logits"
"""Names of the tensors."""
OPSET = 18
"""The version of ONNX's operators in which torch's exporter writes; onnxruntime reads it from version 1.14 on."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""The key under which torch's exporter stores the submodules that an operator comes from."""
_ERRORS_ONLY = 3


class Onnx(Format):
    """`FILE.onnx`: `images` to `logits`, with metadata in `metadata_props`."""

    title = "ONNX"
    suffix = ".onnx"
    runtime = "onnxruntime"
    extra = "onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    portable = True

    def content(self, module: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
        """See `Format.content`.

        Raises:
            RunError: torch's exporter fails, as it may with an incompatible version of onnxscript.
        """
        import torch

        try:
            with _quiet():
                program = torch.onnx.export(
                    module,
                    (example,),
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                    opset_version=OPSET,
                    dynamo=True,
                    verbose=False,
                )
        except torch.onnx.errors.OnnxExporterError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__  # the outer ones give advice to those who write exporters
            raise RunError(
                f"the ONNX exporter of torch {torch.__version__} failed: {str(cause).splitlines()[0]}",
                remedy='pip install --upgrade "cnncli[onnx]", or use --format torch',
            ) from error
        assert program is not None, "torch gives a program where dynamo is true"
        model = program.model
        _name_after_layers(model.graph)
        model.producer_name, model.producer_version = "cnncli", __version__
        model.metadata_props.update(metadata)
        content: bytes = program.model_proto.SerializeToString()
        return content

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """See `Format.load`."""
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Tensor:
            (logits,) = session.run([OUTPUT], {INPUT: images.numpy()})
            return torch.from_numpy(logits)

        return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress of torch's exporter, its warnings and its log from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_after_layers(graph: Any) -> None:  # noqa: ANN401  of onnx_ir, which is there with the extra only
    """Name operators and outputs of layers after the layers, and drop notes about the code that was exported.

    The exporter notes the source files of every operator, with their paths on this machine.

    Args:
        graph: an `onnx_ir.Graph`.
    """
    taken = Counter([INPUT, OUTPUT, *graph.initializers])
    outputs = {}
    for noted in (graph, *graph.inputs, *graph.initializers.values()):
        noted.metadata_props.clear()
    for node in graph:
        _, *scopes, _ = ast.literal_eval(node.metadata_props.get(_SCOPES, "['', '']"))
        node.metadata_props.clear()
        where = scopes[-1] if scopes else "preprocessing"
        node.name = f"{where}/{node.op_type}"
        taken[node.name] += 1
        if taken[node.name] > 1:
            node.name += f"_{taken[node.name]}"
        for i, value in enumerate(node.outputs):
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.name = f"{node.name}:{i}"  # as no layer is called
        if scopes:
            outputs[scopes[0]] = node.outputs[0]
    for layer, value in outputs.items():
        if layer not in taken and not value.is_graph_output():
            value.name = layer
