"""`cnncli.capture` and torchinfo on ResNet-152 at 3x224x224, in one process, without imports.

    pip install torchinfo
    python -m benchmarks inspect_resnet152

Both start from an existing module (torchinfo requires one), and `cnncli` also from the name of the model, as
`cnncli inspect torchvision:resnet152` does.
"""

import importlib
from collections.abc import Callable
from time import perf_counter

import torch
import torchvision

from benchmarks.measure import Comparison, Contender, Missing, Numbers, Settings, compare
from cnncli.capture.graph import graph_of_module
from cnncli.capture.model import load_graph
from cnncli.inspection.table import inspect_graph

SHAPE = (3, 224, 224)


def run(settings: Settings) -> list[Comparison]:
    """Raises Missing without torchinfo, except in a quick run, which omits it."""
    torch.set_num_threads(settings.threads)
    module = torchvision.models.resnet152(weights=None).eval()
    contenders: dict[str, Callable[[], object]] = {
        "cnncli, rows of a module": lambda: inspect_graph(graph_of_module(module, SHAPE, "resnet152")),
        "cnncli, rows of torchvision:resnet152": lambda: inspect_graph(
            load_graph("torchvision:resnet152", input_shape=SHAPE, kwargs={})
        ),
    }
    try:
        torchinfo = importlib.import_module("torchinfo")
    except ModuleNotFoundError:
        if not settings.quick:
            raise Missing("torchinfo") from None
    else:
        contenders["torchinfo.summary of a module"] = lambda: torchinfo.summary(module, (1, *SHAPE), verbose=0)
    return compare(
        "ResNet-152",
        {name: _timed(run) for name, run in contenders.items()},
        rounds=settings.rounds_or(7),
        warmup=settings.warmup,
    )


def _timed(run: Callable[[], object]) -> Contender:
    def contender(_: int) -> Numbers:
        started = perf_counter()
        run()
        return {"wall time, s": perf_counter() - started}

    return contender
