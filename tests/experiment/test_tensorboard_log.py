"""What a run logs, read back by TensorBoard's own reader; the pixels of its pictures are in test_pictures.py."""

import io
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # type: ignore[import-untyped]  # generated, no stubs
    HParamsPluginData,
)
from torch import Tensor

from cnncli.training.run_directory import RunDirectory

Train = Callable[..., RunDirectory]
ReadEvents = Callable[[RunDirectory], EventAccumulator]

EPOCHS, STEPS, CLASSES = 14, 9, "0123456789"
CONVOLUTIONS = ["01_conv1", "03_conv2", "05_conv3"]
EVALUATED = ("balanced_accuracy", "macro_precision", "macro_f1", "top_k_accuracy")
MAPPED = ["01_conv1", "02_max_pool1", "03_conv2", "04_avg_pool1", "05_conv3"]


def test_there_is_one_file_with_everything(run: RunDirectory, events: EventAccumulator) -> None:
    assert len(list(run.path.rglob("*tfevents*"))) == 1
    tags = events.Tags()
    curves = [f"{name}/{part}" for name, part in product(("accuracy", "loss"), ("train", "val"))]
    dead = ["dead_fraction/01_conv1", "dead_fraction/03_conv2"]
    curves += [f"val/{name}" for name in EVALUATED]
    assert sorted(tags["scalars"]) == sorted(
        [*curves, *dead, "test/accuracy", "training/learning_rate", "training/images_per_second"]
    )
    assert sorted(tags["images"]) == sorted(
        [
            *(f"kernels/{layer}" for layer in CONVOLUTIONS),
            *(f"feature_maps/{layer}/{label}" for layer, label in product(MAPPED, CLASSES)),
            *(f"snapshots/{layer}" for layer in MAPPED),
        ]
    )
    for group in ("weights", "gradients"):
        large = {f"{group}/{layer}/weight" for layer in ("01_conv1", "03_conv2", "07_logits1")}
        assert {tag for tag in tags["histograms"] if tag.startswith(f"{group}/")} == large, "no tensors of few values"
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


def test_curves_have_a_point_for_each_epoch(run: RunDirectory, events: EventAccumulator) -> None:
    metrics = run.metrics()
    assert len(metrics) == EPOCHS
    for name, part in product(("accuracy", "loss"), ("train", "val")):
        points = [(point.step, point.value) for point in events.Scalars(f"{name}/{part}")]
        assert points == [(line["step"], pytest.approx(line[part][name])) for line in metrics]
    for name in EVALUATED:
        points = [(point.step, point.value) for point in events.Scalars(f"val/{name}")]
        assert points == [(line["step"], pytest.approx(line["val"][name])) for line in metrics]
    test = run.results()["test"]
    (point,) = events.Scalars("test/accuracy")
    assert (point.step, point.value) == (EPOCHS * STEPS, pytest.approx(test["accuracy"]))


def test_pictures_have_at_most_ten_steps_with_the_first_and_the_last(events: EventAccumulator) -> None:
    for tag in events.Tags()["images"]:
        steps = [image.step for image in events.Images(tag)]
        once = tag.startswith("snapshots/")
        assert steps == ([EPOCHS * STEPS] if once else [0, 1, 2, 4, 8, 16, 32, 64, EPOCHS * STEPS])


def test_dead_filters_are_counted(
    events: EventAccumulator, weights: Mapping[str, Tensor], dead: Mapping[str, tuple[int, ...]]
) -> None:
    assert any(dead.values()), "the test needs a dead filter"
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


EVERYTHING_OFF = (
    "log={images: 0, kernels: false, feature_maps: false, histograms: false, graph: false, dead_filters: false}",
)


def steps_of(events: EventAccumulator, tag: str) -> list[int]:
    return [image.step for image in events.Images(tag)]


def weights_of(run: RunDirectory) -> dict[str, Tensor]:
    return {
        **load_file(run.last / "weights.safetensors"),
        "best": load_file(run.best / "weights.safetensors")["logits1.weight"],
    }


