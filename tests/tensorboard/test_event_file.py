"""Event files, read back by TensorBoard's own reader, and records against TensorBoard's own writer."""

import hashlib
import io
import re
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # type: ignore[import-untyped]  # generated, no stubs
    HParamsPluginData,
)
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]  # no stubs

from cnncli.config.config import read_config
from cnncli.errors import DiskError
from cnncli.files import Extent
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import inspect_graph
from cnncli.tensorboard.event_file import (
    EventFile,
    LoggedValues,
    event_bytes,
    extent_until,
    read_logged_values,
    read_pictures,
    record,
    slugs,
)


def read(directory: Path) -> EventAccumulator:
    """TensorBoard's reader, keeping every step."""
    reader = EventAccumulator(str(directory), size_guidance=dict.fromkeys(("images", "scalars", "histograms"), 0))
    return reader.Reload()


def test_scalars(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.scalars(1, {"loss/train": 2.5, "loss/val": 3.0})
        events.scalars(2, {"loss/train": float("nan")})
    reader = read(tmp_path)
    assert sorted(reader.Tags()["scalars"]) == ["loss/train", "loss/val"]
    assert [(point.step, point.value) for point in reader.Scalars("loss/val")] == [(1, 3.0)]
    assert [point.step for point in reader.Scalars("loss/train")] == [1, 2]
    assert np.isnan(reader.Scalars("loss/train")[1].value)


def test_pictures_come_back_bit_for_bit(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (12, 7, 9, 3), dtype=np.uint8)
    with EventFile(tmp_path) as events:
        for step, picture in enumerate(pictures):
            events.pictures(step, {"kernels/01_conv1": picture})
    images = read(tmp_path).Images("kernels/01_conv1")
    assert [image.step for image in images] == list(range(12))
    for image, picture in zip(images, pictures, strict=True):
        with Image.open(io.BytesIO(image.encoded_image_string)) as decoded:
            assert np.array_equal(np.array(decoded), picture)


def test_animations_come_back_byte_for_byte(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (37, 300), color) for color in ("red", "green", "blue")]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    with EventFile(tmp_path) as events:
        events.pictures(4, {"snapshots/01_conv1": gif.getvalue()})
        events.pictures(5, {"snapshots/01_conv1": gif.getvalue()})
    images = read(tmp_path).Images("snapshots/01_conv1")
    assert [image.step for image in images] == [4, 5]
    for image in images:
        assert image.encoded_image_string == gif.getvalue()
        assert (image.width, image.height) == (37, 300)


