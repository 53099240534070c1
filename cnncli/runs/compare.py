"""Several runs side by side: what differs in their configs, results and costs, and how far their weights have moved.

Letters: R runs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.drawing.chart import Chart, Curve
from cnncli.drawing.curves import SCALE, draw_curves
from cnncli.drawing.image import png
from cnncli.errors import RunError, UsageError
from cnncli.files import atomic_write
from cnncli.layers import LAYER_CHOICES
from cnncli.module import CnnModule, seeded_module
from cnncli.runs.details import RunDetails, read_details
from cnncli.runs.summary import number_at
from cnncli.training.checkpoint import load_weights
from cnncli.training.run_directory import RunDirectory
from cnncli.training.weight_history import WeightHistory

MARKS = ascii_uppercase
"""The letters that stand for the runs."""


@dataclass(frozen=True)
class Setting:
    """A setting that is not the same in all runs.

    Attributes:
        path: keys and list positions, as in `--set`.
        values: mark of a run -> its value; runs without the setting are left out.
    """

    path: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LayerDistances:
    """How far the weights of a layer are apart: the L2 norm of a difference, relative to that of the first operand.

    All parameters of the layer are one vector. None where a layer or a run is missing, or shapes differ.

    Attributes:
        layer: its name.
        moved: (R,), from the initial to the best weights of each run.
        apart: (R,), from the best weights of the first run to those of each run.
    """

    layer: str
    moved: tuple[float | None, ...]
    apart: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        runs: their details, in the given order.
        settings: those that differ.
        layers: of all networks.
        problems: why weights could not be compared.
    """

    runs: tuple[RunDetails, ...]
    settings: tuple[Setting, ...]
    layers: tuple[LayerDistances, ...]
    problems: tuple[str, ...]

    @property
    def marks(self) -> str:
        """The letter of each run."""
        return MARKS[: len(self.runs)]

    def charts(self) -> list[Chart]:
        """Accuracy and loss of every run by epoch, in validation or, for runs without it, in training."""
        charts = []
        for key in ("accuracy", "loss"):
            curves = tuple(_curve(mark, details, key) for mark, details in zip(self.marks, self.runs, strict=True))
            if any(value is not None for curve in curves for value in curve.values):
                charts.append(Chart(title=f"validation {key}", curves=curves, percent=key == "accuracy"))
        return charts

    def as_record(self) -> dict[str, Any]:
        """The object of `cnncli runs compare --json`."""
        return {
            "runs": [
                {
                    "mark": mark,
                    "name": details.summary.name,
                    "path": str(details.summary.path),
                    "status": details.summary.status,
                    "epochs": details.summary.epochs,
                    "seconds": details.summary.seconds,
                    "results": details.results,
                    "accuracy_interval": details.accuracy_interval and list(details.accuracy_interval),
                    "costs": details.costs,
                }
                for mark, details in zip(self.marks, self.runs, strict=True)
            ],
            "settings": [{"path": setting.path, "values": dict(setting.values)} for setting in self.settings],
            "layers": [
                {"layer": each.layer, "moved": list(each.moved), "apart": list(each.apart)} for each in self.layers
            ],
            "problems": list(self.problems),
        }


def compare_runs(paths: Sequence[Path], *, data_dir: Path) -> Comparison:
    """Compare runs.

    Args:
        paths: two run directories or more.
        data_dir: the folder with the data sets, in which an image folder is looked up for its classes.

    Raises:
        UsageError: there are fewer than two runs, or more than letters.
        RunError: a path is not a run directory.
    """
    if not 2 <= len(paths) <= len(MARKS):
        raise UsageError(f"runs compare takes 2 to {len(MARKS)} runs, not {len(paths)}")
    runs = tuple(read_details(path, data_dir=data_dir) for path in paths)
    problems = [problem for details in runs for problem in details.summary.problems]
    trained = [_trained(details, problems) for details in runs]
    initial = [None if details.config is None else _initial(details) for details in runs]
    return Comparison(
        runs=runs,
        settings=tuple(differing_settings([details.settings for details in runs])),
        layers=tuple(layer_distances(initial, trained)),
        problems=tuple(dict.fromkeys(problems)),
    )


def save_curves(comparison: Comparison, path: Path) -> None:
    """Draw the curves of all runs to a file, as PNG or SVG by its extension.

    Raises:
        UsageError: no run has an epoch.
        DiskError: the file cannot be written.
    """
    charts = comparison.charts()
    if not charts:
        raise UsageError(f"--plot {path}: none of the runs has an epoch")
    canvas = draw_curves(charts)
    if path.suffix.lower() == ".svg":
        picture = canvas.svg(title=", ".join(each.title for each in charts)).encode()
    else:
        picture = png(canvas.enlarged(SCALE))
    with atomic_write(path, option="--plot") as file:
        file.write(picture)


