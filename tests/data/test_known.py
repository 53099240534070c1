"""Standard data sets: read in torchvision's layout, verified, cached checksums, downloads."""

import gzip
import hashlib
import json
import os
import pickle
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import pytest
import torch
from torchvision import datasets

from cnncli.config.data import DataSpec
from cnncli.config.datasets import DatasetName, known_dataset
from cnncli.data.batches import Normalization
from cnncli.data.cifar import read_batches
from cnncli.data.images import Dataset
from cnncli.data.known import load_known
from cnncli.data.load import load_dataset
from cnncli.data.verify import CHECKSUM_CACHE, Checksums, verify_files
from cnncli.errors import DataError, DiskError

LETTERS = known_dataset("emnist", "letters")


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def place_letters(root: Path, *, suffix: str = "") -> None:
    """A tiny EMNIST (letters): six training and four test images, labels from 1."""
    folder = root / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 4)):
        images, labels = generator.integers(0, 256, (count, 28, 28)), np.arange(1, count + 1)
        for kind, content in (("images-idx3", idx(images)), ("labels-idx1", idx(labels))):
            path = folder / f"emnist-letters-{part}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)


def load_letters(root: Path) -> Dataset:
    return load_dataset(DataSpec(name="emnist", split="letters"), data_dir=root)


def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def refuse(request: Request, *_: object, **__: object) -> None:
        asked.append(request.full_url)
        raise URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return asked


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_letters_are_upright_and_labels_start_at_zero(tmp_path: Path, suffix: str) -> None:
    place_letters(tmp_path, suffix=suffix)
    ours = load_letters(tmp_path)
    if suffix:
        place_letters(tmp_path / "plain")
    theirs = datasets.EMNIST(str(tmp_path / "plain" if suffix else tmp_path), split="letters", train=True)
    assert torch.equal(ours.train.images[:, 0], theirs.data.transpose(1, 2))
    assert torch.equal(ours.train.labels + 1, theirs.targets.to(torch.int64))
    assert ours.classes[0] == "a"
    assert len(ours.test) == 4
    assert len(ours.files) == 4


def test_size_and_channels_as_declared(tmp_path: Path) -> None:
    place_letters(tmp_path)
    spec = DataSpec(name="emnist", split="letters", size=(14, 20), channels=3)
    loaded = load_dataset(spec, data_dir=tmp_path)
    assert loaded.train.images.shape == (6, 3, 14, 20)
    assert loaded.test.images.shape == (4, 3, 14, 20)


def test_checksums_are_cached_until_a_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = Checksums(tmp_path)
    assert first.md5(file) == "f97c5d29941bfb1b2fdab0874906ab82"
    first.save()
    memory = tmp_path / CHECKSUM_CACHE
    seen = json.loads(memory.read_text())
    seen["a"]["md5"] = "remembered"
    memory.write_text(json.dumps(seen))
    assert Checksums(tmp_path).md5(file) == "remembered"
    file.write_bytes(b"other")
    assert Checksums(tmp_path).md5(file) == "795f3202b17cb6bc3d4b771d8c6c9eaf"
    file.write_bytes(b"two")
    os.utime(file, ns=(0, 0))  # as long as the first, at another time
    memory.write_text(json.dumps(seen))
    assert Checksums(tmp_path).md5(file) == "b8a9f715dbb64fd5c56e7783c6820a61"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}'])
def test_a_damaged_cache_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / CHECKSUM_CACHE).write_text(content)
    assert Checksums(tmp_path).md5(tmp_path / "a") == "f97c5d29941bfb1b2fdab0874906ab82"


def test_a_read_only_directory_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    place_letters(tmp_path)
    monkeypatch.setattr(Path, "replace", refuse)
    assert len(load_letters(tmp_path).train) == 6
    assert not (tmp_path / CHECKSUM_CACHE).exists()


