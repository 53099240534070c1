"""NaN probes through interpolation with weights of 0: a number times 0 changes nothing, but NaN times 0 is NaN."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional


@contextmanager
def zero_weights_stop_nan() -> Iterator[None]:
    """Inside, `functional.interpolate` passes NaN on where its weight is not 0, as torch itself rounds the weights."""
    interpolate = functional.interpolate

    def with_zeros(maps: Tensor, *args: Any, **options: Any) -> Tensor:
        values = interpolate(maps.nan_to_num(), *args, **options)
        reached = interpolate(maps.isnan().float(), *args, **options) != 0
        return values.masked_fill(reached, torch.nan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "interpolate", with_zeros)
        yield
