"""Files, names and texts from others: none of them runs code, writes elsewhere, or becomes a part of a page."""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page
from safetensors.torch import load_file, save_file

import cnncli
from cnncli.cli.messages import as_user_error
from cnncli.config.datasets import known_dataset
from cnncli.data.cifar import read_batches
from cnncli.errors import DataError
from cnncli.inspection.formatting import as_html, markdown
from cnncli.tensorboard.server import Server
from tests.manifests import write_manifest
from tests.reliability.conftest import Outcomes

ExitCodeOf = Callable[..., int]

FOLDER_CONFIG = """\
# </script><script>window.ran = 1</script> --> ]]> {{data}} <img src=x onerror="window.ran = 1">
name: classes
data: {name: image-folder, path: images, size: 8, channels: 1, validation: 0.25}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3, name: conv1}}, relu, {avg_pool: 2}, flatten, logits]}
train: {epochs: 1, batch_size: 4}
log: {images: 2, probes: 2}
"""


# Code in files


class Planted:
    """Pickled, it is a call of `os.mkdir`: whoever unpickles it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.folder,)


def _torch(planted: Planted, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": planted}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _array(planted: Planted) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([planted], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _arrays(planted: Planted) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([planted], dtype=object), allow_pickle=True)
    return buffer.getvalue()


PICKLES: dict[str, Callable[[Planted], bytes]] = {
    "pickle": pickle.dumps,
    "torch": lambda planted: _torch(planted, zipped=True),
    "torch, old format": lambda planted: _torch(planted, zipped=False),
    "npy": _array,
    "npz": _arrays,
}

UNSAFE: dict[str, Callable[[bytes], object]] = {
    "pickle": pickle.loads,
    "torch": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "torch, old format": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "npy": lambda content: np.load(io.BytesIO(content), allow_pickle=True),
    "npz": lambda content: np.load(io.BytesIO(content), allow_pickle=True)["images"],
}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A folder that does not exist; planted code would create it."""
    return tmp_path / "mark"


@pytest.mark.parametrize("form", PICKLES)
def test_the_planted_code_works(form: str, mark: Path) -> None:
    UNSAFE[form](PICKLES[form](Planted(mark)))
    assert mark.is_dir()


