"""Cached pixels: when they are valid, when not, and what is left after a failure."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.config.config import read_config
from cnncli.config.data import DataSpec
from cnncli.data import decode as decode_module
from cnncli.data import image_cache, image_files
from cnncli.data.decode import decode
from cnncli.data.image_cache import FOLDER, CachedImages, DecodedFacts
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.errors import DataError, DiskError
from cnncli.experiment.setup import prepare
from cnncli.training.loop import fit
from cnncli.training.step import Step

SIZE = (4, 6)


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_MAX_IN_MEMORY", 10)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of eight noisy images of two classes."""
    folder = tmp_path / "pets"
    numbers = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            pixels = numbers.integers(0, 256, (8, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def load(folder: Path, **fields: object) -> Dataset:
    spec = {"name": "image-folder", "path": folder.name, "size": SIZE, "channels": 1, "test": 2, **fields}
    return load_dataset(DataSpec.model_validate(spec), data_dir=folder.parent)


def cached(folder: Path) -> set[str]:
    """The files of pixels, and the files that belong to none of them."""
    every = list((folder.parent / FOLDER).iterdir())
    stems = {path.stem for path in every if path.suffix == ".uint8"}
    return {path.name for path in every if path.suffix == ".uint8" or path.stem not in stems}


def pixels_by_pillow(path: Path) -> list[int]:
    with Image.open(path) as image:
        return list(image.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR).tobytes())


@contextmanager
def no_decoding() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_files, "decoding", None)
        yield


