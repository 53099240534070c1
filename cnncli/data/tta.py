"""Test-time augmentation: the fixed flips and shifts of an image over which predictions are averaged.

(N, C, H, W): images, channels, height, width.
"""

from dataclasses import dataclass
from itertools import product

from torch import Generator, Tensor

from cnncli.config.augment import AugmentSpec


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An image flipped, then shifted by whole pixels.

    Attributes:
        flip_horizontal, flip_vertical: mirror it left to right, top to bottom.
        right, down: pixels by which it is shifted; negative to the left and up.
        fill: the value of pixels from outside the image; one number, or one for each channel.
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    right: int = 0
    down: int = 0
    fill: tuple[float, ...] = (0.0,)

    @property
    def is_identity(self) -> bool:
        """Whether it is the image itself."""
        return not (self.flip_horizontal or self.flip_vertical or self.right or self.down)

    def __call__(
        self, images: Tensor, generator: Generator, *, batch: int | None = None, part: slice | Tensor = slice(None)
    ) -> Tensor:
        """The variant of each image (N, C, H, W). Nothing is random; see `Transform`."""
        if self.flip_horizontal:
            images = images.flip(3)
        if self.flip_vertical:
            images = images.flip(2)
        return shifted(images, right=self.right, down=self.down, fill=self.fill)

    def __str__(self) -> str:
        flips = {"flipped left to right": self.flip_horizontal, "flipped top to bottom": self.flip_vertical}
        shifts = {
            "right": self.right,
            "left": -self.right,
            "down": self.down,
            "up": -self.down,
        }
        words = [
            *(name for name, flipped in flips.items() if flipped),
            *(f"shifted {name} by {pixels}" for name, pixels in shifts.items() if pixels > 0),
        ]
        return ", ".join(words) or "unchanged"


def shifted(images: Tensor, *, right: int, down: int, fill: tuple[float, ...] = (0.0,)) -> Tensor:
    """Images (N, C, H, W) shifted by whole pixels, negative to the left and up; `fill` comes in from outside."""
    height, width = images.shape[2:]
    result = images.new_tensor(fill).view(1, -1, 1, 1).expand(images.shape).clone()
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    top, left = max(0, down), max(0, right)
    source = images[:, :, max(0, -down) : max(0, -down) + rows, max(0, -right) : max(0, -right) + columns]
    result[:, :, top : top + rows, left : left + columns] = source
    return result


def variants(augment: AugmentSpec) -> list[Variant]:
    """The variants of an image that a training with this augmentation has seen, the image itself first.

    With flips, each image and its mirror image, or all four of `flip: both`. With shifts, each of these and its shifts
    in four directions by half the largest shift of the training, at least one pixel. Only the image itself if the
    training used neither.
    """
    horizontal = (False, True) if augment.flip in ("horizontal", "both") else (False,)
    vertical = (False, True) if augment.flip in ("vertical", "both") else (False,)
    pixels = max(1, round(augment.shift / 2))
    shifts = [(0, 0), *(((-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels)) if augment.shift else ())]
    return [
        Variant(flip_horizontal=mirrored, flip_vertical=inverted, right=right, down=down, fill=augment.fill_values)
        for mirrored, inverted, (right, down) in product(horizontal, vertical, shifts)
    ]