@pytest.fixture(scope="module")
def trained(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of one epoch, for reading only."""
    out = tmp_path_factory.mktemp("trained")
    settings = ("train.epochs=1", "train.batch_size=512", "log.images=2", "log.probes=1", "train.ema=0.9")
    sets = [word for setting in settings for word in ("--set", setting)]
    assert exit_code_of("train", "quickstart", *sets, "--out", out, "--threads", 1, "--quiet") == 0
    (run,) = out.iterdir()
    assert exit_code_of("show", "kernels", run) == 0
    return run


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "digit.png"
    Image.fromarray(np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))).save(path)
    return path


def commands(run: Path, picture: Path) -> list[tuple[object, ...]]:
    """Every command that reads a run; the first ones are enough for a sample."""
    return [
        ("train", "--resume", run, "--set", "train.epochs=2", "--threads", 1, "--quiet"),
        ("eval", run, "--json"),
        ("runs", "verify", run),
        ("report", run),
        ("play", run),
        ("predict", run, picture, "--json"),
        ("export", run, "--format", "safetensors", "--out", run.parent / "exported.safetensors"),
        ("show", "kernels", run),
        ("show", "embedding", run),
        ("explain", "unit", run),
        ("inspect", run, "--verify"),
        ("runs", "list", run.parent),
        ("runs", "show", run),
        ("runs", "compare", run, run),
    ]


def plant(path: Path, content: bytes) -> None:
    """Replace a file; where a manifest has its hash, the hash is made to agree."""
    path.write_bytes(content)
    manifest = path.with_name("manifest.json")
    if manifest.exists() and manifest != path:
        record = json.loads(manifest.read_text())
        if path.name in record["files"]:
            record["files"][path.name] = hashlib.sha256(content).hexdigest()
            write_manifest(manifest, record)


def outcome_of(code: int, err: str) -> str:
    """What happened, in words; an exit code that is not documented, or an error of cnncli itself, fails."""
    assert code in (0, 1, 2, 3, 4, 5, 7), err
    assert "internal error" not in err, err
    return "not read, or read as data" if code == 0 else f"refused with exit code {code}"


def attacked(run: Path, picture: Path, mark: Path, outcomes: Outcomes, name: str, cases: "Cases", run_: "Run") -> None:
    """Carry out the cases on copies of a run: (file, form of the pickle, number of the command)."""
    for file, form, number in cases:
        copy = mark.parent / "copy"
        shutil.copytree(run, copy)
        plant(copy / file, PICKLES[form](Planted(mark)))
        code, err = run_(*commands(copy, picture)[number])
        assert not mark.exists(), (file, form, commands(copy, picture)[number])
        outcomes.add(name, outcome_of(code, err))
        shutil.rmtree(copy)


Cases = Collection[tuple[str, str, int]]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run_cnncli(exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the program in this process: arguments -> exit code, stderr."""

    def run(*arguments: object) -> tuple[int, str]:
        capfd.readouterr()
        code = exit_code_of(*arguments)
        return code, capfd.readouterr().err

    return run


def files_of(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and path.name != "lock")


LOADED = (
    ("checkpoints/last/state.pt", "torch", 0),
    ("checkpoints/last/state.pt", "torch, old format", 0),
    ("checkpoints/best/weights.safetensors", "torch", 1),
    ("weights/0.safetensors", "torch", 3),
)
"""Files that a program might load with pickle, each with a command that reads it."""


def test_pickles_in_the_files_of_a_run(
    trained: Path, picture: Path, mark: Path, run_cnncli: Run, outcomes: Outcomes
) -> None:
    attacked(trained, picture, mark, outcomes, "pickle in a file of a run", LOADED, run_cnncli)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_pickles_in_every_file_of_a_run(
    form: str, trained: Path, picture: Path, mark: Path, run_cnncli: Run, outcomes: Outcomes
) -> None:
    count = len(commands(trained, picture))
    cases = [(file, form, number) for file in files_of(trained) for number in range(count)]
    attacked(trained, picture, mark, outcomes, "pickle in a file of a run", cases, run_cnncli)


def test_pickles_in_files_of_data(
    mark: Path, tmp_path: Path, trained: Path, run_cnncli: Run, outcomes: Outcomes
) -> None:
    """CIFAR-10 is published as pickles; arrays and images are given to several commands."""
    batches = tmp_path / "data" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for form, pickled in PICKLES.items():
        content = pickled(Planted(mark))
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            (batches / name).write_bytes(content)
        with pytest.raises(DataError):  # without the checksums, which a file of the command below does not have
            read_batches(known_dataset("cifar10"), [batches / "test_batch"])
        assert not mark.exists(), form
        (tmp_path / "array.npy").write_bytes(content)
        (tmp_path / "picture.png").write_bytes(content)
        for command in (
            ("train", "quickstart", "--set", "data.name=cifar10", "--data-dir", tmp_path / "data", "--out", tmp_path),
            ("explain", "correlation", "--input", f"{tmp_path}/array.npy"),
            ("predict", trained, tmp_path / "picture.png"),
            ("show", "saliency", trained, tmp_path / "picture.png"),
            ("sweep", "quickstart", "--param", "train.seed=0,1", "--trials", 1, "--out", tmp_path / "picture.png"),
        ):
            code, err = run_cnncli(*command)
            assert not mark.exists(), (form, command)
            assert code != 0, (form, command)
            outcomes.add("pickle in a file of data", outcome_of(code, err))


TAGS = (
    '!!python/object/apply:os.mkdir ["{mark}"]',
    '!!python/object/new:os.mkdir ["{mark}"]',
    "!!python/name:os.mkdir",
    "!!python/module:os",
    '!<tag:yaml.org,2002:python/object/apply:os.mkdir> ["{mark}"]',
)


@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_yaml(tag: str, mark: Path, trained: Path, tmp_path: Path, run_cnncli: Run, outcomes: Outcomes) -> None:
    value = tag.format(mark=mark)
    config = tmp_path / "net.yaml"
    config.write_text(f"data: digits\nmodel: {{layers: [flatten, logits]}}\ntrain: {{epochs: {value}}}\n")
    copy = tmp_path / "runs" / "copy"
    shutil.copytree(trained, copy)
    resolved = copy / "resolved.yaml"
    resolved.write_text(resolved.read_text().replace("version: 1", f"version: {value}"))
    for command in (
        ("validate", config),
        ("inspect", config),
        ("train", config, "--out", tmp_path / "out"),
        ("inspect", "lenet5", "--set", f"train.epochs={value}"),
        ("sweep", "quickstart", "--param", f"train.epochs={value}", "--trials", 1, "--out", tmp_path / "out"),
        *commands(copy, tmp_path / "absent.png"),
    ):
        code, err = run_cnncli(*command)
        assert not mark.exists(), command
        outcomes.add("YAML tag that makes an object", outcome_of(code, err))
        if command[0] in ("validate", "train", "inspect"):
            assert code in (2, 3), command


# Names


HOSTILE = (
    "<img src=x onerror='window.ran = 1'>",
    '"><svg onload="window.ran = 1">',
    "..",
    "-rf",
    "C:\\temp\\x",
    "a|b`c`[d](javascript:window.ran=1)",
    "{{script}}",
    "%2e%2e%2fx",
)
"""Names of folders, which become names of classes; Linux allows all of them except the third."""
FOLDERS = tuple(name for name in HOSTILE if name != "..")


@pytest.fixture(scope="module")
def hostile(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on a folder of images whose classes have such names, and with that folder as its data."""
    folder = tmp_path_factory.mktemp("hostile")
    generator = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for position, name in enumerate(FOLDERS):
            (folder / "images" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 100, (8, 8), dtype=np.uint8)
                pixels[position] += 100
                Image.fromarray(pixels).save(folder / "images" / part / name / f"<b>{number}.png")
    (folder / "net.yaml").write_text(FOLDER_CONFIG)
    arguments = ("train", folder / "net.yaml", "--data-dir", folder, "--out", folder / "runs", "--threads", 1)
    assert exit_code_of(*arguments, "--quiet") == 0
    return folder


def run_of(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def tree(folder: Path, *, without: Path) -> dict[str, bytes]:
    """All files of a folder and their content, except those in `without`."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if path != without and without not in path.parents
    }


def rename_class(run: Path, old: str, new: str) -> None:
    """Change the name of a class in the files of a run as an attacker would, so that the hashes agree."""
    for which in ("best", "last"):
        path = run / "checkpoints" / which / "weights.safetensors"
        manifest = path.with_name("manifest.json")
        record = json.loads(manifest.read_text())
        classes = record["preprocessing"]["classes"]
        classes[classes.index(old)] = new
        write_manifest(manifest, record)
        save_file(load_file(path), path, {"preprocessing": json.dumps(record["preprocessing"])})
        plant(path, path.read_bytes())
    resolved = run / "resolved.yaml"
    quoted = json.dumps(new, ensure_ascii=True)
    lines = resolved.read_text().splitlines()
    (at,) = [i for i, line in enumerate(lines) if old in line]
    lines[at] = f"  - {quoted}"
    resolved.write_text("\n".join(lines) + "\n")


NAMES = ("..", "../../escaped", "/tmp/cnncli-escaped", "a/b", "a\0b", "C:\\x", "~root", "$(touch x)", "a\nb")


@pytest.mark.parametrize(
    "name", ["/../../../../../escaped", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)]
)
def test_names_of_classes_stay_inside_the_run(
    name: str, hostile: Path, tmp_path: Path, run_cnncli: Run, outcomes: Outcomes
) -> None:
    folder = tmp_path / "a" / "b" / "c"
    shutil.copytree(hostile, folder)
    run = run_of(folder)
    rename_class(run, "{{script}}", name)
    (image,) = (folder / "images" / "test" / FOLDERS[0]).glob("*0.png")
    before = tree(tmp_path, without=run)
    elsewhere = Path("/tmp/cnncli-escaped")
    for command in (
        ("show", "all", run, "--data-dir", folder),
        ("show", "saliency", run, image, *(() if "\0" in name else ("--target", name))),  # no argument has a zero
        ("show", "activation-maximization", run),
        ("predict", run, image, "--save-input", run / "seen"),
        ("export", run, "--format", "safetensors", "--out", run / "net.safetensors"),
        ("report", run, "--data-dir", folder),
        ("play", run, "--data-dir", folder),
        ("runs", "show", run),
        ("train", "--resume", run, "--set", "train.epochs=2", "--data-dir", folder),
    ):
        code, err = run_cnncli(*command)
        assert code == 0 or command[0] in ("train", "report"), err
        outcomes.add("name of a class that is a path", outcome_of(code, err))
        assert tree(tmp_path, without=run) == before, command
        assert not elsewhere.exists(), command


