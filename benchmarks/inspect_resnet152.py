"""`cnncli.torch_graph` and torchinfo on ResNet-152 at 3x224x224, in one process, by turns; imports do not count.

    pip install torchinfo
    python benchmarks/inspect_resnet152.py

Each of both begins with a module that is there already (torchinfo cannot begin without), and `cnncli` also with its
name alone, as `cnncli inspect torchvision:resnet152` does. The first round warms up and does not count.

Measured on two cores of an AMD EPYC with OMP_NUM_THREADS=1, Python 3.11.7, torch 2.15.0, torchinfo 1.8.0, medians of 7
rounds: torchinfo 0.34 s, cnncli 0.12 s with the same module and 0.23 s with the name.
"""

import importlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
import torchvision

from cnncli.analysis.rows import inspect_graph
from cnncli.torch_graph.capture import graph_of_module, load_graph

ROUNDS = 7
SHAPE = (3, 224, 224)


def main() -> None:
    """Print a Markdown table of medians, and of the fastest and slowest rounds."""
    torchinfo = importlib.import_module("torchinfo")
    module = torchvision.models.resnet152(weights=None).eval()
    contenders: dict[str, Callable[[], object]] = {
        "torchinfo.summary of a module": lambda: torchinfo.summary(module, (1, *SHAPE), verbose=0),
        "cnncli, rows of the same module": lambda: inspect_graph(graph_of_module(module, SHAPE, "resnet152")),
        "cnncli, rows of torchvision:resnet152": lambda: inspect_graph(
            load_graph("torchvision:resnet152", input_shape=SHAPE, kwargs={})
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 + ROUNDS):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, ")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, torchinfo {version('torchinfo')}, ")
    print(f"{ROUNDS} rounds after one to warm up\n")
    print("| | median | fastest | slowest |\n|---|---|---|---|")
    for name, times in seconds.items():
        counted = times[1:]
        print(f"| {name} | {statistics.median(counted):.2f} s | {min(counted):.2f} s | {max(counted):.2f} s |")


if __name__ == "__main__":
    main()
