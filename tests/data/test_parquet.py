"""Images in Parquet files, in the layouts of Hugging Face, written with pyarrow and Pillow."""

import io
import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cnncli.audit.target import find_target
from cnncli.config.config import parse_config
from cnncli.config.data import DataSpec, class_names
from cnncli.data.image_cache import fingerprint
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.load import load_dataset
from cnncli.data.parquet import ParquetImages
from cnncli.data.starter import look_at, starter_config
from cnncli.errors import DataError, DeviceError, UsageError

NAMES = ["zebra", "ant", "cat"]


def png(color: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (6, 4), color).save(file, "PNG")
    return file.getvalue()


def described(table: Any, *, image: str = "image", label: str = "label", names: Sequence[str] = NAMES) -> Any:
    """As `datasets.Dataset.to_parquet` describes columns of Image() and ClassLabel()."""
    features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def structs(colors: Sequence[int]) -> Any:
    return pa.array([{"bytes": png(color), "path": f"{color}.png"} for color in colors])


def hugging_face(colors: Sequence[int], labels: Sequence[int] | None = None) -> Any:
    """A table of images whose color is their number, and whose label is that modulo 3."""
    return described(
        pa.table({"image": structs(colors), "label": [color % 3 for color in colors] if labels is None else labels})
    )


def write(path: Path, table: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **{"row_group_size": 4, **options})
    return path


def load(folder: Path, path: str = "pets", **fields: object) -> Dataset:
    spec = {"name": "parquet", "path": path, "size": (4, 6), "channels": 1, **fields}
    return load_dataset(DataSpec.model_validate(spec), data_dir=folder)


def colors(part: ImageSet) -> list[int]:
    return [int(image[0, 0, 0]) for image in part.images]


LAYOUTS = {
    "shards": ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001"),
    "data": ("data/train-00000-of-00002", "data/train-00001-of-00002", "data/validation", "data/test"),
    "converted": ("default/train/0000", "default/train/0001", "default/validation/0000", "default/test/0000"),
    "folders": ("train/0", "train/1", "val/0", "Test/0"),
}


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(names: Sequence[str], tmp_path: Path) -> None:
    for name, numbers in zip(names, (range(11), range(11, 20), range(20, 24), range(24, 30)), strict=True):
        write(tmp_path / "pets" / f"{name}.parquet", hugging_face(numbers))
    (tmp_path / "pets" / "README.md").touch()
    found = load(tmp_path)
    assert (found.classes, found.validation) == (tuple(NAMES), 4)
    assert (colors(found.train), colors(found.test)) == ([*range(24)], [*range(24, 30)])
    assert found.train.labels.tolist() == [number % 3 for number in range(24)]
    assert found.train.paths is not None
    assert found.train.paths[11] == f"{names[1]}.parquet/0"
    assert colors(load(tmp_path, validation=0).train) == [*range(20)]


def test_one_file(tmp_path: Path) -> None:
    """Bytes without a struct, labels that are text, other names, and a column of splits."""
    numbers = range(12)
    columns = {
        "photo of it": pa.array([png(number) for number in numbers], pa.large_binary()),
        "species": [("10", "2", "emu")[number % 3] for number in numbers],
        "Split": ["train"] * 9 + ["val", "TEST", "test"],
    }
    named = {"image": "photo of it", "label": "species"}
    for labels in (columns["species"], pa.array(columns["species"]).dictionary_encode()):
        write(tmp_path / "test.parquet", pa.table({**columns, "species": labels}))
        found = load(tmp_path, "test.parquet", columns=named)
        assert (found.classes, found.validation) == (("2", "10", "emu"), 1)
        assert (colors(found.train), colors(found.test)) == ([*range(10)], [10, 11])
        assert [found.classes[label] for label in found.train.labels.tolist()] == columns["species"][:10]
    chosen = load(tmp_path, "test.parquet", columns=named, classes=["emu", "2"])
    assert (chosen.classes, colors(chosen.train)) == (("emu", "2"), [1, 2, 4, 5, 7, 8])


