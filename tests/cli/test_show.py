"""`cnncli show` as its users meet it: what goes where, and what is said when it cannot be done."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pexpect
import pytest
from PIL import Image
from rich.console import Console

from cnncli.cli.render import views as exhibits
from cnncli.drawing.color import Scale
from cnncli.drawing.image import Tile
from cnncli.views.view import Exhibit

Cnncli = Callable[..., tuple[int, str, str]]

NO_CONVOLUTION = """\
version: 1
name: flat
data: {name: digits, size: 8, validation: 0.9}
model: {layers: [flatten, logits]}
train: {epochs: 1}
log: {images: 0}
"""


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a complete run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_paths_go_to_stdout_and_nothing_else(run: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("show", "kernels", run)
    assert (code, err) == (0, "")
    assert out.splitlines() == [str(run / "show" / "kernels" / f"{name}.png") for name in ("01_conv1", "03_conv2")]
    for path in out.splitlines():
        with Image.open(path) as image:
            assert image.format == "PNG"


def test_a_run_alone_shows_all_kinds(run: Path, run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("show", run)
    assert code == 0
    kinds = list(dict.fromkeys(Path(path).relative_to(run / "show").parts[0] for path in out.splitlines()))
    assert kinds[:2] == ["kernels", "features"]
    assert run_cnncli("show", "all", run)[1] == out


def test_json_is_one_object_a_picture(run: Path, run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("show", "features", run, 3, "--layer", "conv2", "--json")
    (record,) = map(json.loads, out.splitlines())
    assert code == 0
    assert record["tag"] == "features/03_conv2/test-3"
    assert record["file"] == str(run / "show" / "features" / "03_conv2" / "test-3.png")
    assert record["step"] == json.loads((run / "checkpoints" / "best" / "manifest.json").read_text())["step"]
    assert record["title"].startswith("feature maps of conv2 for test image 3 ")
    code, _, err = run_cnncli("show", "kernels", run, "--json", "--terminal")
    assert code == 2
    assert "--json and --terminal" in err


def test_in_a_pipe_tiles_are_digits_80_columns_wide(run: Path, run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("show", "features", run, "--layer", "conv1", "--terminal")
    path, title, legend, labels, *rows = out.splitlines()
    assert code == 0
    assert path.endswith(".png")
    assert title.startswith("feature maps of conv1 for test image 0 ")
    assert legend.startswith("9 = ")
    assert labels.split() == ["input", "0..255", "0", "1", "2"]
    assert len(rows[0]) == 3 * 16 + 16 + 3 * 3
    assert max(map(len, out.splitlines()[2:])) <= 80
    assert out.isascii()


def test_a_run_that_is_still_training_is_shown_as_far_as_it_is(run: Path, run_cnncli: Cnncli) -> None:
    (run / "status.json").write_text('{"state": "running"}')
    (run / "results.json").unlink()
    assert run_cnncli("show", "kernels", run)[0] == 0


def test_a_kind_that_does_not_apply_is_passed_over(folder: Path, run_cnncli: Cnncli) -> None:
    (folder / "flat.yaml").write_text(NO_CONVOLUTION, encoding="utf-8")
    assert run_cnncli("train", "flat.yaml", "--threads", 1, "--quiet")[0] == 0
    (run,) = (folder / "runs").iterdir()
    code, out, err = run_cnncli("show", run)
    assert code == 0
    assert "no kernels: " in err
    assert "no features: " in err
    assert "/kernels/" not in out
    code, _, err = run_cnncli("show", "kernels", run)
    assert code == 2
    assert "no layer of this network has kernels" in err


def test_what_is_no_run(run: Path, folder: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("show", "kernels", folder)
    assert (code, out) == (5, "")
    assert "not a run directory" in err
    assert str(run) in err
    code, _, err = run_cnncli("show", folder / "nowhere")
    assert code == 5
    assert "does not exist" in err


def test_a_run_without_a_checkpoint(run: Path, run_cnncli: Cnncli) -> None:
    shutil.rmtree(run / "checkpoints")
    code, _, err = run_cnncli("show", run)
    assert code == 5
    assert "no checkpoint in" in err
    assert not (run / "show").exists()


def test_data_that_is_damaged(run: Path, folder: Path, run_cnncli: Cnncli) -> None:
    resolved = (run / "resolved.yaml").read_text()
    (run / "resolved.yaml").write_text(resolved.replace("name: digits", "name: mnist"))
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte").write_bytes(b"no image")
    code, out, err = run_cnncli("show", "kernels", run, "--data-dir", folder)
    assert (code, out) == (4, "")
    assert str(raw) in err
    assert not (run / "show").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kernels", "--layer", "conv3"), "has no layer conv3. Did you mean conv"),
        (("kernels", "--layer", "max_pool1"), "--layer max_pool1: only one that has kernels will do"),
        (("kernels", "--scale", "net"), "layer"),
        (("features", "nowhere.png"), "image nowhere.png: No such file"),
        (("features", "tiny.yaml"), "image tiny.yaml: not an image"),
        (("features", "99999"), "image 99999: there are "),
        (("features", "0", "--layer", "flatten1"), "numbers and no maps"),
    ],
)
def test_what_means_nothing(arguments: tuple[str, ...], words: str, run: Path, run_cnncli: Cnncli) -> None:
    kind, *others = arguments
    code, out, err = run_cnncli("show", kind, run, *others)
    assert (code, out) == (2, "")
    assert words in err
    assert not (run / "show").exists()


def test_a_folder_that_cannot_be_written(run: Path, run_cnncli: Cnncli) -> None:
    (run / "show").write_text("a file is in the way")
    code, out, err = run_cnncli("show", "kernels", run)
    assert (code, out) == (7, "")
    assert "may be written to" in err
    assert "--out" not in err


def slow_items() -> Iterator[int]:
    yield 1
    time.sleep(0.6)
    yield 2


def test_who_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    console = Console(file=written, force_terminal=True, width=60)
    monkeypatch.setattr(exhibits, "messages", lambda: console)
    monkeypatch.setattr(exhibits, "_PATIENCE", 0.2)
    assert list(exhibits.waiting_for(slow_items())) == [1, 2]
    assert "drawing picture 2: " in written.getvalue()
    assert "drawing picture 1: " not in written.getvalue()
    piped = StringIO()
    monkeypatch.setattr(exhibits, "messages", lambda: Console(file=piped))
    assert list(exhibits.waiting_for(slow_items())) == [1, 2]
    assert piped.getvalue() == ""


def test_what_there_is_to_say_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    tile = Tile.of(np.ones((1, 1)), Scale(low=-1.0, high=1.0, signed=True), label="7")
    blank = np.zeros((1, 1, 3), dtype=np.uint8)
    exhibit = Exhibit(tag="a/b", title="a picture", pixels=blank, tiles=[tile], lines=["It is small."])
    exhibits.show_exhibit(exhibit, Path("show/a/b.png"), drawn=False)
    assert capfd.readouterr() == ("show/a/b.png\n", "  It is small.\n")
    exhibits.show_exhibit(exhibit, Path("show/a/b.png"), drawn=True)
    assert capfd.readouterr().out.splitlines() == [
        "show/a/b.png",
        "a picture",
        "9 = 1, -9 = -1, . = about 0",
        "7",
        " 9",
        "",
    ]


def on_terminal(run: Path, environment: dict[str, str], *arguments: str, **variables: str) -> pexpect.spawn:
    """`show kernels` on a terminal of 60 columns."""
    words = ["-m", "cnncli", "show", "kernels", str(run), "--layer", "conv1", "--terminal", *arguments]
    terminal = {**environment, "TERM": "xterm-256color", "COLORTERM": "", "COLUMNS": "", "LINES": "", **variables}
    terminal.pop("NO_COLOR", None) if "NO_COLOR" not in variables else None
    return pexpect.spawn(sys.executable, words, env=terminal, dimensions=(24, 60), encoding="utf-8", timeout=60)


@pytest.mark.parametrize(
    ("variables", "sign"),
    [
        ({"COLORTERM": "truecolor"}, "\x1b[38;2;"),
        ({"TERM": "dumb"}, "9 = "),
    ],
)
def test_on_a_terminal_it_draws_with_what_there_is(
    variables: dict[str, str], sign: str, run: Path, environment: dict[str, str]
) -> None:
    child = on_terminal(run, environment, **variables)
    child.expect(pexpect.EOF)
    assert sign in child.before
    assert ("\u2580" in child.before) == (sign != "9 = ")


def test_pixels_go_to_a_terminal_that_takes_them(run: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("textual_image", reason="the extra `terminal` is not installed")
    child = on_terminal(run, environment, COLORTERM="truecolor")
    child.expect_exact("\x1b[c")  # what can you do?
    child.send("\x1b[?62;4c")  # Sixel
    child.expect_exact("\x1b[16t")  # how large is a character?
    child.send("\x1b[6;16;8t")
    child.expect_exact("\x1bP")
    child.expect(pexpect.EOF)
    assert "\u2580" not in child.before
