"""Data sets in NPZ and IDX files, as MedMNIST, Keras and people write them."""

import gzip
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cnncli.data.arrays as arrays_module
from cnncli.config.config import read_config
from cnncli.config.data import DataSpec, class_names, input_shape
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.errors import DataError, DeviceError

Arrays = dict[str, NDArray[Any]]


def pixels(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def medmnist(*shape: int) -> Arrays:
    """The keys, types and shapes of MedMNIST's files."""
    found: Arrays = {}
    for seed, (part, count) in enumerate({"train": 9, "val": 4, "test": 5}.items()):
        found[f"{part}_images"] = pixels(count, *shape, seed=seed)
        found[f"{part}_labels"] = (np.arange(count) % 3).astype(np.uint8)[:, None]
    return found


def spec_of(name: str, path: str, **fields: object) -> DataSpec:
    return DataSpec.model_validate({"name": name, "path": path, **fields})


def load(folder: Path, arrays: Arrays, **fields: object) -> Dataset:
    np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]  # its last argument has a name, too
    return load_dataset(spec_of("npz", "a.npz", **fields), data_dir=folder)


def test_medmnist_in_color(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = medmnist(28, 27, 3)
    found = load(tmp_path, arrays)
    spec = spec_of("npz", "a.npz")
    assert (input_shape(spec, tmp_path), class_names(spec, tmp_path)) == ((3, 28, 27), ("0", "1", "2"))
    assert (len(found.train), found.validation, len(found.test), found.range) == (13, 4, 5, None)
    expected = np.concatenate([arrays["train_images"], arrays["val_images"]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.train.images.numpy(), expected)
    np.testing.assert_array_equal(found.test.images.numpy(), arrays["test_images"].transpose(0, 3, 1, 2))
    assert found.test.labels.tolist() == [0, 1, 2, 0, 1]
    assert "npz: 4 validation images of its own, in place of data.validation" in caplog.messages
    assert len(load(tmp_path, arrays, validation=0).train) == 9


def test_medmnist_in_gray_with_names_of_classes(tmp_path: Path) -> None:
    found = load(tmp_path, medmnist(28, 28), classes=["a", "b", "c"], size=14)
    assert found.classes == ("a", "b", "c")
    assert found.train.images.shape == (13, 1, 14, 14)


@pytest.mark.parametrize("dtype", ["<i8", ">i4", "|u1", "<u2", ">i2"])
def test_keras_and_types_of_labels(dtype: str, tmp_path: Path) -> None:
    labels = (np.arange(20) % 4).astype(dtype)
    arrays = {"x_train": pixels(20, 5, 6), "y_train": labels, "x_test": pixels(4, 5, 6, seed=1), "y_test": labels[:4]}
    found = load(tmp_path, arrays)
    assert class_names(spec_of("npz", "a.npz"), tmp_path) == ("0", "1", "2", "3")
    assert found.train.labels.tolist() == labels.tolist()
    np.testing.assert_array_equal(found.train.images[:, 0].numpy(), arrays["x_train"])


def test_floating_point_and_channels_first(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((10, 3, 4, 5)).astype(np.float32)
    images[0, 0, 0, :2] = 0, 1
    found = load(tmp_path, {"x_train": images, "y_train": np.arange(10) % 2}, range=[0, 1])
    assert (len(found.train), len(found.test), found.range) == (8, 2, (0, 1))
    both = np.concatenate([found.train.images.numpy(), found.test.images.numpy()])
    assert sorted(both.flatten().tolist()) == sorted(np.rint(images * 255).astype(int).flatten().tolist())
    test = load(tmp_path, {"x_train": images * 5 - 2, "y_train": np.arange(10) % 2}).test
    assert (test.images.int() - found.test.images.int()).abs().max() <= 1, "scaled by another range"


def test_images_in_two_parts_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = medmnist(6, 6)
    arrays["test_images"][1:3] = arrays["train_images"][:2]
    load(tmp_path, arrays)
    assert "npz: 2 images in common of test and training images; the test accuracy will be too high" in caplog.messages


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        ({"train_images": pixels(9, 28, 28, 28)}, {}, r"an array of shape \(9, 28, 28, 28\) has no gray or RGB images"),
        ({"train_labels": np.zeros((9, 14), dtype=np.uint8)}, {}, "train_labels has labels of type .u1 and shape"),
        ({"train_labels": np.full(9, 0.5)}, {"classes": ["a", "b"]}, "labels of type <f8"),
        ({"train_labels": np.array([-1] * 9)}, {}, "negative labels"),
        ({"train_labels": np.arange(8)}, {}, "8 labels for 9 images"),
        ({"test_labels": np.full(5, 7)}, {}, "test_labels: labels from 7 to 7, but there are 3 classes"),
        ({}, {"classes": 2}, "2 classes declared, but .* has 3: 0, 1, 2"),
        ({}, {"classes": ["a", "b", "c", "d"]}, "no training images of d"),
        ({}, {"test": 3}, "has its own test images"),
        ({"train_labels": np.array([None] * 9)}, {}, "labels of type .O"),
        ({"train_labels": np.full(9, 2**40)}, {}, "has the label 1,099,511,627,776"),
        ({"train_images": pixels(9, 28, 28).astype(complex)}, {}, "train_images has pixels of type <c16"),
        ({"train_images": np.zeros((9, 28, 28), "datetime64[s]")}, {}, "train_images has pixels of type <M8"),
        ({"train_images": pixels(9, 0, 28)}, {}, "images of 0x28 pixels"),
        ({"train_images": np.uint8(3)}, {}, "header of train_images is not that of a plain array"),
        ({"train_images": np.full((9, 28, 28), np.inf)}, {}, "pixels that are no finite numbers"),
    ],
)
def test_what_is_no_data_set(change: Arrays, fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, {**medmnist(28, 28), **change}, **fields)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "no.npz").write_bytes(b"PK")
    np.savez(tmp_path / "cut.npz", **medmnist(28, 28))  # type: ignore[arg-type]  # see above
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:900] + bytes(300) + whole[1200:])
    for name, message in {
        "nowhere.npz": "data.path: not found: .*nowhere.npz",
        "other.npz": "it has no images in its arrays a",
        "no.npz": "no.npz cannot be read: ",
        "cut.npz": "cut.npz: cannot be read: Bad CRC-32",
    }.items():
        with pytest.raises(DataError, match=message):
            load_dataset(spec_of("npz", name), data_dir=tmp_path)