def test_columns_are_found_by_name_and_by_type(tmp_path: Path) -> None:
    table = pa.table({"id": [f"{i}" for i in range(9)], "scan": structs(range(9)), "kind": [i % 3 for i in range(9)]})
    path = write(tmp_path / "a.parquet", described(table, image="scan", label="kind"))
    assert class_names(DataSpec(name="parquet", path="a.parquet", size=(4, 4)), tmp_path) == tuple(NAMES)
    write(path, described(table, label="id"))
    with pytest.raises(DataError, match=r"a\.parquet: no column of images; it has id, scan, kind"):
        load(tmp_path, "a.parquet")
    with pytest.raises(DataError, match=r"no column scam\. Did you mean scan"):
        load(tmp_path, "a.parquet", columns={"image": "scam"})


def test_whole_numbers_without_names(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"img": structs(range(12)), "labels": [(i % 2) * 9 + 1 for i in range(12)]}))
    found = load(tmp_path, "a.parquet", test=2)
    assert (found.classes, len(found.train), len(found.test)) == (("1", "10"), 10, 2)


def test_test_images_without_labels(tmp_path: Path) -> None:
    write(tmp_path / "pets/train.parquet", hugging_face(range(12)))
    write(tmp_path / "pets/test.parquet", hugging_face(range(12, 20), [-1] * 8))
    with pytest.raises(DataError, match="the test images have no labels") as raised:
        load(tmp_path)
    assert raised.value.remedy == "hold out training images for testing: --set data.test=0.2"
    found = load(tmp_path, test=0.25)
    assert sorted(colors(found.train) + colors(found.test)) == [*range(12)]
    write(tmp_path / "pets/train.parquet", hugging_face(range(12), [-1, 0, 1, 2] * 3))
    with pytest.raises(DataError, match=r"train\.parquet: 3 rows have no label"):
        load(tmp_path, test=0.25)


