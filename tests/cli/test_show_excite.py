"""`cnncli show patches`, `saliency` and `maximize` as they are typed, on a network that was really trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnncli.drawing.layout import PAGE

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run that may be written to."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def shown(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_patches(run_cnncli: Run, run: Path) -> None:
    code, out, err = run_cnncli("show", "patches", run, "--json")
    assert code == 0, err
    assert [each["tag"] for each in shown(out)] == ["patches/01_conv1", "patches/03_conv2"]
    for each in shown(out):
        with Image.open(each["file"]) as image:
            assert 600 < image.width <= PAGE.width, "nine patches of some size side by side"
        assert 0 <= each["numbers"]["dead_filters"] <= 6


def test_patches_of_one_filter_in_the_terminal(run_cnncli: Run, run: Path) -> None:
    code, out, err = run_cnncli(
        "show", "patches", run, "--layer", "conv2", "--filter", "3", "--count", "2", "--terminal"
    )
    assert code == 0, err
    assert out.count("filter 3: ") == 2
    assert "filter 2" not in out


def test_several_patches_of_one_image_if_asked(run_cnncli: Run, run: Path) -> None:
    arguments = ("show", "patches", run, "--layer", "conv1", "--filter", "0", "--terminal", "--count", "4")
    _, one, _ = run_cnncli(*arguments)
    _, several, _ = run_cnncli(*arguments, "--per-image", "4")
    images = [{word for word in out.replace(",", " ").split() if word.startswith("#")} for out in (one, several)]
    assert len(images[0]) == 4
    assert len(images[1]) <= 4


def test_saliency(run_cnncli: Run, run: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "own.png")
    code, out, err = run_cnncli("show", "saliency", run, "7", tmp_path / "own.png", "--json")
    assert code == 0, err
    first, own = shown(out)
    assert (first["tag"], own["tag"]) == ("saliency/test-7", "saliency/own")
    assert 0 <= first["numbers"]["probability"] <= 1
    assert Path(first["file"]).is_file()


def test_every_method_by_itself(run_cnncli: Run, run: Path) -> None:
    for method in ("gradient", "smoothgrad", "integrated", "gradcam", "occlusion"):
        code, out, err = run_cnncli("show", "saliency", run, "7", "--method", method, "--target", "3")
        assert code == 0, err
        assert f"show/saliency/test-7-as-3-{method}.png" in out.replace("\\", "/")


def test_maximize_reaches_what_real_images_do(run_cnncli: Run, run: Path) -> None:
    """For every class, and for most filters: a real patch may stand where no padding weakens it."""
    code, out, err = run_cnncli("show", "maximize", run, "--json")
    assert code == 0, err
    numbers = {each["tag"]: each["numbers"] for each in shown(out)}
    assert list(numbers) == ["maximize/01_conv1", "maximize/03_conv2", "maximize/07_logits1"]
    assert numbers["maximize/07_logits1"] == {"made": 10, "made_at_least_real": 10}
    assert numbers["maximize/03_conv2"]["made_at_least_real"] >= 5
    assert numbers["maximize/01_conv1"]["made_at_least_real"] >= 3


def test_fewer_steps_reach_less(run_cnncli: Run, run: Path) -> None:
    reached = []
    for steps in (1, 100):
        _, out, _ = run_cnncli("show", "maximize", run, "--layer", "logits1", "--steps", steps, "--terminal")
        labels = [line for line in out.splitlines() if line.startswith("class 3, made ")]
        reached.append(float(labels[0].split("made ")[1].split()[0]))
    assert reached[0] < reached[1]


def test_all_kinds_are_in_the_overview(run_cnncli: Run, run: Path) -> None:
    code, out, err = run_cnncli("show", run, "--json")
    assert code == 0, err
    tags = [each["tag"] for each in shown(out)]
    assert {"patches/01_conv1", "patches/03_conv2", "saliency/overview", "maximize/07_logits1"} <= set(tags)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("patches", "--layer", "conv9"), "has no layer conv9"),
        (("patches", "--layer", "conv1", "--filter", "4"), "conv1 has filters 0 to 3"),
        (("patches", "--count", "0"), "--count"),
        (("saliency", "400"), "there are 359 test images"),
        (("saliency", "nothing.png"), "nothing.png"),
        (("saliency", "1", "--target", "ten"), "there is no class ten"),
        (("saliency", "1", "--method", "lime"), "lime"),
        (("saliency", "1", "--layer", "logits1"), "logits1 gives a row of numbers"),
        (("maximize", "--layer", "logits1", "--filter", "10"), "logits1 has filters 0 to 9"),
        (("maximize", "--steps", "0"), "--steps"),
    ],
)
def test_what_is_not_there(run_cnncli: Run, run: Path, arguments: tuple[str, ...], message: str) -> None:
    kind, *others = arguments
    code, _, err = run_cnncli("show", kind, run, *others)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not list((run / "show").rglob("*.png"))
