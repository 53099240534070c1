"""Measured times of layers."""

import time

import torch
from torch import Tensor, nn

from cnncli.capture.graph import graph_of_module
from cnncli.capture.latency import measure_latency, with_latency
from cnncli.inspection.arrangement import grouped
from cnncli.inspection.formatting import as_text
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import inspect_graph

CPU = torch.device("cpu")


@torch.library.custom_op("cnncli_tests::slow", mutates_args=())
def slow(images: Tensor) -> Tensor:
    """An operator of at least 5 ms."""
    time.sleep(0.005)
    return images + 1


@slow.register_fake
def _(images: Tensor) -> Tensor:
    return torch.empty_like(images)


class Slow(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = slow(images)
        return result


def test_the_slow_layer_is_found() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(Slow(), nn.Conv2d(2, 2, 3)), nn.MaxPool2d(2))
    table = inspect_graph(graph_of_module(model, (1, 12, 12), "slow"))
    latency = measure_latency(model, (1, 12, 12), runs=4, batch=1, device=CPU)
    assert {name: len(times) for name, times in latency.rows.items()} == dict.fromkeys((row.name for row in table), 4)
    assert all(time > 0 for times in latency.rows.values() for time in times)
    slowest = max(latency.rows, key=lambda name: min(latency.rows[name]))
    assert slowest == "1.0"
    assert min(latency.rows[slowest]) >= 0.005
    assert min(latency.whole) >= 0.005
    measured = with_latency(table, latency, batch=1, device=CPU)
    assert "median of 4 runs for 1 image on cpu" in as_text(measured)
    layers = {layer["name"]: layer["latency_ms"] for layer in as_json(measured)["layers"]}
    assert layers["1.0"]["median"] >= 5
    assert as_json(grouped(measured, 1))["layers"][1]["latency_ms"]["median"] >= layers["1.0"]["median"]
    assert "latency_ms" not in as_json(table)["layers"][0]


def test_padding_belongs_to_its_convolution() -> None:
    """Every operator is counted in a row of the table."""
    model = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    latency = measure_latency(model, (1, 6, 6), runs=1, batch=2, device=CPU)
    assert len(latency.rows) == 1
