"""`cnncli show` for what a run gets wrong, as a user types it."""

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.cli.commands import show
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.views.effective_receptive_field import effective
from cnncli.views.embedding import embedding
from cnncli.views.mistakes import misclassified

CONFIG = """\
name: seen
data: {name: digits, size: 8, validation: 0.2}
model:
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
  layers: [{conv: 4}, {max_pool: 2}, {conv: 6}, {avg_pool: 2}, flatten, {linear: 12}, relu, logits]
train: {epochs: 3, batch_size: 64, optimizer: {adamw: {lr: 1e-2}}}
log: {probes: 1, images: 0, graph: false}
"""


@pytest.fixture(scope="session")
def trained(exit_code_of: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs, for reading only."""
    folder = tmp_path_factory.mktemp("seen")
    (folder / "seen.yaml").write_text(CONFIG, encoding="utf-8")
    assert exit_code_of("train", folder / "seen.yaml", "--out", folder / "runs", "--threads", 1, "--quiet") == 0
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


@pytest.fixture
def shown(run_cnncli: Callable[..., tuple[int, str, str]]) -> Callable[..., list[dict[str, Any]]]:
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
    (misclassified,) = shown("misclassified", run)
    assert confusion["numbers"]["accuracy"] == calibration["numbers"]["accuracy"] == test["accuracy"]
    assert misclassified["numbers"]["wrong"] == round((1 - test["accuracy"]) * 359)  # test images of the digits
    assert 0 < test["accuracy"] < 1


def test_pngs_and_the_sub_run(run: Path, run_cnncli: Callable[..., tuple[int, str, str]]) -> None:
    for kind in ("confusion", "misclassified", "calibration"):
        code, out, err = run_cnncli("show", kind, run)
        assert code == 0, err
        assert out.splitlines()[0] == str(run / "show" / "eval" / f"{kind}.png")
        assert len((out + err).splitlines()) > 1
    events = EventAccumulator(str(run / "show"), size_guidance={"images": 0}).Reload()
    assert sorted(events.Tags()["images"]) == ["eval/calibration", "eval/confusion", "eval/misclassified"]
    for tag in events.Tags()["images"]:
        (image,) = events.Images(tag)
        assert image.width <= WIDTH
        assert image.height <= HEIGHT
        with Image.open(run / "show" / f"{tag}.png") as picture:
            assert ((image.width, image.height) == picture.size) == (tag != "eval/misclassified")


def test_count(run: Path, run_cnncli: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run_cnncli("show", "misclassified", run, "--count", 2)
    assert code == 0
    assert "and the 2 surest of them are shown" in out + err
    assert run_cnncli("show", "misclassified", run, "--count", 0)[0] == 2


def test_nothing_wrong_is_said(
    run: Path, run_cnncli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnncli.run import Predictions, Run

    def all_right(run: Run) -> Predictions:
        labels = run.test.labels.numpy()
        return Predictions(labels=labels, predicted=labels, probabilities=run.test.labels.double()[:, None].numpy())

    monkeypatch.setattr(Run, "predictions", property(all_right))
    code, out, err = run_cnncli("show", "misclassified", run)
    assert (code, out) == (0, "")
    assert err == "none of the 359 test images is wrong: there is nothing to show\n"
    assert not list((run / "show").rglob("*.png"))


def test_effective(run: Path, shown: Callable[..., Any]) -> None:
    (last,) = shown("effective", run, "--images", 3)
    assert last["tag"] == "effective/04_avg_pool1"
    named = shown("effective", run, "--layer", "conv2", "--layer", "conv1")
    assert [each["tag"] for each in named] == ["effective/03_conv2", "effective/01_conv1"]
    assert named[1]["numbers"]["trained_99"] == 3  # of a 3x3 convolution


def test_embedding(run: Path, shown: Callable[..., Any]) -> None:
    (found,) = shown("embedding", run, "--count", 50)
    assert found["tag"] == "embedding/07_relu1"
    assert 0 < found["numbers"]["variance_2"] <= found["numbers"]["variance_1"] < 1
    (named,) = shown("embedding", run, "--layer", "conv2")
    assert named["file"].endswith("show/embedding/03_conv2.png")
    assert sorted(path.name for path in (run / "show" / "projector").iterdir()) == ["03_conv2", "07_relu1"]


@pytest.mark.parametrize(
    ("command", "option", "function", "argument"),
    [
        (show.misclassified.misclassified, "count", misclassified, "count"),
        (show.embedding.embedding, "count", embedding, "count"),
        (show.effective.effective, "images", effective, "images"),
    ],
)
def test_defaults_of_options_are_those_of_the_gallery(
    command: Callable[..., Any], option: str, function: Callable[..., Any], argument: str
) -> None:
    """The command line cannot ask the gallery: that would load torch for `--help`."""
    assert (
        inspect.signature(command).parameters[option].default
        == inspect.signature(function).parameters[argument].default
    )


def test_a_misspelled_kind_and_a_kind_behind_the_run(
    run_cnncli: Callable[..., tuple[int, str, str]], run: Path
) -> None:
    code, _, err = run_cnncli("show", "kernel", run)
    assert code == 2
    assert "'kernels'" in err
    code, _, err = run_cnncli("show", run, "kernels")
    assert code == 2
    assert f"the kind comes first: cnncli show kernels {run}" in " ".join(err.split())
    code, _, err = run_cnncli("show", "runs/not-there")
    assert code == 5
    assert "does not exist" in err


def test_other_data_than_was_learned_from_is_noticed(
    run_cnncli: Callable[..., tuple[int, str, str]], run: Path
) -> None:
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
