"""Decoded images against Pillow; worker processes that crash, and that end when they are no longer needed."""

import hashlib
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cnncli.data import decode as decode_module
from cnncli.data.decode import UnreadableImageError, decode, decoding
from cnncli.errors import DataError

HEIGHT, WIDTH = 9, 7
SIZE = (HEIGHT, WIDTH)


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two worker processes from the first image on, none of which outlives the test."""
    monkeypatch.setattr(decode_module, "_SERIAL_SECONDS", -1.0)
    monkeypatch.setattr(decode_module, "_CHUNK_IMAGES", 3)
    monkeypatch.setattr(decode_module, "_usable_cores", lambda: 2)
    yield
    assert not multiprocessing.active_children()


def noise(folder: Path, count: int) -> list[Path]:
    numbers = np.random.default_rng(0)
    paths = [folder / f"{number} ü.{'jpg' if number % 2 else 'png'}" for number in range(count)]
    for path in paths:
        Image.fromarray(numbers.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        scaled = image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(scaled).transpose(2, 0, 1)


@pytest.mark.usefixtures("two_workers")
def test_pixels_sums_and_digests_come_in_order(tmp_path: Path) -> None:
    paths = noise(tmp_path, 20)  # seven chunks, the last of two
    with decoding(paths, channels=3, size=SIZE) as chunks:
        first = next(chunks)
        assert len(multiprocessing.active_children()) == 2
        decoded = [first, *chunks]
    expected = np.stack(list(map(by_pillow, paths))).astype(np.int64)
    np.testing.assert_array_equal(np.concatenate([each.pixels for each in decoded]), expected)
    sums = np.stack([expected.sum(axis=(2, 3)), (expected**2).sum(axis=(2, 3))], axis=2)
    np.testing.assert_array_equal(np.concatenate([each.sums for each in decoded]), sums)
    digests = chain.from_iterable(each.digests for each in decoded)
    assert list(digests) == [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    assert not any(chain.from_iterable(each.problems for each in decoded))


@pytest.mark.usefixtures("two_workers")
def test_an_unreadable_image_is_reported_in_its_place(tmp_path: Path) -> None:
    paths = [*noise(tmp_path, 8), tmp_path / "missing.png"]
    paths[4].write_bytes(b"")
    paths[6].write_bytes(paths[6].read_bytes()[:-800])
    with decoding(paths, channels=3, size=SIZE) as chunks:
        problems = list(chain.from_iterable(each.problems for each in chunks))
    assert problems[:4] == [None] * 4
    assert problems[4] == "empty"
    assert "truncated" in str(problems[6])
    assert problems[8] == "No such file or directory"


@pytest.mark.usefixtures("two_workers")
@pytest.mark.skipif(sys.platform != "linux", reason="a spawned worker does not inherit what is patched here")
@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGKILL])
def test_an_image_that_crashes_its_decoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    paths = noise(tmp_path, 14)
    paths[4].write_bytes(b"deadly")
    real = Image.open

    def open_image(file: Any) -> Image.Image:
        if file.getvalue() == b"deadly":
            os.kill(os.getpid(), sent)
        return real(file)

    monkeypatch.setattr(Image, "open", open_image)
    with (
        pytest.raises(DataError, match=r"4 ü.png: the process that decoded it was killed ") as caught,
        decoding(paths, channels=3, size=SIZE) as chunks,
    ):
        list(chunks)
    assert caught.value.remedy is not None
    assert "replace or delete the image" in caught.value.remedy


@pytest.mark.usefixtures("two_workers")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pipes are of other sizes")
def test_a_worker_killed_while_it_sends_pixels_is_an_error(tmp_path: Path) -> None:
    """A chunk does not fit into the pipe: half of it has been sent."""

    def decode_and_kill() -> None:
        with decoding(noise(tmp_path, 40), channels=3, size=(500, 500)) as chunks:
            next(chunks)
            time.sleep(1)  # until both have decoded what they may, and wait
            for process in multiprocessing.active_children():
                process.kill()
            list(chunks)

    with pytest.raises(DataError, match="a process that decodes images was killed") as caught:
        decode_and_kill()
    assert "memory" in str(caught.value.remedy)


@pytest.mark.usefixtures("two_workers")
def test_other_errors_pass(tmp_path: Path) -> None:
    def decode_and_fail() -> None:
        with decoding(noise(tmp_path, 8), channels=3, size=SIZE) as chunks:
            next(chunks)
            raise RuntimeError("our own")

    with pytest.raises(RuntimeError, match="our own"):
        decode_and_fail()


@pytest.mark.usefixtures("two_workers")
def test_leaving_early_ends_the_processes(tmp_path: Path) -> None:
    with decoding(noise(tmp_path, 40), channels=3, size=(200, 200)) as chunks:
        assert len(next(chunks).digests) == 3
        assert len(multiprocessing.active_children()) == 2


@pytest.mark.usefixtures("two_workers")
def test_random_numbers_of_the_caller_stay_the_same(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    with decoding(noise(tmp_path, 4), channels=3, size=SIZE) as chunks:
        list(chunks)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_small_folder_needs_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "_usable_cores", lambda: 2)
    monkeypatch.setattr(decode_module, "DataLoader", None)
    with decoding(noise(tmp_path, 5), channels=3, size=SIZE) as chunks:
        (decoded,) = chunks
    assert decoded.pixels.shape == (5, 3, HEIGHT, WIDTH)


@pytest.mark.usefixtures("two_workers")
def test_one_core_needs_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "_usable_cores", lambda: 1)
    monkeypatch.setattr(decode_module, "DataLoader", None)
    with decoding(noise(tmp_path, 10), channels=3, size=SIZE) as chunks:
        assert sum(len(each.digests) for each in chunks) == 10


def test_processes_on_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first, which decodes while the others wait."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert decode_module._usable_cores() == 8
    cores = {}
    for rank, size in ((0, 3), (1, 3), (2, 3), (9, 10)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(size))
        cores[rank, size] = decode_module._usable_cores()
    assert cores == {(0, 3): 8, (1, 3): 2, (2, 3): 2, (9, 10): 1}


def test_a_daemonic_process_starts_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    assert decode_module._usable_cores() == 1


def test_chunks_of_large_images_are_short(tmp_path: Path) -> None:
    with decoding(noise(tmp_path, 3), channels=3, size=(1000, 1000)) as chunks:
        assert [len(each.digests) for each in chunks] == [1, 1, 1]


def pixel(path: Path, channels: int) -> list[int]:
    return [int(value) for value in decode(path, channels=channels, size=(3, 5)).pixels[:, 1, 2]]


def test_modes_are_converted(tmp_path: Path) -> None:
    """Expected values follow from the definitions of the modes; gray is 0.299 R + 0.587 G + 0.114 B."""
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "palette.png")
    see_through = Image.new("P", (6, 4), 1)
    see_through.putpalette([0, 0, 0, 200, 100, 50])
    see_through.save(tmp_path / "see_through.png", transparency=1)
    cases: dict[str, tuple[str, Any]] = {
        "rgb.png": ("RGB", (200, 100, 50)),
        "rgba.png": ("RGBA", (0, 0, 0, 0)),
        "half.png": ("RGBA", (0, 0, 0, 128)),
        "gray_alpha.png": ("LA", (0, 0)),
        "deep.png": ("I;16", 0x8000),
        "cmyk.tif": ("CMYK", (0, 255, 255, 0)),
        "one_bit.png": ("1", 1),
    }
    for name, (mode, color) in cases.items():
        Image.new(mode, (6, 4), color).save(tmp_path / name)
    assert pixel(tmp_path / "palette.png", 3) == [200, 100, 50]
    assert pixel(tmp_path / "see_through.png", 3) == [255, 255, 255]
    assert pixel(tmp_path / "rgb.png", 1) == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]
    assert pixel(tmp_path / "rgba.png", 3) == [255, 255, 255]
    assert pixel(tmp_path / "half.png", 1) == [127]
    assert pixel(tmp_path / "gray_alpha.png", 1) == [255]
    assert pixel(tmp_path / "deep.png", 3) == [128, 128, 128]
    assert pixel(tmp_path / "cmyk.tif", 3) == [255, 0, 0]
    assert pixel(tmp_path / "one_bit.png", 1) == [255]


def test_orientation_and_size_equal_pillow(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    ours = decode(tmp_path / "turned.png", channels=3, size=(10, 8)).pixels
    theirs = image.transpose(Image.Transpose.ROTATE_270).resize((8, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(ours, np.asarray(theirs).transpose(2, 0, 1))


def save_16_bit_png(path: Path, samples: NDArray[np.uint16]) -> None:
    """Write a PNG of 16 bits per sample (H, W, 3), which Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


