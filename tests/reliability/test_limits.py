"""Numbers, files and paths far beyond what anyone trains: refused at once, with the limit, and without the memory."""

import json
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from cnncli.config.config import parse_config
from cnncli.inspection.training_memory import training_memory
from cnncli.limits import MAX_CONFIG_BYTES, MAX_FOLDERS, MAX_LENGTH, MAX_READS
from tests.conftest import ExitCodeOf
from tests.reliability.conftest import Outcomes

SECONDS = 5.0
"""The most CPU time that a refusal may take."""
_MAX_GROWTH = 2**31

LENGTH, READS = f"{MAX_LENGTH:,}", f"{MAX_READS:,}"


def config(layers: str, data: str = "{name: digits}") -> str:
    return f"data: {data}\nmodel:\n  layers:\n{layers}\n  - flatten\n  - logits\n"


GREEDY = "data: {name: digits}\nmodel: {layers: [flatten, {linear: 1000000}, {linear: 1000000}, logits]}\n"
GREEDY_WEIGHTS = f"{4 * (65 * 10**6 + (10**6 + 1) * 10**6 + 10 * (10**6 + 1)) / 2**40:.1f} TB"
"""Three linear layers with their biases, four bytes each."""
SIZE_999 = "{name: digits, size: 999}"
CONV = "  - conv: {out_channels: 4, kernel_size: 3, padding: same%s}"
TOO_LARGE = {
    "kernel": (config("  - conv: {out_channels: 4, kernel_size: 1000000, padding: same}"), "8192, found 1000000"),
    "kernel of 2^63": (config("  - conv: {out_channels: 4, kernel_size: 9223372036854775807}"), "8192"),
    "padding": (config("  - conv: {out_channels: 4, kernel_size: 3, padding: 100000000}"), "8192, found 100000000"),
    "channels": (config("  - conv: {out_channels: 10000000000, kernel_size: 3}"), "1000000, found 10000000000"),
    "features": (config("  - linear: 1000000000"), "1000000"),
    "size": (config(CONV % "", "{name: digits, size: 1000000}"), "8192, found 1000000"),
    "upsampled": (config("  - upsample: 8000"), LENGTH),
    "windows": (config("  - conv: {out_channels: 4, kernel_size: 8191, padding: 4095}", SIZE_999), READS),
    "strides": (config("\n".join([CONV % ", stride: 8191"] * 5)), "1,099,511,627,776"),
    "layers": (config("  - repeat: {times: 1000000000000, layers: [relu]}"), "5,000 layers"),
    "classes": (config(CONV % "", "{name: image-folder, path: x, size: 8, classes: 1000000000}"), "100,000"),
    "no name": (config("  - ''"), "unknown layer: ''"),
    "only a space": (config("  - ' '"), "unknown layer:"),
    "nested": ("data: " + "[" * 5000, "nested more than 64 deep"),
    "nested less": ("data: " + "[" * 100 + "]" * 100, "nested more than 64 deep"),
    "a comment of 60 MB": ("#" * 60_000_000 + "\n" + config(CONV % ""), f"{MAX_CONFIG_BYTES:,} bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_LARGE)
def test_configs(
    case: str,
    tmp_path: Path,
    exit_code_of: ExitCodeOf,
    capsys: pytest.CaptureFixture[str],
    outcomes: Outcomes,
) -> None:
    """Every command that reads it refuses it with exit 3, in the file's place."""
    text, words = TOO_LARGE[case]
    file = tmp_path / "large.yaml"
    file.write_text(text, encoding="utf-8")
    for command in ("validate", "inspect"):
        _refused(exit_code_of, [command, str(file)], 3, capsys, "large.yaml", words)
        outcomes.add("numbers beyond a limit in a config", "refused, exit 3")


OPTIONS = {
    "kernel": (["--set", "model.layers.0.conv.kernel_size=9223372036854775807"], 3, "8192"),
    "padding": (["--set", "model.layers.0.conv.padding=100000000"], 3, "8192"),
    "nested": (["--set", "model.layers=" + "[" * 5000], 2, "not YAML"),
    "nested less": (["--set", "model.layers=" + "[" * 100 + "]" * 100], 3, "64 deep"),
    "image": (["--input", "1x100000x100000"], 2, LENGTH),
    "long image": (["--input", "3x10000000x1"], 2, LENGTH),
    "channels": (["--input", "10000000000x1x1"], 2, "1,000,000 channels"),
    "5,000 digits": (["--input", "1" * 5000], 2, "not a shape"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes) -> None:
    """The same on the command line."""
    options, code, words = OPTIONS[case]
    _refused(exit_code_of, ["inspect", "lenet5", *options], code, capsys, options[0], words)
    outcomes.add("numbers beyond a limit in an option", f"refused, exit {code}")


@pytest.mark.parametrize("command", [["train", "--out", "runs"], ["inspect", "--verify"]], ids=lambda each: each[0])
def test_networks_larger_than_the_memory(
    command: list[str], tmp_path: Path, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes
) -> None:
    """They are refused with the estimate and the machine's memory before the first weight is allocated."""
    file = tmp_path / "greedy.yaml"
    file.write_text(GREEDY, encoding="utf-8")
    parts = ("gradients", "optimizer", "activations of 1 image") if command[0] == "train" else ()
    arguments = [command[0], str(file), *command[1:]]
    _refused(exit_code_of, arguments, 8, capsys, GREEDY_WEIGHTS, "this machine has", *parts)
    outcomes.add("a network larger than the memory", "refused, exit 8")


def test_networks_larger_than_the_memory_can_be_described(
    tmp_path: Path, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes
) -> None:
    """Describing one is no failure: it says what a training would need; `inspect` in its table, in every form."""
    file = tmp_path / "greedy.yaml"
    file.write_text(GREEDY, encoding="utf-8")
    assert exit_code_of("validate", file) == 0
    assert "this machine has" in capsys.readouterr().err
    assert exit_code_of("inspect", file) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "training needs at least" in printed
    assert "this machine has" in printed
    assert exit_code_of("inspect", file, "--json") == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert note in printed
    outcomes.add("a network larger than the memory", "described, with a message", 3)


def test_images_that_do_not_fit_in_the_memory(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    exit_code_of: ExitCodeOf,
    capsys: pytest.CaptureFixture[str],
    outcomes: Outcomes,
) -> None:
    """1,797 digits of 8,000 x 8,000 pixels are 107.1 GB; the machine has 64 GB here, and the network fits."""
    monkeypatch.setattr("cnncli.data.load.machine_memory", lambda: 2**36)
    monkeypatch.setattr("cnncli.training.device.machine_memory", lambda: 2**50)
    arguments = [
        "train",
        "quickstart",
        "--set",
        "data.size=8000",
        "--set",
        "train.batch_size=1",
        "--out",
        str(tmp_path),
    ]
    _refused(exit_code_of, arguments, 8, capsys, "1,797 images of 1x8000x8000 need 107.1 GB", "64.0 GB", "data.size")
    assert not [*tmp_path.iterdir()]
    outcomes.add("images larger than the memory", "refused, exit 8")


def test_memory_in_the_table_is_weights_gradients_and_activations(
    monkeypatch: pytest.MonkeyPatch, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    """LeNet-5: 61,706 weights and gradients of 4 bytes are 493,648 bytes, to which the activations come."""
    monkeypatch.setattr("cnncli.cli.commands.inspect.machine_memory", lambda: 500_000)
    assert exit_code_of("inspect", "lenet5", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    total = 493_648 + table["totals"]["memory"]["training"]
    (note,) = table["notes"]
    assert note.startswith(
        f"training needs at least {total / 1024:.1f} kB, but this machine has {500_000 / 1024:.1f} kB"
    )
    monkeypatch.setattr("cnncli.cli.commands.inspect.machine_memory", lambda: total)
    assert exit_code_of("inspect", "lenet5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        ("sgd", 1),
        ("{sgd: {momentum: 0.0}}", 0),
        ("adam", 2),
        ("adamw", 2),
        ("rmsprop", 1),
        ("{rmsprop: {momentum: 0.9}}", 2),
    ],
)
def test_estimated_memory_is_what_torch_allocates(optimizer: str, states: int) -> None:
    """The numbers of torch's own optimizers after a step, and of its parameters, are the oracle."""
    import torch

    from cnncli.module import CnnModule
    from cnncli.training.optimizer import build_optimizer

    text = config("  - conv: {out_channels: 4, kernel_size: 3, norm: batch}") + f"train: {{optimizer: {optimizer}}}\n"
    parsed = parse_config(text, name="x", data_dir=Path())
    module = CnnModule(parsed.network)
    built = build_optimizer(parsed.train.optimizer, module)
    module(torch.rand(2, 1, 8, 8)).sum().backward()
    built.step()
    kept = [each for state in built.state.values() for each in state.values() if isinstance(each, torch.Tensor)]
    parameters = sum(each.nbytes for each in module.parameters())
    needed = training_memory(parsed.network, parsed.train, images=2)
    assert needed.optimizer == sum(each.nbytes for each in kept if each.ndim) == states * parameters
    assert needed.gradients == parameters
    assert needed.weights == parameters + sum(each.nbytes for each in module.buffers())


VGG16 = "\n".join(
    f"  - repeat: {{times: {times}, layers: [{{conv: {{out_channels: {channels}, kernel_size: 3, padding: same}}}}]}}\n"
    "  - max_pool: 2"
    for times, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
)
LEGITIMATE = {
    "VGG-16 at 4096": (config(VGG16, "{name: mnist, size: 4096}"), 212),
    "512 channels": (config("  - conv: {out_channels: 512, kernel_size: 3}\n" * 3), 7),
    "kernel of 31": (config("  - conv: {out_channels: 8, kernel_size: 31, padding: same}\n" * 4,
                            "{name: mnist, size: 224}"), 121),
    "1,000 layers": (config(f"  - repeat: {{times: 1000, layers: [{CONV[4:] % ''}]}}"), 2001),
    "19 strides of 2": (config("\n".join([CONV % ", stride: 2"] * 19)), 2**20 - 1),
    "30 strides of 2": (config("\n".join([CONV % ", stride: 2"] * 30)), 8),
}  # fmt: skip


@pytest.mark.parametrize("case", LEGITIMATE)
def test_large_networks_stay_possible(
    case: str, tmp_path: Path, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their receptive fields are computed: 212 of VGG-16 is published, others are `1 + sum of (k - 1) * jump`.

    Beyond 2^20 pixels, padding is not counted: the image has 8.
    """
    text, size = LEGITIMATE[case]
    file = tmp_path / "large.yaml"
    file.write_text(text, encoding="utf-8")
    began = time.process_time()
    assert exit_code_of("inspect", str(file), "--json") == 0
    assert time.process_time() - began < SECONDS
    rows = json.loads(capsys.readouterr().out)["layers"]
    assert rows[-3]["receptive_field"]["size"] == [size, size]


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [["validate", LONG], ["diff", "lenet5", f"{LONG}/{LONG}"], ["show", LONG], ["runs", "list", LONG], ["init", LONG]],
    ids=" ".join,
)
def test_names_that_no_file_can_have(
    arguments: list[str], exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes
) -> None:
    """A name of 300 bytes, where file systems allow 255."""
    code = exit_code_of(*arguments)
    error = capsys.readouterr().err
    assert code in (2, 3, 4, 5, 7), error
    assert "internal error" not in error
    assert "aaa" in error
    outcomes.add("a file name of 300 bytes", f"refused, exit {code}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", f"{LONG}.yaml"],
        ["inspect", LONG],
        ["inspect", f"{LONG}.py:Net"],
        ["diff", LONG, "lenet5"],
        ["report", LONG],
        ["show", "kernels", LONG],
        ["play", LONG],
        ["eval", LONG],
        ["predict", LONG, "x.png"],
        ["export", LONG, "--format", "onnx"],
        ["train", LONG],
        ["train", "--resume", LONG],
        ["sweep", LONG, "--param", "train.epochs=1..2"],
        ["runs", "show", LONG],
        ["runs", "compare", LONG, LONG],
        ["runs", "verify", LONG],
        ["runs", "prune", LONG],
        ["audit", LONG],
        ["tensorboard", LONG],
        ["init", f"{LONG}/{LONG}"],
        ["unit", LONG, "conv1", "1,1"],
        ["explain", "convolution", "--input", LONG],
    ],
    ids=" ".join,
)
def test_names_that_no_file_can_have_everywhere(
    arguments: list[str], exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes
) -> None:
    """The same for the other commands."""
    test_names_that_no_file_can_have(arguments, exit_code_of, capsys, outcomes)


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """An 8-bit gray PNG file of this size, whatever its rows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 80_000_000)], ids=str)
def test_images_larger_than_the_memory(size: tuple[int, int], tmp_path: Path, outcomes: Outcomes) -> None:
    """A file of 65 bytes that declares gigabytes of pixels is not decoded."""
    from cnncli.data.decode import UnreadableImageError, decode, decoder_warnings

    file = tmp_path / "large.png"
    file.write_bytes(png(*size))
    before, began = _memory(), time.process_time()
    with decoder_warnings(), pytest.raises(UnreadableImageError, match="pixels"):
        decode(file, channels=1, size=(28, 28))
    assert time.process_time() - began < SECONDS
    assert _memory() - before < _MAX_GROWTH / 20
    outcomes.add("a PNG file that declares more pixels than the memory", "refused")


def test_images_that_never_end(monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes) -> None:
    """As `cnncli predict RUN /dev/zero`; the limit is lowered to read less here."""
    from cnncli.data import decode

    monkeypatch.setattr(decode, "MAX_IMAGE_BYTES", 1000)
    with pytest.raises(decode.UnreadableImageError, match="more than 1,000 bytes"):
        decode.decode(Path("/dev/zero"), channels=1, size=(28, 28))
    outcomes.add("an image that never ends", "refused")


def test_configs_that_are_no_regular_files(
    tmp_path: Path, exit_code_of: ExitCodeOf, capsys: pytest.CaptureFixture[str], outcomes: Outcomes
) -> None:
    """A pipe, as a shell makes of `<(command)`, is read; a file that never ends is refused."""
    reading, writing = os.pipe()
    os.write(writing, config(CONV % "").encode())
    os.close(writing)
    assert exit_code_of("validate", f"/dev/fd/{reading}") == 0
    os.close(reading)
    _refused(exit_code_of, ["validate", "/dev/zero"], 3, capsys, "/dev/zero is a binary file, not a config")
    outcomes.add("a config that never ends", "refused, exit 3")


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _config_pipe(folder: Path) -> list[object]:
    return ["validate", _pipe(folder / "config.yaml")]


def _image_pipe(folder: Path) -> list[object]:
    """A folder of images, of which one is a pipe."""
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for value in range(12):
            Image.new("L", (8, 8), 20 * value).save(folder / "images" / name / f"{value}.png")
    _pipe(folder / "images" / "a" / "pipe.png")
    (folder / "config.yaml").write_text(
        config(CONV % "", f"{{name: image-folder, path: {folder / 'images'}, size: 8}}")
    )
    return ["train", folder / "config.yaml", "--out", folder / "runs", "--quiet"]


def _idx_pipe(folder: Path) -> list[object]:
    """A data directory in which the training images of MNIST are a pipe."""
    (folder / "mnist").mkdir()
    for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / "mnist" / f"{name}-ubyte").write_bytes(b"")
    _pipe(folder / "mnist" / "train-images-idx3-ubyte")
    return ["train", "quickstart", "--set", "data.name=mnist", "--data-dir", folder, "--out", folder / "runs"]


def _own_data_pipe(folder: Path, name: str) -> list[object]:
    (folder / "config.yaml").write_text(config(CONV % "", f"{{name: {name}, path: {_pipe(folder / 'data')}, size: 8}}"))
    return ["validate", folder / "config.yaml"]


def _labels_pipe(folder: Path) -> list[object]:
    labels = _pipe(folder / "labels.csv")
    return ["train", "quickstart", "--set", f"data.relabel={labels}", "--out", folder / "runs", "--quiet"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
@pytest.mark.parametrize(
    ("prepare", "code", "name"),
    [
        (_config_pipe, 3, "config.yaml"),
        (_image_pipe, 4, "pipe.png"),
        (_idx_pipe, 4, "train-images-idx3-ubyte"),
        (_labels_pipe, 4, "labels.csv"),
        (partial(_own_data_pipe, name="csv"), 4, "data"),
        (partial(_own_data_pipe, name="npz"), 4, "data"),
        (partial(_own_data_pipe, name="parquet"), 4, "data"),
    ],
)
def test_pipes_that_nobody_writes_into(
    prepare: Callable[[Path], list[object]],
    code: int,
    name: str,
    tmp_path: Path,
    exit_code_of: ExitCodeOf,
    capsys: pytest.CaptureFixture[str],
    outcomes: Outcomes,
) -> None:
    """They are empty files; a shell's `<(command)` is read, which the test of configs shows."""
    _refused(exit_code_of, list(map(str, prepare(tmp_path))), code, capsys, name)
    outcomes.add("a pipe that nobody writes into", f"refused, exit {code}")


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of folders in which there is no run."""
    folder = tmp_path_factory.mktemp("large")
    for number in range(MAX_FOLDERS + 1):
        (folder / f"{number}").mkdir()
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"],
        ["report"],
        ["runs", "list"],
        pytest.param(["runs", "prune", "--keep", "1"], marks=pytest.mark.slow),
        pytest.param(["tensorboard"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_large_folders_that_are_no_runs(
    arguments: list[str],
    large_folder: Path,
    exit_code_of: ExitCodeOf,
    capsys: pytest.CaptureFixture[str],
    outcomes: Outcomes,
) -> None:
    _refused(exit_code_of, [*arguments, str(large_folder)], 5, capsys, str(large_folder), "run")
    outcomes.add("a large folder instead of a run", "refused, exit 5")


def _refused(
    exit_code_of: ExitCodeOf, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str], *words: str
) -> None:
    """The command ends with this code within `SECONDS` of CPU time, and says these words on stderr."""
    before, began = _memory(), time.process_time()
    found = exit_code_of(*arguments)
    seconds, grown = time.process_time() - began, _memory() - before
    error = capsys.readouterr().err
    assert found == code, error[-2000:]
    assert all(word in error for word in words), error[-2000:]
    assert "internal error" not in error
    assert (seconds < SECONDS, grown < _MAX_GROWTH) == (True, True), (seconds, grown)


def _memory() -> int:
    """The most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
