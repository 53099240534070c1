"""`cnncli report`, from the command to the data in the page."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

ExitCodeOf = Callable[..., int]
LARGEST = 5_000_000


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.fixture
def run(lenet: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(lenet, tmp_path / lenet.name))


def test_the_report_in_the_run(run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of("report", run) == 0
    page = run / "report.html"
    assert capfd.readouterr() == (f"{page}\n", "")
    assert page.stat().st_size < LARGEST
    data = data_of(page)
    results = json.loads((run / "results.json").read_text())
    assert data["head"]["results"] == results
    assert (data["head"]["params"], data["head"]["macs"]) == (61_706, 416_520)
    assert data["head"]["state"] == "complete"
    assert data["metrics"] == [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    counts = data["confusion"]["counts"]
    right = sum(counts[i][i] for i in range(10)) / sum(map(sum, counts))
    assert right == pytest.approx(results["test"]["accuracy"])
    assert data["logged"] is None, "kernels and maps are drawn from weights"
    assert data["history"]["steps"] == sorted(int(each.stem) for each in (run / "weights").iterdir())
    assert data["history"]["of"] == len(data["history"]["steps"])
    assert data["history"]["layers"] == ["conv1", "avg_pool1", "conv2", "avg_pool2"]
    assert [row[0] for row in data["table"]["rows"]] == [layer["name"] for layer in data["network"]["layers"]]
    assert data["files"]["config.yaml"] == (run / "config.yaml").read_text("utf-8")
    assert data["metadata"] == json.loads((run / "metadata.json").read_text())
    assert [layer["name"] for layer in data["views"]["patches"]["layers"]] == ["conv1", "conv2"]
    assert data["augmentation"] == []


@pytest.mark.slow
def test_without_weights_of_steps_the_report_has_the_logged_pictures(
    run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of("report", run) == 0
    size = (run / "report.html").stat().st_size
    shutil.rmtree(run / "weights")
    assert exit_code_of("report", run) == 0
    data = data_of(run / "report.html")
    assert data["history"] is None
    assert len(data["logged"]["kernels"]) == 2
    assert len(data["logged"]["feature_maps"]) == 4 * 10
    assert (run / "report.html").stat().st_size > 2 * size


def test_the_report_of_an_interrupted_run(
    run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]
) -> None:
    (run / "status.json").write_text('{"state": "interrupted"}')
    (run / "results.json").unlink()
    shutil.rmtree(run / "checkpoints")
    for path in run.glob("events.*"):
        path.unlink()
    (run / "metrics.jsonl").unlink()
    assert exit_code_of("report", run) == 0
    assert "no checkpoint in" in capfd.readouterr().err
    data = data_of(run / "report.html")
    assert (data["head"]["state"], data["head"]["results"], data["metrics"]) == ("interrupted", None, [])
    assert data["confusion"] is None
    assert data["views"] is None
    assert (data["images"], data["arrays"]) == (None, {})
    assert "no checkpoint in" in data["unavailable"]
    assert data["network"]["layers"]


def test_a_run_whose_process_died_counts_as_interrupted_and_out_names_the_file(
    run: Path, exit_code_of: ExitCodeOf, tmp_path: Path
) -> None:
    (run / "status.json").write_text('{"state": "running"}')
    page = tmp_path / "new" / "page.html"
    assert exit_code_of("report", run, "--out", page) == 0
    assert not (run / "report.html").exists()
    head = data_of(page)["head"]
    assert (head["state"], head["reason"]) == ("interrupted", "stopped without notice")


def folder_run(tmp_path: Path, names: tuple[str, ...], exit_code_of: ExitCodeOf) -> Path:
    torch.manual_seed(0)
    for part in ("train", "test"):
        for i, name in enumerate(names):
            folder = tmp_path / "shapes" / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = torch.randint(0, 100, (8, 8), dtype=torch.uint8)
                pixels[:, 4 * i : 4 * i + 4] += 100
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    config = tmp_path / "net.yaml"
    config.write_text(
        "# </script><script>alert(1)</script>\n"
        "data: {name: image-folder, path: shapes, size: 8, channels: 1}\n"
        "model: {layers: [{conv: {out_channels: 2, kernel_size: 3}}, flatten, logits]}\n"
        "train: {epochs: 1, batch_size: 4}\n"
        "log: {images: 0}\n"
    )
    out = tmp_path / "runs"
    assert exit_code_of("train", config, "--out", out, "--data-dir", tmp_path, "--threads", 1, "--quiet") == 0
    (run,) = out.iterdir()
    return run


def test_class_names_are_escaped_and_missing_data_is_reported(
    tmp_path: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("<img src=x onerror=alert(1)>", "b & <!--")
    run = folder_run(tmp_path, names, exit_code_of)
    assert exit_code_of("report", run, "--data-dir", tmp_path) == 0
    page = (run / "report.html").read_text("utf-8")
    assert len(re.findall("<script", page)) == 3
    assert "<img" not in page.partition("</style>")[2].partition('<script type="module">')[0]
    data = data_of(run / "report.html")
    assert data["classes"] == list(names)
    assert data["files"]["config.yaml"].startswith("# </script>")
    assert (data["logged"]["steps"], data["logged"]["enabled"]) == ([], False)
    for path in (tmp_path / "shapes" / "test").rglob("*.png"):
        path.unlink()
    capfd.readouterr()
    assert exit_code_of("report", run, "--data-dir", tmp_path) == 0
    data = data_of(run / "report.html")
    assert data["confusion"] is None
    assert data["unavailable"] in capfd.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("prepare", "code", "message"),
    [
        (lambda run: run / "nowhere", 5, "does not exist"),
        (lambda run: run.parent, 5, "not a run directory"),
        (lambda run: (run / "resolved.yaml").unlink() or run, 5, "resolved.yaml is missing"),
        (lambda run: (run / "metrics.jsonl").write_text("{\n") and run, 5, "line 1: it is not JSON"),
        (lambda run: (run / "report.html").mkdir() or run, 2, "is a directory"),
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
    assert exit_code_of("report", prepare(run)) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err.replace("\n", " ")


def test_an_unwritable_report(run: Path, exit_code_of: ExitCodeOf, capfd: pytest.CaptureFixture[str]) -> None:
    (run / "report.html").touch()
    assert exit_code_of("report", run, "--out", run / "report.html" / "page.html") == 7
    assert "cannot be written" in capfd.readouterr().err.replace("\n", " ")
