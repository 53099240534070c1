"""The embedded data set: 1,797 handwritten digits of 8x8 pixels, which need no files and no network.

They are the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI, CC BY 4.0). Here every
fifth image is for testing, so the same writers appear in both splits; digits by new writers would be harder.
"""

import hashlib
import io
from importlib.resources import files

import numpy as np
import torch

from cnncli.config.datasets import known_dataset
from cnncli.data.images import Dataset, ImageSet
from cnncli.errors import DataError

_FILE = "digits.npz"
_TEST_EVERY = 5
_WHITE = 16
"""The largest of the 17 gray levels."""


def load_digits() -> Dataset:
    """The 1,438 training and 359 test images, uint8 (N, 1, 8, 8), their 17 gray levels scaled to 0..255.

    Raises:
        DataError: the file in the package is missing or damaged.
    """
    facts = known_dataset("digits")
    try:
        content = files("cnncli.data").joinpath(_FILE).read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            levels, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"digits: the embedded file {_FILE} cannot be read ({error})", remedy="reinstall cnncli"
        ) from None
    gray = ((levels.to(torch.int32) * 255 + _WHITE // 2) // _WHITE).to(torch.uint8)
    images, classes = gray.unsqueeze(1), labels.to(torch.int64)  # (N, 1, 8, 8), (N,)
    is_test = torch.arange(len(images)) % _TEST_EVERY == _TEST_EVERY - 1
    train = ImageSet(images=images[~is_test], labels=classes[~is_test])
    test = ImageSet(images=images[is_test], labels=classes[is_test])
    assert (len(train), len(test)) == facts.counts
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Dataset(name="digits", classes=facts.classes, train=train, test=test, files={_FILE: f"md5:{checksum}"})
