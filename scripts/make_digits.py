"""Makes cnncli/data/digits.npz, the data set that comes with cnncli.

It holds the 1,797 images of the test part of "Optical Recognition of Handwritten Digits", in their own
order, as scikit-learn ships them: `images` uint8 (1797, 8, 8) with gray levels 0 (paper) to 16 (ink),
and `labels` uint8 (1797,).

    E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits.
    UCI Machine Learning Repository, 1998. https://doi.org/10.24432/C50P49. CC BY 4.0.

scikit-learn is needed here and nowhere else in the project. To make the file again:

    python -m pip install scikit-learn
    python scripts/make_digits.py

The same arrays give the same bytes, up to the version of zlib.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parents[1] / "cnncli" / "data" / "digits.npz"

digits = load_digits()
images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
assert images.shape == (1797, 8, 8)
assert np.array_equal(images, digits.images), "the gray levels are not whole numbers"
assert images.max() == 16
np.savez_compressed(TARGET, images=images, labels=labels)
