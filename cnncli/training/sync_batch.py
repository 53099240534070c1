"""Batch norm and dropout over a whole batch of which each process has a shard.

Batch norm takes mean and variance over the batch, and dropout draws one mask for it. Here both give the same result as
one process with the whole batch. `torch.nn.SyncBatchNorm` works on GPUs only, and torch has no equivalent for dropout.
Functions are replaced while the network runs, not modules: checkpoints, evaluation mode and training in one process are
not affected.

N: images of this process, C: channels.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses
from torch.overrides import TorchFunctionMode

from cnncli.data.batches import Shard


class SyncBatch(TorchFunctionMode):
    """Inside, layers in training mode use the statistics and masks of the whole batch.

    All processes must run the same network at the same time, also one whose shard is empty.

    Args:
        shard: the part of the batch that this process has.
        images: in the whole batch.
    """

    def __init__(self, shard: Shard, images: int) -> None:
        super().__init__()
        self._size = shard.size
        self._images = images
        self._part = shard.of(images)
        self._replacements: dict[object, Callable[..., Tensor | None]] = {
            F.batch_norm: self._batch_norm,
            F.dropout: self._dropout,
            F.dropout2d: self._dropout2d,
        }

    def __torch_function__(  # the signature that torch calls
        self,
        func: Any,  # noqa: ANN401
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Called for every torch function; a replacement that returns None leaves the call as it is."""
        replacement = self._replacements.get(func)
        result = None if replacement is None else replacement(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if result is None else result

    def _batch_norm(
        self,
        maps: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor | None:
        if not training:
            return None
        assert running_mean is not None, "batch norms of a config track running statistics"
        assert running_var is not None
        assert weight is not None, "and are affine"
        assert bias is not None
        normalized: Tensor
        normalized, mean, variance, count = _SyncBatchNorm.apply(maps, weight, bias, eps, self._size)
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * count / (count - 1), momentum)
        return normalized

    def _dropout(self, maps: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
        return self._masked(maps, maps.shape[1:], p) if training and 0 < p < 1 else None

    def _dropout2d(self, maps: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
        return self._masked(maps, (maps.shape[1], 1, 1), p) if training and 0 < p < 1 else None

    def _masked(self, maps: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Maps (N, ...) times the rows of this shard of a mask (batch, *shape).

        It is drawn as torch draws it on the CPU, so it is the mask of a single process, bit for bit.
        """
        last = maps.dim() == 4 and maps.is_contiguous(memory_format=torch.channels_last)
        mask = torch.empty(
            (self._images, *shape),
            dtype=maps.dtype,
            device=maps.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        return maps * mask.bernoulli_(1 - p).div_(1 - p)[self._part]


class _SyncBatchNorm(torch.autograd.Function):
    """Batch norm with the mean and variance over all processes.

    Ioffe and Szegedy, "Batch Normalization", 2015, section 3; the means in its gradient are taken over all processes as
    well. Moments are combined as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances", 1979, which stays accurate where a mean is large.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalized maps (N, C, ...); mean, variance and count of each channel over all processes, each (C,)."""
        numbers = maps.float()
        moments = numbers.new_zeros(3, maps.shape[1])
        if len(maps):
            variance, mean = torch.var_mean(numbers, dim=_all_but_channels(maps), correction=0)
            moments = torch.stack((mean, variance, torch.full_like(mean, maps.numel() // maps.shape[1])))
        gathered = [torch.empty_like(moments) for _ in range(size)]
        dist.all_gather(gathered, moments)
        means, variances, counts = torch.stack(gathered).unbind(dim=1)  # (size, C) each
        count = counts.sum(dim=0)
        mean = (means * counts).sum(dim=0) / count
        variance = ((variances + (means - mean) ** 2) * counts).sum(dim=0) / count
        scale = (variance + eps).rsqrt()
        standard = (numbers - _per_channel(mean, maps)) * _per_channel(scale, maps)
        ctx.save_for_backward(standard, weight, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        normalized = torch.addcmul(_per_channel(bias, maps), standard, _per_channel(weight, maps))
        return normalized.to(maps.dtype), mean, variance, count

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  torch's class does not declare `saved_tensors`
        gradient: Tensor,
        *_: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of maps, weight and bias; those of weight and bias are averaged over processes later."""
        standard, weight, scale, count = ctx.saved_tensors
        gradients = gradient.float()
        dims = _all_but_channels(gradient)
        sums = torch.stack((gradients.sum(dim=dims), (gradients * standard).sum(dim=dims)))  # (2, C)
        total = sums.clone()
        dist.all_reduce(total)
        mean, along = total / count
        centered = gradients - _per_channel(mean, gradients) - standard * _per_channel(along, gradients)
        maps = (centered * _per_channel(weight * scale, gradients)).to(gradient.dtype)
        return maps, sums[1], sums[0], None, None


def _all_but_channels(maps: Tensor) -> list[int]:
    return [dim for dim in range(maps.dim()) if dim != 1]


def _per_channel(numbers: Tensor, maps: Tensor) -> Tensor:
    """(C,) in a shape that broadcasts over maps (N, C, ...)."""
    return numbers.view(1, -1, *(1,) * (maps.dim() - 2))
