"""What turns an image into the input of a network. A run stores it with its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnncli.data.batches import Normalization

RESAMPLING = "bilinear, antialiased"
"""How images are resized; see `cnncli.data.images.resize`."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preparation of images, and the meaning of the outputs.

    Attributes:
        input_shape: (C, H, W).
        normalization: of the training images.
        classes: names of the classes, in the order of the logits.
    """

    input_shape: tuple[int, ...]
    normalization: Normalization
    classes: tuple[str, ...]

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
        )
