"""`cnncli audit`: planted errors and copies are found, and its files are read by the training."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnncli.audit.target import find_target, fold_config
from cnncli.config.config import read_config
from cnncli.config.data import DataSpec
from cnncli.data.digits import load_digits
from cnncli.data.load import load_dataset

Cnncli = Callable[..., tuple[int, str, str]]

RECIPE = """\
version: 1
data: {name: digits, size: 8}
model: {layers: [flatten, {linear: {out_features: 32, activation: relu}}, logits]}
train: {epochs: 12, batch_size: 64, optimizer: {adamw: {lr: 1e-2}}}
"""
OPTIONS = ("--config", "recipe.yaml", "--folds", 2, "--epochs", 12, "--threads", 1)


@pytest.fixture(autouse=True)
def recipe(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of digits, and the true class of the files that are in another one; two files are there twice."""
    root = tmp_path_factory.mktemp("flipped") / "my [digits]"
    digits, random = load_digits(), np.random.default_rng(0)
    wrong: dict[str, str] = {}
    for split, part in (("train", digits.train), ("test", digits.test)):
        for number in range(300 if split == "train" else 160):
            label = int(part.labels[number])
            given = (label + int(random.integers(1, 10))) % 10 if number % 20 == 7 else label
            file = f"{split}/digit {given}/{number:03}.png"
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.images[number, 0].numpy()).save(root / file)
            if given != label:
                wrong[file] = f"digit {label}"
    copy = Image.open(root / next(iter(wrong)))
    copy.save(root / "test" / "digit 0" / "copy.png")
    return root, wrong


def audited(out: Path) -> Path:
    (folder,) = out.iterdir()
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_planted_errors_are_found_and_corrected(
    flipped: tuple[Path, dict[str, str]], folder: Path, run_cnncli: Cnncli
) -> None:
    root, wrong = flipped
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    (folder / "data.yaml").write_text(
        f"version: 1\ndata: {{name: image-folder, path: '{root}', size: 8, channels: 1}}\n"
        "model: {layers: [flatten, logits]}\n"
    )
    code, out, err = run_cnncli("audit", "data.yaml", *OPTIONS, "--out", "audits", "--json")
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    planted = [each for each in found if each["file"] in wrong]
    assert len(planted) >= 0.7 * len(wrong)
    assert len(planted) >= 0.6 * len(found)
    assert sum(each["suggested"] == wrong[each["file"]] for each in planted) >= 0.9 * len(planted)
    for each in found:
        assert list(each) == ["split", "index", "file", "given", "suggested", "probability", "given_probability"]
        assert each["file"].split("/")[:2] == [each["split"], each["given"]]
        assert 0 <= each["given_probability"] < each["probability"] <= 1
    margins = [each["given_probability"] - each["probability"] for each in found]
    assert margins == sorted(margins)
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before

    written = audited(folder / "audits")
    assert re.fullmatch(r"my \[digits\]-\d{8}-\d{6}", written.name)
    assert {path.name for path in written.iterdir()} == {"audit.json", "labels.csv", "labels.png", "duplicates.png"}
    record = json.loads((written / "audit.json").read_text(encoding="utf-8"))
    assert record["labels"] == found
    assert record["images"] == {"train": 300, "test": 161}
    (group,) = (each for each in record["duplicates"] if each["identical"])
    first = next(iter(wrong))
    assert [each["file"] for each in group["images"]] == [first, "test/digit 0/copy.png"]
    assert group["across_splits"]
    assert group["labels_differ"] == (first.split("/")[1] != "digit 0")
    for sheet in ("labels.png", "duplicates.png"):
        with Image.open(written / sheet) as image:
            assert image.width > 300

    rows = read_csv(written / "labels.csv")
    assert [row["file"] for row in rows] == [each["file"] for each in found]
    fields = {"name": "image-folder", "path": str(root), "size": (8, 8), "channels": 1}
    spec = DataSpec.model_validate({**fields, "relabel": str(written / "labels.csv")})
    corrected = load_dataset(spec, data_dir=folder)
    labels = {
        path: corrected.classes[label]
        for part in (corrected.train, corrected.test)
        for path, label in zip(part.paths or (), part.labels.tolist(), strict=True)
    }
    for each in found:
        assert labels[each["file"]] == each["suggested"]


def test_labels_that_were_decided_are_not_flagged_again(folder: Path, run_cnncli: Cnncli) -> None:
    """The second audit knows the decisions of the first, and writes them again."""
    truth = load_digits().train.labels
    rows = "".join(f"train,{i},{(truth[i] + 1) % 10},{truth[i]}\n" for i in range(0, 200, 10))
    (folder / "wrong.csv").write_text(f"split,index,label,given\n{rows}")
    config = folder / "relabeled.yaml"
    config.write_text(RECIPE.replace("size: 8", f"size: 8, relabel: {folder / 'wrong.csv'}"))
    code, out, err = run_cnncli("audit", config, *OPTIONS, "--json")
    assert code == 0, err
    assert "data.relabel: 20 training and 0 test labels differ from digits" in err
    decided = {("train", i) for i in range(0, 200, 10)}
    assert not decided & {(each["split"], each["index"]) for each in json.loads(out)}
    written = read_csv(audited(folder / "audits") / "labels.csv")
    kept = [row for row in written if (row["split"], int(row["index"])) in decided]
    assert len(kept) == 20
    assert all(row["label"] == str((int(row["given"]) + 1) % 10) for row in kept)
    # They can be read again, though the labels that are given are those of the data set.
    spec = DataSpec(name="digits", relabel=str(audited(folder / "audits") / "labels.csv"))
    assert (load_dataset(spec, data_dir=folder).train.labels != truth).sum() >= 20


