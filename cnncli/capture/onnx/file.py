"""ONNX files: protobuf that holds a graph, with tensors inside or in files beside it. Nothing in them runs as code."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cnncli.errors import ConfigError, UsageError
from cnncli.layers import format_size
from cnncli.limits import MAX_CHANNELS, MAX_LENGTH

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

OLDEST = 7
"""The first version of ONNX's operators that is read: since then, operators broadcast as NumPy does."""
_MAX_PROTOBUF = 2**31 - 1
_MAX_NUMBERS = 1 << 40
"""A stored tensor of more numbers is damaged."""
_AGAIN = "export or download it again"
_LFS = b"version https://git-lfs"


def check_packages(*packages: str) -> None:
    """Import packages of the extra `onnx`.

    Raises:
        UsageError: one of them is missing; the remedy is the command that installs them.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            reason = "is not installed" if error.name == package else f"cannot be imported: {error}"
            raise UsageError(
                f"ONNX networks need the package {package}, which {reason}", remedy='pip install "cnncli[onnx]"'
            ) from None


@dataclass
class Stored:
    """A tensor of a file, whose numbers are read when they are needed.

    Attributes:
        name: in the file.
        shape: its dimensions.
        dtype: of torch; None for text, and for numbers that torch does not have.
        source: the tensor in the file, or one number that fills it.
        folder: of the file, for tensors that are stored beside it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    source: TensorProto | float
    folder: Path = field(default_factory=Path)

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def is_external(self) -> bool:
        """Whether its numbers are in a file beside the network."""
        return not isinstance(self.source, int | float) and self.source.data_location == self.source.EXTERNAL

    @cached_property
    def numbers(self) -> np.ndarray:
        """Its numbers.

        Raises:
            ConfigError: they are damaged, or the file that holds them is missing.
        """
        from onnx import numpy_helper

        if isinstance(self.source, int | float):
            return np.full(self.shape, self.source, dtype=np.float32)
        try:
            return numpy_helper.to_array(self.source, str(self.folder))
        except FileNotFoundError:
            raise self._missing() from None
        except Exception as error:  # damaged data may raise anything
            if self.is_external:
                raise self._missing(str(error).splitlines()[0][:200]) from None
            raise ConfigError(f"the tensor {self.name} of the ONNX file is damaged", remedy=_AGAIN) from error

    def _missing(self, reason: str = "is missing") -> ConfigError:
        assert not isinstance(self.source, int | float)
        where = next((each.value for each in self.source.external_data if each.key == "location"), "?")
        return ConfigError(
            f"the tensor {self.name} is stored in the file {where} beside the network, which cannot be read: {reason}",
            remedy=f"put {where} into {self.folder}",
        )

    def tensor(self, device: torch.device) -> Tensor:
        """It in torch; on `meta` without numbers, which are not read then."""
        assert self.dtype is not None, self.name
        if device.type == "meta":
            return torch.empty(self.shape, dtype=self.dtype, device=device)
        return as_tensor(self.numbers).to(device)