def test_a_repacked_file_is_verified_by_its_content(tmp_path: Path) -> None:
    place_letters(tmp_path, suffix=".gz")
    packed = sorted((tmp_path / "EMNIST/raw").iterdir())
    contents = {path.stem: hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest() for path in packed}
    facts = replace(LETTERS, md5={**contents, **{path.name: "0" * 32 for path in packed}})

    def load() -> Dataset:
        return load_known(facts, data_dir=tmp_path, digits_flags="")

    assert load().files[packed[0].name] == f"md5:{hashlib.md5(packed[0].read_bytes()).hexdigest()}"
    assert len(load().train) == 6
    packed[0].write_bytes(gzip.compress(gzip.decompress(packed[0].read_bytes())[:-1] + b"x"))
    with pytest.raises(DataError, match="wrong checksum"):
        load()


def test_a_repacked_file_whose_content_has_no_published_checksum(tmp_path: Path) -> None:
    """As of KMNIST: it is intact if gzip's own checksum is right, and its header and labels are."""
    place_letters(tmp_path, suffix=".gz")
    packed = sorted((tmp_path / "EMNIST/raw").iterdir())
    facts = replace(LETTERS, md5={path.name: "0" * 32 for path in packed})
    assert len(load_known(facts, data_dir=tmp_path, digits_flags="").train) == 6
    for path in packed:
        verify_files(facts, [path], Checksums(tmp_path, cached=False))
        content = bytearray(path.read_bytes())
        content[-5] ^= 1  # of the checksum
        path.write_bytes(content)
        with pytest.raises(DataError, match="wrong checksum"):
            verify_files(facts, [path], Checksums(tmp_path, cached=False))


def test_no_network_and_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = no_network(monkeypatch)
    with pytest.raises(DataError) as caught:
        load_dataset(DataSpec(name="mnist", size=(28, 28)), data_dir=tmp_path)
    assert caught.value.exit_code == 4
    for text in (
        "train-images-idx3-ubyte",
        str(tmp_path / "MNIST" / "raw"),
        "Tried https://",
        "no network in this test",
    ):
        assert text in caught.value.message
    assert "--data-dir" in (caught.value.remedy or "")
    assert (caught.value.remedy or "").endswith("embedded digits instead: --set data.name=digits")
    assert len(asked) == 2  # both mirrors
    assert caplog.messages == [f"mnist: downloading to {tmp_path / 'MNIST' / 'raw'}"]
    assert list(tmp_path.iterdir()) == []


def test_the_remedy_fits_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    spec = DataSpec(name="emnist", split="letters", validation=5000)
    with pytest.raises(DataError) as caught:
        load_dataset(spec, data_dir=tmp_path)
    flags = "--set data.name=digits --set data.size=28 --set data.split=null --set data.validation=0.1"
    assert (caught.value.remedy or "").endswith(flags)
    assert "gzip.zip" in (caught.value.remedy or "")
    with pytest.raises(DataError) as caught:
        load_dataset(DataSpec(name="cifar10"), data_dir=tmp_path)
    assert (caught.value.remedy or "").endswith("data.name=digits --set data.size=32 --set data.channels=3")
    assert "Tried https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in caught.value.message


class Downloading:
    """Replaces a class of `torchvision.datasets` whose mirror works."""

    def __init__(self, root: str, *, train: bool, download: bool, split: str) -> None:
        assert train
        assert download
        assert split == "letters"
        sys.stdout.write("torchvision is talking")
        sys.stderr.write("and drawing its progress")
        place_letters(Path(root))
        (Path(root) / "EMNIST" / "raw" / "gzip.zip").write_bytes(b"archive")


def test_a_download_keeps_existing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets, "EMNIST", Downloading)
    place_letters(tmp_path)
    folder = tmp_path / "EMNIST" / "raw"
    (folder / "emnist-letters-test-labels-idx1-ubyte").unlink()
    own = folder / "emnist-letters-test-images-idx3-ubyte"
    own.write_bytes(idx(np.full((4, 28, 28), 7)))
    loaded = load_letters(tmp_path)
    assert (loaded.test.images == 7).all()
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        name for part in LETTERS.files.values() for name in part
    )
    assert {each.name for each in tmp_path.iterdir()} == {"EMNIST", CHECKSUM_CACHE}
    assert capsys.readouterr() == ("", "")


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def __init__(self, root: str, **_: object) -> None:
            place_letters(Path(root))
            raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "EMNIST", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_letters(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, **_: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets, "EMNIST", Full)
    with pytest.raises(DiskError, match="No space left on device"):
        load_letters(tmp_path)


