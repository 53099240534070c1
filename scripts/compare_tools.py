"""Write docs/comparison.md: receptive fields and costs of ten networks, computed by cnncli and by other tools.

    pip install torchinfo torchscan calflops fvcore torchvista receptivefield rf-calc attrs graphviz tqdm
    pip install --ignore-requires-python --no-deps rfa-toolbox
    python scripts/compare_tools.py

The last three packages are imported by rfa-toolbox; its declared dependencies would install an old NumPy.

The true receptive field is measured: NaN is put into rows (columns) of the input, and a binary search finds the first
and the last one that reach the center unit of the output. The input is larger than any receptive field.
"""

import collections
import collections.abc
import contextlib
import functools
import importlib
import io
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu
from torch.utils.flop_counter import FlopCounterMode

from cnncli.capture.graph import graph_of_module
from cnncli.inspection.table import LayerTable, inspect_graph

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
SIDE = 512
SHAPE = (3, SIDE, SIDE)
OTHER_SIDE = 96
"""Of the other axis while one is measured."""
COSTS = (3, 224, 224)
"""The input for which costs are counted."""
Size = tuple[int, int]
T = TypeVar("T")


class Block(nn.Module):
    """A residual block and a concatenation, with functional calls."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(8, 8, 5, padding=2)
        self.narrow = nn.Conv2d(8, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 16, H / 4, W / 4)."""
        maps = relu(self.stem(images))
        maps = max_pool2d(maps + self.wide(maps), 3, 2, 1)
        return torch.cat([self.narrow(maps), self.wide(maps)], dim=1)


def _resnet18() -> nn.Module:
    return nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])


def _chain(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "LeNet-5's convolutions": _chain(
        nn.Conv2d(3, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)
    ),
    "AlexNet's features": lambda: torchvision.models.alexnet(weights=None).features,
    "VGG-16's features": lambda: torchvision.models.vgg16(weights=None).features,
    "ResNet-18 without its head": _resnet18,
    "dilation 1, 2, 4": _chain(*(nn.Conv2d(channels, 8, 3, dilation=d) for channels, d in ((3, 1), (8, 2), (8, 4)))),
    "kernel 3x7, stride 1x2": _chain(nn.Conv2d(3, 8, (3, 7), (1, 2)), nn.Conv2d(8, 8, (3, 7), (1, 2))),
    "even kernels": _chain(nn.Conv2d(3, 8, 4, 2, 1), nn.Conv2d(8, 8, 4, 2, 1), nn.Conv2d(8, 8, 2)),
    "transposed convolution": _chain(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
    ),
    "bilinear upsampling": _chain(
        nn.MaxPool2d(4), nn.Conv2d(3, 8, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 8, 3)
    ),
    "residual and concat in functional calls": Block,
}


def measure(module: nn.Module) -> Size:
    """Height and width of the receptive field of the center unit."""

    def reaches(axis: int, first: int, last: int) -> bool:
        images = torch.zeros(1, 3, *((SIDE, OTHER_SIDE) if axis == 2 else (OTHER_SIDE, SIDE)))
        images.narrow(axis, first, last - first).fill_(torch.nan)
        with torch.no_grad():
            maps = module(images)
        return bool(maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].isnan().any())

    def bisect(condition: Callable[[int], bool]) -> int:
        """The smallest number for which the condition is true."""
        low, high = 0, SIDE
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if condition(middle) else (middle + 1, high)
        return low

    def side(axis: int) -> int:
        first = bisect(lambda end: reaches(axis, 0, end + 1))
        last = SIDE - 1 - bisect(lambda left: reaches(axis, SIDE - 1 - left, SIDE))
        return last - first + 1

    return side(2), side(3)


def of_cnncli(module: nn.Module) -> Size:
    """The receptive field of the last row."""
    field = _inspect(module).rows[-1].receptive_field
    assert field is not None
    return field.size[0], field.size[1]


def _inspect(module: nn.Module) -> LayerTable:
    return inspect_graph(graph_of_module(module, SHAPE, "compared"))


def of_receptivefield(module: nn.Module) -> Size:
    """receptivefield, which propagates gradients back from single units."""

    class Wrapped(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            maps: Tensor = module(images)
            self.__dict__["feature_maps"] = [maps]
            return maps

    pytorch = importlib.import_module("receptivefield.pytorch")
    shape = importlib.import_module("receptivefield.types").ImageShape(SIDE, SIDE, 3)
    size = pytorch.PytorchReceptiveField(Wrapped).compute(input_shape=shape)[0].rf.size
    return int(size.h), int(size.w)


def of_rfa(module: nn.Module) -> Size:
    """rfa-toolbox, which reads the TorchScript graph."""
    collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]  # removed in Python 3.10, but imported by it
    ingest: Any = importlib.import_module("rfa_toolbox.encodings.pytorch.ingest_architecture")
    graph = ingest.create_graph_from_model(module, input_res=(1, *SHAPE))
    field = graph.receptive_field_max
    sides = tuple(field) if hasattr(field, "__len__") else (field, field)
    return int(sides[0]), int(sides[1])


def of_rf_calc(module: nn.Module) -> Size:
    """rf-calc, which parses the text of a printed module."""
    with contextlib.redirect_stdout(io.StringIO()):
        table = importlib.import_module("rf_calc").receptive_field(module, SIDE)
    height, width = str(table["Receptive_field"].iloc[-1]).split("*")
    return int(height), int(width)