def test_histograms_hold_the_finite_values(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    with EventFile(tmp_path) as events:
        events.histograms(
            3,
            {
                "some": torch.tensor([1.0, nan, 3.0, inf, -inf]),
                "constant": torch.zeros(4, dtype=torch.bfloat16),
                "none": torch.tensor([nan, inf]),
                "empty": torch.empty(0),
                "large": torch.tensor([-3e38, 3e38]),
                "gradient": torch.ones(2, requires_grad=True),
            },
        )
    reader = read(tmp_path)
    assert sorted(reader.Tags()["histograms"]) == ["constant", "gradient", "large", "some"]
    (some,) = reader.Histograms("some")
    value = some.histogram_value
    assert (some.step, value.num, value.min, value.max, value.sum) == (3, 2, 1, 3, 4)


def test_texts(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.texts({"config": "| a | b |", "versions": "torch **2**"})
    reader = read(tmp_path)
    assert reader.Tensors("config")[0].tensor_proto.string_val == [b"| a | b |"]
    assert reader.Tensors("versions")[0].tensor_proto.string_val == [b"torch **2**"]


def test_hparams_are_in_the_file_of_the_run(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.scalars(1, {"accuracy/val": 0.5})
        events.hparams({"lr": 1e-3, "optimizer": "adamw"}, ["accuracy/val"])
    assert len(list(tmp_path.rglob("*"))) == 1
    contents = read(tmp_path).summary_metadata
    start = HParamsPluginData.FromString(contents["_hparams_/session_start_info"].plugin_data.content)
    assert start.session_start_info.hparams["lr"].number_value == 1e-3
    assert start.session_start_info.hparams["optimizer"].string_value == "adamw"
    experiment = HParamsPluginData.FromString(contents["_hparams_/experiment"].plugin_data.content).experiment
    assert [metric.name.tag for metric in experiment.metric_infos] == ["accuracy/val"]
    assert "_hparams_/session_end_info" in contents


def test_layout(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.layout({"loss": ["loss/train", "loss/val"]})
    content = read(tmp_path).Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert b"^loss/train$" in content
    assert b"^loss/val$" in content


NESTED = """\
data: {name: digits, size: 8}
model:
  layers: [{conv: {out_channels: 4, kernel_size: 3, padding: same}}, {residual: [{conv: 4}]}, flatten, logits]
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
"""


def test_the_graph_is_the_network(tmp_path: Path) -> None:
    (tmp_path / "nested.yaml").write_text(NESTED)
    config = read_config(str(tmp_path / "nested.yaml"), data_dir=tmp_path)
    with EventFile(tmp_path / "run") as events:
        events.graph(inspect_graph(graph_of(config.network, "nested")))
    nodes = {node.name: node for node in read(tmp_path / "run").Graph().node}
    reads = {name: list(node.input) for name, node in nodes.items()}
    assert reads == {
        "input": [],
        "conv1": ["input"],
        "residual1/conv1": ["conv1"],
        "residual1/add": ["residual1/conv1", "conv1"],
        "flatten1": ["residual1/add"],
        "logits1": ["flatten1"],
    }
    conv = nodes["residual1/conv1"]
    assert conv.op == "conv"
    (shape,) = conv.attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [4, 8, 8]
    assert conv.attr["params"].i == 4 * (4 * 3 * 3 + 1)
    assert conv.attr["macs"].i == 4 * 4 * 3 * 3 * 8 * 8
    assert (conv.attr["receptive_field"].s, conv.attr["jump"].s) == (b"5x5", b"1x1")


def test_records_can_be_read_while_the_file_is_open(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.scalars(0, {"loss": 1.0})
        assert read(tmp_path).Scalars("loss")[0].value == 1.0


def test_a_second_file_continues_the_first(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.scalars(0, {"loss": 10.0})
    with EventFile(tmp_path) as events:
        events.scalars(1, {"loss": 11.0})
    assert [(point.step, point.value) for point in read(tmp_path).Scalars("loss")] == [(0, 10), (1, 11)]


@pytest.mark.parametrize("day", [0.0, -86_400.0, -1e9])
def test_a_clock_that_is_set_back_does_not_change_the_order(
    day: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two files, and within one: TensorBoard reads files in the order of their names, and draws curves by time."""
    with EventFile(tmp_path) as events:
        events.scalars(0, {"loss": 10.0})
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + day)
        events.scalars(1, {"loss": 11.0})
    for step in (2, 3):
        with EventFile(tmp_path) as events:
            events.scalars(step, {"loss": 10.0 + step})
    points = read(tmp_path).Scalars("loss")
    assert [(point.step, point.value) for point in points] == [(0, 10), (1, 11), (2, 12), (3, 13)]
    times = [point.wall_time for point in points]
    assert times == sorted(times)


def test_the_extent_is_that_of_the_file(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        for step in range(3):
            events.scalars(step, {"loss": 1.0})
            content = events.path.read_bytes()
            assert events.extent() == Extent(len(content), hashlib.sha256(content).hexdigest())


def test_files_count_as_if_they_were_one(tmp_path: Path) -> None:
    """So that a resumed run has the same room left in its budget."""
    for folder, files in (("one", 1), ("three", 3)):
        for first in range(0, 6, 6 // files):
            with EventFile(tmp_path / folder) as events:
                for step in range(first, first + 6 // files):
                    events.scalars(step, {"loss": 1.0})
    assert event_bytes(tmp_path / "one") == next((tmp_path / "one").iterdir()).stat().st_size
    assert event_bytes(tmp_path / "three") == event_bytes(tmp_path / "one")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_reported_by_the_call_that_met_it(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events, Path("/dev/full").open("wb", buffering=0) as full:
        opened = events._file
        events._file = full  # type: ignore[assignment]  # unbuffered, for the test
        with pytest.raises(DiskError, match=f"{re.escape(str(events.path))}.*: No space left") as error:
            events.scalars(0, {"loss": 1.0})
        events._file = opened
        assert "--out" in str(error.value.remedy)


def test_a_directory_that_cannot_be_created_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="cannot be written"):
        EventFile(tmp_path / "file" / "run")


def test_slugs_are_distinct() -> None:
    assert slugs(["T-shirt/top", "a b", "a-b", "???", "!!!"]) == ["T-shirt-top", "a-b-1", "a-b-2", "x-3", "x-4"]


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # RFC 3720, appendix B.4; the check value of the catalogs.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
        (b"\x00" * 4096, 0x98F94189),
    ],
)
def test_a_record_ends_with_the_published_checksum(data: bytes, checksum: int) -> None:
    masked = int.from_bytes(record(data)[-4:], "little")
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == checksum


@given(st.integers(0, 20_000), st.integers(0, 2**32))
def test_records_are_those_of_tensorboards_writer(size: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(size)
    expected = io.BytesIO()
    RecordWriter(expected).write(data)
    assert record(data) == expected.getvalue()


def picture(level: int) -> npt.NDArray[np.uint8]:
    return np.full((2, 3, 3), level, dtype=np.uint8)


def as_tensorboard_reads(directory: Path) -> dict[str, list[tuple[int, bytes]]]:
    reader = EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()
    pictures = {tag: reader.Images(tag) for tag in reader.Tags()["images"]}
    return {tag: [(each.step, each.encoded_image_string) for each in kept] for tag, kept in pictures.items() if kept}


def as_read(directory: Path) -> dict[str, list[tuple[int, bytes]]]:
    return {tag: [(each.step, each.content) for each in kept] for tag, kept in read_pictures(directory).items()}


def test_every_step_of_every_tag(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        for step in range(12):
            events.pictures(step, {"kernels/01_conv1": picture(step), "feature_maps/01_conv1/7": picture(100 + step)})
            events.scalars(step, {"loss/train": 1.0})
    read = as_read(tmp_path)
    assert read == as_tensorboard_reads(tmp_path)
    assert len(read) == 2
    assert all([step for step, _ in kept] == list(range(12)) for kept in read.values())


@pytest.mark.parametrize("cut", [1, 50])
def test_a_truncated_record_is_ignored(cut: int, tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.pictures(0, {"kernels/01_conv1": picture(0)})
        events.pictures(1, {"kernels/01_conv1": picture(1)})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert [step for step, _ in as_read(tmp_path)["kernels/01_conv1"]] == [0]


def test_a_subfolder_is_a_separate_run(tmp_path: Path) -> None:
    with EventFile(tmp_path / "show") as events:
        events.pictures(3, {"kernels/01_conv1": picture(3)})
    assert read_pictures(tmp_path) == {}


def test_an_event_file_is_cut_where_it_was_after_a_step(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.texts({"about": "text"})
        extents = []
        for step in range(1, 4):
            events.scalars(step, {"loss": 1 / step, "accuracy": 0.5})
            extents.append(events.extent())
        assert [extent_until(events.path, step) for step in (1, 2, 3, 9)] == [*extents, extents[-1]]
        before = events.path.read_bytes()
        events.cut(extents[0])
        assert events.path.read_bytes() == before[: extents[0].size]
        events.scalars(2, {"loss": 7.0})
    values = LoggedValues({}, {})
    read_logged_values(events.path, values)
    assert values.scalars == {"loss": {1: 1.0, 2: 7.0}, "accuracy": {1: 0.5}}
    assert values.texts == {"about": "text"}
