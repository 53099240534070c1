"""Images per second by batch size, width, depth and image size, compared with a bare loop over the same modules.

The images are the embedded digits, enlarged. Both train in `channels_last`; the loop has its images as normalized float
tensors.
"""

import tempfile
from pathlib import Path
from time import perf_counter

import torch
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from benchmarks import ours
from benchmarks.bare import in_memory
from benchmarks.measure import Comparison, Contender, Numbers, Settings, Setups, compare, in_processes
from cnncli.module import seeded_module

DEFAULTS = {"batch_size": 128, "width": 16, "depth": 2, "size": 28}
SWEPT = {
    "batch_size": (32, 128, 512),
    "width": (8, 16, 64),
    "depth": (1, 2, 8),
    "size": (14, 28, 56),
}
CONFIG = """
version: 1
name: scale
data: {{name: digits, size: {size}, validation: 0}}
model:
  defaults: {{conv: {{kernel_size: 3, padding: same, activation: relu}}}}
  layers:
    - repeat: {{times: {depth}, layers: [{{conv: {width}}}]}}
    - global_avg_pool
    - logits
train: {{epochs: 1, batch_size: {batch_size}}}
"""


def run(settings: Settings) -> list[Comparison]:
    """One comparison for each value of each quantity; the others have their defaults."""
    comparisons = []
    for name, values in SWEPT.items():
        for value in values[:1] if settings.quick else values:
            with tempfile.TemporaryDirectory() as folder:
                config = Path(folder) / "scale.yaml"
                config.write_text(CONFIG.format(**{**DEFAULTS, name: value}), encoding="utf-8")
                contenders: Setups = {
                    "cnncli": (speed_of_ours, (settings, str(config))),
                    "bare loop": (speed_of_a_loop, (settings, str(config))),
                }
                with in_processes(contenders, settings) as processes:
                    title = f"{name.replace('_', ' ')} {value}"
                    comparisons += compare(title, processes, rounds=settings.rounds_or(5), warmup=settings.warmup)
    return comparisons


def speed_of_ours(settings: Settings, config: str) -> Contender:
    """Images per second of an epoch."""
    epoch = ours.epoch_after_epoch(settings, config, ())
    images = ours.prepared(settings, config).train.image_count

    def speed(turn: int) -> Numbers:
        return {"images/s": images / epoch(turn)["an epoch, s"]}

    return speed


def speed_of_a_loop(settings: Settings, config: str) -> Contender:
    """Images per second of an epoch."""
    torch.set_num_threads(settings.threads)
    read = ours.read(settings, config)
    data = in_memory(settings, config, memory_format=torch.channels_last)
    model = seeded_module(read.network, 0).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def speed(_: int) -> Numbers:
        began = perf_counter()
        for chosen in torch.split(torch.randperm(len(data.images)), read.train.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(data.images[chosen]), data.labels[chosen]))
            optimizer.step()
        return {"images/s": len(data.images) / (perf_counter() - began)}

    return speed