DEPTHS: dict[str, tuple[NDArray[Any], tuple[float, float]]] = {
    "12 bits.png": (np.array([[0, 1000], [2000, 4095]], dtype=np.uint16), (0, 4095)),
    "8 bits in 16.png": (np.array([[0, 100], [200, 243]], dtype=np.uint16), (0, 255)),
    "16 bits.tif": (np.array([[5, 1000], [2000, 65535]], dtype=np.uint16), (0, 65535)),
    "32 bits.tif": (np.array([[-5, 1000], [2000, 70000]], dtype=np.int32), (-5, 70000)),
    "fraction.tif": (np.array([[0, 0.25], [0.5, 0.75]], dtype=np.float32), (0, 1)),
    "any float.tif": (np.array([[-1, 0], [3, 7]], dtype=np.float32), (-1, 7)),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_more_than_8_bits_are_scaled(name: str, tmp_path: Path) -> None:
    """By a range, outside of which pixels are clipped; an image that stands for itself by that of a usual depth."""
    values, usual = DEPTHS[name]
    Image.fromarray(values).save(tmp_path / name)
    for given, (low, high) in ((None, usual), ((100.0, 2500.0), (100, 2500)), ((0.0, 0.5), (0, 0.5))):
        found = decode(tmp_path / name, channels=1, size=(2, 2), range=given)
        expected = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(found.pixels[0], expected, atol=0.5)
        assert found.range == (values.min(), values.max())
        assert not found.has_16_bit_colors


def test_constant_and_infinite_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 7, dtype=np.uint16)).save(tmp_path / "constant.png")
    found = decode(tmp_path / "constant.png", channels=1, size=(2, 2), range=(7, 7))
    assert found.pixels.max() == 0
    for number in (float("nan"), float("inf")):
        Image.fromarray(np.array([[0, number]], dtype=np.float32)).save(tmp_path / "infinite.tif")
        with pytest.raises(UnreadableImageError, match="not finite"):
            decode(tmp_path / "infinite.tif", channels=1, size=(1, 2))


