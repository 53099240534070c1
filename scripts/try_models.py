"""Write docs/models-tried.md: models of timm and torchvision, inspected, with a sample of their units verified.

    pip install timm torchinfo
    python scripts/try_models.py

It takes about half an hour on one core. `--part N/M` runs a part of the models and writes its lines to `--lines FILE`,
to which other parts append; without `--part`, all lines of that file become the page.
"""

import argparse
import importlib
import json
import signal
import time
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from cnncli.capture.graph import CPU, META, graph_of_module
from cnncli.capture.model import load_model
from cnncli.capture.verify import verify_module
from cnncli.errors import ConfigError
from cnncli.inspection.graph import Graph
from cnncli.inspection.table import LayerTable, inspect_graph

PAGE = Path(__file__).parents[1] / "docs" / "models-tried.md"
TEMPLATE = Path(__file__).parent / "models-tried.template.md"
MOST_MACS = 700_000_000
"""Models that cost more are not run to be verified."""
MOST_SECONDS = 60
"""A model whose verification takes longer is given up."""

# Model -> side of the input for which a slow test verifies every row: 32, or the smallest that the model accepts.
VERIFIED = {
    **dict.fromkeys(["vgg11", "vgg13_bn", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "resnet101"], 32),
    **dict.fromkeys(["wide_resnet50_2", "resnext50_32x4d", "densenet121", "densenet169", "squeezenet1_0"], 32),
    **dict.fromkeys(["squeezenet1_1", "googlenet", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"], 32),
    **dict.fromkeys(["mnasnet0_5", "mnasnet1_0", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0"], 32),
    **dict.fromkeys(["efficientnet_b0", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny"], 32),
    **dict.fromkeys(["swin_t", "swin_v2_t"], 32),
    "alexnet": 64,
    "inception_v3": 75,
}


def targets() -> list[str]:
    """All models of torchvision that take one input, and two of each family of timm: the first and the middle one."""
    timm: Any = importlib.import_module("timm")
    names: list[str] = []
    for family in timm.list_modules():
        members = timm.list_models(module=family)
        names += [f"timm:{members[i]}" for i in sorted({0, len(members) // 2})]
    names += [f"torchvision:{name}" for name in models.list_models() if not name.startswith(("quantized", "raft"))]
    return names


def part_of(target: str) -> str:
    """The part of a model that is inspected: of detection models, which take lists of images, the backbone."""
    name = target.partition(":")[2]
    return (
        "backbone" if target.startswith("torchvision") and name in models.list_models(module=models.detection) else ""
    )


def shape_of(target: str) -> tuple[int, ...] | None:
    """The input of models of videos and of backbones; None: the usual one."""
    name = target.partition(":")[2]
    if target.startswith("torchvision") and name in models.list_models(module=models.video):
        return (3, 16, 224, 224) if name.startswith("mvit") else (3, 16, 112, 112)
    return (3, 224, 224) if part_of(target) else None


def local_field(table: LayerTable) -> str:
    """Size and jump of the last row whose receptive field is not the whole input."""
    local = [field for row in table if (field := row.known_receptive_field) and not field.is_global]
    if not local:
        return "none"
    sizes, jumps = ({*map(str, each or ())} for each in (local[-1].size, local[-1].jump))
    return f"{' x '.join(sorted(sizes))} / {' x '.join(sorted(jumps))}"


def unknown_fields(table: LayerTable) -> str:
    """How many rows have an unknown receptive field, and the first reason."""
    rows = [row for row in table if row.known_receptive_field is None]
    return f"{len(rows)} of {len(table)}; {rows[0].unknown}" if rows else "none"


def model_of(target: str, shape: tuple[int, ...], device: torch.device = META) -> nn.Module:
    """The module that is inspected."""
    return load_model(target, input_shape=shape, kwargs={}, part=part_of(target), device=device).module


def verify(target: str, graph: Graph, table: LayerTable) -> str:
    """The result of probing two positions on each axis, and the time it took."""
    if table.macs is None or table.macs > MOST_MACS:
        return ""
    start = time.process_time()
    torch.manual_seed(0)
    module = model_of(target, graph.input_shape, CPU)
    sample = {size // 3 for size in graph.input_shape[1:]} | {max(graph.input_shape[1:]) - 1}
    mismatches = verify_module(module, graph, sample=sample)
    seconds = f"{time.process_time() - start:.0f} s"
    return f"{len(mismatches)} mismatches: {mismatches[0]}" if mismatches else f"clean ({seconds})"


def torchinfo_seconds(module: nn.Module, shape: tuple[int, ...]) -> str:
    """Seconds of CPU that torchinfo takes for the table of a module, or how it fails."""
    torchinfo: Any = importlib.import_module("torchinfo")
    start = time.process_time()
    try:
        str(torchinfo.summary(module, (1, *shape), verbose=0, device="meta"))
    except Exception as error:  # other tools may raise anything
        return f"fails: {type(error.__cause__ or error).__name__}"
    return f"{time.process_time() - start:.1f}"


def line(target: str) -> dict[str, Any]:
    """What the page says about a model."""
    model = load_model(target, input_shape=shape_of(target), kwargs={}, part=part_of(target))
    start = time.process_time()
    try:
        graph = graph_of_module(model.module, model.input_shape, target)
    except ConfigError:  # it needs the numbers of a mask
        model = replace(model, module=model_of(target, model.input_shape, CPU))
        start = time.process_time()
        graph = graph_of_module(model.module, model.input_shape, target)
    table = inspect_graph(graph)
    str(table)
    seconds = time.process_time() - start
    unused = sum(each.numel() for each in model.module.parameters()) - (table.params or 0)
    result = {
        "target": target,
        "input": "x".join(map(str, graph.input_shape)),
        "rows": len(table),
        "params": f"{table.params:,}" + (f" (and {unused:,} unused)" if unused else ""),
        "macs": "unknown" if table.macs is None else f"{table.macs:,}",
        "local": local_field(table),
        "unknown": unknown_fields(table),
        "seconds": f"{seconds:.1f}",
        "torchinfo": torchinfo_seconds(model.module, graph.input_shape),
    }
    signal.alarm(MOST_SECONDS)
    try:
        result["verified"] = verify(target, graph, table)
    except TimeoutError:
        result["verified"] = ""
    finally:
        signal.alarm(0)
    return result


def page(lines: list[dict[str, Any]]) -> str:
    """The text of the page."""

    def rows(library: str) -> str:
        cells = ("input", "rows", "params", "macs", "local", "unknown", "seconds", "torchinfo", "verified")
        own = [each for each in lines if each["target"].startswith(library)]
        return "\n".join(
            f"| {' | '.join([each['target'].partition(':')[2], *(str(each[cell]) for cell in cells)])} |"
            for each in sorted(own, key=lambda each: str(each["target"]))
        )

    verified = [each for each in lines if each["verified"]]
    timed = [each for each in lines if not each["torchinfo"].startswith("fails")]
    return TEMPLATE.read_text(encoding="utf-8").format(
        count=len(lines),
        timm=sum(each["target"].startswith("timm") for each in lines),
        torchvision=sum(each["target"].startswith("torchvision") for each in lines),
        nulls=sum(each["unknown"] != "none" for each in lines),
        verified=len(verified),
        clean=sum(each["verified"].startswith("clean") for each in verified),
        ours=f"{sum(float(each['seconds']) for each in timed):,.0f}",
        theirs=f"{sum(float(each['torchinfo']) for each in timed):,.0f}",
        timed=len(timed),
        of_torchvision=rows("torchvision"),
        of_timm=rows("timm"),
        versions=", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm", "torchinfo")),
    )


def main() -> None:
    """Run a part of the models, or write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part")
    parser.add_argument("--lines", type=Path, default=Path("models-tried.jsonl"))
    options = parser.parse_args()

    def give_up(_signal: int, _frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    number, count = map(int, (options.part or "0/1").split("/"))
    done = {json.loads(each)["target"] for each in options.lines.open()} if options.lines.exists() else set()
    for target in targets()[number::count]:
        if target not in done and (options.part or not done):
            with options.lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line(target)) + "\n")
    if not options.part:
        PAGE.write_text(page([json.loads(each) for each in options.lines.open()]), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