LAYERS = ("..", "../x", "a/b", "/x", "-x", "a\0b", "C:x", "a.b", "<b>", "a b", "", "_x")


@pytest.mark.parametrize("name", LAYERS)
def test_names_of_layers(name: str, tmp_path: Path, run_cnncli: Run, outcomes: Outcomes) -> None:
    layers = [{"conv": {"out_channels": 2, "kernel_size": 3, "name": name}}, "flatten", "logits"]
    config = tmp_path / "net.yaml"
    config.write_text(json.dumps({"data": {"name": "digits"}, "model": {"layers": layers}}))
    code, err = run_cnncli("train", config, "--out", tmp_path / "out")
    assert code == 3, err
    assert "model.layers.0.conv: invalid name" in " ".join(err.split())
    assert not (tmp_path / "out").exists()
    outcomes.add("name of a layer that is no name", outcome_of(code, err))


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/x", "-x", "a\0b", "C:\\x", ".hidden", "a b", "a\n", "x" * 300])
def test_names_of_runs(name: str, tmp_path: Path, run_cnncli: Run, outcomes: Outcomes) -> None:
    config = tmp_path / "net.yaml"
    model = {"layers": ["flatten", "logits"]}
    config.write_text(json.dumps({"name": name, "data": {"name": "digits"}, "model": model}))
    for command, expected in ((("train", config), 3), (("train", "quickstart", f"--name={name}"), 2)):
        code, err = run_cnncli(*command, "--out", tmp_path / "out")
        assert code == expected, err
        assert re.search(r"\bname: |not a valid name", err), err
        assert not (tmp_path / "out").exists()
        outcomes.add("name of a run that is a path", outcome_of(code, err))


