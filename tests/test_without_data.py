"""What a run can do without its data set: it was moved, its data set is gone, and nothing may reach for the network.

A command that needs no data set belongs in `COMMANDS`, one that needs test images in `NEEDS_IMAGES`. `show all` and
`report`, which do what they can, have their own tests.
"""

import json
import shutil
import socket
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnncli
from cnncli.errors import DataError

ExitCodeOf = Callable[..., int]
Output = pytest.CaptureFixture[str]

CONFIG = """\
version: 1
name: small
data: {{{data}, size: 8, channels: 1, validation: 0.2}}
model: {{layers: [{{conv: {{out_channels: 3, kernel_size: 3, activation: relu}}}}, {{max_pool: 2}}, flatten, logits]}}
train: {{epochs: 1, batch_size: 8}}
log: {{images: 2}}
"""
DATA = {
    "image-folder": "name: image-folder, path: pictures",
    "emnist": "name: emnist, split: letters",
}
NAMES = ("1e3", "cat [red]", "no")
"""Classes of the folder: what YAML or a terminal could read as something else."""

COMMANDS = [
    "inspect {run}",
    "inspect {run} --verify",
    "inspect {run} --json",
    "unit {run} conv1 2,2",
    "pixel {run} 3,3",
    "diff {run} {run}",
    "runs list here",
    "runs show {run}",
    "runs verify {run}",
    "runs compare {run} {run}",
    "validate {run}/resolved.yaml",
    "explain receptive-field {run}/resolved.yaml",
    "explain unit {run} --layer conv1 --at 0,0 --image {image}",
    "explain unit {run} --layer logits1 --filter 1 --image {image} --why",
    "explain feature-maps --run {run} --image {image}",
    "show kernels {run}",
    "show feature-maps {run} {image}",
    "show saliency {run} {image}",
    "show activation-maximization {run} --steps 2",
    "export {run} --format safetensors",
    "export {run} --format torch --with-preprocessing --out net.pt2",
    "predict {run} {image}",
    "predict {run} {image} --invert yes --fit none --json",
]
"""They end with 0 and try no connection."""

SLOW = ("--verify", "runs verify", "runs compare", "feature-maps", "saliency", "activation", "--format torch")
"""Parts of commands that read the config and the weights as others do; with an image folder they are slow tests."""

CASES = [
    pytest.param(
        data,
        command,
        marks=[pytest.mark.slow] if data == "image-folder" and any(part in command for part in SLOW) else [],
    )
    for data in DATA
    for command in COMMANDS
]


NEEDS_IMAGES = [
    "show feature-maps {run}",
    "show patches {run}",
    "show saliency {run}",
    "show confusion {run}",
    "show mistakes {run}",
    "show calibration {run}",
    "show embedding {run}",
    "show effective-receptive-field {run}",
    "explain unit {run} --layer conv1 --at 0,0 --image 3",
    "eval {run}",
    "train --resume {run} --set train.epochs=2",
]
"""They end with 4 and say which data set is missing; a data set that can be downloaded is asked for."""


def draw_folder(root: Path, names: tuple[str, ...], *, count: int = 10) -> None:
    """Noise, brighter from class to class."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 100, (8, 8)) + 50 * label
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")


def write_letters(root: Path) -> None:
    """A small EMNIST of letters, whose checksums differ between releases and are not known."""
    folder = root / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", 104), ("test", 52)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 26 + 1).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / f"emnist-letters-{part}-{kind}-ubyte").write_bytes(header + values.tobytes())


@pytest.fixture(scope="module")
def move_run(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Trains a run with a data set, once for each, and moves it: see `moved`."""

    @cache
    def move(data_set: str) -> Path:
        origin, folder = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("moved")
        draw_folder(origin / "data" / "pictures", NAMES)
        write_letters(origin / "data")
        (origin / "small.yaml").write_text(CONFIG.format(data=DATA[data_set]), encoding="utf-8")
        data = ("--data-dir", origin / "data")
        assert exit_code_of("train", origin / "small.yaml", "--out", origin / "runs", "--threads", 1, "-q", *data) == 0
        (run,) = (origin / "runs").iterdir()
        shutil.copytree(run, folder / "here" / "run")
        shutil.rmtree(origin)
        Image.effect_noise((13, 9), 80).save(folder / "mine.png")
        return folder

    return move