def test_the_tables(flipped: tuple[Path, dict[str, str]], run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("audit", flipped[0], *OPTIONS, "--top", 3, "--seed", 1)
    assert code == 0, err
    assert "[digits]: 300 training and 161 test images; 2 networks of recipe, 12 epochs each" in err
    assert re.search(r"^\d+ of 461 labels are probably wrong: \d+ training and \d+ test labels$", out, re.MULTILINE)
    rows = re.findall(r"^(?:train|test)/digit \d/\d+\.png +digit \d +digit \d +\d", out, re.MULTILINE)
    assert len(rows) == 3
    assert re.search(r"^and \d+ more$", out, re.MULTILINE)
    assert "1 group of identical images: 1 in training and test images" in out
    assert "  cnncli train CFG --set data.relabel='/" in out


def test_the_same_seed_gives_the_same_result(run_cnncli: Cnncli) -> None:
    options = ("audit", "digits", *OPTIONS, "--epochs", 1, "--json")
    first, same, other = (run_cnncli(*options, "--seed", seed)[1] for seed in (0, 0, 1))
    assert first == same != other


def test_few_images_are_trained_on_for_more_epochs(run_cnncli: Cnncli) -> None:
    """719 images are 12 batches of 64, and 300 steps 25 epochs; `--epochs` is not changed."""
    options = ("audit", "digits", "--config", "recipe.yaml", "--folds", 2, "--threads", 1)
    assert "2 networks of recipe, 25 epochs each" in run_cnncli(*options)[2]
    assert "2 networks of recipe, 1 epoch each" in run_cnncli(*options, "--epochs", 1)[2]


def test_a_folder_that_cannot_be_written_to_is_noticed_before_the_training(folder: Path, run_cnncli: Cnncli) -> None:
    (folder / "taken").write_text("")
    code, out, err = run_cnncli("audit", "digits", *OPTIONS, "--out", folder / "taken")
    assert (code, out) == (7, "")
    assert "--out" in err
    assert "fold 1" not in err


def test_a_changed_file_of_labels_is_noticed(folder: Path, run_cnncli: Cnncli) -> None:
    labels = folder / "labels.csv"
    labels.write_text("split,index,label\ntrain,0,5\n")
    settings = ("--set", f"data.relabel={labels}", "--set", "log.images=0", "--threads", 1)
    assert run_cnncli("train", "tiny.yaml", "--set", "train.epochs=1", *settings)[0] == 0
    run = audited(folder / "runs")
    metadata = json.loads((run / "metadata.json").read_text())
    assert metadata["data"]["data.relabel"].startswith("sha256:")
    labels.write_text("split,index,label\ntrain,0,6\n")
    code, _, err = run_cnncli("train", "--resume", run, "--set", "train.epochs=2", "--threads", 1)
    assert code == 5
    assert "the data has changed since" in err
    assert "data.relabel" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mnits"], 2, "no data set, folder or config called mnits. Did you mean mnist?"),
        (["image-folder"], 2, "no data set, folder or config called image-folder"),
        (["digits", "--folds", "1"], 2, "--folds"),
        (["digits", "--config", "lenet6"], 3, "config not found: lenet6. Did you mean lenet5?"),
        (["empty"], 4, "no class folders"),
        (["mnist", "--data-dir", "tiny.yaml"], 4, "tiny.yaml is a file"),
        (["data.yaml"], 3, "the network of quickstart does not fit the images of tiny"),
        (["small", "--folds", "9"], 2, "--folds 9: small has only 5 training images"),
    ],
)
def test_errors(arguments: list[str], code: int, message: str, folder: Path, run_cnncli: Cnncli) -> None:
    (folder / "empty").mkdir()
    for name in ("cat", "dog"):
        (folder / "small" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (4, 4), 50 * number).save(folder / "small" / name / f"{number}.png")
    data = "{name: image-folder, path: tiny, size: [2, 64], classes: 2}"
    (folder / "data.yaml").write_text(f"version: 1\ndata: {data}\nmodel: {{layers: [flatten, logits]}}\n")
    exit_code, out, err = run_cnncli("audit", *arguments)
    assert (exit_code, out) == (code, "")
    assert message in err
    assert not (folder / "audits").exists()


def test_the_recipe_has_the_images_of_the_target(folder: Path) -> None:
    def config_for(data: str, recipe: str | None = None) -> str:
        target = find_target(data, data_dir=folder)
        config = fold_config(target, recipe, seed=3, epochs=None, data_dir=folder)
        assert config.train.seed == 3
        return f"{target.name} {config.name} {'x'.join(map(str, config.network.input_shape))} {len(config.classes)}"

    assert config_for("digits") == "digits quickstart 1x16x16 10"
    assert config_for("mnist") == "mnist mnist-fast 1x24x24 10"
    assert config_for("cifar10") == "cifar10 mnist-fast 3x24x24 10"
    assert config_for("emnist") == "emnist mnist-fast 1x24x24 47"
    assert config_for("vgg-fashion") == "fashion-mnist mnist-fast 1x28x28 10"
    assert config_for("fashion-mnist", "fashion-fast") == "fashion-mnist fashion-fast 1x28x28 10"
    recipe = read_config("mnist-fast", data_dir=folder)
    for name in ("cat", "dog", "owl"):
        (folder / "pets" / name).mkdir(parents=True)
    target = find_target(str(folder / "pets"), data_dir=folder)
    config = fold_config(target, None, seed=0, epochs=7, data_dir=folder)
    assert config.network.input_shape == (3, 48, 48)
    assert config.classes == ("cat", "dog", "owl")
    assert config.data.augment == recipe.data.augment
    assert config.train.epochs == 7
