"""`cnncli show` as its users meet it: what goes where, every view with its options, and errors."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, get_type_hints
from xml.etree import ElementTree

import numpy as np
import pexpect
import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.cli.render import views
from cnncli.drawing.canvas import Canvas
from cnncli.drawing.color import Scale
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import HEIGHT, PAGE, WIDTH
from cnncli.views import VIEWS
from cnncli.views.view import Picture, View
from tests.forked import on_terminal

Cnncli = Callable[..., tuple[int, str, str]]
ExitCodeOf = Callable[..., int]


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


@pytest.fixture(scope="module")
def overview(trained: Path, exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the run with all its pictures, and what `show` printed when it drew them."""
    run = Path(shutil.copytree(trained, tmp_path_factory.mktemp("overview") / "run"))
    with redirect_stdout(StringIO()) as written:
        assert exit_code_of("show", run) == 0
    return run, written.getvalue()


def test_a_run_alone_shows_all_views(overview: tuple[Path, str], run_cnncli: Cnncli) -> None:
    run, shown = overview
    paths = [Path(path).relative_to(run / "show") for path in shown.splitlines()]
    assert list(dict.fromkeys(path.parts[0] for path in paths))[:2] == ["kernels", "feature_maps"]
    code, out, err = run_cnncli("show", "all", run, "--json")
    assert code == 0, err
    assert [each["file"] for each in records(out)] == shown.splitlines()
    tags = {each["tag"] for each in records(out)}
    assert {"patches/01_conv1", "patches/03_conv2", "saliency/overview", "activation_maximization/07_logits1"} <= tags


def test_json_is_one_object_a_picture(run: Path, run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("show", "feature-maps", run, 3, "--layer", "conv2", "--json")
    (record,) = map(json.loads, out.splitlines())
    assert code == 0
    assert record["tag"] == "feature_maps/03_conv2/test-3"
    assert record["file"] == str(run / "show" / "feature_maps" / "03_conv2" / "test-3.png")
    assert record["step"] == json.loads((run / "checkpoints" / "best" / "manifest.json").read_text())["step"]
    assert record["title"].startswith("feature maps of conv2 for test image 3 ")
    code, _, err = run_cnncli("show", "kernels", run, "--json", "--terminal")
    assert code == 2
    assert "--json and --terminal" in err


def test_in_a_pipe_tiles_are_digits_80_columns_wide(run: Path, run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("show", "feature-maps", run, "--layer", "conv1", "--terminal")
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


def test_views_that_do_not_apply_are_skipped(folder: Path, run_cnncli: Cnncli) -> None:
    (folder / "flat.yaml").write_text(NO_CONVOLUTION, encoding="utf-8")
    assert run_cnncli("train", "flat.yaml", "--threads", 1, "--quiet")[0] == 0
    (run,) = (folder / "runs").iterdir()
    code, out, err = run_cnncli("show", run)
    assert code == 0
    assert "no kernels: " in err
    assert "no feature-maps: " in err
    assert "/kernels/" not in out
    code, _, err = run_cnncli("show", "kernels", run)
    assert code == 2
    assert "no layer of this network has kernels" in err


def test_not_a_run(run: Path, folder: Path, run_cnncli: Cnncli) -> None:
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
    code, out, err = run_cnncli("show", "feature-maps", run, "--data-dir", folder)
    assert (code, out) == (4, "")
    assert str(raw) in err
    assert not (run / "show").exists()
    assert run_cnncli("show", "kernels", run, "--data-dir", folder)[0] == 0  # needs no images


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kernels", "--layer", "conv3"), "has no layer conv3. Did you mean conv"),
        (("kernels", "--layer", "max_pool1"), "--layer max_pool1: this layer has no kernels"),
        (("kernels", "--color-scale", "net"), "layer"),
        (("feature-maps", "99999"), "image 99999: there are "),
        (("feature-maps", "0", "--layer", "flatten1"), "values, not feature maps"),
    ],
)
def test_invalid_arguments(arguments: tuple[str, ...], words: str, run: Path, run_cnncli: Cnncli) -> None:
    view, *others = arguments
    code, out, err = run_cnncli("show", view, run, *others)
    assert (code, out) == (2, "")
    assert words in err
    assert not (run / "show").exists()


