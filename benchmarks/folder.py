"""A folder of images: pixels mapped from a file, held in memory, and decoded in every epoch by a DataLoader.

4,000 JPEG images of 96x96 in ten classes, and a network whose epoch takes about as long as decoding them. Each round
starts with the folder: before the first step, the images are listed, and then decoded or found in a file that is no
longer in the page cache. Then two epochs are trained. Memory is the peak of anonymous memory of the process and all its
children. Pages of the mapped file are not counted, because the system reclaims them when needed. torchvision's
`ImageFolder` with a `DataLoader` with two workers is written the way its users write it. The benchmark takes about
three minutes on two idle cores.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses
from torch.utils.data import DataLoader

from benchmarks.measure import Comparison, Contender, Numbers, Settings, Setups, compare, in_processes
from benchmarks.ours import epochs_of, live_display
from cnncli.config.config import Config, read_config
from cnncli.data import image_files
from cnncli.data.image_cache import FOLDER
from cnncli.experiment.setup import prepare
from cnncli.module import seeded_module

BATCH = 128
CONFIG = """
name: folder
data: {name: image-folder, path: pictures, size: 96, validation: 0, test: 10}
model:
  defaults: {conv: {kernel_size: 3, padding: same, stride: 2, activation: relu}}
  layers: [{conv: 8}, {conv: 16}, {conv: 32}, global_avg_pool, logits]
train: {epochs: 2, optimizer: adamw}
"""
Mode = Literal["first", "cached", "memory"]


@dataclass(frozen=True)
class Scene:
    """A folder `pictures` of so many images of `side` x `side`, in `root`."""

    root: Path
    images: int
    side: int

    @property
    def pictures(self) -> Path:
        """The folder of class folders."""
        return self.root / "pictures"

    def config(self, data_dir: Path) -> Config:
        """The config that trains on them."""
        path = self.root / "folder.yaml"
        path.write_text(CONFIG, encoding="utf-8")
        own = (f"data.path={self.pictures}", f"data.size={self.side}", f"train.batch_size={BATCH}")
        return read_config(str(path), data_dir=data_dir, assignments=own)


def run(settings: Settings) -> list[Comparison]:
    """The aim is a second epoch as fast as with images in memory."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), *((60, 12) if settings.quick else (4_000, 96)))
        write_pictures(scene)
        contenders: Setups = {
            "cnncli, pixels in a file": (ours, (settings, scene, "cached")),
            "cnncli, first run": (ours, (settings, scene, "first")),
            "cnncli, pixels in memory": (ours, (settings, scene, "memory")),
            "ImageFolder and DataLoader": (theirs, (settings, scene)),
        }
        with in_processes(contenders, settings) as processes:
            title = f"{scene.images:,} images of {scene.side}x{scene.side}"
            return compare(title, processes, rounds=settings.rounds_or(3), warmup=settings.warmup)


def write_pictures(scene: Scene) -> None:
    """Smooth colors, which JPEG compresses about as well as photographs."""
    numbers = np.random.default_rng(0)
    for number in range(scene.images):
        path = scene.pictures / f"class{number % 10}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colors = Image.fromarray(numbers.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        colors.resize((scene.side, scene.side), Image.Resampling.BICUBIC).save(path, quality=90)


def ours(settings: Settings, scene: Scene, mode: Mode) -> Contender:
    """The training of `cnncli train`, without a run directory."""
    torch.set_num_threads(settings.threads)
    data_dir = scene.root / mode  # each contender has its own cache
    config = scene.config(data_dir)

    def two_epochs(_: int) -> Numbers:
        if mode == "first":
            shutil.rmtree(data_dir / FOLDER, ignore_errors=True)
        drop_from_page_cache(data_dir / FOLDER)
        with (
            memory_watched() as memory,
            patch.object(image_files, "_MAX_IN_MEMORY", sys.maxsize * (mode == "memory")),
        ):
            started = perf_counter()
            experiment = prepare(config, data_dir=data_dir, device=torch.device("cpu"))
            seconds = [perf_counter() - started]
            with live_display() as display:
                for _epoch in epochs_of(experiment, display, epochs=2):
                    seconds.append(perf_counter() - started)
        return numbers_of(seconds, memory)

    if mode == "cached":
        with patch.object(image_files, "_MAX_IN_MEMORY", 0):
            prepare(config, data_dir=data_dir, device=torch.device("cpu"))
    return two_epochs


def theirs(settings: Settings, scene: Scene) -> Contender:
    """The same network and optimizer in plain torch and torchvision."""
    torch.set_num_threads(settings.threads)
    network = scene.config(scene.root).network

    def two_epochs(_: int) -> Numbers:
        with memory_watched() as memory:
            started = perf_counter()
            transform = torchvision.transforms.Compose(
                [
                    torchvision.transforms.Resize((scene.side, scene.side)),
                    torchvision.transforms.ToTensor(),
                    torchvision.transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
                ]
            )
            images = torchvision.datasets.ImageFolder(str(scene.pictures), transform)
            loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=0 if settings.quick else 2)
            model = seeded_module(network, 0)
            optimizer = torch.optim.AdamW(model.parameters())
            seconds = [perf_counter() - started]
            for _ in range(2):
                for batch, labels in loader:
                    optimizer.zero_grad()
                    torch.autograd.backward(F.cross_entropy(model(batch), labels))
                    optimizer.step()
                seconds.append(perf_counter() - started)
        return numbers_of(seconds, memory)

    return two_epochs


def numbers_of(seconds: list[float], memory: list[int]) -> Numbers:
    """The numbers of a round, from the times at which setup and two epochs ended and samples of the memory."""
    ready, first, second = seconds
    return {
        "until the first step, s": ready,
        "first epoch, s": first - ready,
        "second epoch, s": second - first,
        "peak memory, MiB": max(memory) / 2**20,
    }


def drop_from_page_cache(folder: Path) -> None:
    """Make the next reads of the files in a folder come from the disk."""
    for path in folder.glob("*") if sys.platform == "linux" else ():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@contextmanager
def memory_watched() -> Iterator[list[int]]:
    """Samples of `anonymous_memory`, a few times a second."""
    samples = [anonymous_memory()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            samples.append(anonymous_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(anonymous_memory())


def anonymous_memory() -> int:
    """Bytes of this process and its descendants that belong to no file; shared pages are counted once."""
    total = 0
    for process in family(os.getpid()):
        with suppress(OSError):  # it has exited, or this is not Linux
            lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))
    return total


def family(process: int) -> Iterator[int]:
    """A process and its descendants."""
    yield process
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):  # the thread has exited
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield from family(int(child))