GOOD = {"descr": "|u1", "fortran_order": False, "shape": (9, 6, 6)}


@pytest.mark.parametrize(
    "header",
    [
        "[1, 2]",
        "{[]: 1}",
        "{1 + 'a': 2}",
        "(" * 3000,
        "-" * 9000 + "1",
        "{'descr': '|u1', 'fortran_order': False}",
        str({**GOOD, "shape": 9}),
        str({**GOOD, "shape": ()}),
        str({**GOOD, "shape": ("9", 6, 6)}),
        str({**GOOD, "shape": (-9, -6, 6)}),
        str({**GOOD, "shape": (2**62, 6, 6)}),
        str({**GOOD, "shape": (9, 6, 7)}),
        str({**GOOD, "descr": ["|u1"]}),
        str(GOOD) + " " * 20_000,
    ],
)
@pytest.mark.parametrize("name", ["train_images", "train_labels"])
def test_a_header_of_something_else_is_refused(header: str, name: str, tmp_path: Path) -> None:
    arrays: Arrays = {"train_images": pixels(9, 6, 6), "train_labels": np.arange(9) % 3}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for each, values in arrays.items():
            with archive.open(f"{each}.npy", "w") as file:
                if each == name:
                    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
                    file.write(values.tobytes())
                else:
                    np.lib.format.write_array(file, values)
    with pytest.raises(DataError, match=rf"a.npz(: | cannot be read: ).*{name}"):
        load_dataset(spec_of("npz", "a.npz"), data_dir=tmp_path)


def test_black_and_white(tmp_path: Path) -> None:
    arrays = medmnist(6, 6)
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = arrays[f"{part}_images"] > 100
    found = load(tmp_path, arrays)
    np.testing.assert_array_equal(found.test.images[:, 0].numpy(), arrays["test_images"] * np.uint8(255))


@pytest.mark.parametrize(("local", "central", "value"), [(6, 8, 1), (8, 10, 99)], ids=["encrypted", "method"])
def test_archives_that_zip_cannot_open(local: int, central: int, value: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **medmnist(6, 6))  # type: ignore[arg-type]  # see above
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for mark, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        for found in re.finditer(re.escape(mark), content):
            content[found.start() + offset] = value
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz cannot be read: .*(encrypted|not supported)"):
        load_dataset(spec_of("npz", "a.npz"), data_dir=tmp_path)


