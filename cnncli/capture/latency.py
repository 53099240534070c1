"""Measured times of layers: every operator of a run is timed, and its time added to the row that it belongs to."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cnncli.capture.graph import capture
from cnncli.capture.mode import evaluation_mode
from cnncli.capture.record import BATCH, DETACH, Call, calls_reported
from cnncli.errors import ConfigError
from cnncli.inspection.columns import counted, half_spread, total_latency
from cnncli.inspection.table import LayerTable

WARM_UP = 3
"""Runs before those that are measured: kernels are chosen, caches and clocks settle."""


@dataclass(frozen=True)
class Latency:
    """Measured seconds, one value for each run.

    Attributes:
        rows: by the name of the row.
        whole: of the whole forward pass, without measuring every operator.
    """

    rows: dict[str, tuple[float, ...]]
    whole: tuple[float, ...]


def measure_latency(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    runs: int,
    batch: int,
    device: torch.device,
    scopes: Collection[str] = (),
    fixed_batch: int | None = None,
) -> Latency:
    """Measure each row of a module on random images.

    Args:
        module: it is moved to the device.
        input_shape: (C, positions ...) of one image.
        runs: how many are measured, after `WARM_UP` others.
        batch: images in a run.
        device: where it runs; a GPU is waited for after each operator.
        scopes: see `capture`.
        fixed_batch: the only number of images that the module takes; None: any.
    """
    module.to(device)
    batch = fixed_batch or batch
    captured = capture(module, input_shape, scopes=scopes, device=device, batch=fixed_batch or max(BATCH, batch))
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    images = torch.randn(batch, *input_shape, device=device, dtype=dtype)
    times: list[dict[str, float]] = []
    whole: list[float] = []
    with evaluation_mode(module), torch.no_grad():
        for run in range(WARM_UP + runs):
            measured = _run_once(module, images, {number: row.name for number, row in captured.row_of.items()})
            started = time.perf_counter()
            module(images)
            _wait(device)
            if run >= WARM_UP:
                times.append(measured)
                whole.append(time.perf_counter() - started)
    names = [row.name for row in captured.rows]
    return Latency({name: tuple(each.get(name, 0.0) for each in times) for name in names}, tuple(whole))


def _run_once(module: nn.Module, images: Tensor, names: dict[int, str]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    number = 0  # of the next operator
    last = 0.0

    def evaluate(run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal last
        started = time.perf_counter()
        result = run(*args, **kwargs)
        _wait(images.device)
        last = time.perf_counter() - started
        return result

    def add(call: Call) -> None:
        nonlocal number, last
        if call.name != DETACH:
            name = names.get(number)
            if name is not None:
                seconds[name] = seconds.get(name, 0.0) + last
            number += 1
        last = 0.0

    with calls_reported(module, add, evaluate):
        module(images)
    return seconds


def _wait(device: torch.device) -> None:
    """Wait until the device has computed what it was given; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def with_latency(table: LayerTable, latency: Latency, *, batch: int, device: torch.device) -> LayerTable:
    """The table with measured times, and a note on how they were measured.

    Raises:
        ConfigError: the layers that ran are not those of the table.
    """
    if {row.name for row in table} != set(latency.rows):
        raise ConfigError(
            "the layers cannot be measured: with numbers, the model runs others than those of the table",
            remedy="omit --latency",
        )
    rows = tuple(replace(row, latency=latency.rows[row.name]) for row in table)
    layers, whole = (1000 * sorted(each)[len(each) // 2] for each in (total_latency(rows), latency.whole))
    spread = 1000 * half_spread(latency.whole)
    threads = f", {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else ""
    note = (
        f"ms: median of {counted(len(latency.whole), 'run')} for {counted(batch, 'image')} on {device.type}{threads}, "
        f"± half the distance of the quartiles; the whole forward pass takes {whole:.3f} ±{spread:.3f} ms, its "
        f"operators one by one {layers:.3f} ms"
    )
    return replace(table, rows=rows, notes=(*table.notes, note))
