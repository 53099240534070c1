"""Peak memory of a training run, compared with the minimum.

The minimum is a process that imports torch, reads the images as bytes and trains on batches of them in a loop of a few
lines. Each contender runs in its own process; the system reports its peak resident size.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Comparison, Contender, Numbers, Settings, compare

NETWORK = "two_convolutions"
STEPS = 20
BARE = f"""
import sys, pathlib, numpy, torch
from torch.nn import functional as F
from benchmarks.networks import {NETWORK}

torch.set_num_threads(int(sys.argv[2]))
folder = pathlib.Path(sys.argv[1])
if folder.is_dir():
    files = sorted(folder.glob("*-images-idx3-ubyte"))
    test, images = (torch.from_numpy(numpy.fromfile(f, numpy.uint8, offset=16)).view(-1, 1, 28, 28) for f in files)
else:
    images = torch.zeros(1000, 1, 28, 28, dtype=torch.uint8)
labels = torch.zeros(len(images), dtype=torch.int64)
model = {NETWORK}().to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
order = torch.randperm(len(images))
for chosen in order.split(256)[:{STEPS}]:
    optimizer.zero_grad()
    batch = images[chosen].float().div_(255).contiguous(memory_format=torch.channels_last)
    torch.autograd.backward(F.cross_entropy(model(batch), labels[chosen]))
    optimizer.step()
"""


def run(settings: Settings) -> list[Comparison]:
    """The goal is at most 1.25 times."""
    raw = settings.data_dir / "MNIST" / "raw"
    config = Path(__file__).with_name(f"{NETWORK}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        sets = [f"data.name={'digits' if settings.quick else 'mnist'}", "log.images=0", "log.graph=false"]
        train = ["train", str(config), "--threads", str(settings.threads), "--out", folder]
        train += ["--data-dir", str(settings.data_dir.resolve()), *(word for each in sets for word in ("--set", each))]
        absent = Path(folder, "none")
        contenders = {
            "cnncli train": peak(["-m", "benchmarks.memory", *train]),
            "minimum": peak(["-c", BARE, str(absent if settings.quick else raw), str(settings.threads)]),
            "import torch": peak(["-c", "import torch"]),
        }
        return compare("peak memory", contenders, rounds=settings.rounds_or(3), warmup=0)


def peak(words: list[str]) -> Contender:
    """The peak resident size of a command run by this Python."""

    def measure(_: int) -> Numbers:
        process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        unit = 1 if sys.platform == "darwin" else 1024
        return {"resident, MiB": usage.ru_maxrss * unit / 2**20}

    return measure


def train_some_steps() -> None:
    """Run `cnncli` with the arguments of this process until a training run has taken some steps."""
    from cnncli.__main__ import main
    from cnncli.training.progress import Progress

    write = Progress.write

    def counted(progress: Progress, step: int, *others: object) -> None:
        write(progress, step, *others)  # type: ignore[arg-type]  # passed on unchanged
        if step >= STEPS:
            sys.exit(0)

    Progress.write = counted  # type: ignore[method-assign, assignment]  # it is called after every step
    main()


if __name__ == "__main__":
    train_some_steps()
