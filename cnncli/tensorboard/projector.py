"""Writes points for TensorBoard's projector: vectors, metadata, and a picture of each.

The projector reads `projector_config.pbtxt` in a run directory, and the files that it lists.

Letters for shapes: N points, F features.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format  # type: ignore[import-untyped]  # no stubs
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import (  # type: ignore[import-untyped]  # generated, no stubs
    EmbeddingInfo,
    ProjectorConfig,
)

from cnncli.drawing.image import png, tiled
from cnncli.files import disk_errors_explained, replace_file

LARGEST_SPRITE = 8192
"""Pixels per side; on many machines WebGL has no larger textures."""
CONFIG, FOLDER = "projector_config.pbtxt", "projector"


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """The points of one tensor.

    Attributes:
        name: of the tensor and of the folder with its files.
        vectors: (N, F).
        columns: name -> a value for each point; at least two columns.
        images: uint8 (N, h, w, 3).
    """

    name: str
    vectors: npt.NDArray[np.floating]
    columns: Mapping[str, Sequence[str]]
    images: npt.NDArray[np.uint8]


def write_projection(directory: Path, projection: Projection) -> Path:
    """Write points to a run directory; tensors with other names are kept.

    Returns:
        The folder with the files.

    Raises:
        DiskError: a file cannot be written.
    """
    count, features = projection.vectors.shape
    assert len(projection.images) == count, (projection.images.shape, projection.vectors.shape)
    folder = directory / FOLDER / projection.name
    with disk_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sprite, (height, width) = _sprite(projection.images)
    files = {
        "vectors.tsv": _lines("\t".join(f"{value:.6g}" for value in row) for row in projection.vectors.tolist()),
        "metadata.tsv": _metadata(projection.columns, count),
        "sprite.png": sprite,
    }
    for name, content in files.items():
        replace_file(folder / name, content)
    path = f"{FOLDER}/{projection.name}"
    info = EmbeddingInfo(
        tensor_name=projection.name,
        tensor_path=f"{path}/vectors.tsv",
        tensor_shape=[count, features],
        metadata_path=f"{path}/metadata.tsv",
    )
    info.sprite.image_path = f"{path}/sprite.png"
    info.sprite.single_image_dim.extend([width, height])
    _add_to_config(directory / CONFIG, info)
    return folder


def _add_to_config(path: Path, info: EmbeddingInfo) -> None:
    """Add an entry to the config file; it replaces one with the same name."""
    config, before = ProjectorConfig(), ProjectorConfig()
    if path.exists():
        with suppress(text_format.ParseError, UnicodeDecodeError):  # an invalid one is replaced
            text_format.Parse(path.read_text(encoding="utf-8"), before)
    config.embeddings.extend(each for each in before.embeddings if each.tensor_name != info.tensor_name)
    config.embeddings.append(info)
    replace_file(path, text_format.MessageToString(config).encode())


def _metadata(columns: Mapping[str, Sequence[str]], count: int) -> bytes:
    assert len(columns) > 1, "the projector reads no header from a single column"
    assert all(len(values) == count for values in columns.values()), columns.keys()
    rows = (columns, *zip(*columns.values(), strict=True))
    # Class names may contain tabs and line breaks, which separate cells and rows.
    return _lines("\t".join(" ".join(value.split()) for value in row) for row in rows)


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _sprite(images: npt.NDArray[np.uint8]) -> tuple[bytes, tuple[int, int]]:
    """All images (N, h, w, 3) in one PNG, row by row, and the size (h, w) of each in it.

    Images that would not fit are reduced by an integer factor.
    """
    count, height, width, _ = images.shape
    across = isqrt(count - 1) + 1  # as many rows as columns, or one less
    factor = -(-across * max(height, width) // LARGEST_SPRITE)
    if factor > 1:
        images = np.stack([np.asarray(Image.fromarray(image).reduce(factor)) for image in images])
    return png(tiled(images, across)), images.shape[1:3]