@dataclass(frozen=True)
class Input:
    """The input of a network.

    Attributes:
        name: in the file.
        shape: with the batch axis; an axis that may have any size has its name, or is None.
        dtype: of its numbers.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: torch.dtype

    @property
    def batch(self) -> int | None:
        """The only number of images that the network takes; None: any."""
        return self.shape[0] if isinstance(self.shape[0], int) else None


@dataclass(frozen=True)
class OnnxFile:
    """A network in an ONNX file.

    Attributes:
        path: of the file.
        model: its content, without the tensors that are stored beside it.
    """

    path: Path
    model: ModelProto

    @property
    def graph(self) -> GraphProto:
        """The network."""
        return self.model.graph

    @cached_property
    def versions(self) -> dict[str, int]:
        """Domain of operators -> the version that the file uses; ONNX's own domain is empty."""
        return {
            "" if each.domain == "ai.onnx" else each.domain: each.version
            for each in (*self.model.opset_import, *(o for f in self.model.functions for o in f.opset_import))
        }

    @cached_property
    def stored(self) -> dict[str, Stored]:
        """The tensors of the file by name: its initializers, and constants of its graph that stand for them.

        Raises:
            ConfigError: a tensor is damaged.
        """
        found = {each.name: self.read_tensor(each) for each in self.graph.initializer}
        # Networks without weights have the shape of each in its place.
        for node in self.graph.node:
            if node.op_type == "ConstantOfShape" and not node.domain and node.input[0] in found:
                value = next((each.t for each in node.attribute), None)
                numbers = None if value is None else self.read_tensor(value)
                if numbers is None or numbers.dtype == torch.float32:
                    name = node.output[0]
                    shape = _checked([int(each) for each in found[node.input[0]].numbers.flatten()], name)
                    filled = 0.0 if numbers is None else float(numbers.numbers.flatten()[0])
                    found[name] = Stored(name, shape, torch.float32, filled)
        return found

    def read_tensor(self, tensor: TensorProto) -> Stored:
        """A tensor of the file.

        Raises:
            ConfigError: its shape is damaged.
        """
        return Stored(
            tensor.name, _checked(tensor.dims, tensor.name), dtype_of(tensor.data_type), tensor, self.path.parent
        )

    @cached_property
    def inputs(self) -> list[Input]:
        """The inputs of the network without those that have a value in the file.

        Raises:
            ConfigError: there is none that is a tensor of numbers with a batch axis.
        """
        result = [_input(each) for each in self.graph.input if each.name not in self.stored]
        return [each for each in result if each is not None]

    @property
    def batch_name(self) -> str | None:
        """The name of the batch axis, by which other axes of that size are found."""
        first = next((each.shape[0] for each in self.inputs if len(each.shape) > 1), None)
        return first if isinstance(first, str) else None

    @cached_property
    def images(self) -> Input:
        """The input that receptive fields are measured in: the first with channels and positions, else the first.

        Raises:
            ConfigError: there is none.
        """
        batched = [each for each in self.inputs if len(each.shape) > 1]
        if not batched:
            raise ConfigError(
                f"{self.path} has no input with a batch axis and another one", remedy="export a network that has one"
            )
        return next((each for each in batched if len(each.shape) > 2), batched[0])

    @cached_property
    def channels_last(self) -> bool:
        """Whether the images are (N, positions ..., C) in the file."""
        shape, name = self.images.shape, self.images.name
        if len(shape) <= 2 or shape[1] in (1, 3):
            return False
        readers = sum(name in node.input for node in self.graph.node)
        return 0 < readers == len(self.with_channels_first) or shape[-1] == 3

    @cached_property
    def with_channels_first(self) -> list[str]:
        """The values that are the images with the last axis moved to the place of channels."""
        rank = len(self.images.shape)
        moved = [0, rank - 1, *range(1, rank - 1)]
        return [
            node.output[0]
            for node in self.graph.node
            if node.op_type == "Transpose"
            and node.input[0] == self.images.name
            and attributes_of(node).get("perm") == moved
        ]

    def input_shape(self, given: Sequence[int] | None) -> tuple[int, ...]:
        """(C, positions ...) of one image: as given, where the file allows it, or as the file says.

        Raises:
            UsageError: the file does not say it, or says another one.
        """
        sizes = self.images.shape[1:]
        if self.channels_last:
            sizes = (sizes[-1], *sizes[:-1])
        said = "x".join(str(size) if size else "any" for size in sizes)
        if given is None:
            known = tuple(size for size in sizes if isinstance(size, int))
            if len(known) < len(sizes):
                raise UsageError(
                    f"{self.path} takes inputs of {said}: some sizes are not in the file",
                    remedy=f"give them: --input {_example(sizes)}",
                )
            if max(known[1:], default=0) > MAX_LENGTH or known[0] > MAX_CHANNELS:
                raise UsageError(
                    f"{self.path} takes inputs of {said}, which is too large",
                    remedy=f"at most {MAX_LENGTH:,} positions along an axis, and {MAX_CHANNELS:,} channels",
                )
            return known
        shape = tuple(given)
        if len(shape) == 1 and len(sizes) > 1:  # the size of a square image
            channels = sizes[0] if isinstance(sizes[0], int) else 3
            shape = (channels, *shape * (len(sizes) - 1))
        elif len(shape) == len(sizes) + 1 and shape[0] == 1:
            shape = shape[1:]
        if self.channels_last and shape[-1:] == sizes[:1] != shape[:1]:  # as they are in the file
            shape = (shape[-1], *shape[:-1])
        if len(shape) != len(sizes) or any(
            isinstance(said, int) and said != size for said, size in zip(sizes, shape, strict=True)
        ):
            fixed = all(isinstance(size, int) for size in sizes)
            raise UsageError(
                f"{self.path} takes inputs of {said}, not {format_size(shape)}",
                remedy="omit --input" if fixed else "give sizes for the axes with names alone",
            )
        return shape


def read_file(path: Path) -> OnnxFile:
    """Read an ONNX file, without the tensors that are stored in files beside it.

    Raises:
        UsageError: the package `onnx` is missing.
        ConfigError: the file is damaged, holds no network, or is too old.
    """
    check_packages("onnx")
    import onnx

    try:
        size = path.stat().st_size
        if size > _MAX_PROTOBUF:
            raise ConfigError(
                f"{path} is larger than 2 GB, which protobuf cannot read",
                remedy="save its tensors in a file of their own: onnx.save(model, path, save_as_external_data=True)",
            )
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if content.startswith(_LFS):
        raise ConfigError(
            f"{path} is only a pointer to a file in Git LFS", remedy="fetch the file itself: git lfs pull"
        )
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # of protobuf, which has no types here
        raise ConfigError(f"{path} is a damaged ONNX file", remedy=_AGAIN) from error
    if not model.graph.node:
        raise ConfigError(f"{path} is a damaged ONNX file: it has no operators", remedy=_AGAIN)
    file = OnnxFile(path, _without_functions(path, model))
    version = file.versions.get("", OLDEST)
    if version < OLDEST:
        raise ConfigError(
            f"{path} uses version {version} of ONNX's operators; {OLDEST} is the oldest that can be read",
            remedy="convert it: onnx.version_converter.convert_version(model, 17)",
        )
    return file