@pytest.mark.parametrize(
    ("image", "words"), [("nowhere.png", "nowhere.png: No such file"), ("tiny.yaml", "tiny.yaml: not an image")]
)
def test_an_image_that_cannot_be_read_is_exit_4(image: str, words: str, run: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("show", "feature-maps", run, image)
    assert (code, out) == (4, "")
    assert words in err
    assert not (run / "show").exists()


def test_a_folder_that_cannot_be_written(run: Path, run_cnncli: Cnncli) -> None:
    (run / "show").write_text("a file is in the way")
    code, out, err = run_cnncli("show", "kernels", run)
    assert (code, out) == (7, "")
    assert "is writable" in err
    assert "--out" not in err


def slow_items() -> Iterator[int]:
    yield 1
    time.sleep(0.6)
    yield 2


def test_slow_pictures_show_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    console = Console(file=written, force_terminal=True, width=60)
    monkeypatch.setattr(views, "messages", lambda: console)
    monkeypatch.setattr(views, "_DELAY", 0.2)
    assert list(views.with_progress(slow_items())) == [1, 2]
    assert "drawing picture 2: " in written.getvalue()
    assert "drawing picture 1: " not in written.getvalue()
    piped = StringIO()
    monkeypatch.setattr(views, "messages", lambda: Console(file=piped))
    assert list(views.with_progress(slow_items())) == [1, 2]
    assert piped.getvalue() == ""


def test_lines_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    tile = Tile.of(np.ones((1, 1)), Scale(low=-1.0, high=1.0, signed=True), label="7")
    picture = Picture(
        tag="a/b", title="a picture", canvas=Canvas(width=1, height=1), tiles=[tile], lines=["It is small."]
    )
    views.show_picture(picture, Path("show/a/b.png"), draw=False)
    assert capfd.readouterr() == ("show/a/b.png\n", "  It is small.\n")
    views.show_picture(picture, Path("show/a/b.png"), draw=True)
    assert capfd.readouterr().out.splitlines() == [
        "show/a/b.png",
        "a picture",
        "9 = 1, -9 = -1, . = about 0",
        "7",
        " 9",
        "",
    ]


def kernels_on_terminal(run: Path, **variables: str) -> pexpect.spawn:
    """`show kernels` on a terminal of 60 columns."""
    terminal = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "", "COLUMNS": "", "LINES": "", **variables}
    terminal.pop("NO_COLOR", None)
    words = ("show", "kernels", run, "--layer", "conv1", "--terminal")
    return on_terminal(*words, environment=terminal, columns=60)


@pytest.mark.parametrize(
    ("variables", "sign"),
    [
        ({"COLORTERM": "truecolor"}, "\x1b[38;2;"),
        ({"TERM": "dumb"}, "9 = "),
    ],
)
def test_drawing_on_terminals(variables: dict[str, str], sign: str, run: Path) -> None:
    child = kernels_on_terminal(run, **variables)
    child.expect(pexpect.EOF)
    assert sign in child.before
    assert ("\u2580" in child.before) == (sign != "9 = ")


def test_pixels_on_a_terminal_with_sixel(run: Path) -> None:
    pytest.importorskip("textual_image", reason="the extra `terminal` is not installed")
    child = kernels_on_terminal(run, COLORTERM="truecolor")
    child.expect_exact("\x1b[c")  # what can you do?
    child.send("\x1b[?62;4c")  # Sixel
    child.expect_exact("\x1b[16t")  # how large is a character?
    child.send("\x1b[6;16;8t")
    child.expect_exact("\x1bP")
    child.expect(pexpect.EOF)
    assert "\u2580" not in child.before


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_patches(run_cnncli: Cnncli, run: Path) -> None:
    code, out, err = run_cnncli("show", "patches", run, "--json")
    assert code == 0, err
    assert [each["tag"] for each in records(out)] == ["patches/01_conv1", "patches/03_conv2"]
    for each in records(out):
        with Image.open(each["file"]) as image:
            assert 600 < image.width <= PAGE.width, "nine patches of some size side by side"
        assert 0 <= each["numbers"]["dead_filters"] <= 6