@pytest.mark.parametrize("name", ["-rf.png", "...png", "<img src=x onerror=alert(1)>.png", "a;b$(c)`d`.png"])
def test_names_of_images(
    name: str, trained: Path, picture: Path, tmp_path: Path, run_cnncli: Run, outcomes: Outcomes
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(picture, images / name)
    run = tmp_path / "runs" / "copy"
    shutil.copytree(trained, run)
    before = tree(tmp_path, without=run)
    for command in (
        ("predict", run, images / name, "--save-input", run / "seen"),
        ("show", "saliency", run, images / name),
        ("show", "feature-maps", run, images / name),
    ):
        code, err = run_cnncli(*command)
        assert code == 0, err
        assert tree(tmp_path, without=run) == before
        outcomes.add("name of an image that is markup or an option", outcome_of(code, err))


# Pages


@pytest.fixture
def watched(browser: Browser) -> Iterator[Page]:
    """A page; at the end, nothing that was planted has run and nothing was requested but files of this test."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    yield page
    assert page.evaluate("window.ran") is None
    assert problems == []
    assert [url for url in requests if not url.startswith(("file://", "data:", "blob:"))] == []
    assert len([url for url in requests if url.startswith("file://")]) == 1, requests
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize(("command", "file"), [("report", "report.html"), ("play", "play.html")])
def test_pages_escape_names_and_texts(
    command: str, file: str, hostile: Path, watched: Page, exit_code_of: ExitCodeOf, outcomes: Outcomes
) -> None:
    assert exit_code_of(command, run_of(hostile), "--data-dir", hostile) == 0
    watched.goto((run_of(hostile) / file).as_uri())
    watched.wait_for_selector("html[data-ready]")
    for element in watched.locator("details:not([open]) > summary").all():
        if element.is_visible():
            element.click()
    text = str(watched.evaluate("document.body.innerText"))
    assert HOSTILE[0] in text, "shown as it is written"
    if command == "report":
        assert "<script>window.ran = 1</script>" in text
    outcomes.add("markup in names and texts of a page", "shown as text")


@pytest.mark.slow
@pytest.mark.browser
def test_tensorboard_escapes_names_and_texts(hostile: Path, browser: Browser, outcomes: Outcomes) -> None:
    """The config is shown as it is written, and names of classes are in tags; requests go to TensorBoard only."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    with Server(run_of(hostile).parent) as server:
        address = server.wait_for_answer(lambda: False, runs=True)
        assert address is not None
        for tab, text in (("text", "<script>window.ran = 1</script>"), ("timeseries", "feature_maps")):
            page.goto(f"{address}#{tab}")
            page.reload()
            page.get_by_text(text).first.wait_for()
            assert page.evaluate("window.ran") is None
            assert problems == []
        assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
        context.close()
    outcomes.add("markup in names and texts of TensorBoard", "shown as text")


MARKUP = "<img src=x onerror=alert(1)>|`[x](javascript:alert(1))"


def module_with_markup() -> torch.nn.Module:
    """A module whose layers have names that are markup."""
    module = torch.nn.Sequential()
    module.add_module(MARKUP, torch.nn.Conv2d(1, 2, 3))
    module.add_module("second", torch.nn.ReLU())
    return module


@pytest.mark.browser
def test_the_table_of_a_notebook(tmp_path: Path, watched: Page, outcomes: Outcomes) -> None:
    table = cnncli.inspect(module_with_markup(), input_shape=(1, 8, 8))
    (tmp_path / "table.html").write_text(as_html(table))
    watched.goto((tmp_path / "table.html").as_uri())
    assert watched.locator("tbody td").first.inner_text() == MARKUP
    outcomes.add("markup in names and texts of a page", "shown as text")


def test_the_table_as_markdown() -> None:
    """As cells of a GitHub table: no markup is left that Markdown or HTML would read."""
    table = markdown(cnncli.inspect(module_with_markup(), input_shape=(1, 8, 8)))
    (row,) = [line for line in table.splitlines() if "img" in line]
    assert re.search(r"(?<!\\)[<>`\[\]]", row) is None, row
    assert len(re.findall(r"(?<!\\)\|", row)) == table.splitlines()[0].count("|")


def test_errors_of_loading_are_no_internal_errors() -> None:
    """The check of `outcome_of` recognizes an error of cnncli itself."""
    assert "internal error" in as_user_error(ValueError("x")).message