def of_torchscan(module: nn.Module) -> Size:
    """torchscan, which reports the kernel of each layer."""
    report = importlib.import_module("torchscan").crawl_module(module, SHAPE)
    value = report["layers"][-1]["metrics"]["receptive_field"]["value"]
    if value is None:
        raise ValueError("no receptive field")
    return int(value), int(value)


TOOLS: dict[str, Callable[[nn.Module], Size]] = {
    "cnncli": of_cnncli,
    "receptivefield": of_receptivefield,
    "rfa-toolbox": of_rfa,
    "rf-calc": of_rf_calc,
    "torchscan": of_torchscan,
}


def macs_of_cnncli(module: nn.Module) -> int | None:
    """The total of the table."""
    return inspect_graph(graph_of_module(module, COSTS, "compared")).macs


def macs_of_torchinfo(module: nn.Module) -> int:
    """torchinfo's "mult-adds"."""
    summary = importlib.import_module("torchinfo").summary(module, (1, *COSTS), verbose=0)
    return int(summary.total_mult_adds)


def macs_of_torchscan(module: nn.Module) -> int:
    """torchscan's MACs, which it lists by layer."""
    report = importlib.import_module("torchscan").crawl_module(module, COSTS)
    return sum(int(layer["metrics"].get("macs", {}).get("value") or 0) for layer in report["layers"])


def macs_of_calflops(module: nn.Module) -> int:
    """calflops' MACs."""
    calflops = importlib.import_module("calflops")
    _, macs, _ = calflops.calculate_flops(module, (1, *COSTS), print_results=False, output_as_string=False)
    return int(macs)


def macs_of_fvcore(module: nn.Module) -> int:
    """fvcore's "flops", of which one is a multiply-accumulate."""
    return int(importlib.import_module("fvcore.nn").FlopCountAnalysis(module, torch.zeros(1, *COSTS)).total())


def drawn_by_torchvista(module: nn.Module) -> str:
    """Whether torchvista draws the network."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "graph.html"
        importlib.import_module("torchvista").trace_model(module, torch.zeros(1, *COSTS), export_path=str(path))
        return "drawn" if path.is_file() else "no file"


COUNTERS: dict[str, Callable[[nn.Module], int | None]] = {
    "cnncli": macs_of_cnncli,
    "torchinfo": macs_of_torchinfo,
    "torchscan": macs_of_torchscan,
    "calflops": macs_of_calflops,
    "fvcore": macs_of_fvcore,
}
SECONDS: collections.defaultdict[str, float] = collections.defaultdict(float)
"""Seconds of CPU that each tool took for its values."""


def attempt(tool: str, compute: Callable[[], T]) -> T | str:
    """What a tool computes, or how it fails."""
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return compute()
    except ModuleNotFoundError as error:
        return f"not installed ({error.name})"
    except Exception as error:  # other tools may raise anything
        return f"fails: {type(error).__name__}"
    finally:
        SECONDS[tool] += time.process_time() - start


def cell(tool: str, module: nn.Module, truth: Size) -> str:
    """The receptive field according to a tool as a cell of the table, in bold if it is wrong."""
    size = attempt(tool, lambda: TOOLS[tool](module))
    if isinstance(size, str):
        return size
    return format_size(size) if size == truth else f"**{format_size(size)}**"


def format_size(size: Size) -> str:
    """`16 x 24`."""
    return f"{size[0]} x {size[1]}"


def costs(module: nn.Module) -> list[str]:
    """Parameters, multiply-accumulates according to torch's own counter and to each tool, and torchvista."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *COSTS))
    truth = counter.get_total_flops() // 2
    cells = [f"{sum(each.numel() for each in module.parameters()):,}", f"{truth:,}"]
    for tool, count in COUNTERS.items():
        macs = attempt(f"{tool}, costs", functools.partial(count, module))
        cells.append(f"{macs:,}" if macs == truth else macs if isinstance(macs, str) else f"**{macs:,}**")
    return [*cells, attempt("torchvista", functools.partial(drawn_by_torchvista, module))]


def package_version(name: str) -> str:
    """A package and its version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} (not installed)"


def page() -> str:
    """The text of the page."""
    fields, cost_rows = [], []
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        module = make().eval()
        truth = measure(module)
        fields.append(f"| {name} | {format_size(truth)} | {' | '.join(cell(tool, module, truth) for tool in TOOLS)} |")
        cost_rows.append(f"| {name} | {' | '.join(costs(module))} |")
    names = ("torch", "torchvision", "torchinfo", "calflops", "fvcore", "torchvista", *list(TOOLS)[1:])
    times = " | ".join(f"{SECONDS[tool]:.1f}" for tool in TOOLS)
    of_costs = " | ".join(f"{SECONDS[tool]:.1f}" for tool in [*(f"{each}, costs" for each in COUNTERS), "torchvista"])
    fields.append(f"| CPU seconds, all | | {times} |")
    cost_rows.append(f"| CPU seconds, all | | | {of_costs} |")
    return TEMPLATE.format(
        tools=" | ".join(TOOLS),
        line="|".join(["---"] * (2 + len(TOOLS))),
        counters=" | ".join(COUNTERS),
        cost_line="|".join(["---"] * (4 + len(COUNTERS))),
        fields="\n".join(fields),
        costs="\n".join(cost_rows),
        versions=", ".join(map(package_version, names)),
        python=platform.python_version(),
    )


TEMPLATE = (Path(__file__).parent / "comparison.template.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
