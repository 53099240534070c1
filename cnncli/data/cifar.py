"""The batches of CIFAR-10: pickled dictionaries of NumPy arrays, opened without running what they ask for.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import DataError

_PIXELS = 3 * 32 * 32
_REMEDY = "delete the file and run again to download it, or put an undamaged one in its place"
_ALLOWED = {
    "_reconstruct": np.zeros(0).__reduce__()[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Refuses everything but NumPy arrays and plain containers."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  pickle's signature
        if module.split(".")[0] == "numpy" and name in _ALLOWED:
            return _ALLOWED[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One batch: uint8 images (N, 3, 32, 32), RGB, and uint8 labels (N,).

    Raises:
        DataError: the file is not such a batch.
    """
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
        images = np.asarray(batch[b"data"])
        labels = np.asarray(batch[b"labels"], dtype=np.uint8)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})", remedy="put a file there that you may read"
        ) from None
    # A damaged pickle can raise anything at all.
    except Exception as error:
        raise DataError(f"{path}: no batch of CIFAR-10 ({type(error).__name__}: {error})", remedy=_REMEDY) from None
    if images.dtype != np.uint8 or images.shape != (len(labels), _PIXELS) or labels.ndim != 1:
        raise DataError(f"{path}: no batch of CIFAR-10 (images are {images.dtype} {images.shape})", remedy=_REMEDY)
    return images.reshape(-1, 3, 32, 32), labels
