"""Training loops as people write them by hand."""

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from benchmarks.measure import Contender, Numbers, Settings
from benchmarks.networks import NETWORKS, two_convolutions
from benchmarks.ours import read
from cnncli.data.load import load_dataset


@dataclass(frozen=True)
class InMemory:
    """A data set as normalized float tensors: images (N, C, H, W) and labels (N,) for training and test."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def in_memory(settings: Settings, config: str, *assignments: str, memory_format: torch.memory_format) -> InMemory:
    """The data set of a config."""
    spec = read(settings, config, *assignments).data
    dataset = load_dataset(spec, data_dir=settings.data_dir)
    images = dataset.train.images.float().div_(255)
    mean, std = images.mean(), images.std()
    test = dataset.test.images.float().div_(255)
    return InMemory(
        images.sub_(mean).div_(std).contiguous(memory_format=memory_format),
        dataset.train.labels,
        test.sub_(mean).div_(std).contiguous(memory_format=memory_format),
        dataset.test.labels,
    )


def format_of(channels_last: bool) -> torch.memory_format:
    """The layout of images and weights."""
    return torch.channels_last if channels_last else torch.contiguous_format


def epoch_after_epoch(settings: Settings, network: str, channels_last: bool) -> Contender:
    """The wall time of the next epoch, with the optimizer and the batch size of the config of that name."""
    torch.set_num_threads(settings.threads)
    layout = format_of(channels_last)
    data = in_memory(settings, network, memory_format=layout)
    batch_size = read(settings, network).train.batch_size
    model = NETWORKS[network]().to(memory_format=layout)
    types = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = types[read(settings, network).train.optimizer.type](model.parameters(), lr=1e-3, fused=True)

    def epoch(_: int) -> Numbers:
        model.train()
        began = perf_counter()
        for chosen in torch.split(torch.randperm(len(data.images)), batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data.images[chosen]), data.labels[chosen])
            torch.autograd.backward(loss)
            optimizer.step()
        return {"an epoch, s": perf_counter() - began}

    return epoch


def one_cycle_by_seed(settings: Settings, channels_last: bool, target: float) -> Contender:
    """The tuned plain loop: one epoch of one-cycle Adam in batches of 256, with the round as its seed."""
    torch.set_num_threads(settings.threads)
    layout = format_of(channels_last)
    data = in_memory(settings, "two_convolutions", memory_format=layout)
    steps = -(-len(data.images) // 256)

    def training(turn: int) -> Numbers:
        torch.manual_seed(turn)
        model = two_convolutions().to(memory_format=layout)
        optimizer = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
        model.train()
        began = perf_counter()
        for chosen in torch.split(torch.randperm(len(data.images)), 256):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data.images[chosen]), data.labels[chosen])
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        spent = perf_counter() - began
        accuracy = accuracy_of(model, data)
        return {
            "an epoch, s": spent,
            f"to {target:.1%} of the test images, s": spent if accuracy >= target else float("inf"),
            "accuracy at the end, %": 100 * accuracy,
        }

    return training


@torch.no_grad()
def accuracy_of(model: nn.Module, data: InMemory) -> float:
    """On the test images."""
    model.eval()
    parts = zip(torch.split(data.test_images, 200), torch.split(data.test_labels, 200), strict=True)
    return sum(int((model(images).argmax(dim=1) == labels).sum()) for images, labels in parts) / len(data.test_labels)