def test_a_device_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="it is no regular file"):
        load_dataset(spec_of("npz", "a.npz"), data_dir=tmp_path)


def test_more_images_than_are_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.config.arrays._MAX_IMAGES", 8)
    with pytest.raises(DataError, match=r"a\.npz declares 9 images"):
        load(tmp_path, medmnist(6, 6))


def test_images_that_do_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays_module, "machine_memory", lambda: 1000)
    with pytest.raises(DeviceError, match=r"the images need 1\.9 kB, but this machine has 1000 B"):
        load(tmp_path, medmnist(6, 6))


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    content = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(
    "names",
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte.gz", "train-labels.idx1-ubyte.gz", "test-images.idx", "test-labels.idx"),
        ("letters_images_train.idx", "letters_labels_train.idx", "", ""),
    ],
)
def test_idx_files(names: tuple[str, ...], tmp_path: Path) -> None:
    images, labels = pixels(20, 7, 6), (np.arange(20) % 5).astype(np.uint8)
    for name, values in zip(names, (images, labels, images[::-1][:6], labels[::-1][:6]), strict=True):
        if name:
            write_idx(tmp_path / "own" / name, np.ascontiguousarray(values))
    spec = spec_of("idx", "own")
    assert (input_shape(spec, tmp_path), class_names(spec, tmp_path)) == ((1, 7, 6), ("0", "1", "2", "3", "4"))
    found = load_dataset(spec, data_dir=tmp_path)
    if names[2]:
        np.testing.assert_array_equal(found.train.images[:, 0].numpy(), images)
        assert found.test.labels.tolist() == labels[::-1][:6].tolist()
    else:
        assert (len(found.train), len(found.test)) == (16, 4)


def test_a_run_can_be_read_without_its_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **medmnist(12, 10, 3))  # type: ignore[arg-type]  # see above
    (tmp_path / "a.yaml").write_text("data: {name: npz, path: a.npz}\nmodel: {layers: [flatten, logits]}\n")
    config = read_config(str(tmp_path / "a.yaml"), data_dir=tmp_path)
    assert config.network.input_shape == (3, 12, 10)
    (tmp_path / "resolved.yaml").write_text(config.resolved(), encoding="utf-8")
    again = read_config(str(tmp_path / "resolved.yaml"), data_dir=tmp_path / "elsewhere")
    assert (again.classes, again.network) == (config.classes, config.network)
    with pytest.raises(DataError, match="not found") as caught:
        read_config(str(tmp_path / "a.yaml"), data_dir=tmp_path / "elsewhere")
    assert "set data.size, data.channels and data.classes" in str(caught.value.remedy)


def test_a_limit_per_class_takes_some_training_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([0] * 12 + [1] * 8 + [2] * 2)
    arrays = {"x_train": pixels(22, 4, 4), "y_train": labels, "x_test": pixels(3, 4, 4, seed=1), "y_test": np.arange(3)}
    arrays |= {"x_val": pixels(3, 4, 4, seed=2), "y_val": np.arange(3)}
    few, more, every = (load(tmp_path, arrays, limit=limit) for limit in (2, 5, 100))
    counts = [torch.bincount(each.train.labels[: -each.validation]).tolist() for each in (few, more, every)]
    assert counts == [[2, 2, 2], [5, 5, 2], [12, 8, 2]]
    assert [(each.validation, len(each.test)) for each in (few, more, every)] == [(3, 3)] * 3
    rows = [{image.numpy().tobytes() for image in each.train.images} for each in (few, more, every)]
    assert rows[0] < rows[1] < rows[2]
    assert torch.equal(few.train.images[-3:], every.train.images[-3:])
    assert "data.limit: 6 of 22 training images are used" in caplog.messages


def test_a_damaged_idx_file_of_people_is_not_downloaded_again(tmp_path: Path) -> None:
    write_idx(tmp_path / "letters" / "train-images", pixels(9, 6, 6))
    write_idx(tmp_path / "letters" / "train-labels", np.arange(9, dtype=np.uint8) % 3)
    with (tmp_path / "letters" / "train-images").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match="truncated") as caught:
        load_dataset(spec_of("idx", "letters"), data_dir=tmp_path)
    assert caught.value.remedy == "replace it with an intact copy"