def test_patches_of_one_filter_in_the_terminal(run_cnncli: Cnncli, run: Path) -> None:
    code, out, err = run_cnncli(
        "show", "patches", run, "--layer", "conv2", "--filter", "3", "--count", "2", "--terminal"
    )
    assert code == 0, err
    assert out.count("filter 3: ") == 2
    assert "filter 2" not in out


def test_several_patches_of_one_image(run_cnncli: Cnncli, run: Path) -> None:
    arguments = ("show", "patches", run, "--layer", "conv1", "--filter", "0", "--terminal", "--count", "4")
    _, one, _ = run_cnncli(*arguments)
    _, several, _ = run_cnncli(*arguments, "--per-image", "4")
    images = [{word for word in out.replace(",", " ").split() if word.startswith("#")} for out in (one, several)]
    assert len(images[0]) == 4
    assert len(images[1]) <= 4


def test_saliency(run_cnncli: Cnncli, run: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "own.png")
    code, out, err = run_cnncli("show", "saliency", run, "7", tmp_path / "own.png", "--json")
    assert code == 0, err
    first, own = records(out)
    assert (first["tag"], own["tag"]) == ("saliency/test-7", "saliency/own")
    assert 0 <= first["numbers"]["probability"] <= 1
    assert Path(first["file"]).is_file()


def test_single_methods(run_cnncli: Cnncli, run: Path) -> None:
    for method in ("gradient", "smoothgrad", "integrated", "gradcam", "occlusion"):
        code, out, err = run_cnncli("show", "saliency", run, "7", "--method", method, "--target", "3")
        assert code == 0, err
        assert f"show/saliency/test-7-as-3-{method}.png" in out.replace("\\", "/")


def test_images_made_activate_at_least_as_much_as_real_ones(run_cnncli: Cnncli, run: Path) -> None:
    """For every class, and for most filters: a real patch may stand where no padding weakens it."""
    code, out, err = run_cnncli("show", "activation-maximization", run, "--json")
    assert code == 0, err
    numbers = {each["tag"]: each["numbers"] for each in records(out)}
    assert list(numbers) == [
        "activation_maximization/01_conv1",
        "activation_maximization/03_conv2",
        "activation_maximization/07_logits1",
    ]
    assert numbers["activation_maximization/07_logits1"] == {"optimized": 10, "optimized_at_least_real": 10}
    assert numbers["activation_maximization/03_conv2"]["optimized_at_least_real"] >= 5
    assert numbers["activation_maximization/01_conv1"]["optimized_at_least_real"] >= 3


def test_fewer_steps_reach_less(run_cnncli: Cnncli, run: Path) -> None:
    reached = []
    for steps in (1, 100):
        _, out, _ = run_cnncli(
            "show", "activation-maximization", run, "--layer", "logits1", "--steps", steps, "--terminal"
        )
        labels = [line for line in out.splitlines() if line.startswith("class 3, optimized ")]
        reached.append(float(labels[0].split("optimized ")[1].split()[0]))
    assert reached[0] < reached[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("patches", "--layer", "conv9"), "has no layer conv9"),
        (("patches", "--layer", "conv1", "--filter", "4"), "conv1 has filters 0 to 3"),
        (("patches", "--count", "0"), "--count"),
        (("saliency", "400"), "there are 359 test images"),
        (("saliency", "1", "--target", "ten"), "there is no class ten"),
        (("saliency", "1", "--method", "lime"), "lime"),
        (("saliency", "1", "--layer", "logits1"), "the output of logits1 is a vector"),
        (("activation-maximization", "--layer", "logits1", "--filter", "10"), "logits1 has filters 0 to 9"),
        (("activation-maximization", "--steps", "0"), "--steps"),
        (("activation-maximization", "--steps", "100001"), "--steps"),
    ],
)
def test_arguments_that_do_not_fit(run_cnncli: Cnncli, run: Path, arguments: tuple[str, ...], message: str) -> None:
    view, *others = arguments
    code, _, err = run_cnncli("show", view, run, *others)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not list((run / "show").rglob("*.png"))


