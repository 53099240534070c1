"""Points for TensorBoard's projector: vectors, what is known about each, and a picture of each.

The projector reads `projector_config.pbtxt` in the directory of a run, and files that lie below it.

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

from cnncli.drawing.image import png
from cnncli.files import disk_errors_explained, replace_file

LARGEST_SPRITE = 8192
"""Pixels a side; a larger picture is no texture for WebGL on many machines."""
CONFIG, FOLDER = "projector_config.pbtxt", "projector"


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """Points that the projector shows.

    Attributes:
        name: of the tensor, and of the folder of its files.
        vectors: (N, F).
        columns: name -> a value for each point; two columns or more.
        images: uint8 (N, h, w, 3).
    """

    name: str
    vectors: npt.NDArray[np.floating]
    columns: Mapping[str, Sequence[str]]
    images: npt.NDArray[np.uint8]


def write_projection(directory: Path, projection: Projection) -> Path:
    """Write points into a run's directory; what it has under other names stays.

    Returns:
        The folder of their files.

    Raises:
        DiskError: nothing can be written there.
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
    _enter(directory / CONFIG, info)
    return folder


def _enter(path: Path, info: EmbeddingInfo) -> None:
    """Put an entry into a config, in place of one of the same name."""
    config, before = ProjectorConfig(), ProjectorConfig()
    if path.exists():
        with suppress(text_format.ParseError, UnicodeDecodeError):  # a broken one is written anew
            text_format.Parse(path.read_text(encoding="utf-8"), before)
    config.embeddings.extend(each for each in before.embeddings if each.tensor_name != info.tensor_name)
    config.embeddings.append(info)
    replace_file(path, text_format.MessageToString(config).encode())


def _metadata(columns: Mapping[str, Sequence[str]], count: int) -> bytes:
    assert len(columns) > 1, "a single column has no header"
    assert all(len(values) == count for values in columns.values()), columns.keys()
    rows = (columns, *zip(*columns.values(), strict=True))
    # A tab or a line break in the name of a class would be one of the table.
    return _lines("\t".join(" ".join(value.split()) for value in row) for row in rows)


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _sprite(images: npt.NDArray[np.uint8]) -> tuple[bytes, tuple[int, int]]:
    """All images (N, h, w, 3) as one PNG, row by row, and the size (h, w) that each has there.

    They are shrunk by a whole factor where they would not fit.
    """
    count, height, width, _ = images.shape
    across = isqrt(count - 1) + 1  # as many rows as columns, or one less
    factor = -(-across * max(height, width) // LARGEST_SPRITE)
    small = [np.asarray(Image.fromarray(image).reduce(factor)) if factor > 1 else image for image in images]
    height, width, _ = small[0].shape
    sheet = np.zeros((-(-count // across) * height, across * width, 3), np.uint8)
    for number, image in enumerate(small):
        row, column = divmod(number, across)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return png(sheet), (height, width)
