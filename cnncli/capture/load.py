"""Models in code: import a module or file, find a name in it, and create the model. This runs other people's code.

`torchvision:NAME` and `timm:NAME` are models of these libraries by the names under which they are registered there.
"""

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cnncli.errors import CnncliError, ConfigError, UsageError, did_you_mean

_TORCHVISION, _TIMM = "torchvision", "timm"
_USUAL_INPUT = (3, 224, 224)
"""What torchvision's networks are made for."""


def load_module(target: str, *, kwargs: dict[str, Any], device: torch.device) -> nn.Module:
    """Create a model.

    Args:
        target: `torchvision:resnet50`, `timm:resnet50`, `package.module:Factory` or `path/to/file.py:Factory`. The name
            may be that of a class, of a function or a method of a class that returns a module, or of a module.
        kwargs: arguments of the class or function.
        device: where to create tensors; fast on `meta`. A model that cannot be created there is created on the CPU.

    Raises:
        UsageError: there is no such model.
        ConfigError: creating it failed, or did not return a module.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(
            f"{target} does not name a model",
            remedy="write torchvision:resnet50, timm:resnet50, package.module:Factory or path/to/file.py:Factory",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _find(target, place, name)
        return model if isinstance(model, nn.Module) else _create(target, model, kwargs, device)


def _find(target: str, place: str, name: str) -> Any:
    """The object of a name in a library, a module or a file."""
    if place == _TORCHVISION:
        return _find_in_torchvision(target, name)
    if place == _TIMM:
        return _find_in_timm(name)
    try:
        module = _run_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except CnncliError:
        raise
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{target}: no module named {error.name}",
            remedy="give a module that can be imported here, or a path that ends in .py",
        ) from error
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise ConfigError(
            f"importing {place} failed: {first_line(error)}", remedy="correct it; --debug shows the traceback"
        ) from error
    return _attribute(target, module, place, name)


def _attribute(target: str, module: ModuleType, place: str, name: str) -> Any:
    """The object of a dotted name in a module."""
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            names = [each for each in dir(value) if not each.startswith("_")]
            raise UsageError(
                f"{place} has no {part}{did_you_mean(part, names)}", remedy="name a class or a function defined there"
            )
        value = getattr(value, part)
    if not callable(value):
        raise UsageError(
            f"{target} is not a model, but of type {type(value).__name__}", remedy="name a class or a function"
        )
    return value


def _find_in_torchvision(target: str, name: str) -> Any:
    """A class or function of `torchvision.models`, or a model of its submodules (segmentation, detection, video)."""
    from torchvision import models

    if not hasattr(models, name.partition(".")[0]) and name not in models.list_models():
        known = [each for each in models.list_models() if not each.startswith("quantized")]
        near = did_you_mean(name, known)
        raise UsageError(f"torchvision has no model {name}{near}", remedy="name a model of torchvision.models")
    if not hasattr(models, name.partition(".")[0]):
        factory = models.get_model_builder(name)
        if "weights_backbone" in inspect.signature(factory).parameters:
            return lambda **kwargs: factory(**{"weights_backbone": None} | kwargs)  # else it downloads weights
        return factory
    return _attribute(target, models, "torchvision.models", name)


def _find_in_timm(name: str) -> Callable[..., object]:
    """The factory of a model of timm."""
    try:
        timm = importlib.import_module(_TIMM)
    except ModuleNotFoundError as error:
        if error.name != _TIMM:
            raise ConfigError(f"importing timm failed: {first_line(error)}", remedy="pip install -U timm") from error
        raise UsageError("timm is not installed", remedy="pip install timm") from error
    if not timm.is_model(name.partition(".")[0]):  # after the dot, the name of pretrained weights
        raise UsageError(
            f"timm has no model {name}{did_you_mean(name, timm.list_models())}", remedy="name a model of timm"
        )
    return lambda **kwargs: timm.create_model(name, **kwargs)


def _run_file(path: Path) -> ModuleType:
    """Run a file as a module; it can import its neighbors, as if it were run as a script."""
    if not path.is_file():
        raise UsageError(f"file not found: {path}", remedy="give the path of a Python file")
    spec = importlib.util.spec_from_file_location(f"_cnncli_{path.stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles in the file look for it there
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec.loader.exec_module(module)
    return module


def _create(target: str, factory: Callable[..., object], kwargs: dict[str, Any], device: torch.device) -> nn.Module:
    """Call a factory, on the CPU if it fails on `device`."""
    try:
        try:
            with device:
                model = factory(**kwargs)
        except (Exception, SystemExit) as error:
            wants_gpu = not torch.cuda.is_available() and ("CUDA" in str(error) or "NVIDIA" in str(error))
            if device.type == "cpu" and not wants_gpu:
                raise
            with _WithoutGpu() if wants_gpu else nullcontext():
                model = factory(**kwargs)
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise ConfigError(
            f"creating {target} failed: {first_line(error)}",
            remedy="""give its arguments with --kwargs, e.g. --kwargs '{"num_classes": 10}'; """
            "--debug shows the traceback",
        ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"{target} returned an object of type {type(model).__name__}, not a torch module",
            remedy="name a class of modules, or a function that returns a module",
        )
    return model


class _WithoutGpu(TorchFunctionMode):
    """Inside, tensors that are moved to a GPU, or created there, are on the CPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        return func(*map(_on_cpu, args), **{name: _on_cpu(value) for name, value in (kwargs or {}).items()})


def _on_cpu(value: Any) -> Any:
    """The CPU in place of a GPU."""
    name = str(value) if isinstance(value, str | torch.device) else ""
    return torch.device("cpu") if name.partition(":")[0] == "cuda" else value


def input_shape_of(target: str, model: nn.Module, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of an image: `shape`, or the one that torchvision or timm made the model for.

    Raises:
        UsageError: there is neither.
    """
    library = target.partition(":")[0]
    if shape is None and library == _TORCHVISION:
        shape = _USUAL_INPUT
    if shape is None and library == _TIMM:
        settings = getattr(model, "pretrained_cfg", None) or {}
        shape = tuple(settings.get("input_size", ())) or None
    if shape is None:
        raise UsageError("the input shape of this model is unknown", remedy="give it: --input 3x224x224")
    return shape


def is_library(target: str) -> bool:
    """Whether a target names a model of torchvision or timm, rather than code of one's own."""
    return target.partition(":")[0] in (_TORCHVISION, _TIMM)


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
