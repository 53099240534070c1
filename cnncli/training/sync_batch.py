"""Layers that look at a whole batch, where each process has only a part of it.

Batch norm takes its mean and variance over the batch, and dropout draws one mask for it. Both are done here so that a
network computes what one process would compute with the whole batch. `torch.nn.SyncBatchNorm` is for GPUs only, and
there is nothing of the kind for dropout.

The functions are exchanged while the network runs, not the modules: a checkpoint knows nothing of it, and in eval mode
or alone the same network is what it always was.

N: images of this process, C: channels, M: numbers per channel.
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


class WholeBatch(TorchFunctionMode):
    """Inside, training uses the statistics and masks of a batch that is shared by all processes.

    All of them must run the same network at the same time, those with no image too.

    Args:
        share: the part of the batch that this process has.
        images: in the whole batch.
    """

    def __init__(self, share: Shard, images: int) -> None:
        super().__init__()
        self._size = share.size
        self._images = images
        self._part = share.of(images)
        self._instead: dict[object, Callable[..., Tensor | None]] = {
            F.batch_norm: self._batch_norm,
            F.dropout: self._dropout,
            F.dropout2d: self._dropout2d,
        }

    def __torch_function__(  # as torch has it
        self,
        func: Any,  # noqa: ANN401
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Every function of torch comes by here."""
        instead = self._instead.get(func)
        result = None if instead is None else instead(*args, **(kwargs or {}))
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
        """As `F.batch_norm`; None where it does the same."""
        if not training:
            return None
        assert running_mean is not None, "the norms of a config track their statistics"
        assert running_var is not None
        assert weight is not None, "and are affine"
        assert bias is not None
        normed: Tensor
        normed, mean, variance, count = _SharedNorm.apply(maps, weight, bias, eps, self._size)
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * count / (count - 1), momentum)
        return normed

    def _dropout(self, maps: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
        """As `F.dropout`; None where it does the same."""
        return self._masked(maps, maps.shape[1:], p) if training and 0 < p < 1 else None

    def _dropout2d(self, maps: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
        """As `F.dropout2d`, which drops whole channels; None where it does the same."""
        return self._masked(maps, (maps.shape[1], 1, 1), p) if training and 0 < p < 1 else None

    def _masked(self, maps: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        """Maps (N, ...) times this part's factors of a mask for the whole batch.

        It is drawn as torch draws it on the CPU, so that it is the mask of one process, bit for bit.
        """
        last = maps.dim() == 4 and maps.is_contiguous(memory_format=torch.channels_last)
        mask = torch.empty(
            (self._images, *shape),
            dtype=maps.dtype,
            device=maps.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        return maps * mask.bernoulli_(1 - p).div_(1 - p)[self._part]


class _SharedNorm(torch.autograd.Function):
    """Batch norm whose mean and variance are those of all processes' numbers.

    Ioffe and Szegedy, "Batch Normalization", 2015, section 3; the means in the gradient are taken over all processes
    as well. The moments are put together as by Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979, which loses no digits where a mean is large.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normed maps (N, C, ...); then mean, variance and count of all numbers of a channel, each (C,)."""
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
        normed = torch.addcmul(_per_channel(bias, maps), standard, _per_channel(weight, maps))
        return normed.to(maps.dtype), mean, variance, count

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  torch's class does not know what it holds
        gradient: Tensor,
        *_: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of maps, weight and bias; the latter two of this process's part only, which are averaged later."""
        standard, weight, scale, count = ctx.saved_tensors
        given = gradient.float()
        dims = _all_but_channels(gradient)
        sums = torch.stack((given.sum(dim=dims), (given * standard).sum(dim=dims)))  # (2, C)
        overall = sums.clone()
        dist.all_reduce(overall)
        mean, along = overall / count
        centered = given - _per_channel(mean, given) - standard * _per_channel(along, given)
        maps = (centered * _per_channel(weight * scale, given)).to(gradient.dtype)
        return maps, sums[1], sums[0], None, None


def _all_but_channels(maps: Tensor) -> list[int]:
    return [dim for dim in range(maps.dim()) if dim != 1]


def _per_channel(numbers: Tensor, maps: Tensor) -> Tensor:
    """(C,) as it lies beside maps (N, C, ...)."""
    return numbers.view(1, -1, *(1,) * (maps.dim() - 2))