def test_a_torchvision_that_does_not_match_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        assert name == "torchvision.datasets"
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(DataError, match=r"operator torchvision::nms does not exist$") as caught:
        load_letters(tmp_path)
    remedy = caught.value.remedy or ""
    assert "pip install --force-reinstall torch torchvision\n" in remedy
    assert "--index-url https://download.pytorch.org/whl/cpu" in remedy
    assert "--set data.name=digits" in remedy


def test_existing_files_need_no_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_imports.py checks that it is not imported with the program."""
    place_letters(tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it fails
    load_letters(tmp_path)


def cifar_batch(path: Path, labels: list[int], seed: int, key: bytes) -> None:
    """Write a pickle opcode by opcode, as Python 2 wrote the real files: its strings are neither bytes nor str."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8).tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(K" + bytes([len(labels)]) + b"M\x00\x0ct"
    state = b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<I", len(pixels)) + pixels + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    path.write_bytes(b"\x80\x02}(U\x04data" + array + state + b"U" + bytes([len(key)]) + key + listed + b"u.")


@pytest.mark.parametrize(
    ("name", "key", "reader"),
    [("cifar10", b"labels", datasets.CIFAR10), ("cifar100", b"fine_labels", datasets.CIFAR100)],
)
def test_cifar_equals_torchvision(
    name: DatasetName, key: bytes, reader: type[datasets.CIFAR10], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = replace(known_dataset(name), md5={}, counts=None)
    names = [*facts.files["train"], *facts.files["test"]]
    for number, file in enumerate(names):
        cifar_batch(tmp_path / facts.folder / file, [number, 9 - number], number, key)
    ours = load_known(facts, data_dir=tmp_path, digits_flags="")
    monkeypatch.setattr(reader, "_check_integrity", lambda _: True)
    monkeypatch.setattr(reader, "_load_meta", lambda _: None)
    theirs = reader(str(tmp_path), train=True)
    np.testing.assert_array_equal(ours.train.images.numpy(), theirs.data.transpose(0, 3, 1, 2))
    assert ours.train.labels.tolist() == theirs.targets
    assert len(ours.test) == 2


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("a pickle ran code",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "EOFError"),
        (b"not a pickle", "not a CIFAR batch"),
        (pickle.dumps(Harmful()), "it refers to builtins.print"),
        (
            pickle.dumps({b"data": np.zeros((2, 7), np.uint8), b"labels": [0, 1]}),
            r"images are uint8 \(2, 7\)",
        ),
    ],
)
def test_other_pickles_are_refused(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_batches(known_dataset("cifar10"), [tmp_path / "data_batch_1"])
    assert capsys.readouterr().out == ""


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_the_real_data_sets(real_data_dir: Path, tmp_path: Path, name: DatasetName, mean: float, std: float) -> None:
    loaded = load_dataset(DataSpec(name=name), data_dir=real_data_dir)
    assert (len(loaded.train), len(loaded.test)) == (60_000, 10_000)
    found = Normalization.of(loaded.train)
    assert (found.mean[0], found.std[0]) == pytest.approx((mean, std), abs=5e-5)
    part = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
    theirs = part(str(unpacked(real_data_dir, part.__name__, tmp_path)), train=False)
    assert torch.equal(loaded.test.images[:, 0], theirs.data)
    assert torch.equal(loaded.test.labels, theirs.targets)


def unpacked(data_dir: Path, name: str, target: Path) -> Path:
    """`target` with the files of a data set as torchvision reads them: it does not read gzipped ones."""
    (target / name / "raw").mkdir(parents=True)
    for path in (data_dir / name / "raw").iterdir():
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        (target / name / "raw" / path.name.removesuffix(".gz")).write_bytes(content)
    return target
