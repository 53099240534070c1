"""Batch norm and dropout over the shards of a batch, compared with torch's own over the whole batch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.data.batches import Shard
from cnncli.layers.modules import DropImages
from cnncli.training.sync_batch import SyncBatch

ONE, TWO = Shard(), (Shard(0, 2), Shard(1, 2))


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[None]:
    """A group of one process; `tests/cli/test_distributed.py` has two."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)) * 2 + 100


@pytest.mark.parametrize("maps", [random(6, 3, 4, 5), random(6, 3)], ids=["maps", "vectors"])
def test_batch_norm(maps: Tensor, connected: None) -> None:
    ours, theirs = (nn.BatchNorm2d(3) if maps.dim() == 4 else nn.BatchNorm1d(3) for _ in range(2))
    results = []
    for norm in (ours, theirs):
        nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(0))
        inputs = maps.clone().requires_grad_()
        if norm is ours:
            with SyncBatch(ONE, len(maps)):
                normed = norm(inputs)
        else:
            normed = norm(inputs)
        torch.autograd.backward((normed**3).sum())
        results.append([normed, inputs.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_batch_norm_in_bfloat16_has_float32_statistics(connected: None) -> None:
    maps = random(32, 3, 4, 4)
    ours, theirs = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    with SyncBatch(ONE, 32):
        normed = ours(maps.bfloat16())
    assert normed.dtype == torch.bfloat16
    torch.testing.assert_close(normed.float(), theirs(maps.bfloat16().float()), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)


def test_evaluation_mode_needs_no_group() -> None:
    norm, drop, maps = nn.BatchNorm2d(3).eval(), nn.Dropout(0.5).eval(), random(2, 3, 4, 4)
    with SyncBatch(ONE, 2):
        assert torch.equal(norm(maps), F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias))
        assert torch.equal(drop(maps), maps)


@pytest.mark.parametrize("images", [1, 2, 7])
@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.3), nn.Dropout2d(0.3), nn.Dropout(0.0), nn.Dropout(1.0), DropImages(0.3)],
    ids=["some", "2d", "none", "all", "images"],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_uses_the_mask_of_the_whole_batch(
    images: int, layer: nn.Module, memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    """Bit for bit, and the generator has the same state afterwards."""
    maps = random(images, 5, 6, 4).to(dtype).contiguous(memory_format=memory_format)
    torch.manual_seed(1)
    expected, after = layer(maps), torch.get_rng_state()
    parts = []
    for shard in TWO:
        torch.manual_seed(1)
        with SyncBatch(shard, images):
            parts.append(layer(maps[shard.of(images)]))
        assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(torch.cat(parts), expected)


def test_dropout_of_vectors() -> None:
    vectors = random(9, 31)
    torch.manual_seed(1)
    expected = F.dropout(vectors, 0.5)
    parts = []
    for shard in TWO:
        torch.manual_seed(1)
        with SyncBatch(shard, 9):
            parts.append(F.dropout(vectors[shard.of(9)], 0.5))
    assert torch.equal(torch.cat(parts), expected)
