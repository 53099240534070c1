"""mnist-fast (or `--config`) to 99 % of MNIST, compared with PyTorch's MNIST example.

The example is written the way its users write it: torchvision's data set with `ToTensor` and `Normalize` in a
`DataLoader`, batches of 64, Adadelta with a learning rate of 1 multiplied by 0.7 after every epoch. Each round is one
training run with the number of the round as its seed. Measuring the accuracy is not timed.
"""

import struct
import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses
from torch.utils.data import DataLoader

from benchmarks import ours
from benchmarks.measure import Comparison, Contender, Numbers, Settings, Setups, compare, in_processes, until_accurate
from benchmarks.networks import standard
from cnncli.data.load import load_dataset

RECIPE = "mnist-fast"
MOST_EPOCHS = 14
"""As in the example."""


def run(settings: Settings) -> list[Comparison]:
    """Time of an epoch, time to 99 %, and the accuracy when it was reached (for cnncli: at the end)."""
    recipe, target = settings.config or RECIPE, 0.0 if settings.quick else 0.99
    contenders: Setups = {
        recipe: (ours.training_by_seed, (settings, recipe, target)),
        "PyTorch's example": (example_by_seed, (settings, target)),
    }
    with in_processes(contenders, settings) as processes:
        return compare("MNIST", processes, rounds=settings.rounds_or(3), warmup=0)


def example_by_seed(settings: Settings, target: float) -> Contender:
    """Train until the accuracy on the test images is `target`, at most as long as the example does."""
    torch.set_num_threads(settings.threads)

    def training(turn: int) -> Numbers:
        with tempfile.TemporaryDirectory() as folder:
            root = str(write_digits(Path(folder)) if settings.quick else settings.data_dir)
            transform = torchvision.transforms.Compose(
                [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize((0.1307,), (0.3081,))]
            )
            train = torchvision.datasets.MNIST(root, train=True, transform=transform)
            test = torchvision.datasets.MNIST(root, train=False, transform=transform)
        torch.manual_seed(turn)
        loader = DataLoader(train, batch_size=64, shuffle=True)
        model = standard()
        optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)

        def epoch() -> None:
            model.train()
            for images, labels in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images), labels)
                torch.autograd.backward(loss)
                optimizer.step()
            schedule.step()

        return until_accurate(
            target,
            epoch,
            lambda: accuracy_of(model, DataLoader(test, batch_size=1000)),
            most_epochs=1 if settings.quick else MOST_EPOCHS,
        )

    return training


@torch.no_grad()
def accuracy_of(model: torch.nn.Module, loader: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The fraction of images classified correctly."""
    model.eval()
    correct = [model(images).argmax(dim=1) == labels for images, labels in loader]
    return float(torch.cat(correct).float().mean())


def write_digits(root: Path) -> Path:
    """The embedded digits as the files of MNIST, for a quick run."""
    spec = ours.read(Settings(quick=True), "two_convolutions").data
    dataset = load_dataset(spec, data_dir=root)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, images in (("train", dataset.train), ("t10k", dataset.test)):
        for name, numbers in (("images-idx3", images.images.squeeze(1)), ("labels-idx1", images.labels)):
            head = struct.pack(f">I{numbers.ndim}I", 0x800 + numbers.ndim, *numbers.shape)
            (raw / f"{part}-{name}-ubyte").write_bytes(head + numbers.numpy().astype(np.uint8).tobytes())
    return root
