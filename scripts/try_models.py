"""Write docs/models-tried.md: what `cnncli` says of torchvision's classification models, and whether it is so.

    python scripts/try_models.py

Takes about ten minutes on one core.
"""

import time
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
import torchvision
from torchvision import models

from cnncli.capture.graph import graph_of_module, load_graph
from cnncli.capture.verify import verify_module
from cnncli.inspection.table import LayerTable, Row, inspect_graph

PAGE = Path(__file__).parents[1] / "docs" / "models-tried.md"

# Model -> height and width of the input on which every row is checked: 32, or the smallest that the model takes.
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


def inspected(name: str) -> LayerTable:
    """A model at 3x224x224."""
    return inspect_graph(load_graph(f"torchvision:{name}", input_shape=None, kwargs={}))


def last_with_positions(inspection: LayerTable) -> Row | None:
    """The last row that has positions and a field that is narrower than everything."""
    local = [row for row in inspection.rows if row.receptive_field and not row.receptive_field.is_global]
    return local[-1] if local else None


def field(row: Row | None) -> str:
    """Name, size and jump of a row, per axis where they differ."""
    if row is None or row.receptive_field is None:
        return "none"
    of = row.receptive_field
    sizes, jumps = ({*map(str, each or ())} for each in (of.size, of.jump))
    return f"{row.name}: {' x '.join(sorted(sizes))} / {' x '.join(sorted(jumps))}"


def unknown(inspection: LayerTable) -> str:
    """How many rows have no field, and why the first has none."""
    rows = [row for row in inspection.rows if row.receptive_field is None]
    return f"{len(rows)} of {len(inspection.rows)}; {rows[0].unknown}" if rows else "none"


def verdict(name: str, side: int) -> str:
    """Whether every row holds on a small input, and how long it took to find out."""
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None)
    start = time.perf_counter()
    found = verify_module(module, graph_of_module(module, (3, side, side), name))
    seconds = f"{time.perf_counter() - start:.0f} s"
    return f"{len(found)} disagreements: {found[0]}" if found else f"clean ({seconds})"


def page() -> str:
    """The whole page."""
    lines = []
    for name in models.list_models(module=models):
        inspection = inspected(name)
        checked = f"{VERIFIED[name]}: {verdict(name, VERIFIED[name])}" if name in VERIFIED else ""
        lines.append(
            f"| {name} | {len(inspection.rows)} | {inspection.params:,} | {inspection.macs:,} "
            f"| {field(last_with_positions(inspection))} | {unknown(inspection)} | {checked} |"
        )
    return TEMPLATE.format(
        count=len(lines),
        verified=len(VERIFIED),
        lines="\n".join(lines),
        versions=f"torch {version('torch')}, torchvision {version('torchvision')}",
    )


TEMPLATE = """\
# Models tried

Written by `scripts/try_models.py` with {versions}: all {count} classification models of torchvision, as
`cnncli inspect torchvision:NAME` sees them at 3x224x224, and {verified} of them checked row by row as `--verify` does.

- *Local field* is size / jump of the last row whose units do not yet see the whole input: before the global pool, or
  before the first squeeze-and-excite or attention, after which everything is seen.
- *Not known* counts rows without a field, with the reason of the first.
- Attention (ViT, MaxViT behind its squeeze-and-excite gates) sees the whole input. In Swin it works in windows, and the
  window that a shift has cut in two sees pixels at opposite borders: the mask that keeps them apart there adds -100,
  which leaves a trace.
- *Verified* is the side of the input on which shape, parameters and the field of every unit of every row were compared
  with the network itself, by the NaN probe. Parameters that only training uses are left out, and a note says so.
- A row's field is what any channel at a position sees, and what reads it is taken to read all channels. A network that
  joins channels of different fields and takes them apart again unmixed sees less than that; `--verify` says where.

| model | rows | parameters | MACs | local field | not known | verified |
|---|---|---|---|---|---|---|
{lines}
"""


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
