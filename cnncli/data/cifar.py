"""CIFAR-10: batches of images, pickled as dictionaries of NumPy arrays.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.config.datasets import KnownDataset
from cnncli.errors import DataError
from cnncli.files import open_to_read

_REMEDY = "delete the file and run again to download it, or replace it with an undamaged copy"
_ALLOWED = {
    "_reconstruct": np.zeros(0).__reduce__()[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}


def read_batches(facts: KnownDataset, paths: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB images, uint8 (N, C, H, W), and labels, uint8 (N,), of several batches.

    Raises:
        DataError: a file is not such a batch.
    """
    images, labels = zip(*(_read_batch(path, facts.native) for path in paths), strict=True)
    return np.concatenate(images), np.concatenate(labels)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain containers only, so that a file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  pickle's signature
        if module.split(".")[0] == "numpy" and name in _ALLOWED:
            return _ALLOWED[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def _read_batch(path: Path, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        with open_to_read(path) as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
        images = np.asarray(batch[b"data"])
        labels = np.asarray(batch[b"labels" if b"labels" in batch else b"fine_labels"], dtype=np.uint8)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})", remedy="replace it with a readable file"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path}: not a CIFAR batch ({type(error).__name__}: {error})", remedy=_REMEDY) from None
    if images.dtype != np.uint8 or images.shape != (len(labels), np.prod(shape)) or labels.ndim != 1:
        raise DataError(f"{path}: not a CIFAR batch (images are {images.dtype} {images.shape})", remedy=_REMEDY)
    return images.reshape(-1, *shape), labels