def test_colors_of_16_bits_are_noticed(tmp_path: Path) -> None:
    save_16_bit_png(tmp_path / "deep.png", np.full((2, 3, 3), 0x8045, dtype=np.uint16))
    found = decode(tmp_path / "deep.png", channels=3, size=(2, 3))
    assert found.has_16_bit_colors
    assert found.pixels.tolist() == [[[0x80] * 3] * 2] * 3


def test_lab_is_converted_by_way_of_rgb(tmp_path: Path) -> None:
    """The L*a*b* of sRGB (200, 100, 50), D50, is (54.2, 38.2, 46.2) by the formulas of the CIE."""
    Image.new("LAB", (6, 4), (round(54.2 * 2.55), 128 + 38, 128 + 46)).save(tmp_path / "lab.tif")
    assert np.abs(np.subtract(pixel(tmp_path / "lab.tif", 3), (200, 100, 50))).max() <= 4
    assert abs(pixel(tmp_path / "lab.tif", 1)[0] - 124) <= 4


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    noise(tmp_path, 60)
    script = (
        "import multiprocessing, pathlib, sys, time\n"
        "from cnncli.data import decode\n"
        "decode._SERIAL_SECONDS, decode._usable_cores = -1.0, lambda: 2\n"
        "paths = sorted(pathlib.Path(sys.argv[1]).iterdir())\n"
        "with decode.decoding(paths, channels=3, size=(500, 500)) as chunks:\n"
        "    next(chunks)\n"
        "    print(*(process.pid for process in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = parent.stdout.readline().split()
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(Path("/proc", worker).exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