@pytest.fixture(params=DATA)
def moved(request: pytest.FixtureRequest, move_run: Callable[[str], Path]) -> Path:
    """A folder with a trained run, `here/run`, and an image of its user; the data set is gone."""
    return move_run(request.param)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The hosts that were asked for; the network is closed."""
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("the network is closed")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return asked


def words(command: str) -> list[str]:
    return [word.format(run="here/run", image="mine.png") for word in command.split()]


@pytest.mark.parametrize(("moved", "command"), CASES, indirect=["moved"])
def test_it_works_without_the_data_set(
    command: str,
    moved: Path,
    exit_code_of: ExitCodeOf,
    connections: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Output,
) -> None:
    monkeypatch.chdir(moved)
    code = exit_code_of(*words(command))
    assert (code, capfd.readouterr().err if code else "") == (0, "")
    assert connections == []


@pytest.mark.parametrize("command", NEEDS_IMAGES)
def test_it_says_which_data_set_is_missing(
    command: str,
    moved: Path,
    exit_code_of: ExitCodeOf,
    connections: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Output,
) -> None:
    monkeypatch.chdir(moved)
    assert exit_code_of(*words(command)) == 4
    err = capfd.readouterr().err
    folder = "data/pictures" in err
    assert folder or "data/EMNIST/raw" in err
    assert "--data-dir" in err
    assert bool(connections) != folder, "only what can be downloaded is asked for"


def test_the_classes_keep_their_names(
    moved: Path, exit_code_of: ExitCodeOf, connections: list[object], monkeypatch: pytest.MonkeyPatch, capfd: Output
) -> None:
    monkeypatch.chdir(moved)
    run = cnncli.load_run("here/run")
    names = NAMES if run.config.data.name == "image-folder" else tuple("abcdefghijklmnopqrstuvwxyz")
    assert run.classes == run.config.classes == names
    assert run.predict("mine.png")[0].prediction in names
    assert exit_code_of(*words("show feature-maps {run} {image} --json")) == 0
    record = json.loads(capfd.readouterr().out.splitlines()[0])
    assert record["title"].rpartition("predicted ")[2].rpartition(" (")[0] in names
    assert connections == []


def test_show_lists_what_it_leaves_out_in_one_line(
    moved: Path, exit_code_of: ExitCodeOf, connections: list[object], monkeypatch: pytest.MonkeyPatch, capfd: Output
) -> None:
    monkeypatch.chdir(moved)
    assert exit_code_of("show", "all", "here/run", "--json") == 0
    out, err = capfd.readouterr()
    kernels, optimized = map(json.loads, out.splitlines())
    assert kernels["tag"] == "kernels/01_conv1"
    assert optimized["numbers"] == {"optimized": len(cnncli.load_run("here/run").classes)}
    assert optimized["lines"][0].startswith("Without real images: ")
    (line,) = (each for each in err.splitlines() if "confusion, mistakes" in each)
    assert "--data-dir" in line
    assert connections == []


def test_the_report_says_what_is_missing(
    moved: Path, exit_code_of: ExitCodeOf, connections: list[object], monkeypatch: pytest.MonkeyPatch, capfd: Output
) -> None:
    monkeypatch.chdir(moved)
    assert exit_code_of("report", "here/run") == 0
    page = (moved / "here" / "run" / "report.html").read_text("utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["epoch"] == 1
    assert data["classes"] == list(cnncli.load_run("here/run").classes)
    assert "not found" in data["unavailable"]
    assert data["views"] is None
    assert data["unavailable"] in capfd.readouterr().err
    assert connections == []


def test_a_folder_with_one_class_more_changes_nothing(
    exit_code_of: ExitCodeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_folder(tmp_path / "data" / "pictures", NAMES)
    (tmp_path / "small.yaml").write_text(CONFIG.format(data=DATA["image-folder"]), encoding="utf-8")
    run = cnncli.train("small.yaml")
    draw_folder(tmp_path / "data" / "pictures", ("an early one",))
    for command in ("inspect", "show kernels", "show confusion", "report"):
        assert exit_code_of(*command.split(), run.path) == 0
    assert "the data has changed" not in capfd.readouterr().err
    again = cnncli.load_run(run.path)
    assert again.evaluate().accuracy == run.evaluate().accuracy
    assert exit_code_of("train", "--resume", run.path, "--set", "train.epochs=2", "--threads", 1, "-q") == 0
    assert exit_code_of("train", "small.yaml", "--resume", run.path, "--set", "train.epochs=3") == 2
    assert "data.classes" in capfd.readouterr().err


def test_a_run_that_does_not_name_its_classes(
    exit_code_of: ExitCodeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_folder(tmp_path / "data" / "pictures", NAMES)
    (tmp_path / "small.yaml").write_text(CONFIG.format(data=DATA["image-folder"]), encoding="utf-8")
    path = cnncli.train("small.yaml").path
    resolved = (path / "resolved.yaml").read_text("utf-8")
    named = resolved[resolved.index("  classes:") : resolved.index("  normalize:")]

    def declare(classes: str) -> None:
        (path / "resolved.yaml").write_text(resolved.replace(named, f"  classes: {classes}\n"), encoding="utf-8")

    for classes, epochs in (("null", 2), ("3", 3)):
        declare(classes)
        assert exit_code_of("train", "--resume", path, "--set", f"train.epochs={epochs}", "--threads", 1, "-q") == 0
    shutil.rmtree(tmp_path / "data")
    declare("3")
    assert exit_code_of("show", "kernels", path) == 0
    assert cnncli.load_run(path).classes == NAMES, "from the checkpoint"
    declare("null")
    assert exit_code_of("show", "kernels", path) == 4
    assert "data.classes" in capfd.readouterr().err


def test_a_missing_data_set_is_looked_for_once(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a large folder with a damaged image takes minutes, and a download without a network many seconds."""
    monkeypatch.chdir(moved)
    looked: list[object] = []

    def load(*arguments: object, **_: object) -> None:
        looked.append(arguments)
        raise DataError("not found")

    monkeypatch.setattr("cnncli.run.load_dataset", load)
    run = cnncli.load_run("here/run").offline()
    assert run.offline() is run
    for _ in range(2):
        with pytest.raises(DataError, match="not found"):
            _ = run.test
    assert len(looked) == 1