def test_a_missing_image_file_is_a_data_error(run_cnncli: Cnncli, run: Path) -> None:
    code, _, err = run_cnncli("show", "saliency", run, "nothing.png")
    assert code == 4
    assert "nothing.png" in err


@pytest.fixture
def shown(run_cnncli: Cnncli) -> Callable[..., list[dict[str, Any]]]:
    """`cnncli show ARGUMENTS --json`: its records."""

    def show(*arguments: object) -> list[dict[str, Any]]:
        code, out, err = run_cnncli("show", *arguments, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    return show


def test_the_accuracy_is_that_of_the_results(run: Path, shown: Callable[..., Any]) -> None:
    test = json.loads((run / "results.json").read_text())["test"]
    (confusion,) = shown("confusion", run)
    (calibration,) = shown("calibration", run)
    (mistakes,) = shown("mistakes", run)
    assert confusion["numbers"]["accuracy"] == calibration["numbers"]["accuracy"] == test["accuracy"]
    assert mistakes["numbers"]["wrong"] == round((1 - test["accuracy"]) * 359)  # test images of the digits
    assert 0 < test["accuracy"] < 1


def test_pngs_and_event_file_of_the_evaluation(run: Path, run_cnncli: Cnncli) -> None:
    for view in ("confusion", "mistakes", "calibration"):
        code, out, err = run_cnncli("show", view, run)
        assert code == 0, err
        assert out.splitlines()[0] == str(run / "show" / "eval" / f"{view}.png")
        assert len((out + err).splitlines()) > 1
    events = EventAccumulator(str(run / "show"), size_guidance={"images": 0}).Reload()
    assert sorted(events.Tags()["images"]) == ["eval/calibration", "eval/confusion", "eval/mistakes"]
    for tag in events.Tags()["images"]:
        (image,) = events.Images(tag)
        assert image.width <= WIDTH
        assert image.height <= HEIGHT
        with Image.open(run / "show" / f"{tag}.png") as picture:
            assert (image.width, image.height) != picture.size


def test_every_picture_can_be_enlarged_and_can_be_svg(
    run: Path, overview: tuple[Path, str], run_cnncli: Cnncli
) -> None:
    """Twice as large in every picture, and no picture is a TensorBoard card; SVG is XML with the same size."""
    sizes: dict[int, dict[str, tuple[int, int]]] = {1: {}, 2: {}}
    code, out, err = run_cnncli("show", run, "--scale", 2)
    assert code == 0, err
    for scale, folder, printed in ((1, *overview), (2, run, out)):
        for path in printed.splitlines():
            with Image.open(path) as image:
                sizes[scale][Path(path).relative_to(folder).with_suffix("").as_posix()] = image.size
    assert len(sizes[1]) >= 10
    assert {name: (width // 2, height // 2) for name, (width, height) in sizes[2].items()} == sizes[1]
    for name in ("eval/confusion", "eval/calibration", "effective_receptive_field/04_avg_pool1"):
        assert sizes[1][f"show/{name}"] > (400, 300), name
    code, out, err = run_cnncli("show", run, "--format", "svg")
    assert code == 0, err
    for path in out.splitlines():
        root = ElementTree.parse(path).getroot()
        name = Path(path).relative_to(run).with_suffix("").as_posix()
        assert (int(root.attrib["width"]), int(root.attrib["height"])) == sizes[1].pop(name)
        assert any(each.text for each in root.iter("{http://www.w3.org/2000/svg}text"))
    assert not sizes[1]
    assert run_cnncli("show", "kernels", run, "--scale", 0)[0] == 2
    assert run_cnncli("show", "kernels", run, "--format", "gif")[0] == 2


def test_count(run: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("show", "mistakes", run, "--count", 2)
    assert code == 0
    assert "the 2 most confident mistakes are shown" in out + err
    assert run_cnncli("show", "mistakes", run, "--count", 0)[0] == 2


def test_no_mistakes(run: Path, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnncli.run import Run
    from cnncli.training.evaluate import Predictions

    def all_right(run: Run) -> Predictions:
        labels = run.test.labels.numpy()
        probabilities = run.test.labels.double()[:, None].numpy()
        return Predictions(labels=labels, predicted=labels, probabilities=probabilities, loss=0.0)

    monkeypatch.setattr(Run, "predictions", property(all_right))
    code, out, err = run_cnncli("show", "mistakes", run)
    assert (code, out) == (0, "")
    assert err == "all 359 test images are classified correctly: there are no mistakes to show\n"
    assert not list((run / "show").rglob("*.png"))


def test_effective(run: Path, shown: Callable[..., Any]) -> None:
    (last,) = shown("effective-receptive-field", run, "--images", 3)
    assert last["tag"] == "effective_receptive_field/04_avg_pool1"
    named = shown("effective-receptive-field", run, "--layer", "conv2", "--layer", "conv1")
    assert [each["tag"] for each in named] == [
        "effective_receptive_field/03_conv2",
        "effective_receptive_field/01_conv1",
    ]
    assert named[1]["numbers"]["trained_99"] == 3  # of a 3x3 convolution


def test_embedding(run: Path, shown: Callable[..., Any]) -> None:
    (found,) = shown("embedding", run, "--count", 50)
    assert found["tag"] == "embedding/06_dropout1"
    assert 0 < found["numbers"]["variance_2"] <= found["numbers"]["variance_1"] < 1
    (named,) = shown("embedding", run, "--layer", "conv2")
    assert named["file"].endswith("show/embedding/03_conv2.png")
    assert sorted(path.name for path in (run / "show" / "projector").iterdir()) == ["03_conv2", "06_dropout1"]


def test_misspelled_views_and_views_after_the_run(run_cnncli: Cnncli, run: Path) -> None:
    code, _, err = run_cnncli("show", "kernel", run)
    assert code == 2
    assert "there is no view kernel. Did you mean kernels?" in err
    code, _, err = run_cnncli("show", run, "kernels")
    assert code == 2
    assert f"the view comes before the run: cnncli show kernels {run}" in " ".join(err.split())
    code, _, err = run_cnncli("show", "runs/not-there")
    assert code == 5
    assert "does not exist" in err


def test_changed_data_is_noticed(run_cnncli: Cnncli, run: Path) -> None:
    code, _, err = run_cnncli("show", "confusion", run)
    assert code == 0
    assert "the data has changed" not in err
    meta = json.loads((run / "metadata.json").read_text())
    (name,) = meta["data"]
    meta["data"][name] = "sha256:of something else"
    (run / "metadata.json").write_text(json.dumps(meta))
    code, _, err = run_cnncli("show", "confusion", run)
    assert code == 0
    assert f"the data has changed since this run was trained ({name})" in err


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_a_command_with_its_options(view: type[View], run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("show", view.name, "--help")
    words = " ".join(out.split())
    assert code == 0
    assert view.__doc__ is not None
    assert " ".join(view.__doc__.split("\n\n")[0].split()) in words.replace("- CAM", "-CAM")
    for hint in get_type_hints(view, include_extras=True).values():
        for option in getattr(hint, "__metadata__", ()):
            assert all(flag in words for flag in option.param_decls or ())
            assert option.help in words
    assert f"cnncli show {view.name} runs/" in words
