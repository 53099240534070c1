"""Files that are no configs, written by the libraries whose formats they are, or by their published first bytes."""

import gzip
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cnncli.file_types import file_type


def _save_legacy(path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)


def _save_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.script(nn.ReLU()).save(path)  # type: ignore[no-untyped-call]  # torch does not annotate it


def _save_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")


def _save_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "notes.txt")


WRITERS = {
    "a file of torch.save": [lambda path: torch.save({"weight": torch.zeros(2)}, path), _save_legacy],
    "a TorchScript module": [_save_script],
    "a safetensors file": [lambda path: save_file({"weight": torch.zeros(2)}, path)],
    "an HDF5 file": [lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))],
    "a Keras network": [lambda path: _save_zip(path, "metadata.json", "config.json", "model.weights.h5")],
    "a TensorFlow Lite network": [lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))],
    "a network in the format ORT of onnxruntime": [lambda path: path.write_bytes(b"\x18\0\0\0ORTM" + bytes(40))],
    "a zip archive": [lambda path: _save_zip(path, "notes.txt")],
    "an archive of NumPy arrays": [lambda path: np.savez(path.open("wb"), a=np.zeros(2))],
    "a NumPy array": [lambda path: np.save(path.open("wb"), np.zeros(2))],
    "a gzip archive": [lambda path: path.write_bytes(gzip.compress(b"version: 1"))],
    "a tar archive": [_save_tar],
    "a Python pickle": [lambda path: path.write_bytes(pickle.dumps({"a": 1}))],
    "a PNG image": [lambda path: Image.new("L", (4, 4)).save(path, "PNG")],
    "a JPEG image": [lambda path: Image.new("L", (4, 4)).save(path, "JPEG")],
    "a GIF image": [lambda path: Image.new("L", (4, 4)).save(path, "GIF")],
    "a BMP image": [lambda path: Image.new("L", (4, 4)).save(path, "BMP")],
    "a TIFF image": [lambda path: Image.new("L", (4, 4)).save(path, "TIFF")],
    "a WebP image": [lambda path: Image.new("L", (4, 4)).save(path, "WEBP")],
    "an HTML page": [lambda path: path.write_text("<!DOCTYPE html>\n<title>a</title>")],
    "a binary file": [lambda path: path.write_bytes(b"abc\0\1\2")],
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # numpy's files are closed when they are collected
@pytest.mark.parametrize("what", WRITERS)
def test_recognized_whatever_the_name(what: str, tmp_path: Path) -> None:
    for number, write in enumerate(WRITERS[what]):
        path = tmp_path / f"{number}.yaml"
        write(path)
        found = file_type(path)
        assert found is not None
        assert found.what.startswith(what)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P",
        b"\x08",
        "version: 1\n".encode("utf-16"),
        "name: größe\n".encode("latin-1"),
        b"layers: {a: 1}",
        b"BM: 1\n",
        b"GIF: 1\n",
        b"GGUF: 1\n",
        b"a: \x07\n",
    ],
)
def test_what_may_be_text_is_left_to_the_reader_of_configs(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert file_type(path) is None


def test_onnx_of_every_version(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", tensors[:1], tensors[1:])
    for producer in ("", "pytorch"):
        for version in (3, 7, 10):
            path = tmp_path / f"{version}.bin"
            path.write_bytes(
                onnx.helper.make_model(graph, producer_name=producer, ir_version=version).SerializeToString()
            )
            found = file_type(path)
            assert found is not None
            assert found.what == "an ONNX network"


def test_a_damaged_zip_archive(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    path.write_bytes(path.read_bytes()[:200])
    found = file_type(path)
    assert found is not None
    assert found.what == "a damaged zip archive"
