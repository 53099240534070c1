"""Models of targets: created by code or read from a file, whole or a part of one, with the shape of an input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.capture.graph import CPU, META, graph_of_module, is_on_meta, trial_copy, with_shapes
from cnncli.capture.load import first_line, input_shape_of, load_module
from cnncli.capture.mode import evaluation_mode
from cnncli.capture.record import BATCH
from cnncli.capture.saved import load_saved, shape_for
from cnncli.errors import ConfigError, UsageError, did_you_mean
from cnncli.file_types import ONNX, FileType, file_type
from cnncli.inspection.graph import Graph


@dataclass(frozen=True)
class Model:
    """A module that is ready to be captured or verified.

    Attributes:
        module: the model, or a part of it.
        input_shape: (C, positions ...) of one input.
        batch: the only number of inputs that it takes at a time; None: any.
        device: where it is captured.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None = None
    device: torch.device = META


def load_model(
    target: str,
    *,
    input_shape: Sequence[int] | None,
    kwargs: Mapping[str, Any],
    part: str = "",
    device: torch.device = META,
) -> Model:
    """Create the model of a target in code, or read it from a file of torch or ONNX.

    Args:
        target: `torchvision:resnet50`, `timm:resnet50`, `package.module:Factory`, `path/to/file.py:Factory`, whose code
            runs, or the path of a file of TorchScript, torch.export or ONNX.
        input_shape: (C, positions ...) of one input of the part; optional for models of torchvision and timm, for
            programs of torch.export, and for ONNX files with sizes.
        kwargs: arguments of the factory.
        part: the path of a submodule, to take in place of the whole model.
        device: where the tensors of a model in code, or of an ONNX file, are created.

    Raises:
        UsageError: the model or the part does not exist, or the shape of its input is unknown.
        ConfigError: the model cannot be created or read.
    """
    path = Path(target)
    type = file_type(path) if path.is_file() else None
    if type is not None:
        model = _read(path, type, input_shape, device, whole=not part)
    else:
        module = load_module(target, kwargs=dict(kwargs), device=device)
        given = None if input_shape is None else tuple(input_shape)
        shape = input_shape_of(target, module, given)
        model = Model(module if part else with_shapes(module, shape), shape)
    return _part_of(model, part, input_shape) if part else model


def _read(path: Path, type: FileType, input_shape: Sequence[int] | None, device: torch.device, *, whole: bool) -> Model:
    if type is ONNX:
        from cnncli.capture.onnx.file import read_file
        from cnncli.capture.onnx.network import OnnxNetwork

        if not whole:
            raise UsageError(
                f"--module is for a model in code, but {path} is an ONNX file", remedy="omit it; --only selects rows"
            )
        file = read_file(path)
        shape = file.input_shape(input_shape)
        return Model(OnnxNetwork(file, device), shape, file.images.batch, device)
    saved = load_saved(path, type)
    given = None if input_shape is None else tuple(input_shape)
    shape = given if given is not None and not whole else shape_for(path, saved, given)
    return Model(saved.module, shape, saved.batch, CPU)


def _part_of(model: Model, part: str, input_shape: Sequence[int] | None) -> Model:
    """A submodule as a model of its own."""
    try:
        module = model.module.get_submodule(part)
    except AttributeError:
        names = [name for name, _ in model.module.named_modules() if name]
        raise UsageError(
            f"the model has no module {part}{did_you_mean(part, names)}",
            remedy="name a module as in model.named_modules(), such as backbone or layer4.0",
        ) from None
    shape = _input_of(model, part) if input_shape is None else tuple(input_shape)
    return replace(model, module=module, input_shape=shape)


class _Found(Exception):  # noqa: N818  not an error
    """The input of the part: it need not run any further."""


def _input_of(model: Model, part: str) -> tuple[int, ...]:
    """The shape of one input of a submodule when the whole model runs."""
    module, state = trial_copy(model.module, model.device)
    shapes: list[tuple[int, ...]] = []

    def stop(_part: nn.Module, inputs: tuple[object, ...]) -> None:
        shapes.extend(tuple(each.shape) for each in inputs[:1] if isinstance(each, Tensor))
        raise _Found

    images = torch.zeros(model.batch or BATCH, *model.input_shape, device=model.device)
    reason = "it does not run when the model does"
    hook = module.get_submodule(part).register_forward_pre_hook(stop)
    try:
        with evaluation_mode(module), torch.no_grad():
            torch.func.functional_call(module, state, (images,))
    except _Found:
        reason = "its input is not a tensor"
    except (Exception, SystemExit) as error:  # a forward may raise anything
        reason = first_line(error)
    finally:
        hook.remove()
    if not shapes:
        raise ConfigError(
            f"the shape of the input of {part} cannot be found out: {reason}",
            remedy="give it, without the batch: --input 256x14x14",
        )
    return shapes[0][1:]


def load_graph(target: str, *, input_shape: tuple[int, ...] | None, kwargs: Mapping[str, Any], part: str = "") -> Graph:
    """The graph of a target in code or in a file; for the arguments see `load_model`.

    Raises:
        UsageError: the model does not exist.
        ConfigError: it cannot be created, or does not run on such an input.
    """
    name = f"{target} {part}".rstrip()
    model = load_model(target, input_shape=input_shape, kwargs=kwargs, part=part)
    if Path(target).is_file() and file_type(Path(target)) is ONNX:
        from cnncli.capture.onnx.graph import graph_of_file
        from cnncli.capture.onnx.network import OnnxNetwork

        assert isinstance(model.module, OnnxNetwork), name
        return graph_of_file(model.module, model.input_shape, name)
    try:
        return graph_of_module(model.module, model.input_shape, name, device=model.device, batch=model.batch or BATCH)
    except ConfigError:
        if not is_on_meta(model.module):
            raise
    model = load_model(target, input_shape=input_shape, kwargs=kwargs, part=part, device=CPU)
    return graph_of_module(model.module, model.input_shape, name)