def _without_functions(path: Path, model: ModelProto) -> ModelProto:
    """A model in which functions of its own, and operators known by their definition alone, are replaced by that."""
    from onnx import defs, inliner

    from cnncli.capture.onnx.folding import FOLDED
    from cnncli.capture.onnx.operators import OPERATORS

    def is_defined(name: str) -> bool:
        try:
            schema = defs.get_schema(name)
        except Exception:  # of C++: there is none of that name, or it is no text
            return False
        return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]  # not in its stubs

    used = {node.op_type for node in model.graph.node if not node.domain} | {
        node.op_type for function in model.functions for node in function.node if not node.domain
    }
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # of C++, for a damaged file or one that is too large
            reason = str(error).splitlines()[0][:200]
            raise ConfigError(f"the functions of {path} cannot be read: {reason}", remedy=_AGAIN) from error
    defined = [("", name) for name in sorted(used - OPERATORS.keys() - FOLDED) if is_defined(name)]
    try:
        return inliner.inline_selected_functions(model, defined, inline_schema_functions=True) if defined else model
    except Exception:  # likewise; the operators are then not supported
        return model


def dtype_of(data_type: int) -> torch.dtype | None:
    """The type of torch for a type of ONNX; None if it has none."""
    from onnx import TensorProto as T

    types: dict[int, torch.dtype] = {
        T.FLOAT: torch.float32, T.UINT8: torch.uint8, T.INT8: torch.int8, T.UINT16: torch.int64, T.INT16: torch.int16,
        T.INT32: torch.int32, T.INT64: torch.int64, T.BOOL: torch.bool, T.FLOAT16: torch.float16,
        T.DOUBLE: torch.float64, T.UINT32: torch.int64, T.UINT64: torch.int64, T.COMPLEX64: torch.complex64,
        T.COMPLEX128: torch.complex128, T.BFLOAT16: torch.bfloat16, T.FLOAT8E4M3FN: torch.float8_e4m3fn,
        T.FLOAT8E5M2: torch.float8_e5m2, T.UINT4: torch.uint8, T.INT4: torch.int8,
    }  # fmt: skip
    return types.get(data_type)


def as_tensor(numbers: np.ndarray) -> Tensor:
    """An array as a tensor on the CPU; types that NumPy does not have itself become float32."""
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize > 1:
        numbers = numbers.astype(np.int64)  # torch computes little with larger integers without a sign
    elif numbers.dtype.isbuiltin != 1:  # bfloat16, or integers of 4 bits
        numbers = numbers.astype(np.float32)
    return torch.from_numpy(np.array(numbers))  # a copy: arrays of a file cannot be written


def text(value: str | bytes) -> str:
    """A text of a file, which protobuf leaves as bytes if it is damaged."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among the attributes of an operator."""
    for each in node.attribute:
        if each.type == each.GRAPH:
            yield each.g


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """The attributes of an operator by name, in types of Python; graphs and tensors as they are."""
    from onnx import helper

    found: dict[str, Any] = {}
    for each in node.attribute:
        value = helper.get_attribute_value(each)
        found[each.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def _example(sizes: Sequence[int | str | None]) -> str:
    """A shape with these sizes, and usual ones for those that are unknown."""
    return "x".join(str(each if isinstance(each, int) else 224 if i else 3) for i, each in enumerate(sizes))


def _checked(shape: Sequence[int], name: str) -> tuple[int, ...]:
    """A shape that is not damaged."""
    if any(size < 0 for size in shape) or prod(shape) > _MAX_NUMBERS:
        raise ConfigError(
            f"the tensor {name} of the ONNX file has the shape {format_size(tuple(shape))}", remedy=_AGAIN
        )
    return tuple(shape)


def _input(value: ValueInfoProto) -> Input | None:
    """An input of a graph; None if it is no tensor of numbers."""
    tensor = value.type.tensor_type
    dtype = dtype_of(tensor.elem_type)
    if not value.type.HasField("tensor_type") or dtype is None or not tensor.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.dim_value > 0 else (dim.dim_param or None) for dim in tensor.shape.dim]
    return Input(value.name, tuple(sizes), dtype)
