"""Write cnncli/data/digits.npz, the embedded data set.

It contains the 1,797 images of the test part of "Optical Recognition of Handwritten Digits", in their original order,
as scikit-learn ships them: `images` uint8 (1797, 8, 8) with gray levels 0 (paper) to 16 (ink), and `labels` uint8
(1797,).

    E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits.
    UCI Machine Learning Repository, 1998. https://doi.org/10.24432/C50P49. CC BY 4.0.

Only this script needs scikit-learn. To write the file again:

    python -m pip install scikit-learn
    python scripts/make_digits.py

The same version of zlib writes the same bytes.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parents[1] / "cnncli" / "data" / "digits.npz"

digits = load_digits()
images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
assert images.shape == (1797, 8, 8)
assert np.array_equal(images, digits.images), "gray levels are not integers"
assert images.max() == 16
np.savez_compressed(TARGET, images=images, labels=labels)
