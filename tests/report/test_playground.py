"""`cnncli play`, from the command to the data in the page."""

import base64
import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.errors import UsageError
from cnncli.module import CnnModule
from cnncli.report.page import PLAY_PAGE, document
from cnncli.report.playground import check_comparable
from cnncli.run import Run, load_run
from tests.manifests import write_manifest
from tests.networks import network_of
from tests.report.test_page import NASTY, Reader

ExitCodeOf = Callable[..., int]
LARGEST, LARGEST_WITH_TIME = 1_000_000, 3_000_000
TYPES: dict[str, np.dtype[Any]] = {"u1": np.dtype("u1"), "f2": np.dtype("<f2"), "f4": np.dtype("<f4")}
PARTS = {"static": "", "first": "", "binary": "", "language": "en"}


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def array_of(page: Path, key: str) -> npt.NDArray[Any]:
    """An array of the page, decoded as its index says."""
    data = data_of(page)
    part = "first" if key in data["first"] else "binary"
    found = re.search(f'<script type="text/plain" id="{part}">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    content = base64.b64decode(found[1])
    if part == "binary":
        content = zlib.decompress(content)
    entry = data["first" if part == "first" else "arrays"][key]
    kind = TYPES[entry["type"]]
    planes = np.frombuffer(content, np.uint8, kind.itemsize * entry["length"], entry["offset"])
    flat = np.ascontiguousarray(planes.reshape(kind.itemsize, -1).T)
    return np.frombuffer(flat.tobytes(), kind)


@pytest.fixture
def run(lenet: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(lenet, tmp_path / lenet.name))


def test_the_page_in_the_run(run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of("play", run) == 0
    page = run / "play.html"
    assert capfd.readouterr() == (f"{page}\n", "")
    assert page.stat().st_size < LARGEST_WITH_TIME
    data = data_of(page)
    (model,) = data["models"]
    results = json.loads((run / "results.json").read_text())
    assert model["accuracy"] == results["test"]["accuracy"]
    assert (model["name"], model["run"]) == ("lenet5", run.name)
    assert data["unavailable"] is None
    assert data["language"] == "en"
    loaded = load_run(run, data_dir=Path("nowhere"))
    state = loaded.model.state_dict()
    weights = array_of(page, "weights/0")
    for tensor in model["model"]["tensors"]:
        start, size = tensor["offset"], int(np.prod(tensor["shape"]))
        expected = state[tensor["name"]].numpy().ravel()
        np.testing.assert_array_equal(weights[start : start + size], expected)


def test_the_accuracy_is_that_of_the_weights(run: Path, exit_code_of: ExitCodeOf, tmp_path: Path) -> None:
    """Results of another epoch are not shown."""
    shutil.copytree(run, tmp_path / "other")
    results = json.loads((run / "results.json").read_text())
    results["epoch"] += 1
    (tmp_path / "other" / "results.json").write_text(json.dumps(results))
    assert exit_code_of("play", tmp_path / "other", "--data-dir", tmp_path) == 0
    assert data_of(tmp_path / "other" / "play.html")["models"][0]["accuracy"] is None


def test_the_page_without_the_weights_of_earlier_steps_is_small(run: Path, exit_code_of: ExitCodeOf) -> None:
    shutil.rmtree(run / "weights")
    assert exit_code_of("play", run) == 0
    assert (run / "play.html").stat().st_size < LARGEST


def test_the_images_in_the_page(run: Path, exit_code_of: ExitCodeOf) -> None:
    assert exit_code_of("play", run) == 0
    page, loaded = run / "play.html", load_run(run, data_dir=Path("nowhere"))
    images = data_of(page)["images"]
    numbers, count = images["numbers"], images["count"]
    assert numbers[:100] == list(range(100))
    pixels = array_of(page, "images").reshape(count, 1, 28, 28)
    np.testing.assert_array_equal(pixels, loaded.test.images[numbers].numpy())
    np.testing.assert_array_equal(array_of(page, "first"), pixels[0].ravel())
    assert images["labels"] == loaded.test.labels[numbers].tolist()
    assert min(np.bincount(images["labels"])) >= 10
    predictions = loaded.predictions
    wrong = [number for number in range(len(predictions)) if not predictions.correct[number]]
    wrong.sort(key=lambda number: -predictions.confidence[number])
    assert [numbers[position] for position in images["mistakes"][0]] == wrong[:20]
    assert images["searched"] == len(loaded.test)
    with torch.inference_mode():
        batch, _ = next(loaded.batches(batch_size=100).epoch(1))
        logits = loaded.model(batch).numpy()
    assert images["check"] == {"count": 100, "source": "test", "key": "images"}
    np.testing.assert_allclose(array_of(page, "logits/0").reshape(100, 10), logits, atol=1e-5)


def test_large_images_leave_room_for_all_classes_and_mistakes(
    run: Path, exit_code_of: ExitCodeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnncli.report.playground.IMAGE_BYTES", 40 * 28 * 28)
    assert exit_code_of("play", run) == 0
    images = data_of(run / "play.html")["images"]
    assert images["count"] == 40
    assert set(images["labels"]) == set(range(10))
    assert images["numbers"][:20] == list(range(20))
    assert images["mistakes"][0]
    assert images["check"]["count"] == 40


def test_large_networks_are_searched_for_mistakes_in_fewer_images(
    run: Path, exit_code_of: ExitCodeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnncli.report.playground.EVALUATED_MACS", 150 * 416_520)
    assert exit_code_of("play", run) == 0
    images = data_of(run / "play.html")["images"]
    assert images["searched"] == 150
    assert max((images["numbers"][position] for position in images["mistakes"][0]), default=0) < 150


def test_half_precision(run: Path, exit_code_of: ExitCodeOf, monkeypatch: pytest.MonkeyPatch, lenet_run: Run) -> None:
    assert exit_code_of("play", run, "--out", run / "single.html") == 0
    monkeypatch.setattr("cnncli.report.model_data.MAX_FLOAT32", 1000)
    assert exit_code_of("play", run) == 0
    page = run / "play.html"
    assert data_of(page)["models"][0]["model"]["precision"] == "float16"
    weights = array_of(page, "weights/0")
    np.testing.assert_array_equal(weights, array_of(run / "single.html", "weights/0").astype(np.float16))
    for parameter in lenet_run.model.parameters():
        parameter.data = parameter.data.half().float()
    with torch.inference_mode():
        batch, _ = next(lenet_run.batches(batch_size=100).epoch(1))
        logits = lenet_run.model(batch).numpy()
    np.testing.assert_allclose(array_of(page, "logits/0").reshape(100, 10), logits, atol=1e-5)
    assert page.stat().st_size < (run / "single.html").stat().st_size


def test_without_the_data_set(run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]) -> None:
    resolved = run / "resolved.yaml"
    text = resolved.read_text("utf-8")
    resolved.write_text(text.replace("name: digits", "name: mnist"), "utf-8")
    assert exit_code_of("play", run, "--data-dir", run / "nowhere") == 0
    page = run / "play.html"
    data = data_of(page)
    assert data["unavailable"] in capfd.readouterr().err.replace("\n", " ")
    assert (data["images"]["count"], data["images"]["numbers"]) == (0, [])
    count = data["images"]["check"]["count"]
    pixels = torch.from_numpy(array_of(page, "check").reshape(count, 1, 28, 28).copy())
    loaded = load_run(run, data_dir=run / "nowhere")
    with torch.inference_mode():
        logits = [loaded.model(loaded.as_input(each)[None])[0].numpy() for each in pixels]
    np.testing.assert_allclose(array_of(page, "logits/0").reshape(count, 10), logits, atol=1e-5)


def test_two_runs_in_one_page(run: Path, exit_code_of: ExitCodeOf, tmp_path: Path) -> None:
    out = tmp_path / "new" / "two.html"
    assert exit_code_of("play", run, run, "--out", out, "--lang", "zh") == 0
    data = data_of(out)
    assert [model["run"] for model in data["models"]] == [run.name] * 2
    assert len(data["images"]["mistakes"]) == 2
    assert {"weights/0", "weights/1"} <= set(data["first"])
    assert {"logits/0", "logits/1"} <= set(data["arrays"])
    assert data["language"] == "zh"
    assert Reader(out.read_text("utf-8")).elements[0] == ("html", {"lang": "zh-CN"})


def test_networks_with_other_inputs_cannot_be_compared(lenet_run: Run) -> None:
    larger = replace(lenet_run, path=Path("runs/larger"), model=CnnModule(network_of("[flatten, logits]", (1, 32, 32))))
    with pytest.raises(UsageError, match=r"takes images 1 x 28 x 28, and runs/larger 1 x 32 x 32"):
        check_comparable([lenet_run, larger])


def test_networks_with_other_classes_cannot_be_compared(
    run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run, run.parent / "other"))
    manifest = other / "checkpoints" / "best" / "manifest.json"
    record = json.loads(manifest.read_text())
    record["preprocessing"]["classes"] = [f"other {k}" for k in range(10)]
    write_manifest(manifest, record)
    assert exit_code_of("play", run, other) == 2
    assert "have different classes" in capfd.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("prepare", "code", "message"),
    [
        (lambda run: run / "nowhere", 5, "does not exist"),
        (lambda run: run.parent, 5, "not a run directory"),
        (lambda run: Path(shutil.move(run / "checkpoints", run / "elsewhere")).parent, 5, "checkpoint"),
        (lambda run: (run / "play.html").mkdir() or run, 2, "is a directory"),
    ],
)
def test_errors(
    prepare: Callable[[Path], Path],
    code: int,
    message: str,
    run: Path,
    exit_code_of: ExitCodeOf,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert exit_code_of("play", prepare(run)) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err.replace("\n", " ")


def test_the_browser_is_opened_on_request(run: Path, exit_code_of: ExitCodeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert exit_code_of("play", run) == 0
    assert opened == []
    assert exit_code_of("play", run, "--open") == 0
    assert opened == [(run / "play.html").resolve().as_uri()]


@pytest.mark.parametrize("text", NASTY)
def test_text_cannot_end_the_data(text: str) -> None:
    page = Reader(document(PLAY_PAGE, {"classes": [text]}, title=text, parts=PARTS))
    scripts = [tag for tag, _ in page.elements if tag in ("script", "style")]
    assert scripts == ["style", *["script"] * 5]
    assert json.loads(page.text("script")) == {"classes": [text]}
    assert page.text("title") == text


def test_the_policy_allows_this_script_this_style_and_a_worker_of_the_page() -> None:
    page = Reader(document(PLAY_PAGE, {}, title="x", parts=PARTS))
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    script = page.text("script", 2)  # after the data and the worker
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, page.text("style"))
    ]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": f"'sha256-{digests[0]}'",
        "style-src": f"'sha256-{digests[1]}'",
        "worker-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_refers_to_nothing_outside() -> None:
    page = document(PLAY_PAGE, {}, title="x", parts=PARTS)
    assert set(re.findall(r"https?://[^\s\"'`]+", page)) <= {"http://www.w3.org/2000/svg"}
    links = [attributes.get(key) for _, attributes in Reader(page).elements for key in ("src", "href")]
    assert list(filter(None, links)) == ["data:,"]