def differing_settings(settings: Sequence[Mapping[str, Any]]) -> list[Setting]:
    """The settings that are not the same in all configs, in their order.

    Mappings with a common key, and lists, are compared part by part; `{conv: 8}` and `{max_pool: 2}` as a whole.

    Args:
        settings: resolved configs, at most as many as `MARKS`. An empty one is unknown and is not compared.
    """
    known = {mark: each for mark, each in zip(MARKS, settings, strict=False) if each}
    return list(_differences(known, "")) if len(known) > 1 else []


def _differences(values: Mapping[str, Any], path: str) -> list[Setting]:
    """The differences between the values at a path, of the runs that have it."""
    layer = LAYER_CHOICES.get(path.rpartition(".")[2])
    if layer is not None and layer.principal is not None:  # `conv: 8` is short for `conv: {out_channels: 8}`
        values = {mark: each if isinstance(each, Mapping) else {layer.principal: each} for mark, each in values.items()}
    if len({json.dumps(each, sort_keys=True) for each in values.values()}) == 1:  # 1 and true are not the same
        return []
    parts: dict[str, dict[str, Any]] = {}
    if all(isinstance(each, Mapping) for each in values.values()):
        if not path or set.intersection(*(set(each) for each in values.values())):
            keys = dict.fromkeys(key for each in values.values() for key in each)
            parts = {key: {mark: each[key] for mark, each in values.items() if key in each} for key in keys}
    elif all(isinstance(each, list) for each in values.values()):
        longest = max(len(each) for each in values.values())
        parts = {str(i): {mark: each[i] for mark, each in values.items() if i < len(each)} for i in range(longest)}
    if not parts:
        return [Setting(path, dict(values))]
    found = []
    for key, inside in parts.items():
        here = f"{path}.{key}" if path else key
        found += _differences(inside, here) if len(inside) == len(values) else [Setting(here, inside)]
    return found


def layer_distances(initial: Sequence[nn.Module | None], trained: Sequence[nn.Module | None]) -> list[LayerDistances]:
    """The distances of every layer that has parameters in one of the runs, in the order of computation.

    Args:
        initial: the networks before their first step; None where they are unknown.
        trained: the networks with their best weights.
    """
    before = [_weights(model) for model in initial]
    after = [_weights(model) for model in trained]
    names = dict.fromkeys(name for weights in (*before, *after) for name in weights)
    first = after[0]
    return [
        LayerDistances(
            layer=name,
            moved=tuple(_distance(old.get(name), new.get(name)) for old, new in zip(before, after, strict=True)),
            apart=tuple(_distance(first.get(name), new.get(name)) for new in after),
        )
        for name in names
    ]


def _weights(model: nn.Module | None) -> dict[str, dict[str, Tensor]]:
    """Layer -> the name and value of its parameters, in float64."""
    layers: dict[str, dict[str, Tensor]] = {}
    if isinstance(model, CnnModule):
        for node in model.network.nodes:
            parameters = dict(model.layer(node).named_parameters())
            if parameters:
                layers[node.name] = {name: each.detach().double() for name, each in parameters.items()}
    return layers


def _distance(old: Mapping[str, Tensor] | None, new: Mapping[str, Tensor] | None) -> float | None:
    """|new - old| / |old| of the parameters of a layer as one vector; None where that is not defined."""
    if old is None or new is None or {k: v.shape for k, v in old.items()} != {k: v.shape for k, v in new.items()}:
        return None
    length = torch.sqrt(sum((each.square().sum() for each in old.values()), torch.zeros((), dtype=torch.float64)))
    difference = sum(((new[name] - old[name]).square().sum() for name in old), torch.zeros((), dtype=torch.float64))
    return float(torch.sqrt(difference) / length) if length > 0 else None


def _initial(details: RunDetails) -> CnnModule | None:
    """The network of a run before its first step; None if its weights were not random and it has not kept them."""
    assert details.config is not None
    model = seeded_module(details.config.network, details.config.train.seed)
    if details.config.has_random_weights:
        return model
    kept = WeightHistory(details.summary.path)
    if 0 not in kept.steps():
        return None
    model.load_state_dict(kept.read(0))
    return model


def _trained(details: RunDetails, problems: list[str]) -> CnnModule | None:
    """The network of a run with its best weights; None, with a problem, if they cannot be read."""
    if details.config is None:
        return None
    model = CnnModule(details.config.network)
    try:
        load_weights(RunDirectory(details.summary.path).best, model)
    except RunError as error:
        problems.append(error.message)
        return None
    return model


def _curve(mark: str, details: RunDetails, key: str) -> Curve:
    has_validation = any(number_at(record, "val", key) is not None for record in details.metrics)
    split = "val" if has_validation else "train"
    label = details.summary.name + ("" if has_validation else " (training)")
    return Curve(label=label, mark=mark, values=tuple(number_at(record, split, key) for record in details.metrics))