def have_equal_weights(one: RunDirectory, other: RunDirectory) -> bool:
    a, b = weights_of(one), weights_of(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Logging does not change the training


@pytest.mark.parametrize(
    "log",
    [
        EVERYTHING_OFF,
        ("log.steps=[5, 6, 11]",),
        pytest.param(("log.images=2",), marks=pytest.mark.slow),
        pytest.param(("log.histograms=false", "log.snapshots=false"), marks=pytest.mark.slow),
    ],
)
def test_the_weights_are_the_same_bit_for_bit(
    log: tuple[str, ...], complete: RunDirectory, network: str, train: Train, tmp_path: Path
) -> None:
    run = train(tmp_path, network, *log)
    assert have_equal_weights(run, complete)
    lines, others = run.metrics(), complete.metrics()
    assert [line["train"] for line in lines] == [line["train"] for line in others]
    assert [line["val"] for line in lines] == [line["val"] for line in others]


def test_the_weights_are_the_same_without_ema_too(network: str, train: Train, tmp_path: Path) -> None:
    """Then the network that is drawn is the one in training, with its dropout and its running means."""
    logged, quiet = (train(tmp_path, network, "train.ema=null", *log) for log in ((), EVERYTHING_OFF))
    assert have_equal_weights(logged, quiet)


def test_everything_can_be_turned_off(network: str, train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    run = train(tmp_path, network, *EVERYTHING_OFF)
    tags = read_events(run).Tags()
    assert (tags["images"], tags["histograms"], tags["graph"]) == ([], [], False)
    assert "loss/train" in tags["scalars"]
    assert not (run.path / "snapshots").exists()


# Steps


def test_pictures_begin_within_the_first_epoch(complete: RunDirectory, read_events: ReadEvents) -> None:
    events = read_events(complete)
    for tag in events.Tags()["images"]:
        if not tag.startswith("snapshots/"):
            assert steps_of(events, tag) == [0, 1, 2, 4, 8, 16, 24]


def test_chosen_steps(network: str, train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    run = train(tmp_path, network, "log.steps=[11, 5, 6]")
    assert steps_of(read_events(run), "kernels/01_conv1") == [0, 5, 6, 11, 24]


def test_a_run_that_stops_early_has_last_pictures_and_histograms(
    network: str, train: Train, read_events: ReadEvents, tmp_path: Path
) -> None:
    """With a learning rate of almost 0 nothing improves, and the planned last step is never reached."""
    stopping = ("train.early_stopping={patience: 1}", "train.optimizer.adamw.lr=1e-12", "train.epochs=9")
    run = train(tmp_path, network, *stopping)
    events = read_events(run)
    last = run.metrics()[-1]["step"]
    assert last < 9 * 6
    for tag in events.Tags()["images"]:
        assert steps_of(events, tag)[-1] == last
        assert steps_of(events, tag) == sorted(set(steps_of(events, tag)))
    for tag in events.Tags()["histograms"]:
        assert events.Histograms(tag)[-1].step == last
    with Image.open(io.BytesIO(events.Images("snapshots/01_conv1")[0].encoded_image_string)) as image:
        assert getattr(image, "n_frames", 1) == len(steps_of(events, "kernels/01_conv1"))


# Layers and probes


def test_chosen_layers(network: str, train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    tags = read_events(train(tmp_path, network, "log.layers=[conv2, logits1]")).Tags()
    assert sorted(tags["images"]) == [
        "feature_maps/04_conv2/0", "feature_maps/04_conv2/1", "kernels/04_conv2", "snapshots/04_conv2",
    ]  # fmt: skip
    assert {tag.split("/")[1] for tag in tags["histograms"]} == {"04_conv2", "07_logits1"}
    assert [tag for tag in tags["scalars"] if tag.startswith("dead_fraction/")] == ["dead_fraction/04_conv2"]


def test_chosen_probes(network: str, train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    tags = read_events(train(tmp_path, network, "log.probes=[3, 358]", "log.images=2")).Tags()["images"]
    maps = [tag for tag in tags if tag.startswith("feature_maps/01_conv1/")]
    assert maps == ["feature_maps/01_conv1/test-3", "feature_maps/01_conv1/test-358"]


# The budget


def size_of(run: RunDirectory) -> int:
    return sum(path.stat().st_size for path in run.path.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("kilobytes", [60, pytest.param(120, marks=pytest.mark.slow), 400])
def test_the_event_file_keeps_to_its_budget(
    kilobytes: int, network: str, train: Train, read_events: ReadEvents, tmp_path: Path
) -> None:
    messages: list[str] = []
    run = train(tmp_path, network, f"log.budget={kilobytes / 1000}", "log.graph=false", log=messages.append)
    assert size_of(run) <= kilobytes * 1000
    assert all(message.startswith(f"log.budget of {kilobytes / 1000:g} MB: ") for message in messages)
    assert len([message for message in messages if "pictures are omitted" in message]) == 1
    events = read_events(run)
    tags = [tag for tag in events.Tags()["images"] if not tag.startswith("snapshots/")]
    assert tags, "some pictures fit"
    for tag in tags:
        assert steps_of(events, tag)[0] == 0
        assert steps_of(events, tag)[-1] == 24


def test_last_pictures_that_need_more_room_than_was_kept_are_left_out(
    network: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnncli.experiment.tensorboard_log.GROWTH", 0.01)
    messages: list[str] = []
    log = ("log.budget=0.07", "log.graph=false", "log.snapshots=false", "log.histograms=false", "log.probes=1")
    run = train(tmp_path, network, *log, log=messages.append)
    assert size_of(run) <= 70_000
    assert any("pictures are omitted" in message for message in messages)


@pytest.mark.parametrize(
    ("kilobytes", "expected", "message"),
    [
        (300, [6, 12, 18, 24], None),
        (40, [12, 24], "histograms only every 2 epochs"),
        (14, [], "histograms are omitted"),
    ],
)
def test_histograms_take_at_most_half_of_the_budget(
    kilobytes: int,
    expected: list[int],
    message: str | None,
    network: str,
    train: Train,
    read_events: ReadEvents,
    tmp_path: Path,
) -> None:
    """Each of the four epochs has up to 7.6 kB: 2 histograms of 1,264 bytes for each of 3 weights; biases are small."""
    messages: list[str] = []
    log = (f"log.budget={kilobytes / 1000}", "log.images=0", "log.graph=false")
    run = train(tmp_path, network, *log, log=messages.append)
    assert size_of(run) <= kilobytes * 1000
    events = read_events(run)
    tags = events.Tags()["histograms"]
    assert bool(tags) == bool(expected)
    for tag in tags:
        assert [histogram.step for histogram in events.Histograms(tag)] == expected
    assert messages == ([f"log.budget of {kilobytes / 1000:g} MB: {message}"] if message else [])


def test_a_resumed_run_keeps_to_the_budget(network: str, train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    log = ("log.budget=0.4", "log.graph=false")
    run = train(tmp_path, network, *log, stop_at=9, log=lambda message: None)
    train(tmp_path, network, *log, run=run, log=lambda message: None)
    assert len(list(run.path.glob("events.out.tfevents.*"))) == 2
    assert size_of(run) <= 400_000
    assert steps_of(read_events(run), "kernels/01_conv1")[-1] == 24


# Resumed runs


@pytest.mark.parametrize("stop_at", [pytest.param(6, marks=pytest.mark.slow), 9, 16])
def test_a_resumed_run_has_the_same_weights_and_pictures(
    stop_at: int, complete: RunDirectory, network: str, train: Train, read_events: ReadEvents, tmp_path: Path
) -> None:
    """Stopped at the end of an epoch, in an epoch, and at a step with pictures."""
    run = train(tmp_path, network, stop_at=stop_at)
    assert run.status().state == "interrupted"
    train(tmp_path, network, run=run)
    assert have_equal_weights(run, complete)
    events, expected = read_events(run), read_events(complete)
    assert events.Tags()["images"] == expected.Tags()["images"]
    for tag in events.Tags()["images"]:
        assert steps_of(events, tag) == steps_of(expected, tag)
        assert [image.encoded_image_string for image in events.Images(tag)] == [
            image.encoded_image_string for image in expected.Images(tag)
        ], "animations have the frames of the first part too"


def test_after_a_crash_later_steps_are_drawn_again(
    complete: RunDirectory, network: str, train: Train, read_events: ReadEvents, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, network, crash_at=13)
    (path,) = (tmp_path / "runs").iterdir()
    run = RunDirectory.open(path)
    (path / "snapshots" / "20.safetensors").write_bytes(b"of a step that is not in the checkpoint")
    train(tmp_path, network, run=run)
    assert have_equal_weights(run, complete)
    assert sorted(int(each.stem) for each in (path / "snapshots").iterdir()) == [0, 1, 2, 4, 8, 16, 24]
    events, expected = read_events(run), read_events(complete)
    for tag in expected.Tags()["images"]:
        assert steps_of(events, tag) == steps_of(expected, tag)


def test_a_resumed_run_reads_as_one(
    tiny: str, train: Train, events: EventAccumulator, read_events: ReadEvents, tmp_path: Path
) -> None:
    run = train(tmp_path, tiny, "train.epochs=3", stop_at=STEPS + 4)
    assert run.status().state == "interrupted"
    train(tmp_path, tiny, "train.epochs=3", run=run)
    resumed = read_events(run)
    assert len(list(run.path.glob("*tfevents*"))) == 2
    assert [point.step for point in resumed.Scalars("loss/train")] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert steps_of(resumed, "kernels/01_conv1") == [0, 1, 2, 4, 8, 16, 3 * STEPS]
    losses = [point.value for point in events.Scalars("loss/train")][:3]
    assert [point.value for point in resumed.Scalars("loss/train")] == losses, "the learning rate is constant"