def test_rows_without_images(tmp_path: Path) -> None:
    images: list[Any] = [{"bytes": png(i), "path": None} for i in range(12)]
    images[3], images[5], images[6] = {"bytes": None, "path": "5.png"}, None, {"bytes": b"GIF89a...", "path": None}
    write(tmp_path / "a.parquet", described(pa.table({"image": pa.array(images), "label": [i % 3 for i in range(12)]})))
    with pytest.raises(DataError) as raised:
        load(tmp_path, "a.parquet", test=2)
    assert "3 of 12 images cannot be read" in raised.value.message
    assert "a.parquet/3 (no image in this row)" in raised.value.message
    assert "a.parquet/6 (" in raised.value.message
    found = load(tmp_path, "a.parquet", test=2, skip_unreadable=True)
    assert sorted(colors(found.train) + colors(found.test)) == [0, 1, 2, 4, 7, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), r"pets has no files \*\.parquet"),
        (("train-00001-of-00003",), r"files are missing: .*train-00000-of-00003\.parquet, .*train-00002-of-00003"),
        (("train", "more"), r"training, validation or test images\? more\.parquet"),
        (("test", "validation"), "has no training images: test.parquet, validation.parquet"),
        (("large/train", "small/train"), "has several tables: large, small"),
    ],
)
def test_folders_that_are_unclear(files: Sequence[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    for name in files:
        write(tmp_path / "pets" / f"{name}.parquet", hugging_face(range(6)))
    with pytest.raises(DataError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"image": ["a.png"] * 3, "label": [0, 1, 2]}), "image has string, not the bytes of image files"),
        (pa.table({"image": structs(range(3)), "label": [0.5, 1, 2]}), "label has labels of type double"),
        (hugging_face(range(3), [0, 1, 3]), "row 2 has the label 3, but there are 3 classes"),
        (pa.table({"image": structs(range(3)), "label": ["a"] * 3}), "data.classes: .* has 1: a"),
        (pa.table({"image": structs(range(3)), "label": ["a", "b" * 20_000, None]}), "20,000 bytes of text in a row"),
        (
            pa.table({"image": structs(range(3)), "label": ["a", "b", "c"], "split": ["train", "train", "dev"]}),
            "row 2 has an unknown split: dev",
        ),
    ],
)
def test_tables_that_do_not_fit(table: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", table)
    with pytest.raises(DataError, match=message):
        load(tmp_path, "a.parquet")


def test_files_that_disagree(tmp_path: Path) -> None:
    write(tmp_path / "pets/train.parquet", hugging_face(range(12)))
    other = pa.table({"image": structs(range(3)), "label": [0, 1, 2]})
    write(tmp_path / "pets/test.parquet", described(other, names=["ant", "cat", "zebra"]))
    with pytest.raises(DataError, match=r"train\.parquet has other names of classes than .*test\.parquet"):
        load(tmp_path)
    write(tmp_path / "pets/test.parquet", described(other.rename_columns(["img", "label"]), image="img"))
    with pytest.raises(DataError, match="its column of images is not called"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read: Parquet file size is 0 bytes"),
        (b"PK\3\4 and so on, not a Parquet file", "cannot be read: .*not a parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "is only a pointer of Git LFS"),
    ],
)
def test_files_that_are_none(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path, "a.parquet")


def test_damage_is_named_by_row(tmp_path: Path) -> None:
    """Of three row groups the second is damaged; page checksums find it."""
    options = {"write_page_checksum": True, "use_dictionary": ["label"], "compression": "none"}
    path = write(tmp_path / "a.parquet", hugging_face(range(12)), **options)
    content = bytearray(path.read_bytes())
    content[content.index(png(5))] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        load(tmp_path, "a.parquet")
    assert "4 of 12 images cannot be read" in raised.value.message
    assert all(f"a.parquet/{row} (cannot be read: " in raised.value.message for row in range(4, 8))
    found = load(tmp_path, "a.parquet", skip_unreadable=True)
    assert sorted(colors(found.train) + colors(found.test)) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_any_order_and_other_processes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", hugging_face(range(10)))
    read = ParquetImages("image")
    for row in (3, 0, 9, 8, 4, 4, 7):
        assert read(path / str(row)) == png(row)
    assert pickle.loads(pickle.dumps(read))(path / "2") == png(2)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", hugging_face(range(12)))
    for name, value, error, message in (
        ("_MAX_ROWS", 11, DataError, "declares 12 rows"),
        ("MAX_TABLE_BYTES", 20, DataError, "bytes in the column label, more than 20"),
        ("machine_memory", lambda: 1000, DeviceError, "its 12 rows do not fit in the memory"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"cnncli.config.parquet.{name}", value)
            with pytest.raises(error, match=message):
                load(tmp_path, "a.parquet")


def test_large_images_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary has one copy of an image of 500 kB that 64 rows have; what is read of them at once stays small."""
    monkeypatch.setattr("cnncli.data.parquet._BATCH_BYTES", 2**20)
    image = pa.array([bytes(500_000)] * 64).dictionary_encode()
    path = write(tmp_path / "a.parquet", pa.table({"image": image.cast(pa.binary())}), row_group_size=64)
    assert path.stat().st_size < 500_000
    read = ParquetImages("image")
    before = pa.total_allocated_bytes()
    assert len(read(path / "40")) == 500_000
    assert pa.total_allocated_bytes() - before < 2**23


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", hugging_face(range(12)))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="need the package pyarrow") as raised:
        load(tmp_path, "a.parquet")
    assert raised.value.remedy == 'pip install "cnncli[parquet]"'


def test_cached_pixels_belong_to_the_file_and_the_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", hugging_face(range(3)))
    images = [path / "0", path / "1"]
    keys = {fingerprint(tmp_path, images, column=column) for column in ("", "image", "scan")}
    write(path, hugging_face(range(4)))
    assert len(keys | {fingerprint(tmp_path, images)}) == 4


def test_init_and_data(tmp_path: Path) -> None:
    write(tmp_path / "pets/data/train-00000-of-00001.parquet", hugging_face(range(24)))
    config = parse_config(starter_config(look_at(tmp_path / "pets")), name="starter", data_dir=Path("nowhere"))
    assert (config.data.name, config.network.input_shape, len(config.classes)) == ("parquet", (1, 8, 8), 3)
    for path in ("pets", "pets/data/train-00000-of-00001.parquet"):
        target = find_target(str(tmp_path / path), data_dir=tmp_path)
        assert target.data.name == "parquet"
        assert len(load_dataset(target.data, data_dir=tmp_path).train) == 19  # without a fifth
