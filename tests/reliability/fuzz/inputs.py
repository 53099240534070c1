"""Image files, data sets and run directories, damaged."""

import functools
import gzip
import io
import json
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from tests.reliability.fuzz.case import RUN, Case, chance
from tests.reliability.fuzz.mutation import mutate_bytes, value

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
MODES = ("L", "RGB", "RGBA", "P", "1", "I;16", "LA")


@functools.cache
def _image(file_format: str, mode: str, size: int) -> bytes:
    """A small picture in a format; in mode L where the format lacks the mode."""
    pixels = np.random.default_rng(size).integers(0, 255, (size, size), dtype=np.uint8)
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    try:
        converted = Image.fromarray(pixels.astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
        converted.save(file, file_format)
    except OSError:
        file = io.BytesIO()
        image.save(file, file_format)
    return file.getvalue()


def _damaged_image(r: random.Random) -> bytes:
    content = _image(r.choice(FORMATS), r.choice(MODES), r.choice((1, 8, 28)))
    choice = r.random()
    if choice < 0.05:
        return content
    if choice < 0.1:
        return bytes(r.randrange(256) for _ in range(r.randrange(200)))
    if choice < 0.3 and content.startswith(b"\x89PNG"):  # another size in the header, with its checksum
        import zlib

        sizes = (0, 1, 7, 60_000, 2**31 - 1, 2**32 - 1)
        header = b"IHDR" + struct.pack(">II", r.choice(sizes), r.choice(sizes)) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    return mutate_bytes(r, content)


def image_case(r: random.Random) -> Case:
    """Several image files for one prediction, so that a case is worth its start."""
    names = [f"i{n}{r.choice(('.png', '.jpg', '.gif', '.bmp', '.tif', '.x'))}" for n in range(r.choice((1, 1, 2, 4)))]
    files: dict[str, bytes | None] = {name: _damaged_image(r) for name in names}
    options = {"--invert": ("auto", "yes", "no"), "--fit": ("auto", "none"), "--top": ("1", "99999", "0", "x")}
    words = [word for option, values in options.items() if chance(r, 0.2) for word in (option, r.choice(values))]
    return Case("images", ("predict", RUN, *names, *words), files, run=True)


def folder_case(r: random.Random) -> Case:
    """A folder of class folders, some of whose images are damaged."""
    files: dict[str, bytes | None] = {}
    for number in range(r.choice((1, 2, 10))):
        for image in range(r.choice((0, 1, 2))):
            content = _damaged_image(r) if chance(r, 0.5) else _image("PNG", "L", 8)
            files[f"images/{number}/{image}.png"] = content
    return Case("image folders", ("eval", RUN, "--data", "images"), files, run=True)


@functools.cache
def _idx(images: bool, packed: bool) -> bytes:
    """Ten digits of MNIST's shape, or their labels."""
    shape = (10, 28, 28) if images else (10,)
    content = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    content += bytes(range(10)) if not images else bytes(i % 251 for i in range(7840))
    return gzip.compress(content, mtime=0) if packed else content


def idx_case(r: random.Random) -> Case:
    """Files of MNIST, one of which is damaged."""
    packed = chance(r, 0.3)
    names = {f"{split}-{kind}{'.gz' if packed else ''}": kind.startswith("images")
             for split in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")}  # fmt: skip
    damaged = r.choice([name for name in names if name.startswith("t10k") or chance(r, 0.2)])
    files: dict[str, bytes | None] = {}
    for name, images in names.items():
        content = _idx(images, packed)
        files[f"d/MNIST/raw/{name}"] = mutate_bytes(r, content) if name == damaged else content
    return Case("IDX files", ("eval", RUN, "--data", "mnist", "--data-dir", "d"), files, run=True)


TRAIN = ("train", "c.yaml", "--data-dir", ".", "--out", "out", "--quiet", "--threads", "1")
TRAINED = """\
data: {DATA, validation: 0.25}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3}}, global_avg_pool, logits]}
train: {epochs: 1}
log: {images: 0}
"""


def table_case(r: random.Random) -> Case:
    """A table of images, and images, some of which are damaged."""
    files: dict[str, bytes | None] = {}
    lines = [r.choice(("file_name,label,split", "path,class", "image;target", "file\tcategory", "a,b", ""))]
    separator = next((each for each in ",;\t" if each in lines[0]), ",")
    for number in range(r.choice((0, 1, 16))):
        name = f"i{number}.png"
        files[name] = _damaged_image(r) if chance(r, 0.05) else _image("PNG", "L", 8)
        label = r.choice(("cat", "dog")) if chance(r, 0.95) else str(value(r))
        cells = [name if chance(r, 0.97) else str(value(r)), label, r.choice(("train", "val", "test"))]
        lines.append(separator.join(cells[: lines[0].count(separator) + 1]))
    text = "\n".join(lines).encode(errors="surrogatepass")
    files["t.csv"] = mutate_bytes(r, text) if chance(r, 0.5) else text
    files["c.yaml"] = TRAINED.replace("DATA", "name: csv, path: t.csv, size: 8").encode()
    return Case("tables of images", TRAIN, files)


@functools.cache
def _arrays(names: tuple[str, ...], shape: tuple[int, ...], kind: str) -> bytes:
    generator = np.random.default_rng(0)
    file = io.BytesIO()
    arrays = {
        name: (
            generator.random(shape[:1]) * 3
            if "label" in name or name.startswith("y")
            else generator.random(shape) * 255
        )
        for name in names
    }
    np.savez(file, allow_pickle=True, **{name: array.astype(kind) for name, array in arrays.items()})
    return file.getvalue()


def npz_case(r: random.Random) -> Case:
    """An archive of arrays with the usual names or others, of usual shapes and types or others, perhaps damaged."""
    names = r.choice(
        (
            ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
            *(("x_train", "y_train", "x_test", "y_test"), ("x_train", "y_train"), ("x", "y"), ("train_images",), ()),
        )
    )
    shape = r.choice(
        ((24, 8, 8), (24, 8, 8, 3), (24, 3, 8, 8), (24,), (0, 8, 8), (1, 8, 8), (24, 8, 8, 3, 1), (24, 1, 1))
    )
    content = _arrays(
        names, shape, r.choice(("uint8", "uint16", "float32", "bool", "int64", "U3", "object", "complex64"))
    )
    files: dict[str, bytes | None] = {
        "d.npz": mutate_bytes(r, content) if chance(r, 0.4) else content,
        "c.yaml": TRAINED.replace("DATA", "name: npz, path: d.npz").encode(),
    }
    return Case("arrays", TRAIN, files)


@functools.cache
def _network_file(kind: str) -> bytes:
    """A small network, or its tensors, as torch or safetensors writes them."""
    import warnings

    import safetensors.torch
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        match kind:
            case "safetensors":
                return safetensors.torch.save(module.state_dict())
            case "state dict":
                torch.save(module.state_dict(), file)
            case "module":
                torch.save(module, file)
            case "legacy":
                torch.save(module.state_dict(), file, _use_new_zipfile_serialization=False)
            case "TorchScript":
                torch.jit.save(torch.jit.script(module), file)
            case "onnx":
                file.write(_onnx_network())
            case "exported":
                torch.export.save(torch.export.export(module.eval(), (torch.zeros(1, 1, 8, 8),)), file)
    return file.getvalue()


def _onnx_network() -> bytes:
    """A convolution, a pool, and a linear layer behind a view whose shape is computed."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["a"], ["b"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["b"], ["shape"], end=1),
        helper.make_node("Concat", ["shape", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["b", "to"], ["flat"], name="view"),
        helper.make_node("Gemm", ["flat", "fw"], ["y"], name="head", transB=1),
    ]
    tensors = {
        "w": np.ones((2, 1, 3, 3), np.float32),
        "rest": np.array([-1]),
        "fw": np.ones((3, 32), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    content: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return content


def network_file_case(r: random.Random) -> Case:
    """A file with a network or with tensors, usually damaged, and a command that reads such a file."""
    kind = r.choice(("safetensors", "state dict", "module", "legacy", "TorchScript", "exported", "onnx"))
    content = _network_file(kind)
    suffix = r.choice((".pt", ".pth", ".safetensors", ".pt2", ".onnx", ".yaml", ""))
    files: dict[str, bytes | None] = {f"net{suffix}": mutate_bytes(r, content) if chance(r, 0.9) else content}
    words: tuple[str, ...] = ("inspect", f"net{suffix}", *r.choice(((), ("--input", "1x8x8"), ("--json",))))
    if chance(r, 0.3):
        files["c.yaml"] = (
            TRAINED.replace("DATA", "name: digits").replace("epochs: 1", f"init_from: net{suffix}").encode()
        )
        words = ("train", "c.yaml", "--dry-run", "--out", "out")
    return Case("files of networks", words, files)


COMMANDS = (
    *(("runs", "show", RUN), ("runs", "list", "."), ("runs", "verify", RUN), ("runs", "compare", RUN, RUN)),
    *(("inspect", RUN), ("predict", RUN, "i.png"), ("show", "kernels", RUN), ("eval", RUN)),
    *(("export", RUN, "--format", "safetensors"), ("train", "--resume", RUN)),
)


def run_case(r: random.Random, run: Path) -> Case:
    """A run of which one file is damaged; `test_damaged_runs.py` does it file by file."""
    paths = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    name = r.choice(paths)
    content: bytes | None = (run / name).read_bytes()
    assert content is not None
    choice = r.random()
    if choice < 0.1:
        content = None
    elif choice < 0.4 and name.endswith(".json"):
        changed = json.loads(content)
        changed[r.choice([*changed, "x"])] = value(r)
        content = json.dumps(changed).encode()
    else:
        content = r.choice((b"", b"{}", b"[" * 5000, b"null", mutate_bytes(r, content), mutate_bytes(r, content)))
    files: dict[str, bytes | None] = {f"{RUN}/{name}": content, "i.png": _image("PNG", "L", 8)}
    return Case("run directories", r.choice(COMMANDS), files, run=True)
