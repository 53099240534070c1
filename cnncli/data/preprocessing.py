"""What turns an image into the input of a network. A run stores it with its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnncli.data.batches import Normalization
from cnncli.data.images import PixelRange

RESAMPLING = "bilinear, antialiased"
"""How images are resized; see `cnncli.data.images.resize`."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preparation of images, and the meaning of the outputs.

    Attributes:
        input_shape: (C, H, W).
        normalization: of the training images.
        classes: names of the classes, in the order of the logits.
        range: the values that become black and white, of pixels of more than 8 bits; None if the data set has none.
    """

    input_shape: tuple[int, ...]
    normalization: Normalization
    classes: tuple[str, ...]
    range: PixelRange | None = None

    def as_record(self) -> dict[str, Any]:
        """As JSON stores it; numbers are float64 and keep all digits."""
        channels, height, width = self.input_shape
        return {
            "channels": channels,
            "size": [height, width],
            "resampling": RESAMPLING,
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
            "classes": list(self.classes),
            "range": None if self.range is None else list(self.range),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `as_record`.

        Raises:
            KeyError, TypeError, ValueError: it is not such a record.
        """
        height, width = map(int, record["size"])
        mean, std = (tuple(map(float, record[name])) for name in ("mean", "std"))
        return cls(
            input_shape=(int(record["channels"]), height, width),
            normalization=Normalization(mean=mean, std=std),
            classes=tuple(map(str, record["classes"])),
            range=None if (found := record.get("range")) is None else (float(found[0]), float(found[1])),
        )