def test_images_are_decoded_once(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = load(pets)
    images = [*first.train.images.flatten(1).tolist(), *first.test.images.flatten(1).tolist()]
    assert sorted(images) == sorted(map(pixels_by_pillow, pets.rglob("*.png")))
    assert len(cached(pets)) == 2
    assert any("once, into" in notice for notice in caplog.messages)
    with no_decoding():
        second = load(pets)
    assert torch.equal(second.train.images, first.train.images)
    assert torch.equal(second.test.images, first.test.images)
    assert second.files == first.files
    assert sum("decoded images from" in notice for notice in caplog.messages) == 2


def test_sums_equal_those_of_the_pixels(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (10, 10, 2**20):  # decoded, found again, in memory
        monkeypatch.setattr(image_files, "_MAX_IN_MEMORY", limit)
        train = load(pets).train
        values = train.images.flatten(2).long()  # (N, C, H W)
        assert train.sums is not None
        assert torch.equal(train.sums, torch.stack([values.sum(dim=2), (values**2).sum(dim=2)], dim=2))


def test_the_data_set_in_memory_is_the_same(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = load(pets)
    monkeypatch.setattr(image_files, "_MAX_IN_MEMORY", 2**20)
    held = load(pets)
    assert torch.equal(held.train.images, mapped.train.images)
    assert held.files == mapped.files


@pytest.mark.parametrize("number", range(8))
def test_a_changed_file_is_decoded_again_and_old_pixels_are_removed(
    pets: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Only in its own part: the other part stays cached."""
    before, old = load(pets), cached(pets)
    changed = sorted(pets.rglob("*.png"))[number]
    Image.new("L", (8, 9), 77).save(changed)
    os.utime(changed, ns=(0, 10**18))
    after = load(pets)
    images = [*after.train.images.flatten(1).tolist(), *after.test.images.flatten(1).tolist()]
    assert sorted(images) == sorted(map(pixels_by_pillow, pets.rglob("*.png")))
    assert [77] * 24 in images
    assert len({*before.files.items(), *after.files.items()}) == 3
    assert len(cached(pets)) == 2
    assert len(cached(pets) & old) == 1
    assert any("decoded before" in notice for notice in caplog.messages)
    with no_decoding():
        load(pets)


def test_a_file_of_the_same_size_is_recognized_by_its_time(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    for label in ("cat", "dog"):
        for number in range(2):
            (folder / label).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 9), number).save(folder / label / f"{number}.bmp")
    load(folder)
    before = (folder / "cat" / "0.bmp").stat()
    Image.new("L", (8, 9), 55).save(folder / "cat" / "0.bmp")
    assert (folder / "cat" / "0.bmp").stat().st_size == before.st_size
    os.utime(folder / "cat" / "0.bmp", ns=(0, before.st_mtime_ns + 1))
    after = load(folder)
    assert 55 in torch.cat((after.train.images, after.test.images))


def test_other_sizes_parts_and_folders_are_cached_too(pets: Path) -> None:
    load(pets)
    load(pets, size=(5, 5))
    load(pets, test=4)
    shutil.copytree(pets, pets.with_name("copy"))
    load(pets.with_name("copy"), size=(6, 6))
    assert len(cached(pets)) == 8
    with no_decoding():
        load(pets)


def test_a_folder_with_train_and_test(pets: Path) -> None:
    """A change in one part does not affect the other."""
    for part in ("train", "test"):
        shutil.copytree(pets, pets.parent / "both" / part)
    both = pets.parent / "both"
    load(both, test=None)
    (both / "test" / "cat" / "0.png").unlink()
    old = cached(both)
    load(both, test=None)
    assert len(cached(both)) == 2
    assert len(cached(both) & old) == 1


def test_the_decoder_version_invalidates_the_cache(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(pets)
    old = cached(pets)
    monkeypatch.setattr(image_cache, "DECODER_VERSION", 99)
    load(pets)
    new = cached(pets)
    assert not new & old
    monkeypatch.setattr("PIL.__version__", "99")
    load(pets)
    assert not cached(pets) & new


def test_the_same_names_sizes_and_times_in_another_folder_are_other_images(tmp_path: Path) -> None:
    for folder, color in (("pets", 11), ("others", 22)):
        for label in ("cat", "dog"):
            (tmp_path / folder / label).mkdir(parents=True)
            for number in range(2):
                path = tmp_path / folder / label / f"{number}.bmp"
                Image.new("L", (8, 9), color).save(path)
                os.utime(path, ns=(0, 10**18))
    assert set(load(tmp_path / "pets").train.images.flatten().tolist()) == {11}
    assert set(load(tmp_path / "others").train.images.flatten().tolist()) == {22}


@pytest.mark.parametrize("limit", [10, 2**20])
def test_a_broken_link_is_named(pets: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    load(pets)  # so that there is an outdated cache
    monkeypatch.setattr(image_files, "_MAX_IN_MEMORY", limit)
    (pets / "cat" / "1.png").unlink()
    (pets / "cat" / "1.png").symlink_to(pets / "nowhere")
    with pytest.raises(DataError, match=r"1 of \d images cannot be read: cat/1.png \(No such file or directory\)"):
        load(pets)


@pytest.mark.parametrize("limit", [10, 2**20])
def test_a_file_that_is_deleted_after_it_was_read_changes_the_folder(
    pets: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    load(pets)
    old = cached(pets)
    monkeypatch.setattr(image_files, "_MAX_IN_MEMORY", limit)
    clean = image_files.clean_cache

    def delete_and_clean(folder: image_files.Listing, **rest: object) -> None:
        fresh = image_files.Listing(root=folder.root, paths=folder.paths, labels=folder.labels)
        (pets / "cat" / "1.png").unlink()
        clean(fresh, **rest)  # type: ignore[arg-type]  # handed on as it comes

    monkeypatch.setattr("cnncli.data.image_files.clean_cache", delete_and_clean)
    assert len(load(pets).train) == 6
    assert old
    assert not cached(pets) & old


@pytest.mark.parametrize("metadata", [b"", b'{"checksum": "sha', b"[1]", b"\xff"])
def test_damaged_metadata_is_ignored(pets: Path, metadata: bytes) -> None:
    first = load(pets)
    for path in (pets.parent / FOLDER).glob("*.json"):
        path.write_bytes(metadata)
    again = load(pets)
    assert again.files == first.files
    with no_decoding():
        load(pets)


@pytest.mark.parametrize("kind", ["uint8", "sums", "digests"])
def test_a_truncated_file_is_ignored(pets: Path, kind: str) -> None:
    first = load(pets)
    expected = first.train.images.clone()
    for path in (pets.parent / FOLDER).glob(f"*.{kind}"):
        path.unlink()
        path.write_bytes(b"\0")
    assert torch.equal(load(pets).train.images, expected)


@pytest.mark.parametrize("what", [KeyboardInterrupt, DataError])
def test_interrupted_decoding_leaves_nothing(
    pets: Path, monkeypatch: pytest.MonkeyPatch, what: type[BaseException]
) -> None:
    monkeypatch.setattr(decode_module, "_CHUNK_IMAGES", 1)

    def decode_or_not(path: Path, **target: object) -> object:
        if path.name == "3.png":
            if what is KeyboardInterrupt:
                raise KeyboardInterrupt
            path.write_bytes(b"broken")
        assert any(name.endswith(".part") for name in cached(pets))
        return decode(path, **target)  # type: ignore[arg-type]  # handed on as it comes

    monkeypatch.setattr(decode_module, "decode", decode_or_not)
    with pytest.raises(what):
        load(pets)
    # The test images are intact: they are decoded, so that all that cannot be read are reported at once.
    assert len(cached(pets)) == (1 if what is DataError else 0)
    monkeypatch.undo()
    Image.new("L", (8, 9), 1).save(pets / "cat" / "3.png")
    Image.new("L", (8, 9), 1).save(pets / "dog" / "3.png")
    assert len(load(pets).train) == 6


def test_unfinished_files_are_removed_after_a_day(pets: Path) -> None:
    (pets.parent / FOLDER).mkdir()
    for name, hours in (("old.part", 25), ("busy.part", 1)):
        path = pets.parent / FOLDER / name
        path.touch()
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    load(pets)
    assert {name for name in cached(pets) if name.endswith(".part")} == {"busy.part"}


@pytest.mark.parametrize("limit", [10, 2**20])
def test_unfinished_files_are_removed_without_decoding(pets: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    load(pets)
    monkeypatch.setattr(image_files, "_MAX_IN_MEMORY", limit)
    part = pets.parent / FOLDER / "old.part"
    part.touch()
    os.utime(part, (time.time() - 3600 * 25,) * 2)
    load(pets)
    assert not part.exists()


def test_metadata_without_pixels_is_removed_after_a_day(pets: Path) -> None:
    """Before, another process may be about to write them."""
    load(pets)
    old, new = (pets.parent / FOLDER).glob("*.json")
    for note in (old, new):
        note.with_suffix(".uint8").unlink()
    os.utime(old, (time.time() - 3600 * 25,) * 2)
    for path in pets.rglob("*.png"):
        os.utime(path, ns=(0, 10**18))
    load(pets)
    assert not old.exists()
    assert not old.with_suffix(".sums").exists()
    assert new.exists()


def test_pixels_that_cannot_be_replaced_are_used_if_complete(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows does not replace a file that a process has mapped."""
    first = load(pets).train.images.clone()
    for note in (pets.parent / FOLDER).glob("*.json"):
        note.unlink()
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.suffix == ".uint8":
            raise PermissionError(13, "Access is denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    assert torch.equal(load(pets).train.images, first)
    assert len(cached(pets)) == 2, "no unfinished file is left"
    with no_decoding():
        load(pets)
    shutil.rmtree(pets.parent / FOLDER)
    with pytest.raises(DiskError, match="Access is denied"):
        load(pets)


def test_two_processes_may_decode_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.touch()
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 1, 4, 6)
    sums, digests = np.array([[[276, 4324]]]), np.zeros((1, 32), dtype=np.uint8)
    facts = DecodedFacts(checksum="sha256:x", unreadable={}, range=(0.5, 7.0), reduced=0)
    first, second = (CachedImages(tmp_path, tmp_path, [file], pixels.shape, "now") for _ in range(2))
    with first.writing() as write_first:
        write_first.write(pixels[:, :, :2])
        with second.writing() as write_second:
            write_second.write(pixels)
            second.complete(facts, sums=sums, digests=digests)
        assert torch.equal(second.open()[0], torch.from_numpy(pixels))
        write_first.write(pixels[:, :, 2:])
        first.complete(facts, sums=sums, digests=digests)
    assert torch.equal(first.open()[0], torch.from_numpy(pixels))
    assert CachedImages(tmp_path, tmp_path, [file], pixels.shape, "now").facts == facts


def test_missing_room_is_reported_before_decoding(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5})())
    with pytest.raises(DiskError, match="the decoded images need 144 bytes, 5 are free"):
        load(pets)
    assert cached(pets) == set()


def test_a_disk_that_fills_up_is_an_error(pets: Path) -> None:
    """By a limit on the size of a file, which fails as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DiskError, match="File too large") as caught:
            load(pets)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--data-dir" in str(caught.value.remedy)
    assert cached(pets) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_more_can_be_mapped_than_there_is_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.touch()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shape = (memory // 10**6, 1, 1000, 2000)  # twice as much
    cache = CachedImages(tmp_path, tmp_path, [file], shape, "now")
    cache.facts = DecodedFacts(checksum="", unreadable={}, range=None, reduced=0)
    cache.path.parent.mkdir()
    cache.path.touch()
    os.truncate(cache.path, cache.size)  # sparse: takes no room on the disk
    cache.path.with_suffix(".sums").write_bytes(bytes(16 * shape[0]))
    cache.path.with_suffix(".digests").write_bytes(bytes(32 * shape[0]))
    images, _, _ = cache.open()
    assert images.shape == shape
    assert images[-1, 0, -1, -1] == 0


class PeakAnonymous:
    """The peak of anonymous memory above that at the start, which excludes mapped files."""

    def __init__(self) -> None:
        self._before = self._most = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakAnonymous":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        return self._most - self._before

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, self._now())

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        (line,) = (line for line in lines if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports anonymous memory")
@pytest.mark.slow
def test_training_on_a_folder_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """288 MiB of pixels, in less than half of that."""
    side, count, bound = 512, 384, 128 * 2**20
    monkeypatch.setattr(decode_module, "_SERIAL_SECONDS", 0.0)
    for number in range(count):
        path = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number % 256, number % 128, 0)).save(path)
    config = tmp_path / "pets.yaml"
    config.write_text(
        "data: {name: image-folder, path: pets, size: 16, validation: 0.2, test: 0.2}\n"
        "model: {layers: [{conv: {out_channels: 2, kernel_size: 8, stride: 8}}, global_avg_pool, logits]}\n"
        "train: {batch_size: 4, epochs: 1}\n"
        "log: {images: 0}\n",
        encoding="utf-8",
    )

    def train(*assignments: str) -> int:
        read = read_config(str(config), data_dir=tmp_path, assignments=assignments)
        experiment = prepare(read, data_dir=tmp_path, device=torch.device("cpu"))
        (epoch,) = fit(Step(experiment.training), experiment.train, experiment.validation, classes=2, epochs=1)
        assert epoch.validation is not None
        return (
            experiment.train.image_count + experiment.validation.image_count + experiment.test.image_count
            if experiment.validation
            else 0
        )

    train()  # so that torch has done its late imports
    with PeakAnonymous() as peak:
        assert train(f"data.size={side}") == count
    assert peak.bytes < bound < side * side * 3 * count
