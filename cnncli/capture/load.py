"""Finding and making the model that a word on the command line names. This runs other people's code."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from cnncli.errors import CnncliError, ConfigError, UsageError

TORCHVISION = "torchvision"


@dataclass(frozen=True)
class Loaded:
    """A model, and the shape of an image that it is known to take, if any."""

    module: nn.Module
    usual_shape: tuple[int, ...] | None

    def input_shape(self, given: tuple[int, ...] | None) -> tuple[int, ...]:
        """The shape that was given, else the usual one.

        Raises:
            UsageError: there is neither.
        """
        shape = given or self.usual_shape
        if shape is None:
            raise UsageError(
                "the shape of an image is not known for this model", remedy="say it, e.g. --input 3x224x224"
            )
        return shape


def load_module(target: str, *, kwargs: dict[str, Any], device: torch.device) -> Loaded:
    """Make the model that `target` names, by calling it with `kwargs`.

    Args:
        target: `torchvision:resnet50`, `package.module:Factory` or `path/to/file.py:Factory`. What is named may be a
            class, a function that returns a module, or a module.
        kwargs: what to call it with.
        device: where its tensors are made; `meta` makes none, which is quick. A model that cannot be made there is
            made on the CPU.

    Raises:
        UsageError: there is no such thing.
        ConfigError: calling it failed, or did not give a module.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(
            f"{target} names no model",
            remedy="write torchvision:resnet50, package.module:Factory or path/to/file.py:Factory",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _named(target, place, name)
        if not isinstance(made, nn.Module):
            made = _called(target, made, kwargs, device)
    return Loaded(made, (3, 224, 224) if place == TORCHVISION else None)


def _named(target: str, place: str, name: str) -> Any:  # noqa: ANN401  whatever the user's module has there
    """What stands under a name in a module or a file."""
    if place == TORCHVISION:
        place = "torchvision.models"
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except CnncliError:
        raise
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{target}: there is no module {error.name}",
            remedy="give a module that `python -c 'import ...'` finds here, or a path that ends in .py",
        ) from error
    except (Exception, SystemExit) as error:  # whatever the code of a user may raise
        raise ConfigError(
            f"{place} fails on import: {_said(error)}", remedy="correct it; --debug shows where"
        ) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, [each for each in dir(found) if not each.startswith("_")], n=3)
            raise UsageError(
                f"{place} has no {part}",
                remedy=f"did you mean {' or '.join(near)}?" if near else "name a class or function that it has",
            )
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{target} is of type {type(found).__name__}, no model", remedy="name a class or a function")
    return found


def _from_file(path: Path) -> ModuleType:
    """Run a file as a module; what lies beside it can be imported, as if it were run as a script."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file", remedy="give the path of a Python file")
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


def _called(target: str, make: Callable[..., object], kwargs: dict[str, Any], device: torch.device) -> nn.Module:
    """The module that a factory makes, on the CPU where it cannot be made on `device`."""
    try:
        try:
            with device:
                made = make(**kwargs)
        except (Exception, SystemExit):
            if device.type == "cpu":
                raise
            made = make(**kwargs)
    except (Exception, SystemExit) as error:  # whatever the code of a user may raise
        raise ConfigError(
            f"{target} cannot be made: {_said(error)}",
            remedy="""give what it needs with --kwargs, e.g. --kwargs '{"num_classes": 10}'; --debug shows where""",
        ) from error
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"{target} made something of type {type(made).__name__}, no torch module",
            remedy="name a class of modules, or a function that returns a module",
        )
    return made


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
