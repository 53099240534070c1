"""What a run tells TensorBoard, read back by TensorBoard's own reader; its pictures are in test_event_pictures.py."""

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # type: ignore[import-untyped]  # generated, no stubs
    HParamsPluginData,
)
from torch import Tensor

from cnncli.training.run_directory import RunDirectory

Train = Callable[..., Path]
ReadEvents = Callable[[Path], EventAccumulator]

EPOCHS, STEPS, CLASSES = 14, 9, "0123456789"
CONVOLUTIONS = ["01_conv1", "03_conv2", "05_conv3"]
MAPPED = ["01_conv1", "02_max_pool1", "03_conv2", "04_avg_pool1", "05_conv3"]


def test_there_is_one_file_with_everything(run: Path, events: EventAccumulator) -> None:
    assert len(list(run.rglob("*tfevents*"))) == 1
    tags = events.Tags()
    curves = [f"{name}/{part}" for name, part in product(("accuracy", "loss"), ("train", "val"))]
    dead = ["dead_fraction/01_conv1", "dead_fraction/03_conv2"]
    assert sorted(tags["scalars"]) == sorted(
        [*curves, *dead, "test/accuracy", "test/loss", "training/learning_rate", "training/images_per_second"]
    )
    assert sorted(tags["images"]) == sorted(
        [
            *(f"kernels/{layer}" for layer in CONVOLUTIONS),
            *(f"feature_maps/{layer}/{label}" for layer, label in product(MAPPED, CLASSES)),
            *(f"evolution/{layer}" for layer in MAPPED),
        ]
    )
    parameters = [f"{layer}/" for layer in (*CONVOLUTIONS, "07_logits1")]
    for group in ("weights", "gradients"):
        found = [tag for tag in tags["histograms"] if tag.startswith(f"{group}/")]
        assert len(found) == 2 * len(parameters), "a weight and a bias each"
        for parameter in parameters:
            assert {tag.rpartition(".")[2].rpartition("/")[2] for tag in found if parameter in tag} == {
                "weight",
                "bias",
            }
    assert tags["graph"]
    assert {"config", "resolved_config", "layers", "versions"} <= set(tags["tensors"])
    settings = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(settings).session_start_info.hparams
    assert hparams["lr"].number_value == 1e-2
    assert hparams["optimizer"].string_value == "adamw"
    assert hparams["epochs"].number_value == EPOCHS


def test_the_texts(events: EventAccumulator) -> None:
    def text(tag: str) -> str:
        (tensor,) = events.Tensors(tag)
        content: bytes = tensor.tensor_proto.string_val[0]
        return content.decode()

    assert "seed: 3" in text("config")
    assert "betas" not in text("config")
    assert "betas" in text("resolved_config")
    # 6 kernels of 2x2, 5 deep, on 4x4 make 3x3: 6 (5 * 4 + 1) parameters, 6 * 5 * 4 * 9 MACs; it sees 6x6 pixels.
    (row,) = [line for line in text("layers").splitlines() if line.startswith("| conv2 |")]
    assert [cell.strip() for cell in row.strip("|").split("|")][3:7] == ["6x3x3", "126", "1,080", "6"]
    assert torch.__version__.partition("+")[0] in text("versions")


def test_curves_have_a_point_for_each_epoch(run: Path, events: EventAccumulator) -> None:
    metrics = RunDirectory.open(run).metrics()
    assert len(metrics) == EPOCHS
    for name, part in product(("accuracy", "loss"), ("train", "val")):
        points = [(point.step, point.value) for point in events.Scalars(f"{name}/{part}")]
        assert points == [(line["step"], pytest.approx(line[part][name])) for line in metrics]
    test = RunDirectory.open(run).results()["test"]
    (point,) = events.Scalars("test/accuracy")
    assert (point.step, point.value) == (EPOCHS * STEPS, pytest.approx(test["accuracy"]))


def test_pictures_have_at_most_ten_steps_with_the_first_and_the_last(events: EventAccumulator) -> None:
    for tag in events.Tags()["images"]:
        steps = [image.step for image in events.Images(tag)]
        alone = tag.startswith("evolution/")
        assert steps == ([EPOCHS * STEPS] if alone else [0, 1, 2, 4, 8, 16, 32, 64, EPOCHS * STEPS])


def test_dead_filters_are_counted(
    events: EventAccumulator, weights: Mapping[str, Tensor], dead: Mapping[str, tuple[int, ...]]
) -> None:
    assert any(dead.values()), "of a network without a dead filter little is shown"
    for layer in ("01_conv1", "03_conv2"):
        points = events.Scalars(f"dead_fraction/{layer}")
        assert [point.step for point in points] == [0, 1, 2, 4, 8, 16, 32, 64, EPOCHS * STEPS]
        filters = len(weights[f"{layer[3:]}.conv.weight"])
        assert points[-1].value == pytest.approx(len(dead[layer]) / filters)


def test_histograms_hold_every_weight(events: EventAccumulator, weights: Mapping[str, Tensor]) -> None:
    tags = events.Tags()["histograms"]
    (tag,) = [tag for tag in tags if tag.startswith("weights/03_conv2/") and tag.endswith("weight")]
    last = events.Histograms(tag)[-1]
    weight = weights["conv2.conv.weight"]
    assert last.step == EPOCHS * STEPS
    assert last.histogram_value.num == weight.numel() == 6 * 5 * 2 * 2
    assert last.histogram_value.min == pytest.approx(float(weight.min()))
    assert last.histogram_value.max == pytest.approx(float(weight.max()))


def test_a_resumed_run_reads_as_one(train_tiny: Train, events: EventAccumulator, read_events: ReadEvents) -> None:
    path = train_tiny(epochs=3, stop_at=STEPS + 4)
    assert RunDirectory.open(path).status().state == "interrupted"
    train_tiny(path, epochs=3)
    resumed = read_events(path)
    assert len(list(path.glob("*tfevents*"))) == 2
    assert [point.step for point in resumed.Scalars("loss/train")] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert [image.step for image in resumed.Images("kernels/01_conv1")] == [0, 1, 2, 4, 8, 16, 3 * STEPS]
    losses = [point.value for point in events.Scalars("loss/train")][:3]
    assert [point.value for point in resumed.Scalars("loss/train")] == losses, "the rate is constant: nothing differs"
