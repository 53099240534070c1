"""`cnncli runs compare` on a run of three epochs and copies of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from cnncli.runs.compare import compare_runs

Cnncli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pair(trained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies; the second has other settings, scores and weights, written by hand."""
    first, second = (Path(shutil.copytree(trained, tmp_path / name)) for name in ("first", "second"))
    text = (second / "resolved.yaml").read_text()
    assert "batch_size: 128" in text
    (second / "resolved.yaml").write_text(text.replace("batch_size: 128", "batch_size: 64"))
    results = json.loads((second / "results.json").read_text())
    results["test"]["accuracy"] = 0.25
    (second / "results.json").write_text(json.dumps(results))
    shutil.rmtree(second / "checkpoints" / "best")
    return first, second


def test_compare(pair: tuple[Path, Path], run_cnncli: Cnncli) -> None:
    first, second = pair
    code, out, err = run_cnncli("runs", "compare", first, second)
    assert (code, err) == (0, "")
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert rows["train.batch_size"] == ["train.batch_size", "128", "64"]
    assert rows["test accuracy"][-1] == "25.00%"
    results = json.loads((first / "results.json").read_text())
    assert rows["test accuracy"][-2] == f"{results['test']['accuracy']:.2%}"
    assert rows["test loss"][-2:] == [f"{results['test']['loss']:.4f}"] * 2
    assert rows["7"][1] == f"{results['test']['per_class']['7']:.2%}"
    assert "no checkpoint in" in out
    assert out.index("settings that differ") < out.index("test accuracy") < out.index("validation accuracy")


def test_the_initial_weights_are_those_of_the_snapshot_at_step_0(trained: Path, run_cnncli: Cnncli) -> None:
    """A snapshot holds the kernels as they were; those of the best epoch are in its checkpoint."""
    record = json.loads(run_cnncli("runs", "compare", trained, trained, "--json")[1])
    layers = {each["layer"]: each for each in record["layers"]}
    assert all(each["moved"][0] == each["moved"][1] > 0.01 for each in layers.values())
    assert all(each["apart"] == [0.0, 0.0] for each in layers.values())
    best = safetensors.numpy.load_file(trained / "checkpoints" / "best" / "weights.safetensors")
    initial = safetensors.numpy.load_file(trained / "snapshots" / "0.safetensors")
    shape = best["conv1.conv.weight"].shape
    (kernels,) = (each for name, each in initial.items() if "conv1" in name and each.size == np.prod(shape))
    change = best["conv1.conv.weight"].astype(float).ravel() - kernels.astype(float).ravel()
    # Without the biases, which the snapshot lacks: a bound on both sides.
    share = np.linalg.norm(change) / np.linalg.norm(kernels.astype(float))
    assert layers["conv1"]["moved"][0] == pytest.approx(share, rel=0.2)


def test_json(pair: tuple[Path, Path], run_cnncli: Cnncli) -> None:
    record = json.loads(run_cnncli("runs", "compare", *pair, pair[0], "--json")[1])
    assert [each["mark"] for each in record["runs"]] == ["A", "B", "C"]
    assert record["settings"] == [{"path": "train.batch_size", "values": {"A": 128, "B": 64, "C": 128}}]
    assert record["runs"][0]["results"] == json.loads((pair[0] / "results.json").read_text())
    accuracy, interval = record["runs"][0]["results"]["test"]["accuracy"], record["runs"][0]["accuracy_interval"]
    assert interval[0] < accuracy < interval[1]
    for end in interval:  # of which the accuracy is at the edge of the 95 % region; the digits have 359 test images
        assert abs(accuracy - end) == pytest.approx(1.959964 * (end * (1 - end) / 359) ** 0.5)
    costs = record["runs"][0]["costs"]
    inspected = json.loads(run_cnncli("inspect", pair[0], "--json")[1])
    assert costs["params"] == inspected["totals"]["params"]
    assert costs["macs"] == inspected["totals"]["macs"]
    assert record["runs"][0]["costs"]["training_bytes"] == 2 * record["runs"][1]["costs"]["training_bytes"]
    assert all(each["moved"][1] is None for each in record["layers"])
    assert len(record["problems"]) == 1


def test_pictures(pair: tuple[Path, Path], run_cnncli: Cnncli, folder: Path) -> None:
    code, _, err = run_cnncli("runs", "compare", *pair, "--plot", "curves.PNG")
    assert (code, err) == (0, "")
    with Image.open(folder / "curves.PNG") as image:
        assert image.format == "PNG"
        assert image.width == 1440
    assert run_cnncli("runs", "compare", *pair, "--plot", "curves.svg")[0] == 0
    root = ElementTree.parse(folder / "curves.svg").getroot()
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"validation accuracy", "validation loss", "first", "second", "epoch"} <= set(texts)


def test_a_run_without_validation_or_epochs(pair: tuple[Path, Path], run_cnncli: Cnncli) -> None:
    first, second = pair
    lines: list[dict[str, Any]] = [json.loads(line) for line in (second / "metrics.jsonl").read_text().splitlines()]
    (second / "metrics.jsonl").write_text("".join(json.dumps(line | {"val": None}) + "\n" for line in lines))
    assert "second (training)" in run_cnncli("runs", "compare", first, second)[1]
    accuracies, losses = compare_runs(pair, data_dir=first).charts()
    for chart, key in ((accuracies, "accuracy"), (losses, "loss")):
        expected = [[line[split][key] for line in lines] for split in ("val", "train")]
        assert [list(curve.values) for curve in chart.curves] == expected
    for run in pair:
        (run / "metrics.jsonl").unlink()
    code, _, err = run_cnncli("runs", "compare", *pair, "--plot", "x.svg")
    assert code == 2
    assert "none of the runs has an epoch" in err


def test_wrong_arguments(pair: tuple[Path, Path], run_cnncli: Cnncli) -> None:
    for arguments, code, message in [
        ((pair[0],), 2, "takes 2 to 26 runs, not 1"),
        ((*pair, "--plot", "x.pdf"), 2, "not a .svg or .png file"),
        ((pair[0], "nowhere"), 5, "does not exist"),
        ((*pair, "--plot", "nowhere/x.svg"), 7, "cannot be written"),
    ]:
        actual, out, err = run_cnncli("runs", "compare", *arguments)
        assert (actual, out) == (code, ""), arguments
        assert message in err
