"""`cnncli predict`: files, folders, patterns and stdin, as text, as JSON and on a terminal."""

import hashlib
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cnncli.data.digits import load_digits
from cnncli.run import load_run
from tests.manifests import write_manifest

Cnncli = Callable[..., tuple[int, str, str]]

DIGITS = load_digits().test.images[:, 0].numpy()


@pytest.fixture
def images(folder: Path) -> Path:
    """Test images 0 to 3: two in a folder, one in a folder in it, and one that is a negative on a wide sheet."""
    (folder / "mine" / "more").mkdir(parents=True)
    for number, name in enumerate(("mine/0.png", "mine/1.png", "mine/more/2.bmp")):
        Image.fromarray(DIGITS[number]).save(folder / name)
    sheet = np.full((40, 90), 255, dtype=np.uint8)
    sheet[12:36, 50:74] = 255 - DIGITS[3].repeat(3, axis=0).repeat(3, axis=1)
    Image.fromarray(sheet).save(folder / "3.png")
    (folder / "mine" / "note.txt").write_text("no image", encoding="utf-8")
    return folder


def expected(run: Path, count: int) -> list[dict[str, float]]:
    """Class -> probability of the first test images, computed by torch."""
    opened = load_run(run, data_dir=Path("nowhere"))
    mean, std = opened.normalization.mean[0], opened.normalization.std[0]
    pixels = torch.from_numpy(DIGITS[:count])[:, None].float() / 255
    with torch.inference_mode():
        probabilities = opened.model((pixels - mean) / std).double().softmax(dim=1)
    return [dict(zip(opened.classes, row.tolist(), strict=True)) for row in probabilities]


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_json(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    code, out, err = run_cnncli("predict", trained, "mine", "3.png", "--json", "--top", 4)
    assert (code, err) == (0, "")
    found = records(out)
    assert [each["image"] for each in found] == ["mine/0.png", "mine/1.png", "mine/more/2.bmp", "3.png"]
    for record, probabilities in zip(found, expected(trained, 4), strict=True):
        best = sorted(probabilities, key=lambda name: -probabilities[name])
        assert record.keys() == {"image", "prediction", "probability", "top", "preprocessing"}
        assert record["prediction"] == best[0]
        assert [each["class"] for each in record["top"]] == best[:4]
        assert record["probability"] == record["top"][0]["probability"]
        resampled = record["image"] == "3.png"
        assert [each["probability"] for each in record["top"]] == pytest.approx(
            [probabilities[name] for name in best[:4]], abs=0.02 if resampled else 1e-5
        )
    assert [each["preprocessing"] for each in found[:3]] == [[], [], []]
    assert found[3]["preprocessing"] == ["inverted", "cropped", "centered", "resized from 90x40"]


def test_text(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    code, out, _ = run_cnncli("predict", trained, "3.png", "--invert", "yes", "--fit", "none", "--top", 1)
    assert code == 0
    assert re.fullmatch(r"3\.png: \d \d+\.\d% \(inverted, resized from 90x40, stretched\)\n", out)
    code, out, _ = run_cnncli("predict", trained, "mine/0.png", "--top", 99)
    assert len(re.findall(r"\d \d+\.\d%", out)) == 10


def test_patterns_and_repetitions(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    _, out, _ = run_cnncli("predict", trained, "mine/*.png", "mine/**/*.bmp", "mine/*.png", "--json")
    assert [each["image"] for each in records(out)] == ["mine/0.png", "mine/1.png", "mine/more/2.bmp"]
    (images / "[1].png").write_bytes((images / "mine" / "1.png").read_bytes())
    _, out, _ = run_cnncli("predict", trained, "[1].png", "--json")
    assert [each["image"] for each in records(out)] == ["[1].png"], "a file that looks like a pattern"


def test_stdin(run_cnncli: Cnncli, trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (images / "mine" / "1.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    _, out, _ = run_cnncli("predict", trained, "-", "mine/1.png", "--json")
    piped, from_file = records(out)
    assert (piped.pop("image"), from_file.pop("image")) == ("stdin", "mine/1.png")
    assert piped == from_file
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    code, out, err = run_cnncli("predict", trained, "-")
    assert (code, out) == (4, "")
    assert err.startswith("error: stdin: empty\n")


def test_the_others_go_on_when_an_image_cannot_be_read(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    (images / "bad.png").write_bytes((images / "mine" / "1.png").read_bytes()[:40])
    (images / "empty").mkdir()
    arguments = ("mine/0.png", "bad.png", "missing.png", "empty", "*.tif", "mine/1.png")
    code, out, err = run_cnncli("predict", trained, *arguments, "--json")
    assert code == 4
    assert [each["image"] for each in records(out)] == ["mine/0.png", "mine/1.png"]
    lines = err.splitlines()
    for line, start in zip(lines, arguments[1:5], strict=False):
        assert line.startswith(f"error: {start}: ")
    assert lines[4:] == ["error: 4 of 6 images cannot be read"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.png"], 4, "error: missing.png: No such file"),
        (["tiny.yaml"], 4, "error: tiny.yaml: not an image"),
        ([], 2, "Missing argument 'IMAGE'"),
        (["mine/0.png", "--top", "0"], 2, "--top"),
        (["mine/0.png", "--invert"], 2, "--invert"),
        (["mine/0.png", "--save-input", "mine"], 2, "--save-input would overwrite"),
        (["mine/0.png", "--save-input", "tiny.yaml"], 7, "tiny.yaml: cannot be written"),
    ],
)
def test_errors(run_cnncli: Cnncli, trained: Path, images: Path, arguments: list[str], code: int, message: str) -> None:
    ended, out, err = run_cnncli("predict", trained, *arguments)
    assert (ended, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_saved_inputs_are_what_the_network_sees(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    (images / "mine" / "3.png").write_bytes((images / "mine" / "1.png").read_bytes())
    _, first, _ = run_cnncli("predict", trained, "mine", "3.png", "--save-input", "a/seen", "--json")
    seen = sorted(path.name for path in (images / "a" / "seen").iterdir())
    assert seen == ["0.png", "1.png", "2.png", "3-2.png", "3.png"]
    _, second, _ = run_cnncli(
        "predict", trained, *(f"a/seen/{n}" for n in ("0.png", "1.png", "3.png", "2.png", "3-2.png")), "--json"
    )
    for given, saved in zip(records(first), records(second), strict=True):
        assert saved["preprocessing"] == []
        assert saved["top"] == given["top"]


def test_saved_names_differ_also_without_regard_to_case(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    """Some file systems take `A.png` and `a.png` for the same file."""
    for name in ("A.png", "a.bmp"):
        Image.fromarray(DIGITS[0]).save(name)
    assert run_cnncli("predict", trained, "A.png", "a.bmp", "--save-input", "seen")[0] == 0
    assert sorted(path.name for path in (images / "seen").iterdir()) == ["A.png", "a-2.png"]


def test_many_images_are_predicted_in_batches(
    run_cnncli: Cnncli, trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the prediction and the saved input of its own."""
    _, at_once, _ = run_cnncli("predict", trained, "mine", "3.png", "--json")
    monkeypatch.setattr("cnncli.cli.commands.predict._BATCH", 3)
    _, batched, _ = run_cnncli("predict", trained, "mine", "3.png", "--json", "--save-input", "seen")
    for one, other in zip(records(at_once), records(batched), strict=True):
        assert (one["image"], one["prediction"]) == (other["image"], other["prediction"])
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
    for number in range(3):
        with Image.open(images / "seen" / f"{number}.png") as seen:
            np.testing.assert_array_equal(np.asarray(seen), DIGITS[number])


def test_probabilities_that_are_not_finite_are_null(run_cnncli: Cnncli, trained: Path, images: Path) -> None:
    """Finite weights can be so large that a logit is not, and JSON has no NaN."""
    run = images / "diverged"
    shutil.copytree(trained, run)
    weights = run / "checkpoints" / "best" / "weights.safetensors"
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    save_file({name: torch.full_like(each, 3e38) for name, each in load_file(weights).items()}, weights, metadata)
    manifest = weights.with_name("manifest.json")
    record = json.loads(manifest.read_text())
    record["files"][weights.name] = hashlib.sha256(weights.read_bytes()).hexdigest()
    write_manifest(manifest, record)
    code, out, _ = run_cnncli("predict", run, "mine/0.png", "--json")
    assert code == 0
    assert records(out)[0]["probability"] is None
    assert run_cnncli("predict", run, "mine/0.png")[0] == 0


def test_a_terminal_shows_what_the_network_sees(
    exit_code_of: Callable[..., int], trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without color its rows are digits, from 0 (a dot) to 9."""
    for columns, beside in ((80, True), (24, False)):
        terminal = io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]  # for the test
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stdout", terminal)
        assert exit_code_of("predict", trained, "mine/0.png") == 0
        name, _, label, *rows = lines = re.sub("\x1b\\[[0-9;]*m", "", terminal.getvalue()).splitlines()
        assert (name, label[:5]) == ("mine/0.png", "input")
        shown = [row[:16] for row in rows[:8]]
        levels = [[0 if cell == " ." else int(cell) for cell in re.findall("..", row.ljust(16))] for row in shown]
        np.testing.assert_array_equal(levels, np.rint(DIGITS[0] / 255 * 9))
        answer = [row[16:] for row in (label, *rows)] if beside else rows[8:]
        assert len(re.findall(r"^ *\d #* *\d+\.\d%", "\n".join(answer), re.MULTILINE)) == 3
        assert "unchanged" in "".join(lines)
        assert max(map(len, lines)) <= max(columns, len(lines[1]))
