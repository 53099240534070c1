"""Options that only commands share, and how they are read; `cnncli.options` has those of lessons and views as well."""

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from cnncli.errors import UsageError
from cnncli.limits import MAX_CHANNELS, MAX_LENGTH

if TYPE_CHECKING:
    from cnncli.inspection.graph import Graph

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A config, the name of a bundled one, - for a config on stdin, a run directory, an ONNX file, a file of "
        "TorchScript or torch.export, or a model in code: torchvision:NAME, timm:NAME, package.module:Factory or "
        "path/file.py:Factory, where Factory is a class, function or class method that returns a module. A model in "
        "code is imported and built, which runs its code.",
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="CxHxW",
        help="Shape of one input, such as 3x224x224, or size of an image, such as 224. Default: from the config.",
    ),
]
KwargsOption = Annotated[
    str | None,
    typer.Option("--kwargs", metavar="JSON", help="""Arguments of the factory, such as '{"num_classes": 10}'."""),
]
ModuleOption = Annotated[
    str,
    typer.Option(
        "--module",
        metavar="PATH",
        help="Take a submodule of a model in code, such as backbone or layer4.0; --input is then its input. Default: "
        "the input that it gets in the model, if that of the model is known.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_MAX_DIGITS = 19

DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def check_output(path: Path | None, *suffixes: str, option: str = "--out") -> None:
    """Refuse an output that would replace a file of another type, or a part of a run. Devices can be written.

    Args:
        path: of the output, if there is one.
        suffixes: extensions that it may have, in lower case; without any, all.
        option: which names the output.

    Raises:
        UsageError: the file has another extension, or is a part of a run.
    """
    from cnncli.files import is_device
    from cnncli.training.run_directory import run_of_file

    if path is None or is_device(path):
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(
            f"{option} {path}: not a {' or '.join(suffixes)} file",
            remedy=f"for example {option} {path.stem or 'output'}{suffixes[0]}",
        )
    if run := run_of_file(path):
        raise UsageError(f"{option} {path}: a part of the run {run}", remedy="choose another file")


def find_target(
    target: str,
    *,
    shape: str | None,
    kwargs: str | None = None,
    part: str = "",
    assignments: Sequence[str] = (),
    data_dir: Path,
) -> "Graph":
    """The graph of a `TargetArgument`, given the other options as typed.

    Raises:
        CnncliError: an option or the target is invalid.
    """
    from cnncli.capture.target import find_graph

    with redirect_stdout(sys.stderr):  # what the code of a model prints is not a result
        return find_graph(
            target,
            input_shape=parse_shape(shape),
            kwargs=parse_kwargs(kwargs),
            part=part,
            assignments=assignments,
            data_dir=data_dir,
        )


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """The numbers of `3x224x224`; commas and spaces separate them too.

    Raises:
        UsageError: the text has another form.
    """
    if text is None:
        return None
    parts = re.split(r"\s*[x,\s]\s*", text.lower().strip("()[] "))
    if not all(part.isdecimal() and len(part) <= _MAX_DIGITS and int(part) for part in parts):
        raise UsageError(f"--input {text} is not a shape", remedy="give channels and sizes: --input 3x224x224")
    shape = tuple(map(int, parts))
    longest = max(shape[1:] or shape)
    if longest > MAX_LENGTH or shape[0] > MAX_CHANNELS:
        raise UsageError(
            f"--input {text} is too large",
            remedy=f"at most {MAX_LENGTH:,} positions along an axis, and {MAX_CHANNELS:,} channels",
        )
    return shape


def parse_position(text: str) -> tuple[int, ...]:
    """The numbers of `2,5`.

    Raises:
        UsageError: the text has another form.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"{text or repr(text)} is not a position", remedy="give row and column, such as 2,5")
    return tuple(int(part) for part in parts)


def parse_kwargs(text: str | None) -> dict[str, Any]:
    """The object of `--kwargs`.

    Raises:
        UsageError: the text is not a JSON object.
    """
    remedy = """write --kwargs '{"num_classes": 10}'"""
    try:
        kwargs = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more than 4,300 digits
        raise UsageError(f"--kwargs is not JSON: {error}", remedy=remedy) from None
    if not isinstance(kwargs, dict):
        raise UsageError("--kwargs is not a JSON object", remedy=remedy)
    return kwargs


def command_of(function: Callable[..., None], options: type[Any], *, like: Callable[..., None]) -> Callable[..., None]:
    """A command for typer: its options are the fields of a dataclass and those of another command.

    Args:
        function: gets them as keyword arguments.
        options: the dataclass; its docstring is the help.
        like: the other command; its arguments come first.
    """
    empty = inspect.Parameter.empty
    common = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(like, eval_str=True).parameters.values()
    ]
    arguments = [each for each in common if each.default is empty]
    defaulted = [each for each in common if each.default is not empty]
    function.__signature__ = inspect.Signature([*arguments, *_parameters(options), *defaulted])  # type: ignore[attr-defined]  # read by typer
    function.__doc__ = options.__doc__
    return function


def _parameters(options: type[Any]) -> list[inspect.Parameter]:
    """The fields of a dataclass, annotated as typer reads them, as parameters of a command."""
    hints = get_type_hints(options, include_extras=True)
    parameters = []
    for field in dataclasses.fields(options):
        annotation = hints[field.name]
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        type_, option = get_args(annotation)
        if get_origin(type_) is Sequence:  # typer has lists only
            annotation, default = Annotated[list[get_args(type_)], option], list(default)  # type: ignore[misc]
        if default is dataclasses.MISSING:
            default = inspect.Parameter.empty
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    return parameters
